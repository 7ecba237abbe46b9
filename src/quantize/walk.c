#include "quantize/walk.h"

#include "base/threads.h"
#include "run/kv.h"

#include <stdlib.h>
#include <string.h>

enum { WALK_BATCH = 512 };

struct walk {
    const struct program *program;
    const int32_t *tokens;
    uint32_t n_windows, window_tokens, n_batch;
    struct walk_options options;
    float *stream;  /* (n_windows * window_tokens, d_model) */
    float *scratch; /* (n_batch, d_model): of a batch whose stream is not kept */
    float *logits;  /* (n_batch) */
    struct kv kv;
};

int walk_options_of(struct walk_options *options, const struct stile_model *model, uint32_t n_threads, const char *isa,
                    const volatile int *cancel, struct stile_error *error)
{
    if (model->header_only)
        return error_set(error, STILE_ERROR_ARGUMENT,
                         "%s: only the header of this model was opened: it cannot compute (open the whole file)",
                         model->path);
    if (n_threads > THREADS_MAX)
        return error_set(error, STILE_ERROR_ARGUMENT, "%u threads are more than %d", n_threads, THREADS_MAX);
    *options = (struct walk_options){
        .n_threads = n_threads > 0 ? (int)n_threads : threads_default_count(),
        .kernels = kernel_select(isa),
        .cancel = cancel,
    };
    if (options->kernels) return 0;
    return error_set(error, STILE_ERROR_ARGUMENT, "no kernels called \"%s\" on this processor (best here: %s)", isa,
                     kernel_names()[0]);
}

uint64_t walk_token_bytes(const struct program *program)
{
    return program->widths[VALUE_H] * sizeof(float);
}

int walk_create(struct walk **walk, const struct program *program, const int32_t *tokens, uint32_t n_windows,
                uint32_t window_tokens, const struct walk_options *options, struct stile_error *error)
{
    size_t n_tokens = (size_t)n_windows * window_tokens, token_bytes = (size_t)walk_token_bytes(program);
    struct walk *w = calloc(1, sizeof *w);
    if (!w) return error_memory(error, sizeof *w, "a walk");
    *w = (struct walk){.program = program,
                       .tokens = tokens,
                       .n_windows = n_windows,
                       .window_tokens = window_tokens,
                       .n_batch = window_tokens < WALK_BATCH ? window_tokens : WALK_BATCH,
                       .options = *options};
    w->stream = calloc(n_tokens, token_bytes);
    w->scratch = calloc(w->n_batch, token_bytes);
    w->logits = calloc(w->n_batch, sizeof *w->logits);
    int failed = 0;
    if (!w->stream || !w->scratch || !w->logits)
        failed = error_memory(error, n_tokens * token_bytes, "the text between layers (take less of it)");
    if (!failed) failed = kv_create(&w->kv, &program->model->hparams, window_tokens, w->n_batch, FORMAT_F16, error);
    if (failed)
        walk_free(w);
    else
        *walk = w;
    return failed;
}

void walk_free(struct walk *walk)
{
    if (!walk) return;
    kv_free(&walk->kv);
    free(walk->stream);
    free(walk->scratch);
    free(walk->logits);
    free(walk);
}

static int run_batch(struct walk *walk, struct cpu *cpu, size_t first, uint32_t position, bool keep,
                     struct stile_error *error)
{
    size_t width = walk->program->widths[VALUE_H];
    uint32_t left = walk->window_tokens - position, n = left < walk->n_batch ? left : walk->n_batch;
    float *stream = walk->stream + (first + position) * width;
    if (!keep) memcpy(walk->scratch, stream, n * width * sizeof *stream);
    struct cpu_batch batch = {
        .tokens = walk->tokens + first + position,
        .n_tokens = n,
        .position = position,
        .n_selected = n,
        .logits = walk->logits,
        .stream = keep ? stream : walk->scratch,
        .kv = walk->kv.layers,
        .cancel = walk->options.cancel,
    };
    int failed = cpu_run(cpu, &batch, error);
    if (!failed && walk->options.on_progress) walk->options.on_progress(walk->options.user, n);
    return failed;
}

int walk_run(struct walk *walk, const struct program *part, const struct cpu_observer *observer, bool keep,
             struct stile_error *error)
{
    struct cpu_options options = {
        .kernels = walk->options.kernels,
        .n_threads = walk->options.n_threads,
        .n_batch = walk->n_batch,
        .n_ctx = walk->window_tokens,
        .kv_format = FORMAT_F16,
        .observer = observer,
    };
    struct cpu *cpu;
    int failed = cpu_create(&cpu, part, &options, error);
    if (failed) return failed;
    for (uint32_t i = 0; i < walk->n_windows && !failed; i++)
        for (uint32_t position = 0; position < walk->window_tokens && !failed; position += walk->n_batch)
            failed = run_batch(walk, cpu, (size_t)i * walk->window_tokens, position, keep, error);
    cpu_free(cpu);
    return failed ? failed : gguf_check_maps(walk->program->model->gguf, error);
}
