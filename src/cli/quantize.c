/* quantize.c - `stile quantize`: writes a model in another number format. */
#include "base/clock.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/header.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/shipped.h"

#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* ---- while it works ----------------------------------------------------------------------------- */

/* Read by the thread that shows it. */
struct work {
    atomic_ullong n_done, n_total;
    atomic_ullong first_done, first_ns; /* at the first report of a phase: what was resumed costs no time */
};

static void on_progress(void *user, uint64_t n_done, uint64_t n_total)
{
    struct work *work = user;
    if (atomic_load(&work->n_total) != n_total) { /* measuring, then quantizing */
        atomic_store(&work->first_done, n_done);
        atomic_store(&work->first_ns, clock_ns());
    }
    atomic_store(&work->n_done, n_done);
    atomic_store(&work->n_total, n_total);
}

static void say_progress(void *user, char *text, size_t capacity)
{
    struct work *work = user;
    double n_total = (double)atomic_load(&work->n_total), n_done = (double)atomic_load(&work->n_done);
    double made = n_done - (double)atomic_load(&work->first_done);
    if (n_total == 0) return;
    int n = snprintf(text, capacity, ", %.0f%%", 100 * n_done / n_total);
    if (made <= 0) return;
    double s = 1e-9 * (double)(clock_ns() - atomic_load(&work->first_ns)) * (n_total - n_done) / made;
    if (s < 120)
        snprintf(text + n, capacity - (size_t)n, ", %.0f s left", s);
    else if (s < 7200)
        snprintf(text + n, capacity - (size_t)n, ", %.0f min left", s / 60);
    else
        snprintf(text + n, capacity - (size_t)n, ", %.1f h left", s / 3600);
}

static void on_warning(void *user, const char *message)
{
    (void)user;
    progress_stop();
    fflush(stdout);
    fputs("note: ", stderr);
    text_line(stderr, message);
    fputc('\n', stderr);
    progress_start("quantizing", say_progress, user);
}

/* ---- what it made ------------------------------------------------------------------------------- */

enum { SHARES_MAX = 64 }; /* more than there are number formats */

static const char *from_text(const struct stile_quantize_tensor *tensor)
{
    return tensor->from ? tensor->from : "-";
}

static void show_tensors(const struct stile_quantization *made)
{
    char size[32];
    printf("%-8s %-8s %14s %12s  %s\n", "from", "to", "parameters", "size", "tensor");
    for (uint64_t i = 0; i < made->n_tensors; i++) {
        const struct stile_quantize_tensor *tensor = &made->tensors[i];
        printf("%-8s %-8s %14" PRIu64 " %12s  ", from_text(tensor), tensor->to, tensor->n_parameters,
               size_text(size, tensor->to_bytes));
        text_line(stdout, tensor->name);
        putchar('\n');
    }
    putchar('\n');
}

static int by_size(const void *a, const void *b)
{
    const struct stile_format_share *x = a, *y = b;
    if (x->size_bytes != y->size_bytes) return x->size_bytes < y->size_bytes ? 1 : -1;
    return strcmp(x->format, y->format);
}

static void show_formats(const struct stile_quantization *made)
{
    struct stile_format_share shares[SHARES_MAX] = {0};
    size_t n = 0;
    char size[32];
    for (uint64_t i = 0; i < made->n_tensors; i++) {
        const struct stile_quantize_tensor *tensor = &made->tensors[i];
        size_t at = 0;
        while (at < n && strcmp(shares[at].format, tensor->to) != 0)
            at++;
        if (at == SHARES_MAX) continue;
        n += at == n;
        shares[at].format = tensor->to;
        shares[at].n_tensors++;
        shares[at].n_parameters += tensor->n_parameters;
        shares[at].size_bytes += tensor->to_bytes;
    }
    qsort(shares, n, sizeof *shares, by_size);
    printf("%-8s %8s %14s %12s\n", "format", "tensors", "parameters", "size");
    for (size_t i = 0; i < n; i++)
        printf("%-8s %8" PRIu64 " %14" PRIu64 " %12s\n", shares[i].format, shares[i].n_tensors, shares[i].n_parameters,
               size_text(size, shares[i].size_bytes));
}

static void show(const struct options *options, const struct stile_quantization *made)
{
    char size[32], from[32];
    if (options->dry_run) show_tensors(made);
    show_formats(made);
    if (options->arguments[1])
        text_line(stdout, options->arguments[1]);
    else
        fputs("the file", stdout);
    printf("%s %s, %.2f bits per weight, from %s", options->dry_run ? " would have" : ":",
           size_text(size, made->size_bytes), made->bits_per_weight, size_text(from, made->from_bytes));
    if (!options->dry_run) printf(", in %.1f s", 1e-9 * (double)made->time_ns);
    if (made->resumed_bytes > 0) printf(" (%s were there already)", size_text(from, made->resumed_bytes));
    putchar('\n');
}

static void show_json(const struct options *options, const struct stile_quantization *made)
{
    json_t *tensors = json_array();
    for (uint64_t i = 0; i < made->n_tensors; i++) {
        const struct stile_quantize_tensor *tensor = &made->tensors[i];
        json_array_append_new(tensors,
                              json_pack("{s:o, s:s?, s:s, s:I, s:I, s:I}", "name",
                                        json_text(tensor->name, strlen(tensor->name)), "from", tensor->from, "to",
                                        tensor->to, "parameters", (json_int_t)tensor->n_parameters, "from_bytes",
                                        (json_int_t)tensor->from_bytes, "size_bytes", (json_int_t)tensor->to_bytes));
    }
    const char *path = options->arguments[1] ? options->arguments[1] : "";
    json_show(json_pack("{s:o, s:s, s:b, s:I, s:I, s:f, s:i, s:i, s:I, s:f, s:o}", "path",
                        json_text(path, strlen(path)), "format", made->format, "dry_run", options->dry_run,
                        "from_bytes", (json_int_t)made->from_bytes, "size_bytes", (json_int_t)made->size_bytes,
                        "bits_per_weight", made->bits_per_weight, "n_requantized", (int)made->n_requantized,
                        "n_no_importance", (int)made->n_no_importance, "resumed_bytes", (json_int_t)made->resumed_bytes,
                        "time_s", 1e-9 * (double)made->time_ns, "tensors", tensors));
}

/* ---- the command -------------------------------------------------------------------------------- */

/* With a method that needs one. */
static int read_text(const struct options *options, struct buffer *text)
{
    char path[PATH_MAX];
    if (!options->method)
        return options->file ? cli_usage("quantize: a text (-f) is for a --method; 'stile calibrate' makes importance "
                                         "matrices of one")
                             : EXIT_OK;
    int status = options->file ? EXIT_OK : shipped_find(SHIPPED_CALIBRATION, path, sizeof path);
    return status == EXIT_OK ? input_read(options->file ? options->file : path, text) : status;
}

static int quantize(const struct options *options, const struct stile_model *model, const struct buffer *text)
{
    struct stile_error error;
    struct stile_quantization made;
    struct work work = {0};
    const struct stile_quantize_options how = {
        .format = options->to_format,
        .target_bits_per_weight = options->target_bpw,
        .target_bytes = (uint64_t)options->target_size,
        .fit = options->fit,
        .n_ctx = (uint32_t)options->n_ctx,
        .recipe = options->recipe,
        .imatrix = options->imatrix,
        .method = options->method,
        .text = text->data,
        .n_text_bytes = text->n,
        .n_chunks = (uint32_t)options->n_windows,
        .n_threads = (uint32_t)options->n_threads,
        .dry_run = options->dry_run,
        .force = options->force,
        .resume = options->resume,
        .cancel = interrupt_flag(),
        .on_progress = on_progress,
        .on_warning = on_warning,
        .user = &work,
    };
    progress_start("quantizing", say_progress, &work);
    int failed = stile_quantize(model, options->arguments[1], &how, &made, &error);
    progress_stop();
    if (!failed && options->json)
        show_json(options, &made);
    else if (!failed)
        show(options, &made);
    stile_quantization_free(&made);
    if (!failed) return EXIT_OK;
    if (error.code == STILE_ERROR_CANCELLED) cli_fail("%s", error.message);
    return error.code == STILE_ERROR_CANCELLED ? EXIT_INTERRUPTED : cli_error(&error);
}

int command_quantize(const struct options *options)
{
    struct stile_error error;
    struct stile_model *model;
    const char *name = options->arguments[0];
    int n_ways =
        (options->to_format != NULL) + (options->target_bpw > 0) + (options->target_size > 0) + (options->fit != NULL);
    if (n_ways == 0) return cli_usage("quantize: to which format? --format q4_k_m is a good one to begin with");
    if (n_ways > 1) return cli_usage("quantize: --format, --target-bpw, --target-size and --fit exclude each other");
    if (options->n_ctx > 0 && !options->fit) return cli_usage("quantize: --ctx goes with --fit");
    if (!options->dry_run && options->n_arguments < 2)
        return cli_usage("quantize: the name of the file to be made is missing");
    interrupt_install();
    if (options->dry_run && options->to_format) {
        int status = header_open(&model, name, "bf16");
        if (status != EXIT_OK) return status;
    } else {
        progress_start("opening the model", NULL, NULL);
        int failed = stile_model_open(&model, name, &error);
        progress_stop();
        if (failed) return cli_error(&error);
    }
    struct buffer text = {0};
    int status = read_text(options, &text);
    if (status == EXIT_OK) status = quantize(options, model, &text);
    buffer_free(&text);
    stile_model_close(model);
    return status;
}
