#include "quantize/moments.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* TILE: results of one product of kernels; PANEL: columns that are factored together; LANE: what rows of kernels are
 * padded to. */
enum { TILE = 64, PANEL = 128, LANE = KERNEL_FLOAT_LANES, SPLIT_GRAIN = 16 };

/* Inputs of one expert among those staged. */
struct segment {
    uint64_t expert;
    size_t begin, n;
};

struct moments {
    uint64_t cols, first, n_experts;
    struct threads *threads;
    const struct kernel_table *kernels;
    double *h;        /* (n_experts, cols, cols): lower triangles, both indices counted from the last column on */
    uint64_t *counts; /* (n_experts) */
    float *staged;    /* (cols, stride): inputs of tokens one beside the other, columns from the last on */
    size_t stride;
    struct segment *segments; /* (n_experts) */
    size_t n_segments;        /* thread 0's */
    size_t used[THREADS_MAX]; /* of the stride, as each thread knows */
    float *panel;             /* (cols, PANEL), while factoring */
    char *scratch;            /* of kernels, for each thread */
    size_t scratch_bytes;
};

static size_t pad(size_t n)
{
    return (n + LANE - 1) / LANE * LANE;
}

/* Every expert's inputs are padded. */
static size_t stride_of(uint64_t n_experts, size_t n_rows)
{
    return pad(n_rows) + (n_experts - 1) * LANE;
}

uint64_t moments_bytes(uint64_t cols, uint64_t n_experts, size_t n_rows)
{
    uint64_t h = n_experts * cols * cols * sizeof(double), rows = cols * cols * sizeof(float);
    return h + rows + cols * (stride_of(n_experts, n_rows) + PANEL) * sizeof(float);
}

static void *get(size_t n, size_t size_bytes)
{
    void *memory = NULL;
    if (posix_memalign(&memory, KERNEL_ALIGNMENT, n * size_bytes) != 0) return NULL;
    memset(memory, 0, n * size_bytes);
    return memory;
}

int moments_create(struct moments **moments, uint64_t cols, uint64_t first, uint64_t n_experts, size_t n_rows,
                   struct threads *threads, const struct kernel_table *kernels, struct stile_error *error)
{
    struct moments *m = calloc(1, sizeof *m);
    if (!m) return error_memory(error, sizeof *m, "second moments");
    m->cols = cols;
    m->first = first;
    m->n_experts = n_experts;
    m->threads = threads;
    m->kernels = kernels;
    m->stride = stride_of(n_experts, n_rows);
    m->h = calloc(n_experts * cols * cols, sizeof *m->h);
    m->counts = calloc(n_experts, sizeof *m->counts);
    m->segments = calloc(n_experts, sizeof *m->segments);
    m->staged = get(cols * m->stride, sizeof *m->staged);
    m->panel = get(cols * PANEL, sizeof *m->panel);
    size_t scratch_bytes = kernel_scratch_bytes(m->stride > PANEL ? m->stride : PANEL);
    m->scratch_bytes = (scratch_bytes + KERNEL_ALIGNMENT - 1) / KERNEL_ALIGNMENT * KERNEL_ALIGNMENT;
    m->scratch = get((size_t)threads_count(threads), m->scratch_bytes);
    if (m->h && m->counts && m->segments && m->staged && m->panel && m->scratch) {
        *moments = m;
        return 0;
    }
    moments_free(m);
    return error_memory(error, moments_bytes(cols, n_experts, n_rows), "second moments of a matrix's inputs");
}

void moments_free(struct moments *moments)
{
    if (!moments) return;
    free(moments->h);
    free(moments->counts);
    free(moments->segments);
    free(moments->staged);
    free(moments->panel);
    free(moments->scratch);
    free(moments);
}

uint64_t moments_count(const struct moments *moments, uint64_t expert)
{
    return moments->counts[expert - moments->first];
}

/* ---- adding up ----------------------------------------------------------------------------------- */

void moments_see(void *user, const struct op *op, size_t expert, const float *values, const uint32_t *rows,
                 size_t n_rows, int i_thread, int n_threads)
{
    struct moments *m = user;
    size_t begin, end, cols = (size_t)m->cols, at = m->used[i_thread], padded = pad(n_rows);
    (void)op;
    if (expert < m->first || expert >= m->first + m->n_experts) return;
    m->used[i_thread] += padded;
    if (i_thread == 0) m->segments[m->n_segments++] = (struct segment){expert - m->first, at, n_rows};
    threads_split(cols, SPLIT_GRAIN, i_thread, n_threads, &begin, &end);
    for (size_t j = begin; j < end; j++)
        memset(m->staged + (cols - 1 - j) * m->stride + at + n_rows, 0, (padded - n_rows) * sizeof(float));
    for (size_t i = 0; i < n_rows; i++) {
        const float *x = values + (rows ? rows[i] : i) * cols;
        for (size_t j = begin; j < end; j++)
            m->staged[(cols - 1 - j) * m->stride + at + i] = x[j];
    }
}

/* h += sign * a a^T, the lower triangle of rows and columns from `begin` on; a is (cols, k). */
struct product {
    const struct moments *moments;
    double *h, sign;
    const float *a;
    size_t cols, begin, stride, k;
};

static void add_tile(const struct product *p, size_t row, size_t column, void *scratch)
{
    float out[TILE * TILE];
    size_t n_rows = p->cols - row < TILE ? p->cols - row : TILE,
           n_columns = p->cols - column < TILE ? p->cols - column : TILE;
    struct kernel_matmul job = {
        .format = FORMAT_F32,
        .weights = p->a + column * p->stride,
        .row_bytes = p->stride * sizeof(float),
        .k = p->k,
        .scale = 1,
        .acts = p->a + row * p->stride,
        .act_stride_bytes = p->stride * sizeof(float),
        .n_tokens = n_rows,
        .out = out,
        .out_stride = TILE,
    };
    p->moments->kernels->matmul(&job, 0, n_columns, scratch);
    for (size_t i = 0; i < n_rows; i++) {
        double *h = p->h + (row + i) * p->cols + column;
        size_t n = row == column ? i + 1 : n_columns;
        for (size_t j = 0; j < n; j++)
            h[j] += p->sign * (double)out[i * TILE + j];
    }
}

static void run_product(void *argument, int i_thread, int n_threads)
{
    const struct product *p = argument;
    char *scratch = p->moments->scratch + (size_t)i_thread * p->moments->scratch_bytes;
    size_t i = 0;
    for (size_t row = p->begin; row < p->cols; row += TILE)
        for (size_t column = p->begin; column <= row; column += TILE)
            if (i++ % (size_t)n_threads == (size_t)i_thread) add_tile(p, row, column, scratch);
}

void moments_add(struct moments *m)
{
    for (size_t i = 0; i < m->n_segments; i++) {
        const struct segment *s = &m->segments[i];
        struct product product = {
            .moments = m,
            .h = m->h + s->expert * m->cols * m->cols,
            .sign = 1,
            .a = m->staged + s->begin,
            .cols = (size_t)m->cols,
            .stride = m->stride,
            .k = pad(s->n),
        };
        threads_run(m->threads, run_product, &product);
        m->counts[s->expert] += s->n;
    }
    m->n_segments = 0;
    memset(m->used, 0, sizeof m->used);
}

/* ---- factoring ----------------------------------------------------------------------------------- */

struct factor {
    struct moments *moments;
    double *h;
    size_t cols, at, n; /* the panel: n columns from `at` on */
    double smallest;    /* pivot */
    struct feedback *feedback;
};

/* The panel's own triangle: h = l l^T. */
static void factor_triangle(const struct factor *f)
{
    for (size_t j = f->at; j < f->at + f->n; j++) {
        double *row = f->h + j * f->cols;
        for (size_t k = f->at; k <= j; k++) {
            const double *other = f->h + k * f->cols;
            double sum = row[k];
            for (size_t i = f->at; i < k; i++)
                sum -= row[i] * other[i];
            if (k < j)
                row[k] = sum / other[k];
            else
                row[k] = sqrt(sum > f->smallest ? sum : f->smallest);
        }
    }
}

/* What is below it. */
static void factor_rows(void *argument, int i_thread, int n_threads)
{
    const struct factor *f = argument;
    size_t below = f->at + f->n, begin, end;
    threads_split(f->cols - below, 1, i_thread, n_threads, &begin, &end);
    for (size_t i = below + begin; i < below + end; i++) {
        double *row = f->h + i * f->cols;
        float *panel = f->moments->panel + i * PANEL;
        for (size_t k = f->at; k < below; k++) {
            const double *other = f->h + k * f->cols;
            double sum = row[k];
            for (size_t j = f->at; j < k; j++)
                sum -= row[j] * other[j];
            row[k] = sum / other[k];
            panel[k - f->at] = (float)row[k];
        }
        for (size_t k = f->n; k < PANEL; k++)
            panel[k] = 0;
    }
}

/* The factor of the reversed matrix, reversed: columns in their order again, each divided by its pivot. */
static void read_rows(void *argument, int i_thread, int n_threads)
{
    const struct factor *f = argument;
    struct feedback *feedback = f->feedback;
    size_t begin, end, last = f->cols - 1;
    threads_split(f->cols, 1, i_thread, n_threads, &begin, &end);
    for (size_t k = begin; k < end; k++) {
        double pivot = f->h[(last - k) * f->cols + last - k];
        feedback->worth[k] = (float)(pivot * pivot);
        for (size_t j = 0; j < k; j++)
            feedback->rows[k * feedback->stride + j] = (float)(f->h[(last - j) * f->cols + last - k] / pivot);
    }
}

static void factor_all(struct factor *f)
{
    struct moments *m = f->moments;
    for (f->at = 0; f->at < f->cols; f->at += f->n) {
        f->n = f->cols - f->at < PANEL ? f->cols - f->at : PANEL;
        factor_triangle(f);
        threads_run(m->threads, factor_rows, f);
        struct product product = {
            .moments = m,
            .h = f->h,
            .sign = -1,
            .a = m->panel,
            .cols = f->cols,
            .begin = f->at + f->n,
            .stride = PANEL,
            .k = PANEL,
        };
        threads_run(m->threads, run_product, &product);
    }
    threads_run(m->threads, read_rows, f);
}

/* What is added to columns that the text never uses, as a share of the mean. */
static const double unseen = 1e-7;

int moments_factor(struct moments *m, uint64_t expert, double damping, struct feedback *feedback,
                   struct stile_error *error)
{
    size_t cols = (size_t)m->cols;
    struct factor f = {.moments = m, .h = m->h + (expert - m->first) * cols * cols, .cols = cols, .feedback = feedback};
    double mean = 0;
    *feedback = (struct feedback){.cols = cols, .stride = pad(cols)};
    feedback->rows = get(cols * feedback->stride, sizeof *feedback->rows);
    feedback->worth = calloc(cols, sizeof *feedback->worth);
    if (!feedback->rows || !feedback->worth) {
        feedback_free(feedback);
        return error_memory(error, cols * cols * sizeof(float), "the factor of second moments");
    }
    for (size_t i = 0; i < cols; i++)
        mean += f.h[i * cols + i] / (double)cols;
    if (!(mean > 0)) mean = 1; /* nothing was seen: all columns count alike */
    for (size_t i = 0; i < cols; i++)
        f.h[i * cols + i] += damping * f.h[i * cols + i] + unseen * mean;
    f.smallest = unseen * mean;
    factor_all(&f);
    return 0;
}

void feedback_free(struct feedback *feedback)
{
    free(feedback->rows);
    free(feedback->worth);
    *feedback = (struct feedback){0};
}
