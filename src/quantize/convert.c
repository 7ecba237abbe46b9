#include "quantize/convert.h"

#include "base/bytes.h"
#include "base/threads.h"
#include "format/encode.h"
#include "quantize/rows.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    SLICE_ELEMENTS = 1 << 17,
    COPY_BYTES = 1 << 19,
    AHEAD_BYTES = 32 << 20, /* read before it is needed */
};

/* One thread's memory. */
struct worker {
    uint8_t *in, *out; /* a slice */
    float *x;          /* a row */
};

struct convert {
    const struct table *table;
    const struct convert_options *options;
    struct output *output;
    struct worker *workers; /* (n_threads) */
    uint64_t n_total;       /* elements of all tensors */
    atomic_ullong n_done;
    /* the tensor at hand */
    const struct table_tensor *tensor;
    uint64_t slice_rows;
    atomic_ullong next;   /* slice that nobody has taken yet */
    atomic_uint *largest; /* (n_experts): bits of the largest magnitude, for NVFP4's second scale */
    float *scales;        /* (n_experts): by which numbers are divided first; NULL: not at all */
    /* the first failure */
    pthread_mutex_t lock;
    atomic_int failed;
    struct stile_error *error;
};

static void set_failed(struct convert *c, int code, const struct stile_error *error)
{
    pthread_mutex_lock(&c->lock);
    if (atomic_load(&c->failed) == 0) {
        if (c->error) *c->error = *error;
        atomic_store(&c->failed, code);
    }
    pthread_mutex_unlock(&c->lock);
}

/* Is there more to do for this thread? */
static bool go_on(struct convert *c, int thread)
{
    const struct convert_options *options = c->options;
    struct stile_error error;
    if (thread == 0 && options->on_progress) options->on_progress(options->user, atomic_load(&c->n_done), c->n_total);
    if (options->cancel && *options->cancel)
        set_failed(c,
                   error_set(&error, STILE_ERROR_CANCELLED,
                             "stopped at %.0f%% (what is done is kept: --resume goes on)",
                             100 * (double)atomic_load(&c->n_done) / (double)c->n_total),
                   &error);
    return atomic_load(&c->failed) == 0;
}

static void write_out(struct convert *c, const void *bytes, uint64_t n, uint64_t offset)
{
    struct stile_error error;
    int failed = output_write(c->output, bytes, n, c->table->header.n + c->tensor->offset_bytes + offset);
    if (failed)
        set_failed(
            c, error_set(&error, STILE_ERROR_IO, "tensor %s: cannot write it: %s", c->tensor->name, strerror(failed)),
            &error);
}

/* ---- slices -------------------------------------------------------------------------------------- */

static void copy_slices(void *argument, int thread, int n_threads)
{
    struct convert *c = argument;
    const struct table_tensor *t = c->tensor;
    struct worker *w = &c->workers[thread];
    struct stile_error error;
    uint64_t size_bytes = t->size_bytes;
    (void)n_threads;
    while (go_on(c, thread)) {
        uint64_t at = atomic_fetch_add(&c->next, 1) * COPY_BYTES, n = size_bytes - at;
        if (at >= size_bytes) return;
        if (n > COPY_BYTES) n = COPY_BYTES;
        rows_ahead(c->table, t, at + AHEAD_BYTES, n);
        int failed = rows_read_bytes(c->table, t, at, n, w->out, &error);
        if (failed)
            set_failed(c, failed, &error);
        else
            write_out(c, w->out, n, at);
        if (c->options->forget) rows_forget(c->table, t, at, n);
    }
}

/* The rows of the next slice, read; false when there is none. */
static bool take_slice(struct convert *c, int thread, uint64_t *row, uint64_t *n)
{
    const struct table_tensor *t = c->tensor;
    struct stile_error error;
    uint64_t row_bytes = rows_bytes(t);
    if (!go_on(c, thread)) return false;
    *row = atomic_fetch_add(&c->next, 1) * c->slice_rows;
    if (*row >= t->rows) return false;
    *n = t->rows - *row < c->slice_rows ? t->rows - *row : c->slice_rows;
    rows_ahead(c->table, t, *row * row_bytes + AHEAD_BYTES, *n * row_bytes);
    int failed = rows_read(c->table, t, *row, *n, c->workers[thread].in, &error);
    if (failed) set_failed(c, failed, &error);
    return !failed;
}

static void measure_slices(void *argument, int thread, int n_threads)
{
    struct convert *c = argument;
    const struct table_tensor *t = c->tensor;
    struct worker *w = &c->workers[thread];
    struct stile_error error;
    uint64_t row, n, expert_rows = t->rows / t->n_experts;
    (void)n_threads;
    while (take_slice(c, thread, &row, &n)) {
        for (uint64_t i = 0; i < n; i++) {
            int failed = rows_decode(c->table, t, row + i, w->in + i * rows_bytes(t), w->x, &error);
            if (failed) {
                set_failed(c, failed, &error);
                return;
            }
            float largest = 0;
            for (uint64_t k = 0; k < t->cols; k++)
                largest = fabsf(w->x[k]) > largest ? fabsf(w->x[k]) : largest;
            /* magnitudes are in the order of their bits */
            atomic_uint *shared = &c->largest[(row + i) / expert_rows];
            unsigned bits = f32_bits(largest), before = atomic_load(shared);
            while (bits > before && !atomic_compare_exchange_weak(shared, &before, bits)) {
            }
        }
    }
}

static void encode_slices(void *argument, int thread, int n_threads)
{
    struct convert *c = argument;
    const struct table_tensor *t = c->tensor;
    struct worker *w = &c->workers[thread];
    struct stile_error error;
    uint64_t row, n, out_row_bytes = t->size_bytes / t->rows, expert_rows = t->rows / t->n_experts;
    (void)n_threads;
    while (take_slice(c, thread, &row, &n)) {
        for (uint64_t i = 0; i < n; i++) {
            uint64_t expert = (row + i) / expert_rows;
            int failed = rows_decode(c->table, t, row + i, w->in + i * rows_bytes(t), w->x, &error);
            if (failed) {
                set_failed(c, failed, &error);
                return;
            }
            for (uint64_t k = 0; c->scales && k < t->cols; k++)
                w->x[k] /= c->scales[expert];
            format_encode(t->format, w->x, t->cols, t->importance ? t->importance + expert * t->cols : NULL,
                          w->out + i * out_row_bytes);
        }
        write_out(c, w->out, n * out_row_bytes, row * out_row_bytes);
        atomic_fetch_add(&c->n_done, n * t->cols);
        if (c->options->forget) rows_forget(c->table, t, row * rows_bytes(t), n * rows_bytes(t));
    }
}

/* ---- tensors ------------------------------------------------------------------------------------- */

static uint64_t slice_rows_of(const struct table_tensor *t)
{
    uint64_t n = t->cols > 0 ? SLICE_ELEMENTS / t->cols : 1;
    return n > 0 ? n : 1;
}

static int convert_copy(struct convert *c, struct threads *threads)
{
    atomic_store(&c->next, 0);
    if (c->tensor->size_bytes > 0) threads_run(threads, copy_slices, c);
    atomic_fetch_add(&c->n_done, c->tensor->rows * c->tensor->cols);
    return atomic_load(&c->failed);
}

/* NVFP4's second scales: of the largest magnitude. */
static void find_scales(struct convert *c, struct threads *threads)
{
    for (uint64_t i = 0; i < c->tensor->n_experts; i++)
        atomic_store(&c->largest[i], 0);
    threads_run(threads, measure_slices, c);
    for (uint64_t i = 0; i < c->tensor->n_experts; i++) {
        float largest = f32_from_bits(atomic_load(&c->largest[i]));
        c->scales[i] = format_nvfp4_tensor_scale(&largest, 1);
    }
    atomic_store(&c->next, 0);
}

/* `scaled`: the scales are the next tensor, which is written too. */
static int convert_encode(struct convert *c, struct threads *threads, const struct table_tensor *scale_tensor)
{
    float *scales = c->scales;
    atomic_store(&c->next, 0);
    c->slice_rows = slice_rows_of(c->tensor);
    if (scale_tensor)
        find_scales(c, threads);
    else
        c->scales = NULL;
    if (atomic_load(&c->failed) == 0) threads_run(threads, encode_slices, c);
    c->scales = scales;
    if (scale_tensor && atomic_load(&c->failed) == 0) {
        c->tensor = scale_tensor;
        write_out(c, scales, scale_tensor->size_bytes, 0);
    }
    return atomic_load(&c->failed);
}

static int run(struct convert *c, size_t first, struct threads *threads)
{
    const struct table *table = c->table;
    int failed = 0;
    for (size_t i = first; i < table->n && !failed; i++) {
        const struct table_tensor *t = &table->tensors[i];
        bool scaled = i + 1 < table->n && !table->tensors[i + 1].in;
        c->tensor = t;
        if (!t->in) continue; /* written with the one before */
        if (t->made)
            atomic_fetch_add(&c->n_done, t->rows * t->cols);
        else
            failed = table_is_copied(t) ? convert_copy(c, threads) : convert_encode(c, threads, scaled ? t + 1 : NULL);
        if (!failed) output_note(c->output, i + 1 + scaled);
    }
    return failed;
}

/* ---- memory -------------------------------------------------------------------------------------- */

static void free_memory(struct convert *c)
{
    for (int i = 0; c->workers && i < c->options->n_threads; i++) {
        free(c->workers[i].in);
        free(c->workers[i].out);
        free(c->workers[i].x);
    }
    free(c->workers);
    free(c->scales);
    free(c->largest);
}

static int get_memory(struct convert *c)
{
    uint64_t in_bytes = 0, out_bytes = COPY_BYTES, cols = 0, n_experts = 1;
    for (size_t i = 0; i < c->table->n; i++) {
        const struct table_tensor *t = &c->table->tensors[i];
        if (!t->in || t->rows == 0 || table_is_copied(t)) continue;
        uint64_t n = slice_rows_of(t) < t->rows ? slice_rows_of(t) : t->rows, row_bytes = t->size_bytes / t->rows;
        if (n * rows_bytes(t) > in_bytes) in_bytes = n * rows_bytes(t);
        if (n * row_bytes > out_bytes) out_bytes = n * row_bytes;
        if (t->cols > cols) cols = t->cols;
        if (t->n_experts > n_experts) n_experts = t->n_experts;
    }
    size_t n_threads = (size_t)c->options->n_threads;
    c->workers = calloc(n_threads, sizeof *c->workers);
    c->scales = calloc(n_experts, sizeof *c->scales);
    c->largest = calloc(n_experts, sizeof *c->largest);
    bool got = c->workers && c->scales && c->largest;
    for (size_t i = 0; i < n_threads && got; i++) {
        c->workers[i] = (struct worker){malloc(in_bytes + 1), malloc(out_bytes), malloc((cols + 1) * sizeof(float))};
        got = c->workers[i].in && c->workers[i].out && c->workers[i].x;
    }
    if (got) return 0;
    return error_memory(c->error, n_threads * (in_bytes + out_bytes + cols * sizeof(float)), "quantizing");
}

int convert_table(const struct table *table, size_t first, struct output *output, const struct convert_options *options,
                  struct stile_error *error)
{
    struct convert c = {.table = table, .options = options, .output = output, .error = error};
    struct threads *threads = NULL;
    pthread_mutex_init(&c.lock, NULL);
    for (size_t i = 0; i < table->n; i++) {
        uint64_t n = table->tensors[i].in ? table->tensors[i].rows * table->tensors[i].cols : 0;
        c.n_total += n;
        if (i < first) atomic_fetch_add(&c.n_done, n);
    }
    int failed = get_memory(&c);
    if (!failed) failed = threads_create(&threads, options->n_threads, error);
    if (!failed) failed = run(&c, first, threads);
    threads_free(threads);
    free_memory(&c);
    pthread_mutex_destroy(&c.lock);
    return failed;
}
