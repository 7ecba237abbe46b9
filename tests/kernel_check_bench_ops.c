/* kernel_check_bench_ops.c - times the small vector operations and attention of every table: ns per call, GB/s of what it
 * must read and write, GMAC/s of attention, and how many times faster than the scalar table. Decode takes one KV head after
 * the other, more than the caches hold. */
#include "kernel_check.h"

#include "base/clock.h"
#include "kernel/cache.h"

#include <stdio.h>
#include <stdlib.h>

enum { N = 2048, DEPTH = 4096, MAX_HEAD_DIM = 128, MAX_QUERIES = 64, N_CACHES = 64 };

struct data {
    float *x, *y, *z, *out;
    struct kernel_kv kv[N_CACHES];
    void *scratch;
    size_t i_cache;
};

struct bench {
    const char *name;
    void (*run)(const struct kernel_table *table, struct data *data, const struct bench *bench);
    /* of attention */
    enum format format;
    size_t head_dim, n_heads, n_tokens;
};

static void run_norm(const struct kernel_table *table, struct data *data, const struct bench *bench)
{
    (void)bench;
    table->rms_norm(data->x, data->y, N, 1e-5f, data->out);
}

static void run_rope_halves(const struct kernel_table *table, struct data *data, const struct bench *bench)
{
    (void)bench;
    table->rope(data->out, N, data->y, data->z, true);
}

static void run_rope_pairs(const struct kernel_table *table, struct data *data, const struct bench *bench)
{
    (void)bench;
    table->rope(data->out, N, data->y, data->z, false);
}

static void run_silu(const struct kernel_table *table, struct data *data, const struct bench *bench)
{
    (void)bench;
    table->glu(GLU_SILU, data->x, data->y, N, data->out);
}

static void run_gelu(const struct kernel_table *table, struct data *data, const struct bench *bench)
{
    (void)bench;
    table->glu(GLU_GELU, data->x, data->y, N, data->out);
}

static void run_softcap(const struct kernel_table *table, struct data *data, const struct bench *bench)
{
    (void)bench;
    table->softcap(data->out, 30.0f, N);
}

static void run_add(const struct kernel_table *table, struct data *data, const struct bench *bench)
{
    (void)bench;
    table->add(data->out, data->z, N);
}

static void run_store(const struct kernel_table *table, struct data *data, const struct bench *bench)
{
    (void)bench;
    table->kv_store(&data->kv[0], data->i_cache++ % DEPTH, data->x, data->y);
}

static void run_attention(const struct kernel_table *table, struct data *data, const struct bench *bench)
{
    struct kernel_attention job = {.kv = data->kv[data->i_cache++ % N_CACHES],
                                   .q = data->x,
                                   .out = data->out,
                                   .stride = bench->n_heads * bench->head_dim,
                                   .n_tokens = bench->n_tokens,
                                   .n_heads = bench->n_heads,
                                   .position = DEPTH - bench->n_tokens,
                                   .scale = 0.1f};
    table->attention(&job, data->scratch);
}

static const struct bench benches[] = {
    {"rms_norm 2048", run_norm, 0, 0, 0, 0},
    {"rope 2048, halves", run_rope_halves, 0, 0, 0, 0},
    {"rope 2048, pairs", run_rope_pairs, 0, 0, 0, 0},
    {"silu 2048", run_silu, 0, 0, 0, 0},
    {"gelu 2048", run_gelu, 0, 0, 0, 0},
    {"softcap 2048", run_softcap, 0, 0, 0, 0},
    {"add 2048", run_add, 0, 0, 0, 0},
    {"kv_store f16 64", run_store, FORMAT_F16, 64, 0, 0},
    {"kv_store q8_0 64", run_store, FORMAT_Q8_0, 64, 0, 0},
    {"decode f16 64 x 1", run_attention, FORMAT_F16, 64, 1, 1},
    {"decode f16 64 x 3", run_attention, FORMAT_F16, 64, 3, 1},
    {"decode f16 64 x 4", run_attention, FORMAT_F16, 64, 4, 1},
    {"decode f16 128 x 4", run_attention, FORMAT_F16, 128, 4, 1},
    {"decode q8_0 64 x 1", run_attention, FORMAT_Q8_0, 64, 1, 1},
    {"decode q8_0 64 x 3", run_attention, FORMAT_Q8_0, 64, 3, 1},
    {"decode q8_0 64 x 4", run_attention, FORMAT_Q8_0, 64, 4, 1},
    {"decode q8_0 128 x 4", run_attention, FORMAT_Q8_0, 128, 4, 1},
    {"prefill f16 64 x 3 x 16", run_attention, FORMAT_F16, 64, 3, 16},
    {"prefill f16 64 x 4 x 12", run_attention, FORMAT_F16, 64, 4, 12},
    {"prefill f16 128 x 4 x 12", run_attention, FORMAT_F16, 128, 4, 12},
    {"prefill q8_0 64 x 4 x 12", run_attention, FORMAT_Q8_0, 64, 4, 12},
    {"prefill f32 64 x 4 x 12", run_attention, FORMAT_F32, 64, 4, 12},
};

/* The fastest of the runs that fit in about 0.1 s, at least 3. */
static double best_ns(const struct kernel_table *table, struct data *data, const struct bench *bench)
{
    int n_calls = bench->run == run_attention ? 1 : 100;
    double best = 1e30;
    uint64_t start = clock_ns();
    for (int i = 0; i < 3 || clock_ns() - start < 100000000u; i++) {
        uint64_t before = clock_ns();
        for (int call = 0; call < n_calls; call++)
            bench->run(table, data, bench);
        double ns = (double)(clock_ns() - before) / (double)n_calls;
        best = ns < best ? ns : best;
    }
    return best;
}

static void fill_caches(struct data *data, const struct bench *bench)
{
    size_t bytes = kernel_kv_bytes(bench->format, bench->head_dim, DEPTH);
    for (size_t i = 0; i < N_CACHES; i++) {
        struct kernel_kv *kv = &data->kv[i];
        free(kv->keys);
        free(kv->values);
        *kv = (struct kernel_kv){bench->format, bench->head_dim, DEPTH, aligned_alloc(KERNEL_ALIGNMENT, bytes),
                                 aligned_alloc(KERNEL_ALIGNMENT, bytes)};
        if (!kv->keys || !kv->values) abort();
        for (size_t p = 0; p < DEPTH; p++)
            kernel_select(NULL)->kv_store(kv, p, data->x + p % N / 2, data->x + p % 997);
    }
}

static void print(const struct check_bench *options, const char *isa, const struct bench *bench, double ns,
                  double scalar_ns)
{
    double bytes = 12.0 * N, macs = 0;
    if (bench->run == run_attention) {
        bytes = 2.0 * (double)kernel_kv_bytes(bench->format, bench->head_dim, DEPTH);
        macs = 2.0 * DEPTH * (double)(bench->head_dim * bench->n_heads * bench->n_tokens);
    } else if (bench->run == run_store) {
        bytes = 8.0 * (double)bench->head_dim;
    }
    if (options->json)
        printf(",\n {\"isa\": \"%s\", \"op\": \"%s\", \"ns\": %.1f, \"gb_per_s\": %.2f, \"gmac_per_s\": %.2f, "
               "\"times_scalar\": %.2f}",
               isa, bench->name, ns, bytes / ns, macs / ns, scalar_ns / ns);
    else
        printf("%-7s %-26s %12.1f ns     %7.2f GB/s %8.2f GMAC/s %8.1f x scalar\n", isa, bench->name, ns, bytes / ns,
               macs / ns, scalar_ns / ns);
    fflush(stdout);
}

void check_bench_ops(const struct check_bench *options)
{
    size_t floats = (size_t)MAX_QUERIES * MAX_HEAD_DIM;
    struct data data = {calloc(floats, 4), calloc(N, 4), calloc(N, 4), calloc(floats, 4), {{0}}, NULL, 0};
    data.scratch = aligned_alloc(KERNEL_ALIGNMENT, (kernel_attention_scratch_bytes(MAX_HEAD_DIM) + 63) / 64 * 64);
    if (!data.x || !data.y || !data.z || !data.out || !data.scratch) abort();
    for (size_t i = 0; i < floats; i++)
        data.x[i] = check_normal();
    for (size_t i = 0; i < N; i++) {
        data.y[i] = 0.8f;
        data.z[i] = 0.6f; /* a rotation: in place, again and again, x stays bounded */
    }
    for (size_t b = 0; b < sizeof benches / sizeof *benches; b++) {
        const struct bench *bench = &benches[b];
        if (bench->head_dim > 0) fill_caches(&data, bench);
        double scalar_ns = best_ns(kernel_select("scalar"), &data, bench);
        for (const char *const *isa = kernel_names(); *isa; isa++) {
            const struct kernel_table *table = kernel_select(*isa);
            bool is_scalar = table == kernel_select("scalar");
            print(options, *isa, bench, is_scalar ? scalar_ns : best_ns(table, &data, bench), scalar_ns);
        }
    }
    free(data.x);
    free(data.y);
    free(data.z);
    free(data.out);
    free(data.scratch);
    for (size_t i = 0; i < N_CACHES; i++) {
        free(data.kv[i].keys);
        free(data.kv[i].values);
    }
}
