#include "lab/sweep.h"

#include "base/error.h"
#include "lab/bench.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PREFILL_TOKENS = 512, DECODE_TOKENS = 64, REPETITIONS = 5, SPEED_S = 5 };

struct run {
    const struct sweep_plan *plan;
    struct sweep_row *row;
    size_t i_row;
    struct logits_file *reference; /* the model's logits, when they are kept */
};

static void progress(const struct run *run, const char *what, double share)
{
    if (run->plan->on_progress) run->plan->on_progress(run->plan->user, run->i_row, what, share);
}

static struct stile_quantize_options quantize_options(const struct sweep_plan *plan, const struct sweep_entry *entry)
{
    return (struct stile_quantize_options){
        .format = entry->format,
        .imatrix = entry->with_imatrix ? plan->imatrix : NULL,
        .n_threads = plan->quality.session.n_threads,
        .cancel = plan->quality.session.cancel,
    };
}

int sweep_size(const struct sweep_plan *plan, uint64_t *size_bytes, struct stile_error *error)
{
    int failed = 0;
    *size_bytes = 0;
    for (size_t i = 0; i < plan->n_entries && !failed; i++) {
        struct stile_quantize_options options = quantize_options(plan, &plan->entries[i]);
        struct stile_quantization made;
        if (plan->entries[i].file) continue;
        options.dry_run = true;
        failed = stile_quantize(plan->quality.model, NULL, &options, &made, error);
        if (!failed && made.size_bytes > *size_bytes) *size_bytes = made.size_bytes;
        stile_quantization_free(&made);
    }
    return failed;
}

/* ---- one row -------------------------------------------------------------------------------- */

static void on_window(void *user, const struct score *scores, size_t n_windows)
{
    (void)scores;
    const struct run *run = user;
    progress(run, "measuring", (double)n_windows / (double)run->plan->quality.windows->n);
}

static void on_quantized(void *user, uint64_t n_done, uint64_t n_total)
{
    progress(user, "quantizing", (double)n_done / (double)n_total);
}

static void on_warning(void *user, const char *message)
{
    const struct run *run = user;
    if (run->plan->on_warning) run->plan->on_warning(run->plan->user, message);
}

/* Perplexity, and the divergence from plan's reference, which may be none. */
static int measure(struct run *run, struct quality_plan *plan, struct stile_error *error)
{
    struct quality quality;
    plan->on_window = on_window;
    plan->user = run;
    int failed = quality_run(&quality, plan, error);
    if (!failed)
        failed = estimate_scores(&run->row->estimates, plan->windows, quality.n_windows, quality.scores,
                                 quality_has_reference(plan), error);
    quality_free(&quality);
    return failed;
}

static void on_speed(void *user, const struct bench_result *result)
{
    struct run *run = user;
    run->row->is_crowded = run->row->is_crowded || result->noise.crowded;
    if (!result->interrupted)
        stats_of(result->samples, result->n_samples, result->decode ? &run->row->decode : &run->row->prefill);
}

static void on_bench(void *user, const char *what)
{
    (void)what;
    progress(user, "timing", 0);
}

static int measure_speed(struct run *run, const char *path, struct stile_error *error)
{
    static const uint32_t prompt = PREFILL_TOKENS, generated = DECODE_TOKENS, none = 0;
    const struct stile_session_options *session = &run->plan->quality.session;
    const struct host *host = run->plan->host;
    const uint32_t threads = session->n_threads ? session->n_threads : host->machine.n_threads;
    const struct bench_model model = {.path = path};
    const struct bench_plan plan = {
        .models = &model,
        .n_models = 1,
        .prompts = {&prompt, 1},
        .generates = {&generated, 1},
        .depths = {&none, 1},
        .batches = {&none, 1},
        .threads = {&threads, 1},
        .kv_format = session->kv_format,
        .isa = session->isa,
        .memory_limit_bytes = session->memory_limit_bytes,
        .place = session->place,
        .n_repetitions = REPETITIONS,
        .time_s = SPEED_S,
        .cancel = session->cancel,
        .host = host,
        .on_progress = on_bench,
        .user = run,
    };
    return bench_run(&plan, on_speed, error);
}

static void describe(struct sweep_row *row, const struct stile_model *model)
{
    const struct stile_model_info *info = stile_model_info(model);
    row->size_bytes = info->size_bytes;
    row->bits_per_weight = 8.0 * (double)info->size_bytes / (double)info->n_parameters;
}

/* A model with the same vocabulary as the reference? That it makes the same tokens of a text follows only for files that were
 * made of the model, so a ready file's vocabulary is compared word by word. */
static int check_vocabulary(const struct stile_model *model, const struct stile_model *other, struct stile_error *error)
{
    const uint32_t n = stile_model_info(model)->n_vocab;
    bool same = n == stile_model_info(other)->n_vocab;
    for (uint32_t i = 0; i < n && same; i++) {
        const char *a = stile_token_name(model, (int32_t)i), *b = stile_token_name(other, (int32_t)i);
        same = a && b ? strcmp(a, b) == 0 : a == b;
    }
    return same ? 0
                : error_set(error, STILE_ERROR_ARGUMENT, "%s has another vocabulary than %s",
                            stile_model_info(other)->path, stile_model_info(model)->path);
}

static int measure_file(struct run *run, const char *path, struct stile_error *error)
{
    struct quality_plan plan = run->plan->quality;
    plan.model = NULL;
    int failed = stile_model_open(&plan.model, path, error);
    if (failed) return failed;
    if (run->reference)
        plan.reference_file = run->reference;
    else if (!plan.reference_file && !plan.reference)
        plan.reference = run->plan->quality.model;
    describe(run->row, plan.model);
    failed = check_vocabulary(run->plan->quality.model, plan.model, error);
    if (!failed) failed = measure(run, &plan, error);
    stile_model_close(plan.model);
    return failed ? failed : measure_speed(run, path, error);
}

static int measure_entry(struct run *run, const struct sweep_entry *entry, struct stile_error *error)
{
    struct stile_quantize_options options = quantize_options(run->plan, entry);
    struct stile_quantization made;
    char path[PATH_MAX];
    if (entry->file) return measure_file(run, entry->file, error);
    snprintf(path, sizeof path, "%s/%s.gguf", run->plan->folder, entry->format);
    options.on_progress = on_quantized;
    options.on_warning = on_warning;
    options.user = run;
    int failed = stile_quantize(run->plan->quality.model, path, &options, &made, error);
    run->row->quantize_s = (double)made.time_ns * 1e-9;
    stile_quantization_free(&made);
    if (!failed) failed = measure_file(run, path, error);
    unlink(path);
    return failed;
}

/* ---- the model itself ----------------------------------------------------------------------- */

static void logits_path(const struct sweep_plan *plan, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/logits", plan->folder);
}

/* Without another reference its logits are what the others are compared with. */
static int measure_model(struct run *run, struct stile_error *error)
{
    struct quality_plan plan = run->plan->quality;
    char path[PATH_MAX];
    int failed = 0;
    logits_path(run->plan, path);
    describe(run->row, plan.model);
    if (run->plan->keep_logits) failed = logits_file_create(&plan.save, path, plan.model, plan.windows, "", error);
    if (!failed) failed = measure(run, &plan, error);
    logits_file_close(plan.save);
    if (!failed && run->plan->keep_logits) failed = logits_file_open(&run->reference, path, error);
    if (!failed && !quality_has_reference(&plan)) {
        struct estimates *e = &run->row->estimates;
        e->reference_perplexity = e->perplexity;
        e->perplexity_ratio.value = e->same_top.value = 1;
    }
    return failed ? failed : measure_speed(run, stile_model_info(plan.model)->path, error);
}

int sweep_run(struct sweep *sweep, const struct sweep_plan *plan, struct stile_error *error)
{
    struct run run = {.plan = plan};
    struct stile_error why = {0};
    char path[PATH_MAX];
    *sweep = (struct sweep){.n_rows = 1 + plan->n_entries};
    sweep->rows = calloc(sweep->n_rows, sizeof *sweep->rows);
    if (!sweep->rows) return error_memory(error, sweep->n_rows * sizeof *sweep->rows, "a sweep");
    int failed = 0;
    for (size_t i = 0; i < sweep->n_rows && !failed; i++) {
        run.i_row = i;
        run.row = &sweep->rows[i];
        run.row->entry = i > 0 ? &plan->entries[i - 1] : NULL;
        int row_failed = i > 0 ? measure_entry(&run, run.row->entry, &why) : measure_model(&run, &why);
        run.row->done = !row_failed;
        if (row_failed) snprintf(run.row->failure, sizeof run.row->failure, "%s", why.message);
        /* without the model, nothing can be compared */
        if (row_failed && (i == 0 || row_failed == STILE_ERROR_CANCELLED))
            failed = error_set(error, row_failed, "%s", why.message);
    }
    logits_file_close(run.reference);
    logits_path(plan, path);
    if (plan->keep_logits) unlink(path);
    return failed;
}

void sweep_free(struct sweep *sweep)
{
    free(sweep->rows);
    *sweep = (struct sweep){0};
}

/* ---- order ---------------------------------------------------------------------------------- */

/* Those that were not measured are last. */
static int compare_rows(const void *a, const void *b)
{
    const struct sweep_row *x = a, *y = b;
    if (x->done != y->done) return x->done ? -1 : 1;
    if (x->size_bytes != y->size_bytes) return x->size_bytes > y->size_bytes ? -1 : 1;
    return x->entry < y->entry ? -1 : x->entry > y->entry; /* as they were named */
}

void sweep_sort(struct sweep *sweep)
{
    qsort(sweep->rows, sweep->n_rows, sizeof *sweep->rows, compare_rows);
    for (size_t i = 0; i < sweep->n_rows; i++) {
        struct sweep_row *row = &sweep->rows[i];
        row->is_front = row->done && row->entry;
        for (size_t j = 0; j < sweep->n_rows && row->is_front; j++) {
            const struct sweep_row *other = &sweep->rows[j];
            const double more = row->estimates.divergence.value - other->estimates.divergence.value;
            if (other->done && other->entry && other->size_bytes <= row->size_bytes && more >= 0 &&
                (more > 0 || other->size_bytes < row->size_bytes))
                row->is_front = false;
        }
    }
}
