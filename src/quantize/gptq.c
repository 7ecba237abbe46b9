#include "quantize/gptq.h"

#include "format/encode.h"
#include "quantize/inputs.h"
#include "quantize/round.h"

#include <stdlib.h>
#include <string.h>

enum { BATCH_TOKENS = 512 };

/* Moments of so many experts are gathered at a time. */
static const uint64_t moments_bytes_max = (uint64_t)2 << 30;
static const double damping = 0.1;

/* A matrix of the layer at hand, and what became of it. */
struct matrix {
    const struct table_tensor *tensor; /* NULL: not one of ours */
    uint8_t *data;
    float *scales;        /* (n_experts) */
    struct weight weight; /* which the layer is computed with from now on */
    struct gguf_tensor in;
};

struct gptq {
    const struct table *table;
    const struct program *program;
    struct output *output;
    const struct gptq_options *options;
    struct threads *threads;
    struct walk *walk;
    size_t n_rows_max; /* inputs of a batch */
    uint64_t n_done, n_total;
    /* the layer at hand: its operations, with the weights that are made already */
    size_t begin, n;
    struct op *ops;
    struct matrix *matrices; /* (n) */
    /* the product whose inputs are seen */
    const struct op *seen;
    struct moments *moments;
};

bool gptq_takes(const struct table_tensor *tensor)
{
    return tensor->matrix && tensor->role >= ROLE_LAYER_FIRST && !table_is_copied(tensor) &&
           format_rounds(tensor->format);
}

static const struct table_tensor *find_tensor(const struct table *table, const struct op *op)
{
    if (!inputs_is_product(op)) return NULL;
    for (size_t i = 0; i < table->n; i++)
        if (table->tensors[i].weight == op->weight && gptq_takes(&table->tensors[i])) return &table->tensors[i];
    return NULL;
}

/* ---- moments ------------------------------------------------------------------------------------- */

static void see(void *user, const struct op *op, size_t expert, const float *values, const uint32_t *rows,
                size_t n_rows, int i_thread, int n_threads)
{
    struct gptq *g = user;
    if (op == g->seen) moments_see(g->moments, op, expert, values, rows, n_rows, i_thread, n_threads);
}

static void after_batch(void *user, uint32_t n_tokens)
{
    struct gptq *g = user;
    (void)n_tokens;
    if (g->moments) moments_add(g->moments);
}

/* Of the inputs of operation i of the layer. What comes before it is done, of itself only a row. */
static int gather(struct gptq *g, size_t i, uint64_t first, uint64_t n_experts, struct stile_error *error)
{
    struct cpu_observer observer = {.user = g, .see = see};
    struct program part = program_part(g->program, g->begin, g->begin + i + 1);
    struct op whole = g->ops[i];
    struct weight row = *whole.weight;
    row.rows = 1;
    g->ops[i].weight = &row;
    g->ops[i].width = (uint32_t)(whole.width / whole.weight->rows);
    part.ops = g->ops;
    g->seen = &g->ops[i];
    int failed = moments_create(&g->moments, whole.weight->cols, first, n_experts, g->n_rows_max, g->threads,
                                g->options->walk.kernels, error);
    if (!failed) failed = walk_run(g->walk, &part, &observer, false, error);
    g->ops[i] = whole;
    return failed;
}

/* ---- matrices ------------------------------------------------------------------------------------ */

static int begin_matrix(struct matrix *m, const struct table_tensor *t, struct stile_error *error)
{
    *m = (struct matrix){.tensor = t, .weight = *t->weight, .in = *t->in};
    m->data = malloc((size_t)t->size_bytes);
    m->scales = calloc((size_t)t->n_experts, sizeof *m->scales);
    if (!m->data || !m->scales) return error_memory(error, t->size_bytes, t->name);
    m->in.data = m->data;
    m->in.size_bytes = t->size_bytes;
    m->in.parts = NULL;
    m->weight.tensor = &m->in;
    m->weight.format = t->format;
    m->weight.row_bytes = t->size_bytes / t->rows;
    m->weight.data = m->data;
    m->weight.scale = 1;
    m->weight.expert_scales = NULL;
    m->weight.expert_bytes = t->weight->n_experts > 0 ? t->size_bytes / t->n_experts : 0;
    return 0;
}

static int round_expert(struct gptq *g, struct matrix *m, uint64_t expert, const struct feedback *feedback,
                        struct stile_error *error)
{
    const struct table_tensor *t = m->tensor;
    float scale = 1;
    int failed = t->format == FORMAT_NVFP4 ? round_find_scale(g->table, t, expert, &scale, error) : 0;
    if (failed) return failed;
    m->scales[expert] = scale;
    failed = round_rows(g->table, t, expert, feedback, scale, m->data + expert * (t->size_bytes / t->n_experts),
                        g->threads, g->options->walk.kernels, error);
    g->n_done += t->rows / t->n_experts * t->cols;
    if (g->options->on_progress) g->options->on_progress(g->options->user, g->n_done, g->n_total);
    return failed;
}

/* Puts rows where this model has them, which the file has in another order. */
static int restore_rows(struct matrix *m, struct stile_error *error)
{
    const struct table_tensor *t = m->tensor;
    uint64_t row_bytes = m->weight.row_bytes;
    uint8_t *restored = malloc((size_t)t->size_bytes);
    if (!restored) return error_memory(error, t->size_bytes, t->name);
    for (uint64_t row = 0; row < t->rows; row++)
        memcpy(restored + gguf_halves_row(row, t->in->head_rows) * row_bytes, m->data + row * row_bytes, row_bytes);
    free(m->data);
    m->data = restored;
    m->in.data = restored;
    m->weight.data = restored;
    return 0;
}

/* To the file, and in place of the model's own. */
static int end_matrix(struct gptq *g, struct matrix *m, struct op *op, struct stile_error *error)
{
    const struct table_tensor *t = m->tensor;
    int failed = output_write(g->output, m->data, t->size_bytes, g->table->header.n + t->offset_bytes);
    if (!failed && t->format == FORMAT_NVFP4) {
        const struct table_tensor *scales = t + 1;
        failed = output_write(g->output, m->scales, scales->size_bytes, g->table->header.n + scales->offset_bytes);
        if (t->weight->n_experts > 0)
            m->weight.expert_scales = m->scales;
        else
            m->weight.scale = m->scales[0];
    }
    if (failed) return error_set(error, STILE_ERROR_IO, "tensor %s: cannot write it: %s", t->name, strerror(failed));
    op->weight = &m->weight;
    return t->in->head_rows > 0 ? restore_rows(m, error) : 0;
}

static void free_matrices(struct gptq *g)
{
    for (size_t i = 0; i < g->n; i++) {
        free(g->matrices[i].data);
        free(g->matrices[i].scales);
    }
    memset(g->matrices, 0, g->n * sizeof *g->matrices);
}

/* ---- layers -------------------------------------------------------------------------------------- */

static bool shares_input(const struct gptq *g, size_t i, size_t first)
{
    const struct op *op = &g->program->ops[g->begin + i];
    return inputs_is_product(op) && inputs_first(g->program, g->begin + i) == g->begin + first;
}

/* Of all matrices with the input of operation i, these experts. */
static int round_experts(struct gptq *g, size_t i, uint64_t first, uint64_t n_experts, struct stile_error *error)
{
    int failed = gather(g, i, first, n_experts, error);
    for (uint64_t e = first; e < first + n_experts && !failed; e++) {
        struct feedback feedback;
        failed = moments_factor(g->moments, e, damping, &feedback, error);
        if (failed) break;
        for (size_t k = i; k < g->n && !failed; k++)
            if (g->matrices[k].tensor && shares_input(g, k, i))
                failed = round_expert(g, &g->matrices[k], e, &feedback, error);
        feedback_free(&feedback);
    }
    moments_free(g->moments);
    g->moments = NULL;
    return failed;
}

static int round_group(struct gptq *g, size_t i, struct stile_error *error)
{
    const struct weight *weight = g->program->ops[g->begin + i].weight;
    uint64_t n_experts = weight->n_experts > 0 ? weight->n_experts : 1, n;
    uint64_t together = moments_bytes_max / moments_bytes(weight->cols, 1, g->n_rows_max);
    bool any = false;
    int failed = 0;
    for (size_t k = i; k < g->n && !failed; k++) {
        const struct table_tensor *t = shares_input(g, k, i) ? find_tensor(g->table, &g->ops[k]) : NULL;
        if (!t) continue;
        failed = begin_matrix(&g->matrices[k], t, error);
        any = true;
    }
    if (!any) return failed;
    if (together == 0) together = 1;
    for (uint64_t e = 0; e < n_experts && !failed; e += n) {
        n = n_experts - e < together ? n_experts - e : together;
        failed = round_experts(g, i, e, n, error);
    }
    for (size_t k = i; k < g->n && !failed; k++)
        if (g->matrices[k].tensor && shares_input(g, k, i)) failed = end_matrix(g, &g->matrices[k], &g->ops[k], error);
    return failed;
}

static int run_layer(struct gptq *g, struct stile_error *error)
{
    struct program layer = program_part(g->program, g->begin, g->begin + g->n);
    int failed = 0;
    memcpy(g->ops, layer.ops, g->n * sizeof *g->ops);
    layer.ops = g->ops;
    for (size_t i = 0; i < g->n && !failed; i++)
        if (shares_input(g, i, i)) failed = round_group(g, i, error);
    if (!failed) failed = walk_run(g->walk, &layer, NULL, true, error);
    free_matrices(g);
    return failed;
}

static int run_layers(struct gptq *g, struct stile_error *error)
{
    const struct program *program = g->program;
    struct program start;
    size_t end = 0;
    while (program->ops[end].layer < 0)
        end++;
    start = program_part(program, 0, end);
    int failed = walk_run(g->walk, &start, NULL, true, error);
    for (int32_t layer = 0; layer < (int32_t)program->model->hparams.n_layers && !failed; layer++) {
        g->begin = end;
        while (program->ops[end].layer == layer)
            end++;
        g->n = end - g->begin;
        failed = run_layer(g, error);
    }
    return failed;
}

int gptq_run(const struct stile_model *model, const struct table *table, const struct chunks *chunks,
             struct output *output, const struct gptq_options *options, struct stile_error *error)
{
    const struct program *program = model->program;
    uint32_t n_used = program->model->hparams.n_experts_used;
    struct gptq g = {.table = table, .program = program, .output = output, .options = options};
    struct walk_options walk = options->walk;
    walk.on_progress = after_batch;
    walk.user = &g;
    g.n_rows_max = BATCH_TOKENS * (n_used > 0 ? n_used : 1);
    for (size_t i = 0; i < table->n; i++)
        if (table->tensors[i].in) g.n_total += table->tensors[i].rows * table->tensors[i].cols;
    g.ops = calloc(program->n_ops, sizeof *g.ops);
    g.matrices = calloc(program->n_ops, sizeof *g.matrices);
    int failed = !g.ops || !g.matrices ? error_memory(error, program->n_ops * sizeof *g.matrices, "a layer") : 0;
    if (!failed) failed = threads_create(&g.threads, walk.n_threads, error);
    if (!failed) failed = walk_create(&g.walk, program, chunks->tokens, chunks->n, chunks->n_ctx, &walk, error);
    if (!failed) failed = run_layers(&g, error);
    walk_free(g.walk);
    threads_free(g.threads);
    free(g.matrices);
    free(g.ops);
    return failed;
}
