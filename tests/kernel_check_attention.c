/* kernel_check_attention.c - kv_store and attention of a kernel_table.
 *
 * Each against the scalar table, bit for bit (a NaN must be a NaN), for whole jobs, tile by tile, and job by job of one
 * token; against arithmetic in long double, within bounds derived below; and the scalar results against a recorded hash.
 * What a query does not see is NaN in the cache: it must not matter. The bounds' words: kernel_check_ops.c.
 */
#include "kernel_check.h"

#include "base/bytes.h"
#include "kernel/cache.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define U    0x1p-24L
#define TINY 0x1p-120L

/* Of all outputs of the scalar table below, in order; see kernel_check_ops.c. */
static const uint64_t expected_hash = 0xb31f07121515263f;

struct attention_case {
    enum format format;
    size_t head_dim, n_heads, n_tokens, position, window, capacity;
    float softcap;
    bool extreme, nan; /* nan: a NaN in a key that all see makes every result one */
};

static uint64_t random_state, hash;

static uint32_t random_u32(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33 ^ random_state >> 27);
}

/* Multiples of 2^-22 in [-8, 8), more of them near 0. */
static float random_ordinary(void)
{
    int32_t wide = (int32_t)(random_u32() >> 6) - (1 << 25);
    return (float)(wide >> random_u32() % 8) * 0x1p-22f;
}

static float random_float(const struct attention_case *c, float rare_factor)
{
    float x = random_ordinary();
    if (c->extreme && random_u32() % 64 == 0) x *= rare_factor;
    if (c->extreme && random_u32() % 65536 == 0) x = f32_from_bits(random_u32());
    return x;
}

static void hash_bytes(const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        hash = (hash ^ ((const uint8_t *)p)[i]) * 0x100000001b3u;
        hash ^= hash >> 29;
    }
}

static void hash_floats(const float *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = isnan(p[i]) ? 0x7fc00000u : f32_bits(p[i]);
        hash_bytes(&bits, sizeof bits);
    }
}

/* ---- kv_store ---------------------------------------------------------------------------------- */

static struct kernel_kv cache_new(enum format format, size_t head_dim, size_t capacity)
{
    size_t bytes = kernel_kv_bytes(format, head_dim, capacity);
    struct kernel_kv kv = {format, head_dim, capacity, check_guarded(bytes), check_guarded(bytes)};
    memset(kv.keys, 0xff, bytes); /* NaN */
    memset(kv.values, 0xff, bytes);
    return kv;
}

static void cache_free(struct kernel_kv *kv)
{
    size_t bytes = kernel_kv_bytes(kv->format, kv->head_dim, kv->capacity);
    check_guarded_free(kv->keys, bytes);
    check_guarded_free(kv->values, bytes);
}

/* Number d of a position's key or value, as attention takes it. */
static long double cache_number(const struct kernel_kv *kv, bool key, size_t position, size_t d)
{
    size_t width = cache_width(kv->format, kv->head_dim), slot = position % kv->capacity;
    size_t at = key ? cache_key_at(kv->format, width, slot, d) : cache_value_at(width, slot, d);
    void *side = key ? kv->keys : kv->values;
    if (kv->format == FORMAT_F32) return ((const float *)side)[at];
    if (kv->format == FORMAT_F16) return f32_from_f16(((const uint16_t *)side)[at]);
    return (long double)((const int8_t *)side)[at] *
           f32_from_f16(cache_scales(kv, side)[cache_scale_at(width, slot, d / 32)]);
}

/* What was stored is what was given, as closely as the format can. */
static bool stored_well(const struct kernel_kv *kv, bool key, size_t position, const float *x)
{
    bool ok = true;
    for (size_t d = 0; d < cache_width(kv->format, kv->head_dim); d++) {
        float given = d < kv->head_dim ? x[d] : 0.0f, amax = 0;
        long double got = cache_number(kv, key, position, d);
        for (size_t i = d / 32 * 32; i < d / 32 * 32 + 32 && i < kv->head_dim; i++)
            amax = isnan(x[i]) || fabsf(x[i]) > amax ? fabsf(x[i]) : amax;
        if (kv->format == FORMAT_F32)
            ok = ok && (got == given || isnan(given));
        else if (kv->format == FORMAT_F16)
            ok = ok && (got == f32_from_f16(f16_from_f32(given)) || isnan(given));
        else if (amax < 127 * 65000.0f) /* half a step; and the step is rounded to F16 */
            ok = ok && fabsl(got - given) <= amax * (0.5L / 127 + 0x1p-11L) + 127 * 0x1p-25L;
    }
    return ok;
}

static void check_store(const struct kernel_table *truth, const struct kernel_table *table, enum format format,
                        size_t head_dim, bool extreme)
{
    struct attention_case c = {.extreme = extreme};
    struct kernel_kv expected = cache_new(format, head_dim, KERNEL_KV_TILE), got = expected;
    size_t bytes = kernel_kv_bytes(format, head_dim, KERNEL_KV_TILE);
    float *k = check_guarded(head_dim * sizeof *k), *v = check_guarded(head_dim * sizeof *v);
    got = cache_new(format, head_dim, KERNEL_KV_TILE);
    bool ok = true;
    for (size_t i = 0; i < 40; i++) {
        size_t position = i * 37 + 250;
        for (size_t d = 0; d < head_dim; d++) {
            k[d] = random_float(&c, 5e3f);
            v[d] = random_float(&c, 1e-7f);
        }
        truth->kv_store(&expected, position, k, v);
        table->kv_store(&got, position, k, v);
        ok = ok && stored_well(&got, true, position, k) && stored_well(&got, false, position, v);
    }
    check_result(ok, "%s: kv_store of %s, %zu dimensions", table->isa, format_info(format)->name, head_dim);
    if (!extreme) { /* a NaN's bits are not promised */
        hash_bytes(expected.keys, bytes);
        hash_bytes(expected.values, bytes);
        check_result(memcmp(expected.keys, got.keys, bytes) == 0 && memcmp(expected.values, got.values, bytes) == 0,
                     "%s: kv_store of %s, %zu dimensions, is not the scalar one", table->isa, format_info(format)->name,
                     head_dim);
    }
    check_guarded_free(k, head_dim * sizeof *k);
    check_guarded_free(v, head_dim * sizeof *v);
    cache_free(&expected);
    cache_free(&got);
}

/* ---- attention --------------------------------------------------------------------------------- */

/* The query as the format takes it. */
static void query_numbers(const struct kernel_attention *job, const float *q, long double *out)
{
    for (size_t b = 0; b < job->kv.head_dim; b += 32) {
        size_t n = job->kv.head_dim - b < 32 ? job->kv.head_dim - b : 32;
        float amax = 0;
        for (size_t i = b; i < b + n; i++)
            amax = fmaxf(amax, fabsf(q[i]));
        for (size_t i = b; i < b + n; i++)
            out[i] = job->kv.format == FORMAT_Q8_0 ? (long double)(amax / 127) * nearbyintf(q[i] * (127 / amax))
                                                   : (long double)q[i];
    }
}

/* Scores: one rounding per dimension of sums of |q k| (Q8_0: three per 32 of them), one of the scaling; capping:
 * division, tanh, product, 8 u of at most the cap, and the slope is at most 1. A weight e^(s - top) then has the relative
 * error of twice that (s and top), u |s - top|, 3 u of exp; a part is rescaled once per tile (3 u of exp, one product, its
 * argument rounded); sums over n positions add n u, and Q8_0's scale one more; and all this once for the numerator and
 * once for the denominator. */
static bool attention_near(const struct kernel_table *table, const struct kernel_attention *job, size_t row,
                           const float *out)
{
    size_t begin, end, head_dim = job->kv.head_dim;
    cache_visible(job, row, &begin, &end);
    size_t n = end - begin, n_tiles = n / KERNEL_KV_TILE + 2;
    const float *q = job->q + row / job->n_heads * job->stride + row % job->n_heads * head_dim;
    long double *s = malloc((n + head_dim) * sizeof *s), *x = s + n, top = -INFINITY, low = INFINITY, error = 0,
                sum = 0;
    bool ok = true;
    if (!s) abort();
    query_numbers(job, q, x);
    for (size_t i = 0; i < n; i++) {
        long double dot = 0, size = 0;
        for (size_t d = 0; d < head_dim; d++) {
            long double product = x[d] * cache_number(&job->kv, true, begin + i, d);
            dot += product;
            size += fabsl(product);
        }
        s[i] = dot * job->scale;
        long double e = (long double)(head_dim + 4) * U * size * job->scale;
        if (job->softcap != 0.0f) {
            s[i] = job->softcap * tanhl(s[i] / job->softcap);
            e += 9 * U * fabsl(s[i]);
        }
        error = fmaxl(error, e);
        top = fmaxl(top, s[i]);
        low = fminl(low, s[i]);
    }
    for (size_t i = 0; i < n; i++) {
        s[i] = expl(s[i] - top);
        sum += s[i];
    }
    long double relative =
        2 * (2 * error + (top - low) * (long double)(n_tiles + 1) * U + 4 * U + (long double)(5 * n_tiles + n + 3) * U);
    for (size_t d = 0; d < head_dim && ok; d++) {
        long double value = 0, size = 0;
        for (size_t i = 0; i < n; i++) {
            value += s[i] * cache_number(&job->kv, false, begin + i, d);
            size += s[i] * fabsl(cache_number(&job->kv, false, begin + i, d));
        }
        ok = fabsl(out[d] - value / sum) <= relative * size / sum + TINY;
        if (!ok)
            check_result(false, "%s: attention: [%zu][%zu] is %a, true value %La, bound %Lg", table->isa, row, d,
                         (double)out[d], value / sum, relative * size / sum);
    }
    free(s);
    return ok;
}

/* Token by token, tile by tile. */
static void attention_in_parts(const struct kernel_table *table, const struct kernel_attention *job, void *scratch)
{
    size_t part_floats = kernel_part_floats(job->kv.format, job->kv.head_dim), begin, end;
    for (size_t t = 0; t < job->n_tokens; t++) {
        struct kernel_attention one = *job;
        one.q += t * job->stride;
        one.out += t * job->stride;
        one.position += t;
        one.n_tokens = 1;
        cache_visible(&one, 0, &begin, &end);
        size_t first = begin / KERNEL_KV_TILE, n_tiles = (end - 1) / KERNEL_KV_TILE - first + 1;
        size_t bytes = n_tiles * job->n_heads * part_floats * sizeof(float);
        float *parts = check_guarded(bytes);
        for (size_t i = n_tiles; i-- > 0;)
            table->attention_part(&one, first + i, parts + i * job->n_heads * part_floats, scratch);
        table->attention_join(&one, parts, n_tiles);
        check_guarded_free(parts, bytes);
    }
}

static void fill_cache(const struct attention_case *c, const struct kernel_table *truth, struct kernel_kv *kv)
{
    size_t end = c->position + c->n_tokens, seen = c->window ? c->window + c->n_tokens - 1 : end;
    float *k = malloc(2 * c->head_dim * sizeof *k), *v = k + c->head_dim;
    if (!k) abort();
    for (size_t p = end > seen ? end - seen : 0; p < end; p++) {
        for (size_t d = 0; d < c->head_dim; d++) {
            k[d] = random_float(c, 100.0f);
            v[d] = random_float(c, 5000.0f);
        }
        if (c->nan && p == c->position) k[0] = NAN;
        truth->kv_store(kv, p, k, v);
    }
    free(k);
}

static void check_attention(const struct kernel_table *truth, const struct kernel_table *table,
                            const struct attention_case *c)
{
    size_t stride = c->n_heads * c->head_dim + 3, n = c->n_tokens * stride, n_bytes = n * sizeof(float);
    size_t scratch_bytes = kernel_attention_scratch_bytes(c->head_dim);
    void *scratch = check_guarded(scratch_bytes);
    float *q = check_guarded(n_bytes), *expected = check_guarded(n_bytes), *got = check_guarded(n_bytes);
    for (size_t i = 0; i < n; i++) {
        q[i] = random_float(c, 10.0f);
        expected[i] = got[i] = 0.0f;
    }
    struct kernel_attention job = {.kv = cache_new(c->format, c->head_dim, c->capacity),
                                   .q = q,
                                   .out = expected,
                                   .stride = stride,
                                   .n_tokens = c->n_tokens,
                                   .n_heads = c->n_heads,
                                   .position = c->position,
                                   .window = c->window,
                                   .scale = 1.0f / sqrtf((float)c->head_dim),
                                   .softcap = c->softcap};
    bool ok = true;
    fill_cache(c, truth, &job.kv);
    memset(scratch, 0xff, scratch_bytes); /* nothing may be expected of it */
    truth->attention(&job, scratch);
    hash_floats(expected, n);
    job.out = got;
    for (int way = 0; way < 2; way++) {
        memset(got, 0, n_bytes);
        memset(scratch, 0xff, scratch_bytes);
        if (way == 0)
            table->attention(&job, scratch);
        else
            attention_in_parts(table, &job, scratch);
        check_result(check_same(expected, got, n),
                     "%s: attention%s: %s, %zu heads of %zu, %zu tokens at %zu, window %zu%s", table->isa,
                     way ? " in parts" : "", format_info(c->format)->name, c->n_heads, c->head_dim, c->n_tokens,
                     c->position, c->window, c->extreme ? ", extreme" : "");
    }
    for (size_t row = 0; row < c->n_tokens * c->n_heads && ok && !c->extreme && !c->nan && !check_quick; row++)
        ok = attention_near(table, &job, row, got + row / c->n_heads * stride + row % c->n_heads * c->head_dim);
    check_result(ok, "%s: attention: too far from the formula", table->isa);
    cache_free(&job.kv);
    check_guarded_free(scratch, scratch_bytes);
    check_guarded_free(q, n_bytes);
    check_guarded_free(expected, n_bytes);
    check_guarded_free(got, n_bytes);
}

void check_attentions(const struct kernel_table *truth, const struct kernel_table *table)
{
    static const enum format formats[] = {FORMAT_F32, FORMAT_F16, FORMAT_Q8_0};
    static const size_t dims[] = {1, 20, 32, 64, 72, 96, 128};
    /* heads, tokens, position of the first, window, capacity in tiles */
    static const size_t shapes[][5] = {{1, 1, 0, 0, 1},    {2, 1, 15, 0, 1},   {3, 1, 255, 0, 1},   {4, 1, 256, 0, 2},
                                       {5, 1, 700, 0, 3},  {6, 1, 300, 40, 1}, {7, 1, 511, 511, 2}, {1, 7, 60, 0, 1},
                                       {3, 17, 250, 0, 2}, {4, 5, 500, 19, 1}, {1, 20, 255, 5, 1},  {9, 6, 510, 240, 1},
                                       {50, 1, 33, 0, 1},  {2, 90, 200, 0, 2}, {1, 13, 1020, 0, 5}};
    size_t failures = check_failures();
    random_state = 2026; /* the same inputs whatever ran before: the hash is one number */
    hash = 0xcbf29ce484222325u;
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) {
        for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
            check_store(truth, table, formats[f], dims[d], false);
            check_store(truth, table, formats[f], dims[d], true);
            for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
                const size_t *shape = shapes[s];
                struct attention_case c = {.format = formats[f],
                                           .head_dim = dims[d],
                                           .n_heads = shape[0],
                                           .n_tokens = shape[1],
                                           .position = shape[2],
                                           .window = shape[3],
                                           .capacity = shape[4] * KERNEL_KV_TILE,
                                           .softcap = (s + d) % 3 == 0 ? 20.0f : 0.0f};
                check_attention(truth, table, &c);
                c.extreme = true;
                c.nan = (s + d) % 4 == 0;
                check_attention(truth, table, &c);
            }
        }
    }
    if (check_failures() == failures)
        check_result(hash == expected_hash, "scalar attention: hash 0x%016" PRIx64 ", recorded 0x%016" PRIx64, hash,
                     expected_hash);
}
