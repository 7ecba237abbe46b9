#include "quantize/round.h"

#include "format/encode.h"
#include "quantize/rows.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* ROWS go through the columns together; CHUNK: columns whose errors are made good one by one, while all errors before them
 * are by one product. */
enum { ROWS = 64, CHUNK_MIN = 64, CHUNK_MAX = 256 };

struct work {
    const struct table *table;
    const struct table_tensor *tensor;
    uint64_t expert;
    const struct feedback *feedback;
    float scale;
    uint8_t *out;
    const struct kernel_table *kernels;
    size_t n_rows, chunk;
    atomic_size_t next;
    pthread_mutex_t lock;
    atomic_int failed;
    struct stile_error *error;
};

/* One thread's. */
struct worker {
    uint8_t *in;
    float *x;      /* (ROWS, cols): as they were */
    float *errors; /* (ROWS, stride) */
    float *wanted; /* (ROWS, chunk) */
    float *within; /* (chunk, chunk): what an error is worth making good by in later columns of the chunk */
    void *scratch;
};

static void set_failed(struct work *work, int code, const struct stile_error *error)
{
    pthread_mutex_lock(&work->lock);
    if (atomic_load(&work->failed) == 0) {
        if (work->error) *work->error = *error;
        atomic_store(&work->failed, code);
    }
    pthread_mutex_unlock(&work->lock);
}

/* e: the error of column i of a chunk of n; later ones make it good. */
static void make_good(const struct worker *w, size_t i, size_t n, float e, float *wanted)
{
    const float *within = w->within + i * CHUNK_MAX;
    for (size_t k = i + 1; k < n; k++)
        wanted[k] += e * within[k];
}

/* A row's n columns from `at` on. */
static void round_chunk(const struct work *work, const struct worker *w, size_t row, size_t at, size_t n, uint8_t *out)
{
    enum format format = work->tensor->format;
    const struct format_info *info = format_info(format);
    size_t block = info->block_elements, cols = work->feedback->cols;
    float *wanted = w->wanted + row * CHUNK_MAX, *errors = w->errors + row * work->feedback->stride + at;
    const float *x = w->x + row * cols + at;
    float scaled[CHUNK_MAX];
    for (size_t b = 0; b < n; b += block, out += info->block_bytes) {
        for (size_t i = 0; i < block; i++)
            scaled[i] = wanted[b + i] / work->scale;
        format_encode(format, scaled, block, work->feedback->worth + at + b, out);
        for (size_t i = 0; i < block; i++) {
            float value = work->scale * format_round(format, out, (int)i, wanted[b + i] / work->scale);
            float e = x[b + i] - value;
            errors[b + i] = e;
            make_good(w, b + i, n, e, wanted);
        }
    }
}

/* All n columns from `at` on, of n_rows rows. */
static void round_columns(const struct work *work, const struct worker *w, size_t n_rows, size_t at, size_t n)
{
    const struct feedback *f = work->feedback;
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < k; i++)
            w->within[i * CHUNK_MAX + k] = f->rows[(at + k) * f->stride + at + i];
    struct kernel_matmul job = {
        .format = FORMAT_F32,
        .weights = f->rows + at * f->stride,
        .row_bytes = f->stride * sizeof(float),
        .k = at,
        .scale = 1,
        .acts = w->errors,
        .act_stride_bytes = f->stride * sizeof(float),
        .n_tokens = n_rows,
        .out = w->wanted,
        .out_stride = CHUNK_MAX,
    };
    if (at > 0)
        work->kernels->matmul(&job, 0, n, w->scratch);
    else
        memset(w->wanted, 0, n_rows * CHUNK_MAX * sizeof(float));
    for (size_t row = 0; row < n_rows; row++)
        for (size_t k = 0; k < n; k++)
            w->wanted[row * CHUNK_MAX + k] += w->x[row * f->cols + at + k];
}

static int read_rows(const struct work *work, const struct worker *w, size_t row, size_t n, struct stile_error *error)
{
    const struct table_tensor *t = work->tensor;
    uint64_t first = work->expert * work->n_rows + row;
    int failed = rows_read(work->table, t, first, n, w->in, error);
    for (size_t i = 0; i < n && !failed; i++)
        failed = rows_decode(work->table, t, first + i, w->in + i * rows_bytes(t), w->x + i * t->cols, error);
    return failed;
}

static void round_share(struct work *work, const struct worker *w)
{
    const struct table_tensor *t = work->tensor;
    size_t row_bytes = (size_t)(t->size_bytes / t->rows), cols = (size_t)t->cols, n;
    const struct format_info *info = format_info(t->format);
    struct stile_error error;
    while (atomic_load(&work->failed) == 0) {
        size_t row = atomic_fetch_add(&work->next, 1) * ROWS;
        if (row >= work->n_rows) return;
        size_t n_rows = work->n_rows - row < ROWS ? work->n_rows - row : ROWS;
        int failed = read_rows(work, w, row, n_rows, &error);
        if (failed) {
            set_failed(work, failed, &error);
            return;
        }
        for (size_t at = 0; at < cols; at += n) {
            n = cols - at < work->chunk ? cols - at : work->chunk;
            round_columns(work, w, n_rows, at, n);
            for (size_t i = 0; i < n_rows; i++)
                round_chunk(work, w, i, at, n,
                            work->out + (row + i) * row_bytes + at / info->block_elements * info->block_bytes);
        }
    }
}

static void free_worker(struct worker *w)
{
    free(w->in);
    free(w->x);
    free(w->errors);
    free(w->wanted);
    free(w->within);
    free(w->scratch);
}

static void *get(size_t n_bytes)
{
    void *memory = NULL;
    if (posix_memalign(&memory, KERNEL_ALIGNMENT, n_bytes) != 0) return NULL;
    memset(memory, 0, n_bytes);
    return memory;
}

static void round_thread(void *argument, int i_thread, int n_threads)
{
    struct work *work = argument;
    size_t cols = work->feedback->cols, stride = work->feedback->stride;
    struct worker w = {
        .in = get(ROWS * (size_t)rows_bytes(work->tensor)),
        .x = get(ROWS * cols * sizeof(float)),
        .errors = get(ROWS * stride * sizeof(float)),
        .wanted = get(ROWS * CHUNK_MAX * sizeof(float)),
        .within = get((size_t)CHUNK_MAX * CHUNK_MAX * sizeof(float)),
        .scratch = get(kernel_scratch_bytes(stride)),
    };
    (void)i_thread;
    (void)n_threads;
    if (w.in && w.x && w.errors && w.wanted && w.within && w.scratch) {
        round_share(work, &w);
    } else {
        struct stile_error error;
        set_failed(work, error_memory(&error, 2 * ROWS * cols * sizeof(float), "rows of a matrix"), &error);
    }
    free_worker(&w);
}

int round_rows(const struct table *table, const struct table_tensor *tensor, uint64_t expert,
               const struct feedback *feedback, float scale, void *out, struct threads *threads,
               const struct kernel_table *kernels, struct stile_error *error)
{
    struct work work = {
        .table = table,
        .tensor = tensor,
        .expert = expert,
        .feedback = feedback,
        .scale = scale,
        .out = out,
        .kernels = kernels,
        .n_rows = (size_t)(tensor->rows / tensor->n_experts),
        .chunk = format_info(tensor->format)->block_elements > CHUNK_MIN ? CHUNK_MAX : CHUNK_MIN,
        .error = error,
    };
    pthread_mutex_init(&work.lock, NULL);
    threads_run(threads, round_thread, &work);
    pthread_mutex_destroy(&work.lock);
    return atomic_load(&work.failed);
}

int round_find_scale(const struct table *table, const struct table_tensor *tensor, uint64_t expert, float *scale,
                     struct stile_error *error)
{
    uint64_t n = tensor->rows / tensor->n_experts;
    void *bytes = malloc((size_t)rows_bytes(tensor));
    float *x = malloc((size_t)tensor->cols * sizeof *x), largest = 0;
    int failed = !bytes || !x ? error_memory(error, tensor->cols * sizeof *x, "a row of a matrix") : 0;
    for (uint64_t row = expert * n; row < (expert + 1) * n && !failed; row++) {
        failed = rows_read(table, tensor, row, 1, bytes, error);
        if (!failed) failed = rows_decode(table, tensor, row, bytes, x, error);
        for (uint64_t i = 0; i < tensor->cols && !failed; i++)
            largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
    }
    free(bytes);
    free(x);
    if (!failed) *scale = format_nvfp4_tensor_scale(&largest, 1);
    return failed;
}
