/* quality.c - `stile quality`: how well a model predicts a text, and answers questions. */
#include "base/clock.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/quality_show.h"
#include "cli/quality_sweep.h"
#include "cli/shipped.h"

#include <limits.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

enum { CTX_DEFAULT = 512 };

/* What is measured, and what has been found. */
struct work {
    const struct options *options;
    bool has_text, has_tasks;
    char text_path[PATH_MAX], tasks_path[PATH_MAX];
    struct buffer text;
    struct windows windows;
    struct tasks tasks;
    struct quality_plan plan;
    struct quality quality;
    struct estimates estimates;
    struct tasks_result tasks_result;
    uint64_t memory_bytes, begin_ns;
};

/* ---- progress, on a terminal ---------------------------------------------------------------- */

static void clear_line(void)
{
    if (isatty(STDERR_FILENO)) fputs("\r\033[K", stderr);
}

static void progress(const struct work *work, size_t n_done, size_t n, const char *what)
{
    const double spent_s = (double)(clock_ns() - work->begin_ns) * 1e-9;
    const double left_s = spent_s * (double)(n - n_done) / (double)n_done;
    fprintf(stderr, "\r\033[K%zu of %zu %s, %.0f %s left", n_done, n, what, ceil(left_s < 90 ? left_s : left_s / 60),
            left_s < 90 ? "s" : "minutes");
}

static void on_window(void *user, const struct score *scores, size_t n_windows)
{
    const struct work *work = user;
    char what[64];
    const struct estimate perplexity = estimate_perplexity(scores, windows_scored(&work->windows, n_windows), false);
    snprintf(what, sizeof what, "windows, perplexity %.4g", perplexity.value);
    progress(work, n_windows, work->windows.n, what);
}

static void on_task(void *user, const struct tasks_result *result)
{
    const struct work *work = user;
    progress(work, result->n, work->tasks.n, "questions");
}

/* ---- preparing ------------------------------------------------------------------------------ */

/* What the command line asks for; without a text and tasks, what comes with stile. */
static int choose(struct work *work)
{
    const struct options *o = work->options;
    const bool from_file = o->reference && logits_file_is(o->reference), any = o->file || o->tasks;
    if (from_file && (o->file || o->n_ctx || o->stride))
        return cli_usage("quality: -f, --ctx and --stride are those of the logits in %s", o->reference);
    if (o->sweep && (o->tasks || o->save_logits))
        return cli_usage("quality: --sweep has neither --tasks nor --save-logits");
    if (!o->sweep && (o->imatrix || o->svg)) return cli_usage("quality: --imatrix and --svg are for a --sweep");
    work->has_text = o->file || !o->tasks || o->reference || o->save_logits;
    work->has_tasks = o->tasks || (!any && !o->reference && !o->save_logits && !o->sweep);
    if (!work->has_text && (o->n_ctx || o->stride || o->n_windows))
        return cli_usage("quality: --ctx, --stride and --chunks are for a text: give -f FILE");
    snprintf(work->text_path, sizeof work->text_path, "%s", o->file ? o->file : "");
    snprintf(work->tasks_path, sizeof work->tasks_path, "%s", o->tasks ? o->tasks : "");
    if (work->has_text && !o->file && !from_file) {
        int status = shipped_find("quality.txt", work->text_path, sizeof work->text_path);
        if (status != EXIT_OK) return status;
    }
    if (work->has_tasks && !o->tasks) return shipped_find("tasks.jsonl", work->tasks_path, sizeof work->tasks_path);
    return EXIT_OK;
}

static int read_inputs(struct work *work)
{
    const struct options *o = work->options;
    struct stile_error error;
    if (work->has_tasks && tasks_load(&work->tasks, work->tasks_path, &error)) return cli_error(&error);
    if (work->has_text && *work->text_path) {
        int status = input_read(work->text_path, &work->text);
        if (status != EXIT_OK) return status;
        if (work->text.n == 0) return cli_fail("%s: the text is empty", work->text_path);
    }
    int failed = stile_model_open(&work->plan.model, o->arguments[0], &error);
    if (!failed && o->reference && logits_file_is(o->reference))
        failed = logits_file_open(&work->plan.reference_file, o->reference, &error);
    else if (!failed && o->reference)
        failed = stile_model_open(&work->plan.reference, o->reference, &error);
    return failed ? cli_error(&error) : EXIT_OK;
}

static int make_windows(struct work *work, struct stile_error *error)
{
    const struct options *o = work->options;
    struct quality_plan *plan = &work->plan;
    if (plan->reference_file) {
        int failed = logits_file_check(plan->reference_file, plan->model, error);
        if (failed) return failed;
        snprintf(work->text_path, sizeof work->text_path, "%s", logits_file_text(plan->reference_file));
        return logits_file_windows(plan->reference_file, (size_t)o->n_windows, &work->windows, error);
    }
    int failed =
        windows_create(&work->windows, plan->model, work->text.data, work->text.n,
                       o->n_ctx ? (uint32_t)o->n_ctx : CTX_DEFAULT, (uint32_t)o->stride, (size_t)o->n_windows, error);
    return failed ? failed : quality_check(plan, work->text.data, work->text.n, error);
}

/* What it will take is said before it begins. */
static int prepare_text(struct work *work)
{
    const struct options *o = work->options;
    struct quality_plan *plan = &work->plan;
    struct stile_error error;
    char size[32];
    int failed = make_windows(work, &error);
    if (!failed) failed = quality_memory(plan, &work->memory_bytes, &error);
    if (failed) return cli_error(&error);
    if (plan->reference || isatty(STDERR_FILENO))
        fprintf(stderr, "%zu windows of %u tokens, %s of memory%s\n", work->windows.n, work->windows.n_ctx,
                size_text(size, work->memory_bytes), plan->reference ? " for both models" : "");
    if (!o->save_logits) return EXIT_OK;
    if (logits_file_create(&plan->save, o->save_logits, plan->model, &work->windows, work->text_path, &error))
        return cli_error(&error);
    fputs("writing ", stderr);
    text_line(stderr, o->save_logits);
    fprintf(stderr, ", %s\n",
            size_text(size, logits_file_size(&work->windows, stile_model_info(plan->model)->n_vocab)));
    return EXIT_OK;
}

/* ---- measuring ------------------------------------------------------------------------------ */

/* EXIT_INTERRUPTED after a part of it. */
static int measure_text(struct work *work)
{
    struct stile_error error;
    int status = prepare_text(work);
    if (status != EXIT_OK) return status;
    work->begin_ns = clock_ns();
    int failed = quality_run(&work->quality, &work->plan, &error);
    clear_line();
    if (failed) status = cli_error(&error);
    if (status != EXIT_FAILED && work->quality.n_windows > 0 &&
        estimate_scores(&work->estimates, &work->windows, work->quality.n_windows, work->quality.scores,
                        quality_has_reference(&work->plan), &error))
        status = cli_error(&error);
    return status;
}

static int measure_tasks(struct work *work)
{
    struct stile_error error;
    const struct tasks_plan plan = {
        .model = work->plan.model,
        .tasks = &work->tasks,
        .session = work->plan.session,
        .on_task = isatty(STDERR_FILENO) ? on_task : NULL,
        .user = work,
    };
    work->begin_ns = clock_ns();
    int failed = tasks_run(&work->tasks_result, &plan, &error);
    clear_line();
    return failed ? cli_error(&error) : EXIT_OK;
}

static int measure_sweep(struct work *work)
{
    struct stile_error error;
    if (make_windows(work, &error)) return cli_error(&error);
    return quality_sweep(work->options, &work->plan, work->text_path);
}

static void report(const struct work *work)
{
    const struct quality_report report = {
        .plan = &work->plan,
        .quality = &work->quality,
        .estimates = work->estimates.n_windows > 0 ? &work->estimates : NULL,
        .text = work->text_path,
        .memory_bytes = work->memory_bytes,
        .tasks = work->tasks_result.n > 0 ? &work->tasks_result : NULL,
        .tasks_path = work->tasks_path,
        .n_tasks = work->tasks.n,
    };
    if (!report.estimates && !report.tasks) return;
    if (work->options->json)
        json_show(quality_json(&report));
    else
        quality_show(&report);
}

static void free_work(struct work *work)
{
    quality_free(&work->quality);
    logits_file_close(work->plan.save);
    logits_file_close(work->plan.reference_file);
    stile_model_close(work->plan.reference);
    stile_model_close(work->plan.model);
    windows_free(&work->windows);
    tasks_free(&work->tasks);
    buffer_free(&work->text);
}

int command_quality(const struct options *options)
{
    struct work work = {.options = options};
    work.plan = (struct quality_plan){
        .windows = &work.windows,
        .session = {.n_threads = (uint32_t)options->n_threads,
                    .kv_format = options_kv_format(options),
                    .isa = options->isa,
                    .cancel = interrupt_flag(),
                    .memory_limit_bytes = (uint64_t)options->memory_limit,
                    .place = options->place},
        .on_window = isatty(STDERR_FILENO) ? on_window : NULL,
        .user = &work,
    };
    interrupt_install();
    int status = choose(&work);
    if (status == EXIT_OK) status = read_inputs(&work);
    if (status == EXIT_OK && options->sweep) {
        status = measure_sweep(&work);
    } else {
        if (status == EXIT_OK && work.has_text) status = measure_text(&work);
        if (status == EXIT_OK && work.has_tasks) status = measure_tasks(&work);
        if (status == EXIT_OK || status == EXIT_INTERRUPTED) report(&work);
    }
    free_work(&work);
    return status;
}
