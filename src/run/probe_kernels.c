/* probe_kernels.c - how fast the engine's own kernels are, at what models are made of: products of many tokens and of
 * one, attention, and what goes element by element. */
#include "base/clock.h"
#include "base/error.h"
#include "base/threads.h"
#include "plan/machine_measure.h"
#include "run/probe_private.h"
#include "run/products.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is measured ----------------------------------------------------------------------- */

static const enum format formats[] = {
    FORMAT_F32,    FORMAT_F16,   FORMAT_BF16,  FORMAT_Q8_0,  FORMAT_Q4_0,    FORMAT_Q4_1,    FORMAT_Q5_0,
    FORMAT_Q5_1,   FORMAT_Q2_K,  FORMAT_Q3_K,  FORMAT_Q4_K,  FORMAT_Q5_K,    FORMAT_Q6_K,    FORMAT_IQ4_XS,
    FORMAT_IQ4_NL, FORMAT_MXFP4, FORMAT_NVFP4, FORMAT_IQ3_S, FORMAT_IQ3_XXS, FORMAT_IQ2_XXS, FORMAT_IQ2_XS,
    FORMAT_IQ2_S,  FORMAT_IQ1_S, FORMAT_IQ1_M, FORMAT_TQ1_0, FORMAT_TQ2_0,   FORMAT_Q1_0,    FORMAT_Q2_0,
};
/* One for each kind of activations: what depends on the shape of a product is measured of these. */
static const enum format kinds[] = {FORMAT_BF16, FORMAT_Q8_0, FORMAT_Q4_K};
static const enum format caches[] = {FORMAT_F16, FORMAT_Q8_0, FORMAT_F32};

/* ROWS x K: all rows of a thread stay in its cache while the tokens go by. */
enum { K = 2048, K_NARROW = 512, ROWS = 128, TOKENS = 128, TOKENS_FEW = 8, TOKENS_SOME = 32 };
enum { MATRIX_BYTES = 4 << 20, MATRIX_BYTES_SMALL = 256 << 10 };
/* Of a thread, in its cache, and how often it is gone through between two waits. */
enum { CACHED_BYTES = 128 << 10, CACHED_ROUNDS = 16 };
enum { HEAD_DIM = 128, N_GROUP = 4, HEAD_DIM_NARROW = 64, N_GROUP_NARROW = 3 };
enum { N_KV_HEADS = 8, CONTEXT = 2048, ATTENTION_TOKENS = 64 };
enum { ELEMENTS = 8192, ELEMENT_ROWS = 256 };

enum {
    N_FORMATS = sizeof formats / sizeof *formats,
    N_KINDS = sizeof kinds / sizeof *kinds,
    N_CACHES = sizeof caches / sizeof *caches,
};

/* Shares of the time. */
static const double matmul_share = 0.20, matvec_share = 0.10, cached_share = 0.03, rest_share = 0.09;

/* ---- products ------------------------------------------------------------------------------- */

static double product(void *argument, const struct stile_measurement *m, uint64_t time_ns)
{
    (void)m;
    return products_pass(argument, time_ns);
}

static struct stile_measurement measurement_of(enum stile_quantity quantity, const struct threads *threads,
                                               enum format format, char what[64])
{
    struct stile_measurement m = {.quantity = quantity, .n_threads = (uint32_t)threads_count(threads)};
    snprintf(m.format, sizeof m.format, "%s", format_info(format)->name);
    snprintf(what, 64, "kernels, %s, %u thread%s", m.format, m.n_threads, m.n_threads > 1 ? "s" : "");
    return m;
}

/* A matrix, at *weights, that stays in the caches while the tokens go by. */
static bool matmul_create(struct products *p, struct threads *threads, enum format format, size_t k, size_t n_tokens,
                          char **weights)
{
    size_t n_rows = (size_t)threads_count(threads) * ROWS;
    *weights = NULL;
    if (!products_create(p, threads, format, k, n_rows, n_tokens)) return false;
    *weights = aligned_alloc(KERNEL_ALIGNMENT, products_align(n_rows * p->job.row_bytes));
    if (*weights) products_fill(p, *weights, n_rows);
    return *weights;
}

bool probe_matmul_create(struct products *p, struct threads *threads, enum format format, char **weights)
{
    return matmul_create(p, threads, format, K, TOKENS, weights);
}

/* One sample of products of many tokens. */
static int measure_matmul(struct probe_work *work, enum stile_quantity quantity, enum format format,
                          struct threads *threads, double share, struct stile_error *error)
{
    char what[64], *weights;
    struct products p;
    bool ok = matmul_create(&p, threads, format, quantity == STILE_MATMUL_NARROW ? K_NARROW : K,
                            quantity == STILE_MATMUL_FEW    ? TOKENS_FEW
                            : quantity == STILE_MATMUL_SOME ? TOKENS_SOME
                                                            : TOKENS,
                            &weights);
    if (ok) probe_sample(work, what, measurement_of(quantity, threads, format, what), share, product, &p);
    free(weights);
    products_free(&p);
    return ok ? 0 : error_memory(error, p.n_rows * K * sizeof(float), "a probe");
}

/* One sample of products of one token (STILE_MATVEC) or some, with weights that caches cannot hold. */
static int measure_from_memory(struct probe_work *work, enum stile_quantity quantity, enum format format,
                               size_t matrix_bytes, const struct machine_area *area, struct threads *threads,
                               struct stile_error *error)
{
    char what[64];
    struct products p;
    uint64_t row_bytes;
    if (!format_row_bytes(format, K, &row_bytes)) return 0;
    size_t n_rows = matrix_bytes / (size_t)row_bytes;
    bool ok = products_create(&p, threads, format, K, n_rows, quantity == STILE_MATVEC ? 1 : TOKENS_SOME);
    if (ok) {
        p.n_matrices = area->size_bytes / (n_rows * p.job.row_bytes);
        products_fill(&p, area->data, p.n_matrices * n_rows);
        struct stile_measurement m = measurement_of(quantity, threads, format, what);
        m.size_bytes = matrix_bytes;
        probe_sample(work, what, m, matvec_share / (N_FORMATS + 2), product, &p);
    }
    products_free(&p);
    return ok ? 0 : error_memory(error, p.scratch_bytes, "a probe");
}

bool probe_cached_create(struct products *p, struct threads *threads, enum format format, char **weights)
{
    uint64_t row_bytes = 1;
    format_row_bytes(format, K, &row_bytes);
    size_t n_rows = (size_t)threads_count(threads) * (CACHED_BYTES / (size_t)row_bytes / 8 * 8);
    *weights = NULL;
    if (!products_create(p, threads, format, K, n_rows, 1)) return false;
    *weights = aligned_alloc(KERNEL_ALIGNMENT, products_align(n_rows * p->job.row_bytes));
    if (!*weights) return false;
    products_fill(p, *weights, n_rows);
    p->n_matrices = CACHED_ROUNDS;
    p->one_matrix = true;
    return true;
}

/* One sample of the same where caches hold the weights. */
static int measure_cached(struct probe_work *work, enum format format, struct threads *threads,
                          struct stile_error *error)
{
    char what[64], *weights;
    struct products p;
    bool ok = probe_cached_create(&p, threads, format, &weights);
    if (ok)
        probe_sample(work, what, measurement_of(STILE_MATVEC_CACHED, threads, format, what), cached_share / N_FORMATS,
                     product, &p);
    free(weights);
    products_free(&p);
    return ok ? 0 : error_memory(error, CACHED_BYTES, "a probe");
}

struct plain_read {
    const struct machine_area *area;
    struct threads *threads;
};

static double read_pass(void *argument, const struct stile_measurement *m, uint64_t time_ns)
{
    struct plain_read *read = argument;
    (void)m;
    return machine_area_pass(read->area, read->threads, STILE_MEMORY_READ, time_ns);
}

/* One sample of reading beside these, as fast as it goes and with nothing done to it: what a meter reads. */
static void measure_read(struct probe_work *work, const struct machine_area *area, struct threads *threads)
{
    struct plain_read read = {area, threads};
    const struct stile_measurement m = {
        .quantity = STILE_MATVEC, .n_threads = (uint32_t)threads_count(threads), .size_bytes = MATRIX_BYTES};
    probe_sample(work, "memory", m, matvec_share / (N_FORMATS + 2), read_pass, &read);
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
    a.scratch_bytes = products_align(kernel_attention_scratch_bytes(head_dim));
    a.q = calloc(2 * n_tokens * stride, sizeof *a.q);
    a.scratch = aligned_alloc(KERNEL_ALIGNMENT, n_threads * a.scratch_bytes);
    if (a.n_heads > 0 && a.n_heads * 2 * a.side_bytes <= area->size_bytes && a.q && a.scratch) {
        a.out = a.q + n_tokens * stride;
        products_numbers(a.q, n_tokens * stride, 3);
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
    products_numbers(e.memory, ELEMENTS, 4);
    for (size_t done = ELEMENTS; done < n; done += ELEMENTS)
        memcpy(e.memory + done, e.memory, ELEMENTS * sizeof(float));
    const struct stile_measurement m = {.quantity = STILE_ELEMENTS, .n_threads = (uint32_t)threads_count(threads)};
    probe_sample(work, "kernels, element by element", m, rest_share / (4 * N_CACHES + 1), elements_pass, &e);
    free(e.memory);
    return 0;
}

/* ---- all of it ------------------------------------------------------------------------------ */

/* What products are measured in, and what is only read, as a meter does; empty where there is too little memory. Both in
 * large pages: mapped files, which the system keeps in pieces of many pages, are read as fast (small ones: 5% less). */
struct areas {
    struct machine_area weights, meter;
};

uint32_t probe_kernels_count(const struct probe_work *work)
{
    int n_pools = work->counts[work->n_counts - 1] > 1 ? 2 : 1;
    return (uint32_t)(n_pools * N_FORMATS + 4 * N_KINDS + 2 * N_FORMATS + 2 + 4 * N_CACHES + 1);
}

/* One sample of each, with all threads. What is compared later is measured in one go (plan/machine_levels.h). */
static int measure_round(struct probe_work *work, const struct areas *areas, struct threads *threads,
                         struct stile_error *error)
{
    bool has_area = areas->weights.data != NULL;
    int failed = measure_elements(work, threads, error);
    for (int i = 0; i < 4 * N_CACHES && has_area && !failed && !probe_cancelled(work); i++)
        failed = measure_attention(work, STILE_ATTENTION + (enum stile_quantity)(i % 4), caches[i / 4], &areas->weights,
                                   threads, error);
    for (int f = 0; f < N_FORMATS && has_area && !failed && !probe_cancelled(work); f++) {
        failed = measure_from_memory(work, STILE_MATVEC, formats[f], MATRIX_BYTES, &areas->weights, threads, error);
        if (f == N_FORMATS / 2 && areas->meter.data) measure_read(work, &areas->meter, threads);
    }
    if (!failed && has_area)
        failed =
            measure_from_memory(work, STILE_MATVEC, FORMAT_Q8_0, MATRIX_BYTES_SMALL, &areas->weights, threads, error);
    for (int f = 0; f < N_FORMATS && !failed && !probe_cancelled(work); f++)
        failed = measure_cached(work, formats[f], threads, error);
    return failed;
}

static int measure_products(struct probe_work *work, const struct areas *areas, struct threads *single,
                            struct threads *all, struct stile_error *error)
{
    const double share = matmul_share / (3 * N_FORMATS);
    int failed = 0;
    for (int f = 0; f < N_FORMATS && !failed && !probe_cancelled(work); f++) {
        if (single) failed = measure_matmul(work, STILE_MATMUL, formats[f], single, share, error);
        if (!failed) failed = measure_matmul(work, STILE_MATMUL, formats[f], all, share, error);
    }
    for (int f = 0; f < N_KINDS && !failed && !probe_cancelled(work); f++) {
        failed = measure_matmul(work, STILE_MATMUL_NARROW, kinds[f], all, share, error);
        if (!failed) failed = measure_matmul(work, STILE_MATMUL_FEW, kinds[f], all, share, error);
        if (!failed) failed = measure_matmul(work, STILE_MATMUL_SOME, kinds[f], all, share, error);
        if (!failed && areas->weights.data)
            failed = measure_from_memory(work, STILE_MATMUL_SOME, kinds[f], MATRIX_BYTES, &areas->weights, all, error);
    }
    return failed;
}

/* Where a round begins: samples of each measurement, and of all. */
struct round {
    uint32_t counts[STILE_PROBE_MAX], i, n_disturbed;
};

static void round_begin(struct round *round, const struct probe_work *work)
{
    for (uint32_t i = 0; i < STILE_PROBE_MAX; i++)
        round->counts[i] = i < work->probe->n ? work->probe->measurements[i].n_samples : 0;
    round->i = work->i;
    round->n_disturbed = work->n_disturbed;
}

/* Others had a processor for a good part of it: it says little of what the machine can do. */
static bool round_was_disturbed(const struct round *round, const struct probe_work *work)
{
    return 5 * (work->n_disturbed - round->n_disturbed) > work->i - round->i;
}

static void round_forget(const struct round *round, struct probe_work *work)
{
    for (uint32_t i = 0; i < work->probe->n; i++)
        work->probe->measurements[i].n_samples = round->counts[i];
    work->i = round->i;
}

int probe_kernels(struct probe_work *work, struct stile_error *error)
{
    struct threads *single = NULL, *all = NULL;
    struct areas areas = {.meter = {0}};
    int n_all = work->counts[work->n_counts - 1];
    int failed = threads_create(&all, n_all, error);
    if (!failed && n_all > 1) failed = threads_create(&single, 1, error);
    /* filling memory with each format takes time: half of what measuring memory takes, which is twice the caches */
    size_t meter_bytes = failed ? 0 : probe_affordable(work, machine_area_bytes(work->machine, n_all));
    if (meter_bytes > 0) machine_area_create(&areas.weights, all, meter_bytes / 2, true);
    if (meter_bytes > 0) machine_area_create(&areas.meter, all, meter_bytes, true);
    uint32_t n_again = work->n_samples; /* at most */
    for (uint32_t i = 0; i < work->n_samples && !failed && !probe_cancelled(work); i++) {
        struct round round;
        round_begin(&round, work);
        failed = measure_products(work, &areas, single, all, error);
        if (!failed) failed = measure_round(work, &areas, all, error);
        if (failed || n_again == 0 || !round_was_disturbed(&round, work)) continue;
        round_forget(&round, work);
        n_again--;
        i--;
    }
    machine_area_free(&areas.weights);
    machine_area_free(&areas.meter);
    threads_free(single);
    threads_free(all);
    return failed;
}
