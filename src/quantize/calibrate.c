/* calibrate.c - stile_calibrate: sums of squares of the inputs of all matrices over a text. */
#include "quantize/chunks.h"
#include "quantize/imatrix.h"
#include "quantize/inputs.h"
#include "quantize/walk.h"
#include "run/loaded.h"

#include <stdlib.h>
#include <string.h>

enum { STREAM_BYTES = 256 << 20 }; /* of the windows that go through the model together */

struct calibration {
    const struct program *program;
    const struct stile_calibrate_options *options;
    struct chunks chunks;
    struct inputs inputs;
    struct walk_options walk;
    uint64_t done_tokens, total_tokens; /* each counts once for every part */
};

static void report(void *user, uint32_t n_tokens)
{
    struct calibration *c = user;
    c->done_tokens += n_tokens;
    if (c->options->on_progress)
        c->options->on_progress(c->options->user, (double)c->done_tokens / (double)c->total_tokens);
}

/* Runs [begin, end) of the program, or `ops` in their stead. */
static int run_part(struct calibration *c, struct walk *walk, size_t begin, size_t end, const struct op *ops,
                    struct stile_error *error)
{
    struct program part = program_part(c->program, begin, end);
    struct cpu_observer observer = {.user = &c->inputs, .see = inputs_see};
    if (ops) part.ops = ops;
    c->inputs.part = part.ops;
    c->inputs.begin = begin;
    return walk_run(walk, &part, &observer, !ops, error);
}

/* The head: one row of it is enough to see what it gets. */
static int run_head(struct calibration *c, struct walk *walk, size_t begin, struct stile_error *error)
{
    enum { HEAD_OPS = 2 }; /* norm, product */
    struct op ops[HEAD_OPS];
    memcpy(ops, c->program->ops + begin, sizeof ops);
    struct weight first_row = *ops[1].weight;
    first_row.rows = 1;
    ops[1].weight = &first_row;
    ops[1].width = 1;
    return run_part(c, walk, begin, begin + HEAD_OPS, ops, error);
}

/* A few windows, through all of the model. */
static int run_windows(struct calibration *c, uint32_t first, uint32_t n, struct stile_error *error)
{
    const struct program *program = c->program;
    uint32_t n_layers = program->model->hparams.n_layers;
    struct walk *walk;
    size_t begin = 0, end;
    int failed = walk_create(&walk, program, c->chunks.tokens + (size_t)first * c->chunks.n_ctx, n, c->chunks.n_ctx,
                             &c->walk, error);
    if (failed) return failed;
    for (int32_t layer = -1; layer < (int32_t)n_layers && !failed; layer++) {
        for (end = begin; program->ops[end].layer == layer;)
            end++;
        failed = run_part(c, walk, begin, end, NULL, error);
        begin = end;
    }
    if (!failed) failed = run_head(c, walk, begin, error);
    walk_free(walk);
    return failed;
}

static int run_all(struct calibration *c, struct stile_error *error)
{
    uint64_t window_bytes = walk_token_bytes(c->program) * c->chunks.n_ctx;
    uint32_t n_together = (uint32_t)(STREAM_BYTES / window_bytes), n;
    int failed = 0;
    if (n_together == 0) n_together = 1;
    for (uint32_t first = 0; first < c->chunks.n && !failed; first += n) {
        n = c->chunks.n - first < n_together ? c->chunks.n - first : n_together;
        failed = run_windows(c, first, n, error);
    }
    return failed;
}

static void count_experts(const struct inputs_of *of, struct stile_calibration *result)
{
    if (of->n_experts == 1) return;
    result->n_experts += (uint32_t)of->n_experts;
    for (uint64_t e = 0; e < of->n_experts; e++)
        result->n_experts_unseen += of->counts[e] == 0;
}

static int write_file(const struct calibration *c, const char *path, struct stile_calibration *result,
                      struct stile_error *error)
{
    const struct program *program = c->program;
    struct imatrix_sums *tensors = calloc(program->n_ops, sizeof *tensors);
    uint32_t n = 0;
    if (!tensors) return error_memory(error, program->n_ops * sizeof *tensors, "an importance matrix");
    for (size_t i = 0; i < program->n_ops; i++) {
        const struct op *op = &program->ops[i];
        if (!inputs_is_product(op)) continue;
        size_t first = inputs_first(program, i);
        const struct inputs_of *of = &c->inputs.of[first];
        tensors[n++] = (struct imatrix_sums){op->weight->tensor->name, of->cols, of->n_experts, of->sums, of->counts};
        if (op->kind == OP_EXPERTS && first == i && !op->per_expert) count_experts(of, result);
    }
    result->n_tensors = n;
    const char *name = c->options->text_name ? c->options->text_name : "";
    int failed = imatrix_write(path, tensors, n, c->chunks.n, c->chunks.n_ctx, name, &result->size_bytes, error);
    free(tensors);
    return failed;
}

int stile_calibrate(const struct stile_model *model, const char *text, size_t n_bytes, const char *path,
                    const struct stile_calibrate_options *options, struct stile_calibration *result,
                    struct stile_error *error)
{
    struct stile_calibrate_options nothing = {0};
    struct stile_calibration found = {0};
    if (!options) options = &nothing;
    struct calibration c = {.program = model->program, .options = options};
    int failed = walk_options_of(&c.walk, model, options->n_threads, options->isa, options->cancel, error);
    if (failed) return failed;
    c.walk.on_progress = report;
    c.walk.user = &c;
    failed = chunks_create(&c.chunks, model, text, n_bytes, options->n_ctx, options->n_chunks, error);
    if (failed) return failed;
    c.total_tokens = (uint64_t)c.chunks.n * c.chunks.n_ctx * (model->model->hparams.n_layers + 2);
    failed = inputs_create(&c.inputs, model->program, error);
    if (!failed) failed = run_all(&c, error);
    if (!failed) failed = write_file(&c, path, &found, error);
    found.n_chunks = c.chunks.n;
    found.n_ctx = c.chunks.n_ctx;
    if (!failed && result) *result = found;
    inputs_free(&c.inputs);
    chunks_free(&c.chunks);
    return failed;
}
