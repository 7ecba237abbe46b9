#include "quantize/measure.h"

#include "base/threads.h"
#include "format/encode.h"
#include "quantize/rows.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLE_ELEMENTS = 1 << 15, SAMPLE_ROWS_MIN = 8 };

/* One thread's memory. */
struct worker {
    uint8_t *blocks;
    float *scaled, *rounded; /* rows */
};

struct measure {
    const struct table *table;
    const enum format *formats;
    size_t n_formats;
    struct worker *workers;
    /* the tensor at hand */
    const struct table_tensor *tensor;
    uint64_t n_rows;    /* of the sample */
    float *x;           /* (n_rows, cols) */
    float scale;        /* NVFP4's second one, of the sample */
    double *errors;     /* (n_formats, n_rows) */
    double *energies;   /* (n_rows) */
    atomic_ullong next; /* row of a format */
};

bool measure_fits(const struct table_tensor *tensor, enum format format)
{
    return tensor->cols % format_info(format)->block_elements == 0;
}

static uint64_t sample_rows(const struct table_tensor *t)
{
    uint64_t n = SAMPLE_ELEMENTS / t->cols;
    if (n < SAMPLE_ROWS_MIN) n = SAMPLE_ROWS_MIN;
    return n < t->rows ? n : t->rows;
}

/* Which row of the tensor the i-th of the sample is: the middle of the i-th part. */
static uint64_t sample_row(const struct table_tensor *t, uint64_t n, uint64_t i)
{
    return (2 * i + 1) * t->rows / (2 * n);
}

static const float *importance_of(const struct table_tensor *t, uint64_t row)
{
    return t->importance ? t->importance + row / (t->rows / t->n_experts) * t->cols : NULL;
}

static void measure_row(struct measure *m, struct worker *w, enum format format, uint64_t i, double *error)
{
    const struct table_tensor *t = m->tensor;
    const float *importance = importance_of(t, sample_row(t, m->n_rows, i)), *x = m->x + i * t->cols;
    float scale = format == FORMAT_NVFP4 ? m->scale : 1;
    double sum = 0;
    for (uint64_t k = 0; k < t->cols; k++)
        w->scaled[k] = x[k] / scale;
    format_encode(format, w->scaled, t->cols, importance, w->blocks);
    format_decode(format, w->blocks, t->cols, w->rounded);
    for (uint64_t k = 0; k < t->cols; k++) {
        double d = (double)x[k] - (double)(w->rounded[k] * scale);
        sum += (importance ? (double)importance[k] : 1) * d * d;
    }
    *error = sum;
}

static void measure_rows(void *argument, int thread, int n_threads)
{
    struct measure *m = argument;
    uint64_t n = m->n_formats * m->n_rows;
    (void)n_threads;
    for (uint64_t i; (i = atomic_fetch_add(&m->next, 1)) < n;) {
        enum format format = m->formats[i / m->n_rows];
        if (measure_fits(m->tensor, format)) measure_row(m, &m->workers[thread], format, i % m->n_rows, &m->errors[i]);
    }
}

static int read_sample(struct measure *m, struct stile_error *error)
{
    const struct table_tensor *t = m->tensor;
    float largest = 0;
    int failed = 0;
    uint8_t *bytes = malloc(rows_bytes(t));
    if (!bytes) return error_memory(error, rows_bytes(t), "a row");
    for (uint64_t i = 0; i < m->n_rows && !failed; i++) {
        uint64_t row = sample_row(t, m->n_rows, i);
        const float *importance = importance_of(t, row);
        float *x = m->x + i * t->cols;
        failed = rows_read(m->table, t, row, 1, bytes, error);
        if (!failed) failed = rows_decode(m->table, t, row, bytes, x, error);
        m->energies[i] = 0;
        for (uint64_t k = 0; k < t->cols && !failed; k++) {
            largest = fabsf(x[k]) > largest ? fabsf(x[k]) : largest;
            m->energies[i] += (importance ? (double)importance[k] : 1) * (double)x[k] * (double)x[k];
        }
    }
    m->scale = format_nvfp4_tensor_scale(&largest, 1);
    free(bytes);
    return failed;
}

static int measure_tensor(struct measure *m, struct threads *threads, double *shares, struct stile_error *error)
{
    m->n_rows = sample_rows(m->tensor);
    int failed = read_sample(m, error);
    if (failed) return failed;
    atomic_store(&m->next, 0);
    threads_run(threads, measure_rows, m);
    for (size_t f = 0; f < m->n_formats; f++) {
        double sum = 0, energy = 0;
        if (!measure_fits(m->tensor, m->formats[f])) continue;
        for (uint64_t i = 0; i < m->n_rows; i++) {
            sum += m->errors[f * m->n_rows + i];
            energy += m->energies[i];
        }
        shares[f] = energy > 0 ? sum / energy : 0;
    }
    return 0;
}

static int run(struct measure *m, double *shares, const struct convert_options *options, struct threads *threads,
               struct stile_error *error)
{
    int failed = 0;
    for (size_t i = 0; i < m->table->n && !failed; i++) {
        m->tensor = &m->table->tensors[i];
        if (options->on_progress) options->on_progress(options->user, i, m->table->n);
        if (options->cancel && *options->cancel) return error_set(error, STILE_ERROR_CANCELLED, "stopped");
        if (m->tensor->matrix) failed = measure_tensor(m, threads, shares + i * m->n_formats, error);
    }
    return failed;
}

static void free_memory(struct measure *m, int n_threads)
{
    for (int i = 0; m->workers && i < n_threads; i++) {
        free(m->workers[i].blocks);
        free(m->workers[i].scaled);
        free(m->workers[i].rounded);
    }
    free(m->workers);
    free(m->x);
    free(m->errors);
    free(m->energies);
}

static int get_memory(struct measure *m, int n_threads, struct stile_error *error)
{
    uint64_t cols = 0, elements = 0, rows = 0;
    for (size_t i = 0; i < m->table->n; i++) {
        const struct table_tensor *t = &m->table->tensors[i];
        if (!t->matrix) continue;
        if (t->cols > cols) cols = t->cols;
        if (sample_rows(t) > rows) rows = sample_rows(t);
        if (sample_rows(t) * t->cols > elements) elements = sample_rows(t) * t->cols;
    }
    m->workers = calloc((size_t)n_threads, sizeof *m->workers);
    m->x = malloc(elements * sizeof *m->x + 1);
    m->errors = malloc(m->n_formats * rows * sizeof *m->errors + 1);
    m->energies = malloc(rows * sizeof *m->energies + 1);
    bool got = m->workers && m->x && m->errors && m->energies;
    for (int i = 0; i < n_threads && got; i++) {
        struct worker *w = &m->workers[i];
        *w = (struct worker){malloc(cols * 4 + 1), malloc(cols * sizeof(float) + 1), malloc(cols * sizeof(float) + 1)};
        got = w->blocks && w->scaled && w->rounded;
    }
    return got ? 0 : error_memory(error, elements * sizeof *m->x, "measuring formats");
}

int measure_errors(const struct table *table, const enum format *formats, size_t n_formats, double *shares,
                   const struct convert_options *options, struct stile_error *error)
{
    struct measure m = {.table = table, .formats = formats, .n_formats = n_formats};
    struct threads *threads = NULL;
    int failed = get_memory(&m, options->n_threads, error);
    if (!failed) failed = threads_create(&threads, options->n_threads, error);
    if (!failed) failed = run(&m, shares, options, threads, error);
    threads_free(threads);
    free_memory(&m, options->n_threads);
    return failed;
}
