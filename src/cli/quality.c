/* quality.c - `stile quality`: how well a model predicts a text. */
#include "base/clock.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/quality_show.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

enum { CTX_DEFAULT = 512 };

/* What one measurement needs, and what it has found. */
struct work {
    const struct options *options;
    struct buffer text;
    struct windows windows;
    struct quality_plan plan;
    uint64_t begin_ns, memory_bytes;
};

static void clear_line(void)
{
    if (isatty(STDERR_FILENO)) fputs("\r\033[K", stderr);
}

static void on_window(void *user, const struct score *scores, size_t n_windows)
{
    const struct work *work = user;
    const size_t n = work->windows.n;
    const double spent_s = (double)(clock_ns() - work->begin_ns) * 1e-9;
    const double left_s = spent_s * (double)(n - n_windows) / (double)n_windows;
    const struct estimate perplexity = estimate_perplexity(scores, windows_scored(&work->windows, n_windows), false);
    fprintf(stderr, "\r\033[K%zu of %zu windows, perplexity %.4g, ", n_windows, n, perplexity.value);
    if (left_s < 90)
        fprintf(stderr, "%.0f s left", ceil(left_s));
    else
        fprintf(stderr, "%.0f minutes left", ceil(left_s / 60));
}

static int report(struct work *work, const struct quality *quality)
{
    struct estimates estimates;
    struct stile_error error;
    const struct quality_report report = {
        .plan = &work->plan,
        .quality = quality,
        .estimates = &estimates,
        .text = work->options->file,
        .memory_bytes = work->memory_bytes,
    };
    if (estimate_scores(&estimates, &work->windows, quality->n_windows, quality->scores, work->plan.reference != NULL,
                        &error))
        return cli_error(&error);
    if (work->options->json)
        json_show(quality_json(&report));
    else
        quality_show(&report);
    return EXIT_OK;
}

/* What is known when it ends early is printed too. */
static int measure(struct work *work)
{
    struct quality quality;
    struct stile_error error;
    work->begin_ns = clock_ns();
    int failed = quality_run(&quality, &work->plan, &error);
    clear_line();
    int status = failed ? cli_error(&error) : EXIT_OK;
    if (quality.n_windows > 0 && status != EXIT_FAILED) {
        int reported = report(work, &quality);
        if (status == EXIT_OK) status = reported;
    }
    quality_free(&quality);
    return status;
}

static int open_models(struct work *work)
{
    const struct options *options = work->options;
    struct quality_plan *plan = &work->plan;
    struct stile_error error;
    char size[32];
    int failed = stile_model_open(&plan->model, options->arguments[0], &error);
    if (!failed && options->reference) failed = stile_model_open(&plan->reference, options->reference, &error);
    if (!failed)
        failed = windows_create(&work->windows, plan->model, work->text.data, work->text.n,
                                options->n_ctx ? (uint32_t)options->n_ctx : CTX_DEFAULT, (uint32_t)options->stride,
                                (size_t)options->n_windows, &error);
    if (!failed && plan->reference) failed = quality_check(plan, work->text.data, work->text.n, &error);
    if (!failed) failed = quality_memory(plan, &work->memory_bytes, &error);
    if (failed) return cli_error(&error);
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "%zu windows of %u tokens; %s of memory\n", work->windows.n, work->windows.n_ctx,
                size_text(size, work->memory_bytes));
    return EXIT_OK;
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
    if (!options->file) return cli_usage("quality: no text: give -f FILE");
    interrupt_install();
    int status = input_read(options->file, &work.text);
    if (status == EXIT_OK && work.text.n == 0) status = cli_usage("quality: the text is empty");
    if (status == EXIT_OK) status = open_models(&work);
    if (status == EXIT_OK) status = measure(&work);
    stile_model_close(work.plan.reference);
    stile_model_close(work.plan.model);
    windows_free(&work.windows);
    buffer_free(&work.text);
    return status;
}
