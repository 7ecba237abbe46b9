#include "lab/quality.h"

#include "base/clock.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

/* Rows of logits that are kept of each model at a time. */
enum { ROWS_BYTES = 128 << 20 };

/* Logits, a part of a window at a time. */
struct side {
    struct stile_session *session; /* NULL: they are in the reference's file, or this is no side at all */
    float *rows;                   /* (n_rows_max, n_vocab) */
};

struct run {
    const struct quality_plan *plan;
    struct quality *quality;
    struct threads *threads;
    struct side model, reference;
    size_t n_vocab, n_rows_max;
    int32_t *tokens; /* of the window, (n_ctx) */
};

static size_t most_rows(const struct quality_plan *plan)
{
    size_t n = ROWS_BYTES / (stile_model_info(plan->model)->n_vocab * sizeof(float));
    return n < 1 ? 1 : n < plan->windows->n_scored ? n : plan->windows->n_scored;
}

static struct stile_session_options session_options(const struct quality_plan *plan)
{
    struct stile_session_options options = plan->session;
    options.n_ctx = plan->windows->n_ctx;
    return options;
}

bool quality_has_reference(const struct quality_plan *plan)
{
    return plan->reference || plan->reference_file;
}

int quality_check(const struct quality_plan *plan, const char *text, size_t n_bytes, struct stile_error *error)
{
    const struct windows *w = plan->windows;
    const struct stile_model_info *model = stile_model_info(plan->model);
    struct windows other;
    if (!plan->reference) return 0;
    const struct stile_model_info *reference = stile_model_info(plan->reference);
    if (model->n_vocab != reference->n_vocab)
        return error_set(error, STILE_ERROR_ARGUMENT,
                         "%s has a vocabulary of %u tokens, the reference %s one of %u: they cannot be compared",
                         model->path, model->n_vocab, reference->path, reference->n_vocab);
    int failed = windows_create(&other, plan->reference, text, n_bytes, w->n_ctx, w->step == w->n_ctx ? 0 : w->step,
                                w->n, error);
    if (failed) return failed;
    bool same = other.n_tokens == w->n_tokens && other.bos == w->bos &&
                memcmp(other.tokens, w->tokens, w->n_tokens * sizeof *w->tokens) == 0;
    windows_free(&other);
    return same ? 0
                : error_set(error, STILE_ERROR_ARGUMENT,
                            "%s and the reference %s make different tokens of the text: they cannot be compared",
                            model->path, reference->path);
}

static int add_memory(const struct quality_plan *plan, const struct stile_model *model, uint64_t *size_bytes,
                      struct stile_error *error)
{
    const struct stile_session_options options = session_options(plan);
    struct stile_memory memory;
    int failed = stile_model_memory(model, &options, &memory, error);
    if (failed) return failed;
    *size_bytes += memory.weights_bytes + memory.kv_bytes + memory.activations_bytes + memory.other_bytes +
                   most_rows(plan) * stile_model_info(model)->n_vocab * sizeof(float);
    return 0;
}

int quality_memory(const struct quality_plan *plan, uint64_t *size_bytes, struct stile_error *error)
{
    *size_bytes = windows_scored(plan->windows, plan->windows->n) * sizeof(struct score);
    int failed = add_memory(plan, plan->model, size_bytes, error);
    if (!failed && plan->reference) failed = add_memory(plan, plan->reference, size_bytes, error);
    if (plan->reference_file) *size_bytes += most_rows(plan) * stile_model_info(plan->model)->n_vocab * sizeof(float);
    return failed;
}

static int create_side(struct side *side, struct stile_model *model, const struct run *run, struct stile_error *error)
{
    const struct stile_session_options options = session_options(run->plan);
    const size_t size_bytes = run->n_rows_max * run->n_vocab * sizeof *side->rows;
    side->rows = malloc(size_bytes);
    if (!side->rows) return error_memory(error, size_bytes, "rows of logits");
    return model ? stile_session_create(&side->session, model, &options, error) : 0;
}

static void free_side(struct side *side)
{
    stile_session_free(side->session);
    free(side->rows);
}

/* The model's next rows: evaluates the window's tokens [begin, end), which follow those of the call before. */
static int evaluate(const struct run *run, struct side *side, size_t begin, size_t end, size_t n_rows,
                    struct stile_error *error)
{
    int failed = begin == 0 ? stile_rewind(side->session, 0, error) : 0;
    return failed ? failed
                  : stile_eval_rows(side->session, run->tokens + begin, end - begin, n_rows, side->rows, error);
}

/* Rows [at, at + n) of the window, whose first is row first_row of the text. */
static int run_part(struct run *run, const struct window *window, size_t first_row, size_t at, size_t n,
                    struct score *scores, struct stile_error *error)
{
    const struct quality_plan *plan = run->plan;
    const size_t first = window->n_tokens - window->n_scored + at;     /* token that is scored */
    const size_t begin = at == 0 ? 0 : first - 1, end = first + n - 1; /* nobody asks what follows the last */
    uint64_t begin_ns = clock_ns();
    int failed = evaluate(run, &run->model, begin, end, n, error);
    run->quality->eval_ns += clock_ns() - begin_ns;
    run->quality->n_evaluated += end - begin;
    if (!failed && plan->reference) failed = evaluate(run, &run->reference, begin, end, n, error);
    if (!failed && plan->reference_file)
        failed = logits_file_read(plan->reference_file, run->threads, first_row + at, n, run->reference.rows, error);
    if (!failed)
        failed = score_rows(run->threads, run->model.rows, run->reference.rows, n, run->n_vocab, run->tokens + first,
                            scores + at, error);
    if (!failed && plan->save) failed = logits_file_append(plan->save, run->threads, run->model.rows, n, error);
    return failed;
}

static int run_window(struct run *run, size_t i, struct stile_error *error)
{
    const struct window window = windows_at(run->plan->windows, i);
    const size_t first_row = windows_scored(run->plan->windows, i);
    int failed = 0;
    windows_tokens(run->plan->windows, &window, run->tokens);
    for (size_t at = 0, n; at < window.n_scored && !failed; at += n) {
        n = window.n_scored - at < run->n_rows_max ? window.n_scored - at : run->n_rows_max;
        failed = run_part(run, &window, first_row, at, n, run->quality->scores + first_row, error);
    }
    return failed;
}

static int create(struct run *run, struct stile_error *error)
{
    const struct quality_plan *plan = run->plan;
    const size_t n_scores = windows_scored(plan->windows, plan->windows->n);
    run->quality->scores = malloc(n_scores * sizeof *run->quality->scores);
    run->tokens = malloc(plan->windows->n_ctx * sizeof *run->tokens);
    if (!run->quality->scores || !run->tokens)
        return error_memory(error, n_scores * sizeof *run->quality->scores, "scores");
    int failed = create_side(&run->model, plan->model, run, error);
    if (!failed && quality_has_reference(plan)) failed = create_side(&run->reference, plan->reference, run, error);
    if (failed) return failed;
    uint32_t n_threads = plan->session.n_threads;
    return threads_create(&run->threads, n_threads ? (int)n_threads : threads_default_count(), error);
}

int quality_run(struct quality *quality, const struct quality_plan *plan, struct stile_error *error)
{
    struct run run = {.plan = plan, .quality = quality, .n_rows_max = most_rows(plan)};
    *quality = (struct quality){0};
    run.n_vocab = stile_model_info(plan->model)->n_vocab;
    int failed = create(&run, error);
    for (size_t i = 0; i < plan->windows->n && !failed; i++) {
        failed = run_window(&run, i, error);
        if (failed) break;
        quality->n_windows++;
        if (plan->on_window) plan->on_window(plan->user, quality->scores, quality->n_windows);
    }
    if (!failed && plan->save) failed = logits_file_finish(plan->save, error);
    threads_free(run.threads);
    free_side(&run.reference);
    free_side(&run.model);
    free(run.tokens);
    return failed;
}

void quality_free(struct quality *quality)
{
    free(quality->scores);
    *quality = (struct quality){0};
}
