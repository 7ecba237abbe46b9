/* probe_kernels.c - how fast the engine's own kernels are, at what models are made of: products of many tokens and of
 * one, attention, and what goes element by element. */
#include "base/clock.h"
#include "base/error.h"
#include "base/threads.h"
#include "format/encode.h"
#include "kernel/kernel.h"
#include "plan/machine_measure.h"
#include "run/probe_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is measured ----------------------------------------------------------------------- */

static const enum format formats[] = {
    FORMAT_F32,  FORMAT_F16,    FORMAT_BF16,   FORMAT_Q8_0,  FORMAT_Q4_0,  FORMAT_Q4_1,
    FORMAT_Q5_0, FORMAT_Q5_1,   FORMAT_Q2_K,   FORMAT_Q3_K,  FORMAT_Q4_K,  FORMAT_Q5_K,
    FORMAT_Q6_K, FORMAT_IQ4_XS, FORMAT_IQ4_NL, FORMAT_MXFP4, FORMAT_NVFP4,
};
/* One for each kind of activations: what depends on the shape of a product is measured of these. */
static const enum format kinds[] = {FORMAT_BF16, FORMAT_Q8_0, FORMAT_Q4_K};
static const enum format caches[] = {FORMAT_F16, FORMAT_Q8_0, FORMAT_F32};

/* ROWS x K: all rows of a thread stay in its cache while the tokens go by. */
enum { K = 2048, K_NARROW = 512, ROWS = 128, TOKENS = 128, TOKENS_FEW = 8 };
enum { MATRIX_BYTES = 4 << 20, MATRIX_BYTES_SMALL = 256 << 10 };
enum { HEAD_DIM = 128, N_GROUP = 4, HEAD_DIM_NARROW = 64, N_GROUP_NARROW = 3 };
enum { N_KV_HEADS = 8, CONTEXT = 2048, ATTENTION_TOKENS = 64 };
enum { ELEMENTS = 8192, ELEMENT_ROWS = 256 };

enum {
    N_FORMATS = sizeof formats / sizeof *formats,
    N_KINDS = sizeof kinds / sizeof *kinds,
    N_CACHES = sizeof caches / sizeof *caches,
};

/* Shares of the time. */
static const double matmul_share = 0.22, matvec_share = 0.09, rest_share = 0.1;

static size_t align_up(size_t n)
{
    return (n + KERNEL_ALIGNMENT - 1) / KERNEL_ALIGNMENT * KERNEL_ALIGNMENT;
}

/* Numbers like those of a model: the time of some instructions depends on them. */
static void fill_numbers(float *x, size_t n, uint64_t state)
{
    for (size_t i = 0; i < n; i++) {
        state = state * 0x5851f42d4c957f2du + 0x14057b7ef767814fu;
        x[i] = (float)(int32_t)(state >> 32) / 2147483648.0f;
    }
}

/* ---- products ------------------------------------------------------------------------------- */

/* Some matrices, one after the other, by some tokens. */
struct products {
    const struct kernel_table *table;
    struct threads *threads;
    enum kernel_act act;
    struct kernel_matmul job; /* of the first matrix */
    size_t n_rows, n_matrices;
    float x[K];
    size_t scratch_bytes;
    char *acts, *scratch; /* scratch_bytes for each thread; one token: and as much for its activations */
    float *out;
};

static bool products_create(struct products *p, struct threads *threads, enum format format, size_t k, size_t n_rows,
                            size_t n_tokens)
{
    uint64_t row_bytes;
    size_t n_threads = (size_t)threads_count(threads);
    *p = (struct products){.table = kernel_select(NULL), .threads = threads, .n_rows = n_rows, .n_matrices = 1};
    p->act = kernel_act_of(format);
    size_t act_bytes = kernel_act_bytes(p->act, k);
    p->scratch_bytes = align_up(kernel_scratch_bytes(k));
    p->acts = aligned_alloc(KERNEL_ALIGNMENT, align_up((n_tokens > 1 ? n_tokens : n_threads) * act_bytes));
    p->scratch = aligned_alloc(KERNEL_ALIGNMENT, n_threads * p->scratch_bytes);
    p->out = calloc(n_tokens * n_rows, sizeof *p->out);
    if (!format_row_bytes(format, k, &row_bytes) || !p->acts || !p->scratch || !p->out) return false;
    for (size_t t = 0; t < n_tokens; t++) {
        fill_numbers(p->x, k, 2 + t);
        p->table->quantize(p->act, p->x, k, p->acts + t * act_bytes);
    }
    p->job = (struct kernel_matmul){.format = format,
                                    .row_bytes = (size_t)row_bytes,
                                    .k = k,
                                    .scale = 1,
                                    .acts = p->acts,
                                    .act_stride_bytes = act_bytes,
                                    .n_tokens = n_tokens,
                                    .out = p->out,
                                    .out_stride = n_rows};
    return true;
}

static void products_free(struct products *p)
{
    free(p->acts);
    free(p->scratch);
    free(p->out);
}

/* n rows at `weights`, all alike. */
static void fill_rows(struct products *p, char *weights, size_t n)
{
    fill_numbers(p->x, p->job.k, 1);
    format_encode(p->job.format, p->x, p->job.k, NULL, weights);
    for (size_t done = 1; done < n; done *= 2)
        memcpy(weights + done * p->job.row_bytes, weights, (done < n - done ? done : n - done) * p->job.row_bytes);
    p->job.weights = weights;
}

/* As the backend does it: with one token every thread quantizes its own activations, and between matrices all wait. */
static void products_run(void *argument, int i, int n)
{
    struct products *p = argument;
    struct kernel_matmul job = p->job;
    size_t begin, end;
    threads_split(p->n_rows, 8, i, n, &begin, &end);
    for (size_t m = 0; m < p->n_matrices; m++) {
        if (job.n_tokens == 1) {
            job.acts = p->acts + (size_t)i * job.act_stride_bytes;
            p->table->quantize(p->act, p->x, job.k, p->acts + (size_t)i * job.act_stride_bytes);
        }
        job.weights = (const char *)p->job.weights + m * p->n_rows * job.row_bytes;
        if (begin < end) p->table->matmul(&job, begin, end, p->scratch + (size_t)i * p->scratch_bytes);
        if (p->n_matrices > 1) threads_barrier(p->threads);
    }
}

/* Multiplications per second; of one token, the bytes of its weights. */
static double products_pass(void *argument, const struct stile_measurement *m, uint64_t time_ns)
{
    struct products *p = argument;
    uint64_t begin_ns = clock_ns(), spent_ns, n = 0;
    (void)m;
    do {
        threads_run(p->threads, products_run, p);
        spent_ns = clock_ns() - begin_ns;
        n++;
    } while (spent_ns + spent_ns / n / 2 < time_ns);
    double rows = (double)n * (double)(p->n_rows * p->n_matrices) * 1e9 / (double)(spent_ns + 1);
    return rows * (p->job.n_tokens > 1 ? (double)(p->job.k * p->job.n_tokens) : (double)p->job.row_bytes);
}

static struct stile_measurement measurement_of(enum stile_quantity quantity, const struct threads *threads,
                                               enum format format, char what[64])
{
    struct stile_measurement m = {.quantity = quantity, .n_threads = (uint32_t)threads_count(threads)};
    snprintf(m.format, sizeof m.format, "%s", format_info(format)->name);
    snprintf(what, 64, "kernels, %s, %u thread%s", m.format, m.n_threads, m.n_threads > 1 ? "s" : "");
    return m;
}

/* One sample of products of many tokens. */
static int measure_matmul(struct probe_work *work, enum stile_quantity quantity, enum format format,
                          struct threads *threads, double share, struct stile_error *error)
{
    char what[64];
    struct products p;
    size_t n_rows = (size_t)threads_count(threads) * ROWS;
    bool ok = products_create(&p, threads, format, quantity == STILE_MATMUL_NARROW ? K_NARROW : K, n_rows,
                              quantity == STILE_MATMUL_FEW ? TOKENS_FEW : TOKENS);
    char *weights = ok ? aligned_alloc(KERNEL_ALIGNMENT, align_up(n_rows * p.job.row_bytes)) : NULL;
    if (weights) {
        fill_rows(&p, weights, n_rows);
        probe_sample(work, what, measurement_of(quantity, threads, format, what), share, products_pass, &p);
    }
    free(weights);
    products_free(&p);
    return weights ? 0 : error_memory(error, n_rows * K * sizeof(float), "a probe");
}

/* One sample of products of one token, with weights that caches cannot hold. */
static int measure_matvec(struct probe_work *work, enum format format, size_t matrix_bytes,
                          const struct machine_area *area, struct threads *threads, struct stile_error *error)
{
    char what[64];
    struct products p;
    uint64_t row_bytes;
    if (!format_row_bytes(format, K, &row_bytes)) return 0;
    size_t n_rows = matrix_bytes / (size_t)row_bytes;
    bool ok = products_create(&p, threads, format, K, n_rows, 1);
    if (ok) {
        p.n_matrices = area->size_bytes / (n_rows * p.job.row_bytes);
        fill_rows(&p, area->data, p.n_matrices * n_rows);
        struct stile_measurement m = measurement_of(STILE_MATVEC, threads, format, what);
        m.size_bytes = matrix_bytes;
        probe_sample(work, what, m, matvec_share / (N_FORMATS + 1), products_pass, &p);
    }
    products_free(&p);
    return ok ? 0 : error_memory(error, p.scratch_bytes, "a probe");
}

/* ---- attention ------------------------------------------------------------------------------ */

struct attention {
    const struct kernel_table *table;
    struct threads *threads;
    struct kernel_attention job; /* of the first KV head */
    char *memory;                /* keys and values of one head after the other */
    size_t side_bytes, n_heads, scratch_bytes;
    float *q, *out;
    char *scratch;
};

static void attention_run(void *argument, int i, int n)
{
    struct attention *a = argument;
    size_t begin, end;
    threads_split(a->n_heads, 1, i, n, &begin, &end);
    for (size_t head = begin; head < end; head++) {
        struct kernel_attention job = a->job;
        job.kv.keys = a->memory + 2 * head * a->side_bytes;
        job.kv.values = a->memory + (2 * head + 1) * a->side_bytes;
        job.q += head % N_KV_HEADS * job.n_heads * job.kv.head_dim;
        job.out += head % N_KV_HEADS * job.n_heads * job.kv.head_dim;
        a->table->attention(&job, a->scratch + (size_t)i * a->scratch_bytes);
    }
}

/* Multiplications per second. */
static double attention_pass(void *argument, const struct stile_measurement *m, uint64_t time_ns)
{
    struct attention *a = argument;
    uint64_t begin_ns = clock_ns(), spent_ns, n = 0;
    double pairs = 0;
    (void)m;
    for (size_t t = 0; t < a->job.n_tokens; t++)
        pairs += (double)(a->job.position + t + 1);
    do {
        threads_run(a->threads, attention_run, a);
        spent_ns = clock_ns() - begin_ns;
        n++;
    } while (spent_ns + spent_ns / n / 2 < time_ns);
    pairs *= (double)(a->job.n_heads * a->n_heads * n);
    return 2 * pairs * (double)a->job.kv.head_dim * 1e9 / (double)(spent_ns + 1);
}

/* One sample: many tokens at the end of a context, or one, with a cache that the processor's caches cannot hold. */
static int measure_attention(struct probe_work *work, enum stile_quantity quantity, enum format format,
                             const struct machine_area *area, struct threads *threads, struct stile_error *error)
{
    char what[64];
    bool single = quantity == STILE_ATTENTION_TOKEN || quantity == STILE_ATTENTION_TOKEN_NARROW;
    bool narrow = quantity == STILE_ATTENTION_NARROW || quantity == STILE_ATTENTION_TOKEN_NARROW;
    size_t head_dim = narrow ? HEAD_DIM_NARROW : HEAD_DIM, n_group = narrow ? N_GROUP_NARROW : N_GROUP;
    size_t n_tokens = single ? 1 : ATTENTION_TOKENS, stride = N_KV_HEADS * n_group * head_dim;
    size_t n_threads = (size_t)threads_count(threads);
    struct attention a = {.table = kernel_select(NULL), .threads = threads, .memory = area->data};
    a.side_bytes = kernel_kv_bytes(format, head_dim, CONTEXT);
    a.n_heads = single ? area->size_bytes / (2 * a.side_bytes) / n_threads * n_threads : N_KV_HEADS * n_threads;
    a.scratch_bytes = align_up(kernel_attention_scratch_bytes(head_dim));
    a.q = calloc(2 * n_tokens * stride, sizeof *a.q);
    a.scratch = aligned_alloc(KERNEL_ALIGNMENT, n_threads * a.scratch_bytes);
    if (a.n_heads > 0 && a.n_heads * 2 * a.side_bytes <= area->size_bytes && a.q && a.scratch) {
        a.out = a.q + n_tokens * stride;
        fill_numbers(a.q, n_tokens * stride, 3);
        memset(area->data, 0, a.n_heads * 2 * a.side_bytes);
        a.job = (struct kernel_attention){.kv = {.format = format, .head_dim = head_dim, .capacity = CONTEXT},
                                          .q = a.q,
                                          .out = a.out,
                                          .stride = stride,
                                          .n_tokens = n_tokens,
                                          .n_heads = n_group,
                                          .position = CONTEXT - n_tokens,
                                          .scale = 0.1f};
        probe_sample(work, what, measurement_of(quantity, threads, format, what), rest_share / (4 * N_CACHES + 1),
                     attention_pass, &a);
    }
    bool ok = a.q && a.scratch;
    free(a.q);
    free(a.scratch);
    return ok ? 0 : error_memory(error, 2 * n_tokens * stride * sizeof *a.q, "a probe");
}

/* ---- element by element --------------------------------------------------------------------- */

struct elements {
    const struct kernel_table *table;
    struct threads *threads;
    float *memory; /* for each thread ELEMENT_ROWS of two, and a row */
};

enum { ELEMENTS_OF_THREAD = (2 * ELEMENT_ROWS + 1) * ELEMENTS };

/* What a layer does: a norm, a gated unit, a sum. */
static void elements_run(void *argument, int i, int n)
{
    struct elements *e = argument;
    float *a = e->memory + (size_t)i * ELEMENTS_OF_THREAD, *b = a + ELEMENT_ROWS * ELEMENTS,
          *w = b + ELEMENT_ROWS * ELEMENTS;
    (void)n;
    for (size_t row = 0; row < ELEMENT_ROWS; row++)
        e->table->rms_norm(a + row * ELEMENTS, w, ELEMENTS, 1e-5f, b + row * ELEMENTS);
    for (size_t row = 0; row < ELEMENT_ROWS; row++)
        e->table->glu(GLU_SILU, a + row * ELEMENTS, b + row * ELEMENTS, ELEMENTS, b + row * ELEMENTS);
    for (size_t row = 0; row < ELEMENT_ROWS; row++)
        e->table->add(b + row * ELEMENTS, a + row * ELEMENTS, ELEMENTS);
}

/* Elements per second: one for a norm, two for each of the others (plan/predict.c counts the same). */
static double elements_pass(void *argument, const struct stile_measurement *m, uint64_t time_ns)
{
    struct elements *e = argument;
    uint64_t begin_ns = clock_ns(), spent_ns, n = 0;
    (void)m;
    do {
        threads_run(e->threads, elements_run, e);
        spent_ns = clock_ns() - begin_ns;
        n++;
    } while (spent_ns + spent_ns / n / 2 < time_ns);
    return (double)n * 5 * ELEMENT_ROWS * ELEMENTS * threads_count(e->threads) * 1e9 / (double)(spent_ns + 1);
}

static int measure_elements(struct probe_work *work, struct threads *threads, struct stile_error *error)
{
    size_t n = (size_t)threads_count(threads) * ELEMENTS_OF_THREAD;
    struct elements e = {kernel_select(NULL), threads, aligned_alloc(KERNEL_ALIGNMENT, n * sizeof(float))};
    if (!e.memory) return error_memory(error, n * sizeof(float), "a probe");
    fill_numbers(e.memory, ELEMENTS, 4);
    for (size_t done = ELEMENTS; done < n; done += ELEMENTS)
        memcpy(e.memory + done, e.memory, ELEMENTS * sizeof(float));
    const struct stile_measurement m = {.quantity = STILE_ELEMENTS, .n_threads = (uint32_t)threads_count(threads)};
    probe_sample(work, "kernels, element by element", m, rest_share / (4 * N_CACHES + 1), elements_pass, &e);
    free(e.memory);
    return 0;
}

/* ---- all of it ------------------------------------------------------------------------------ */

uint32_t probe_kernels_count(const struct probe_work *work)
{
    int n_pools = work->counts[work->n_counts - 1] > 1 ? 2 : 1;
    return (uint32_t)(n_pools * N_FORMATS + 2 * N_KINDS + N_FORMATS + 1 + 4 * N_CACHES + 1);
}

/* One sample of each, with all threads. `area` is empty where there is too little memory. */
static int measure_round(struct probe_work *work, const struct machine_area *area, struct threads *threads,
                         struct stile_error *error)
{
    const double share = matmul_share / (3 * N_FORMATS);
    int failed = measure_elements(work, threads, error);
    for (int f = 0; f < N_KINDS && !failed && !probe_cancelled(work); f++) {
        failed = measure_matmul(work, STILE_MATMUL_NARROW, kinds[f], threads, share, error);
        if (!failed) failed = measure_matmul(work, STILE_MATMUL_FEW, kinds[f], threads, share, error);
    }
    for (int i = 0; i < 4 * N_CACHES && area->data && !failed && !probe_cancelled(work); i++)
        failed = measure_attention(work, STILE_ATTENTION + (enum stile_quantity)(i % 4), caches[i / 4], area, threads,
                                   error);
    for (int f = 0; f < N_FORMATS && area->data && !failed && !probe_cancelled(work); f++)
        failed = measure_matvec(work, formats[f], MATRIX_BYTES, area, threads, error);
    if (!failed && area->data) failed = measure_matvec(work, FORMAT_Q8_0, MATRIX_BYTES_SMALL, area, threads, error);
    return failed;
}

int probe_kernels(struct probe_work *work, struct stile_error *error)
{
    struct threads *single = NULL, *all = NULL;
    struct machine_area area = {0};
    int n_all = work->counts[work->n_counts - 1];
    int failed = threads_create(&all, n_all, error);
    if (!failed && n_all > 1) failed = threads_create(&single, 1, error);
    /* weights are used where the file is mapped, in small pages; filling them with each format takes time: half of what
     * measuring memory takes, which is twice the caches */
    size_t size_bytes = failed ? 0 : probe_affordable(work, machine_area_bytes(work->machine, n_all) / 2);
    if (size_bytes > 0) machine_area_create(&area, all, size_bytes, false);
    for (uint32_t i = 0; i < work->n_samples; i++) {
        for (int f = 0; f < N_FORMATS && !failed && !probe_cancelled(work); f++) {
            const double share = matmul_share / (3 * N_FORMATS);
            if (single) failed = measure_matmul(work, STILE_MATMUL, formats[f], single, share, error);
            if (!failed) failed = measure_matmul(work, STILE_MATMUL, formats[f], all, share, error);
        }
        if (!failed) failed = measure_round(work, &area, all, error);
    }
    machine_area_free(&area);
    threads_free(single);
    threads_free(all);
    return failed;
}
