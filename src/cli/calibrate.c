/* calibrate.c - `stile calibrate`: which inputs of a model's matrices matter, found over a text. */
#include "base/clock.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/shipped.h"

#include <limits.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

static const char default_out[] = "imatrix.gguf";

struct progress {
    bool shown;
    uint64_t begin_ns, shown_ns;
};

static void on_progress(void *user, double share)
{
    enum { BETWEEN_NS = 200000000 };
    struct progress *progress = user;
    uint64_t now_ns = clock_ns();
    if (!progress->shown || now_ns - progress->shown_ns < BETWEEN_NS) return;
    progress->shown_ns = now_ns;
    double left_s = (double)(now_ns - progress->begin_ns) * 1e-9 * (1 - share) / share;
    fprintf(stderr, "\r\033[Kcalibrating, %.0f%%, ", 100 * share);
    if (left_s < 90)
        fprintf(stderr, "%.0f s left", ceil(left_s));
    else
        fprintf(stderr, "%.0f minutes left", ceil(left_s / 60));
}

static void show(const struct stile_calibration *found, const char *path, double spent_s)
{
    char size[32];
    printf("%s: %u matrices, from %u windows of %u tokens, %s, %.1f s\n", path, found->n_tensors, found->n_chunks,
           found->n_ctx, size_text(size, found->size_bytes), spent_s);
    if (found->n_experts_unseen > 0)
        printf("%u of %u experts were not chosen for any token: more text would reach more of them\n",
               found->n_experts_unseen, found->n_experts);
}

static void show_json(const struct stile_calibration *found, const char *path, const char *text, double spent_s)
{
    json_t *object = json_object();
    json_object_set_new(object, "file", json_text(path, strlen(path)));
    json_object_set_new(object, "text", json_text(text, strlen(text)));
    json_object_set_new(object, "n_chunks", json_integer(found->n_chunks));
    json_object_set_new(object, "n_ctx", json_integer(found->n_ctx));
    json_object_set_new(object, "n_tokens", json_integer((json_int_t)found->n_chunks * found->n_ctx));
    json_object_set_new(object, "n_tensors", json_integer(found->n_tensors));
    json_object_set_new(object, "n_experts", json_integer(found->n_experts));
    json_object_set_new(object, "n_experts_unseen", json_integer(found->n_experts_unseen));
    json_object_set_new(object, "size_bytes", json_integer((json_int_t)found->size_bytes));
    json_object_set_new(object, "time_s", json_real(spent_s));
    json_show(object);
}

static int calibrate(const struct options *options, const struct buffer *text, const char *text_path)
{
    const char *path = options->out ? options->out : default_out, *slash = strrchr(text_path, '/');
    struct progress progress = {.shown = isatty(STDERR_FILENO), .begin_ns = clock_ns()};
    struct stile_calibrate_options how = {
        .n_ctx = (uint32_t)options->n_ctx,
        .n_chunks = (uint32_t)options->n_windows,
        .n_threads = (uint32_t)options->n_threads,
        .isa = options->isa,
        .text_name = slash ? slash + 1 : text_path,
        .cancel = interrupt_flag(),
        .on_progress = on_progress,
        .user = &progress,
    };
    struct stile_calibration found;
    struct stile_model *model;
    struct stile_error error;
    int failed = stile_model_open(&model, options->arguments[0], &error);
    if (failed) return cli_error(&error);
    interrupt_install();
    failed = stile_calibrate(model, text->data ? text->data : "", text->n, path, &how, &found, &error);
    if (progress.shown_ns) fputs("\r\033[K", stderr);
    stile_model_close(model);
    if (failed) return cli_error(&error);
    double spent_s = (double)(clock_ns() - progress.begin_ns) * 1e-9;
    if (options->json)
        show_json(&found, path, text_path, spent_s);
    else
        show(&found, path, spent_s);
    return EXIT_OK;
}

int command_calibrate(const struct options *options)
{
    char shipped[PATH_MAX];
    struct buffer text = {0};
    const char *path = options->file;
    int status = EXIT_OK;
    if (!path) {
        status = shipped_find(SHIPPED_CALIBRATION, shipped, sizeof shipped);
        path = shipped;
    }
    if (status == EXIT_OK) status = input_read(path, &text);
    if (status == EXIT_OK) status = calibrate(options, &text, path);
    buffer_free(&text);
    return status;
}
