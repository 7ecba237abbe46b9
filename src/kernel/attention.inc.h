/* attention.inc.h - attention of one token's queries over one KV head, for any instruction set; part of ops.inc.h.
 *
 * Tiles of 64 positions, softmax online over them. The inner loops read the cache where it lies and take up to three
 * queries by four rows (or by four vectors of values): each cache row is converted once per three queries, and twelve
 * sums in flight, a row and three queries fill the sixteen registers of AVX2. Rows whose head_dim is not a multiple
 * of 8 are first unpacked to floats in scratch. Bit for bit, for each query, with s_i and v_i the score and the values
 * of the tile's visible positions in order, i = 0 ... n-1:
 *     s_i = dot(q, k_i) * scale, capped;  top' = max(top, s);  c = exp(top - top');  p_i = exp(s_i - top')
 *     sum = fma(sum, c, eight lanes over i, added in order, then the fixed tree);  o = fma(p_i, v_i, o * c) in order of
 * i and at the end out = o / sum.
 */
#include "kernel/ops.h"

struct attention_state {
    const struct kernel_attention *job;
    size_t n_q, width; /* queries of this group; head_dim rounded up to 8 */
    float *unpacked;   /* (KERNEL_KV_TILE, width), cache rows, where head_dim is not a multiple of 8 */
    float *q;          /* (n_q, width) */
    float *o;          /* (n_q, width), sums of values so far */
    float *scores;     /* (n_q, KERNEL_KV_TILE) */
    float top[OPS_ATTENTION_QUERIES], sum[OPS_ATTENTION_QUERIES], rescale[OPS_ATTENTION_QUERIES];
};

/* Rows of keys or values as the inner loops see them, a multiple of 8 elements each. */
struct attention_rows {
    const void *data;
    size_t n, slot; /* slot of the first in the cache */
    size_t stride;  /* in elements */
    bool f16;       /* else float */
};

static inline f32x8 attention_load(const void *data, size_t i, bool f16)
{
    return f16 ? f32x8_load_f16((const uint16_t *)data + i) : f32x8_load((const float *)data + i);
}

/* n elements as floats, zero-padded to a multiple of 8. */
static void attention_unpack(float *to, const void *from, size_t n, bool f16)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        f32x8_store(to + i, attention_load(from, i, f16));
    if (i == n) return;
    f32x8_store(to + i, f16 ? f32x8_load_f16_n((const uint16_t *)from + i, n - i)
                            : f32x8_load_n((const float *)from + i, n - i));
}

/* Where row `slot` of a cache lies: a number, since it is also used for prefetching past the end. */
static uintptr_t attention_address(const struct kernel_attention *job, const void *cache, size_t slot)
{
    return (uintptr_t)cache + slot * job->kv_stride * (job->kv_format == FORMAT_F16 ? 2 : 4);
}

/* n rows of a cache from `slot` on. */
static struct attention_rows attention_rows(const struct attention_state *state, const void *cache, size_t slot,
                                            size_t n)
{
    const struct kernel_attention *job = state->job;
    bool f16 = job->kv_format == FORMAT_F16;
    if (job->head_dim % 8 == 0)
        return (struct attention_rows){(const void *)attention_address(job, cache, slot), n, slot, job->kv_stride, f16};
    for (size_t i = 0; i < n; i++)
        attention_unpack(state->unpacked + i * state->width, (const void *)attention_address(job, cache, slot + i),
                         job->head_dim, f16);
    return (struct attention_rows){state->unpacked, n, slot, state->width, false};
}

/* The inner loops are compiled once for each number of queries and type of row: these arguments are constants. */
#define ATTENTION_INLINE static inline __attribute__((always_inline)) void

/* Keeps clang from fetching the next row early, which takes a seventeenth register: sums then go through memory. */
#define ATTENTION_BARRIER __asm__ volatile("" ::: "memory")

/* Dot products of n_q = 1 ... 3 queries with four rows, `at` their first elements. */
ATTENTION_INLINE attention_dot(int n_q, bool f16, const float *q, size_t width, const void *data, const size_t at[4],
                               float *out)
{
    const float *q1 = n_q > 1 ? q + width : q, *q2 = n_q > 2 ? q + 2 * width : q;
    const size_t at0 = at[0], at1 = at[1], at2 = at[2], at3 = at[3];
    f32x8 a0 = f32x8_zero(), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    f32x8 c0 = a0, c1 = a0, c2 = a0, c3 = a0;
    for (size_t d = 0; d < width; d += 8) {
        f32x8 x = f32x8_load(q + d), y = f32x8_load(q1 + d);
        f32x8 row = attention_load(data, at0 + d, f16);
        a0 = f32x8_fma(x, row, a0);
        if (n_q > 1) b0 = f32x8_fma(y, row, b0);
        if (n_q > 2) c0 = f32x8_fma(f32x8_load(q2 + d), row, c0);
        ATTENTION_BARRIER;
        row = attention_load(data, at1 + d, f16);
        a1 = f32x8_fma(x, row, a1);
        if (n_q > 1) b1 = f32x8_fma(y, row, b1);
        if (n_q > 2) c1 = f32x8_fma(f32x8_load(q2 + d), row, c1);
        ATTENTION_BARRIER;
        row = attention_load(data, at2 + d, f16);
        a2 = f32x8_fma(x, row, a2);
        if (n_q > 1) b2 = f32x8_fma(y, row, b2);
        if (n_q > 2) c2 = f32x8_fma(f32x8_load(q2 + d), row, c2);
        ATTENTION_BARRIER;
        row = attention_load(data, at3 + d, f16);
        a3 = f32x8_fma(x, row, a3);
        if (n_q > 1) b3 = f32x8_fma(y, row, b3);
        if (n_q > 2) c3 = f32x8_fma(f32x8_load(q2 + d), row, c3);
    }
    f32x8_sum4(out, a0, a1, a2, a3);
    if (n_q > 1) f32x8_sum4(out + KERNEL_KV_TILE, b0, b1, b2, b3);
    if (n_q > 2) f32x8_sum4(out + 2 * KERNEL_KV_TILE, c0, c1, c2, c3);
}

/* Asks for four rows of a cache. */
static void attention_prefetch(const struct kernel_attention *job, const void *cache, size_t slot)
{
    for (size_t i = slot; i < slot + 4; i++) {
        uintptr_t row = attention_address(job, cache, i);
        uintptr_t end = row + job->head_dim * (job->kv_format == FORMAT_F16 ? 2 : 4);
        for (; row < end; row += 64)
            __builtin_prefetch((const void *)row);
    }
}

ATTENTION_INLINE attention_dots_of(int n_q, bool f16, const struct attention_state *state,
                                   const struct attention_rows *rows, size_t q)
{
    for (size_t i = 0; i < rows->n; i += 4) {
        size_t at[4]; /* past the last row, the last one again: what it gives is not used */
        for (size_t j = 0; j < 4; j++)
            at[j] = (i + j < rows->n ? i + j : rows->n - 1) * rows->stride;
        if (q == 0) {
            attention_prefetch(state->job, state->job->k, rows->slot + i + 16);
            attention_prefetch(state->job, state->job->v, rows->slot + i);
        }
        attention_dot(n_q, f16, state->q + q * state->width, state->width, rows->data, at,
                      state->scores + q * KERNEL_KV_TILE + i);
    }
}

/* Dot products of n positions to scores, in place; the largest. What is past n, up to a multiple of 8, becomes
 * -infinity: weight 0. */
static float attention_scale(float *scores, size_t n, float scale, float softcap)
{
    for (size_t i = 0; i < n; i += 8) {
        f32x8 s = f32x8_mul(ops_load(scores + i, n - i), f32x8_set1(scale));
        if (softcap != 0.0f) s = ops_cap(s, f32x8_set1(softcap));
        ops_store(scores + i, s, n - i);
    }
    for (; n % 8 != 0; n++)
        scores[n] = -INFINITY;
    f32x8 top = f32x8_load(scores);
    for (size_t i = 8; i < n; i += 8)
        top = f32x8_max(top, f32x8_load(scores + i));
    return f32x8_hmax(top);
}

/* Turns n dot products per query into weights relative to the new top; updates top, sum and rescale. */
static void attention_weights(struct attention_state *state, size_t n)
{
    float top[OPS_ATTENTION_QUERIES];
    memcpy(top, state->top, sizeof top);
    for (size_t q = 0; q < state->n_q; q++) {
        float tile = attention_scale(state->scores + q * KERNEL_KV_TILE, n, state->job->scale, state->job->softcap);
        if (tile > top[q]) top[q] = tile;
    }
    for (size_t q = 0; q < state->n_q; q += 8)
        f32x8_store(state->rescale + q, f32x8_exp(f32x8_sub(f32x8_load(state->top + q), f32x8_load(top + q))));
    for (size_t q = 0; q < state->n_q; q++) {
        float *scores = state->scores + q * KERNEL_KV_TILE;
        f32x8 sum = f32x8_zero(), above = f32x8_set1(top[q]);
        for (size_t i = 0; i < n; i += 8) {
            f32x8 p = f32x8_exp(f32x8_sub(f32x8_load(scores + i), above));
            f32x8_store(scores + i, p);
            sum = f32x8_add(sum, p);
        }
        state->sum[q] = fmaf(state->sum[q], state->rescale[q], f32x8_sum(sum));
        state->top[q] = top[q];
    }
}

ATTENTION_INLINE attention_put(float *o, f32x8 a, f32x8 b, f32x8 c, f32x8 d, bool wide)
{
    f32x8_store(o, a);
    if (!wide) return;
    f32x8_store(o + 8, b);
    f32x8_store(o + 16, c);
    f32x8_store(o + 24, d);
}

/* o += p[i] * row i over all rows, for n_q = 1 ... 3 queries and 32 values (wide) or 8 from the `at`-th on. */
ATTENTION_INLINE attention_add(int n_q, bool f16, bool wide, float *o, size_t width, const float *p,
                               const struct attention_rows *rows, size_t at)
{
    const size_t s1 = wide ? 8 : 0, s2 = wide ? 16 : 0, s3 = wide ? 24 : 0;
    float *o1 = n_q > 1 ? o + width : o, *o2 = n_q > 2 ? o + 2 * width : o;
    f32x8 a0 = f32x8_load(o), a1 = f32x8_load(o + s1), a2 = f32x8_load(o + s2), a3 = f32x8_load(o + s3);
    f32x8 b0 = f32x8_load(o1), b1 = f32x8_load(o1 + s1), b2 = f32x8_load(o1 + s2), b3 = f32x8_load(o1 + s3);
    f32x8 c0 = f32x8_load(o2), c1 = f32x8_load(o2 + s1), c2 = f32x8_load(o2 + s2), c3 = f32x8_load(o2 + s3);
    const void *data = rows->data;
    for (size_t i = 0, n = rows->n, stride = rows->stride; i < n; i++, at += stride) {
        f32x8 x = f32x8_set1(p[i]), y = x, z = x, row = attention_load(data, at, f16);
        if (n_q > 1) y = f32x8_set1(p[i + KERNEL_KV_TILE]);
        if (n_q > 2) z = f32x8_set1(p[i + 2 * KERNEL_KV_TILE]);
        a0 = f32x8_fma(x, row, a0);
        if (n_q > 1) b0 = f32x8_fma(y, row, b0);
        if (n_q > 2) c0 = f32x8_fma(z, row, c0);
        if (!wide) continue;
        ATTENTION_BARRIER;
        row = attention_load(data, at + 8, f16);
        a1 = f32x8_fma(x, row, a1);
        if (n_q > 1) b1 = f32x8_fma(y, row, b1);
        if (n_q > 2) c1 = f32x8_fma(z, row, c1);
        ATTENTION_BARRIER;
        row = attention_load(data, at + 16, f16);
        a2 = f32x8_fma(x, row, a2);
        if (n_q > 1) b2 = f32x8_fma(y, row, b2);
        if (n_q > 2) c2 = f32x8_fma(z, row, c2);
        ATTENTION_BARRIER;
        row = attention_load(data, at + 24, f16);
        a3 = f32x8_fma(x, row, a3);
        if (n_q > 1) b3 = f32x8_fma(y, row, b3);
        if (n_q > 2) c3 = f32x8_fma(z, row, c3);
    }
    attention_put(o, a0, a1, a2, a3, wide);
    if (n_q > 1) attention_put(o1, b0, b1, b2, b3, wide);
    if (n_q > 2) attention_put(o2, c0, c1, c2, c3, wide);
}

ATTENTION_INLINE attention_values_of(int n_q, bool f16, const struct attention_state *state,
                                     const struct attention_rows *rows, size_t q)
{
    const float *p = state->scores + q * KERNEL_KV_TILE;
    float *o = state->o + q * state->width;
    size_t d = 0;
    for (; d + 32 <= state->width; d += 32)
        attention_add(n_q, f16, true, o + d, state->width, p, rows, d);
    for (; d < state->width; d += 8)
        attention_add(n_q, f16, false, o + d, state->width, p, rows, d);
}

#define ATTENTION_VARIANT(n_q, name, f16)                                                                             \
    static void attention_dots_##n_q##_##name(const struct attention_state *state, const struct attention_rows *rows, \
                                              size_t q)                                                               \
    {                                                                                                                 \
        attention_dots_of(n_q, f16, state, rows, q);                                                                  \
    }                                                                                                                 \
    static void attention_values_##n_q##_##name(const struct attention_state *state,                                  \
                                                const struct attention_rows *rows, size_t q)                          \
    {                                                                                                                 \
        attention_values_of(n_q, f16, state, rows, q);                                                                \
    }
ATTENTION_VARIANT(1, f32, false)
ATTENTION_VARIANT(2, f32, false)
ATTENTION_VARIANT(3, f32, false)
ATTENTION_VARIANT(1, f16, true)
ATTENTION_VARIANT(2, f16, true)
ATTENTION_VARIANT(3, f16, true)

typedef void attention_loop(const struct attention_state *state, const struct attention_rows *rows, size_t q);
static attention_loop *const attention_dots[2][3] = {
    {attention_dots_1_f32, attention_dots_2_f32, attention_dots_3_f32},
    {attention_dots_1_f16, attention_dots_2_f16, attention_dots_3_f16},
};
static attention_loop *const attention_values[2][3] = {
    {attention_values_1_f32, attention_values_2_f32, attention_values_3_f32},
    {attention_values_1_f16, attention_values_2_f16, attention_values_3_f16},
};

static void attention_run(attention_loop *const loops[2][3], const struct attention_state *state,
                          const struct attention_rows *rows)
{
    for (size_t q = 0, n_q; q < state->n_q; q += n_q) {
        size_t left = state->n_q - q;
        n_q = left == 4 ? 2 : left < 3 ? left : 3; /* 2 + 2 is faster than 3 + 1 */
        loops[rows->f16][n_q - 1](state, rows, q);
    }
}

static void attention_tile(struct attention_state *state, size_t begin, size_t end)
{
    size_t slot = begin % state->job->capacity, n = end - begin;
    struct attention_rows rows = attention_rows(state, state->job->k, slot, n);
    attention_run(attention_dots, state, &rows);
    attention_weights(state, n);
    for (size_t q = 0; q < state->n_q; q++) {
        if (state->rescale[q] == 1.0f) continue; /* the top did not move */
        float *o = state->o + q * state->width;
        f32x8 factor = f32x8_set1(state->rescale[q]);
        for (size_t d = 0; d < state->width; d += 8)
            f32x8_store(o + d, f32x8_mul(f32x8_load(o + d), factor));
    }
    rows = attention_rows(state, state->job->v, slot, n);
    attention_run(attention_values, state, &rows);
}

static void attention_group(const struct kernel_attention *job, size_t first, size_t n_q, float *scratch)
{
    size_t width = (job->head_dim + 7) / 8 * 8;
    struct attention_state state = {.job = job, .n_q = n_q, .width = width, .unpacked = scratch};
    state.q = state.unpacked + KERNEL_KV_TILE * width;
    state.o = state.q + OPS_ATTENTION_QUERIES * width;
    state.scores = state.o + OPS_ATTENTION_QUERIES * width;
    for (size_t q = 0; q < n_q; q++) {
        attention_unpack(state.q + q * width, job->q + (first + q) * job->head_dim, job->head_dim, false);
        state.top[q] = -INFINITY;
    }
    memset(state.o, 0, n_q * width * sizeof *state.o);
    for (size_t begin = job->begin, end; begin < job->end; begin = end) {
        end = (begin / KERNEL_KV_TILE + 1) * KERNEL_KV_TILE;
        if (end > job->end) end = job->end;
        attention_tile(&state, begin, end);
    }
    for (size_t q = 0; q < n_q; q++) {
        float *out = job->out + (first + q) * job->head_dim;
        f32x8 sum = f32x8_set1(state.sum[q]);
        for (size_t d = 0; d < job->head_dim; d += 8)
            ops_store(out + d, f32x8_div(f32x8_load(state.o + q * width + d), sum), job->head_dim - d);
    }
}

static void ops_attention(const struct kernel_attention *job, void *scratch)
{
    for (size_t q = 0; q < job->n_q; q += OPS_ATTENTION_QUERIES) {
        size_t n_q = job->n_q - q < OPS_ATTENTION_QUERIES ? job->n_q - q : OPS_ATTENTION_QUERIES;
        attention_group(job, q, n_q, scratch);
    }
}
