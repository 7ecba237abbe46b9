#include "cli/bench_models.h"
#include "cli/interrupt.h"
#include "cli/output.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Cuts a list at its commas; returns how many names there are. */
static size_t cut(char *list)
{
    size_t n = 1;
    for (; *list; list++)
        if (*list == ',') *list = 0, n++;
    return n;
}

static int add_shapes(struct bench_models *models, const struct options *options)
{
    models->shapes = strdup(options->shape);
    models->formats = strdup(options->format);
    if (!models->shapes || !models->formats) return cli_fail("out of memory");
    size_t n_shapes = cut(models->shapes), n_formats = cut(models->formats);
    const char *shape = models->shapes;
    for (size_t i = 0; i < n_shapes; i++, shape += strlen(shape) + 1) {
        const char *format = models->formats;
        for (size_t k = 0; k < n_formats; k++, format += strlen(format) + 1) {
            if (!*shape) return cli_usage("bench: --shape %s: a name is missing", options->shape);
            if (!*format) return cli_usage("bench: --format %s: a name is missing", options->format);
            if (models->n == BENCH_MODELS_MAX) return cli_usage("bench: more than %d models", BENCH_MODELS_MAX);
            models->models[models->n++] = (struct bench_model){.shape = shape, .format = format};
        }
    }
    return EXIT_OK;
}

static int on_written(void *user, uint64_t done_bytes, uint64_t total_bytes)
{
    const bool *shown = user;
    if (*shown && total_bytes > 0)
        fprintf(stderr, "\r\033[Kwriting, %.0f%%", 100 * (double)done_bytes / (double)total_bytes);
    return interrupt_seen();
}

static int write_shape(struct bench_models *models, const struct options *options)
{
    struct stile_error error;
    bool shown = isatty(STDERR_FILENO);
    if (models->n != 1) return cli_usage("bench: --out is for one --shape in one --format");
    struct bench_model *model = &models->models[0];
    int failed = stile_shape_write(model->shape, model->format, options->out, on_written, &shown, &error);
    if (shown) fputs("\r\033[K", stderr);
    if (failed) return cli_error(&error);
    *model = (struct bench_model){.path = options->out};
    return EXIT_OK;
}

int bench_models_read(struct bench_models *models, const struct options *options)
{
    *models = (struct bench_models){0};
    for (size_t i = 0; i < options->n_arguments; i++)
        models->models[models->n++].path = options->arguments[i];
    int status = options->shape ? add_shapes(models, options) : EXIT_OK;
    if (status != EXIT_OK) return status;
    if (models->n == 0) return cli_usage("bench needs MODEL or --shape NAME: see 'stile help bench'");
    if (options->out && (!options->shape || options->n_arguments > 0))
        return cli_usage("bench: --out is for one --shape in one --format");
    if (options->shape && !options->out && (options->start || options->cold))
        return cli_usage("bench: --start and --cold need files: --out makes one");
    return options->out ? write_shape(models, options) : EXIT_OK;
}

void bench_models_free(struct bench_models *models)
{
    free(models->shapes);
    free(models->formats);
}
