/* attention.inc.h - attention of one token's queries over one KV head, for any instruction set; part of ops.inc.h.
 *
 * Tiles of 64 positions, softmax online over them. Inside a tile the cache rows are unpacked to floats 16 at a time,
 * once for all queries, and loops take two queries by four rows (or by four vectors of values) so that eight sums
 * are in flight. Bit for bit, for each query, with v = the tile's visible positions in order, i = 0 ... n-1:
 *     s_i = dot(q, k_i) * scale, capped;  top' = max(top, s);  c = exp(top - top');  p_i = exp(s_i - top')
 *     sum = fma(sum, c, eight lanes over i, added in order, then the fixed tree);  o = fma(p_i, v_i, o * c) in order of
 * i and at the end out = o / sum.
 */
#include "kernel/ops.h"

struct attention_state {
    size_t n_q, width; /* queries of this group; head_dim rounded up to 8 */
    float *rows;       /* (OPS_ATTENTION_ROWS, width), cache rows being used */
    float *q;          /* (n_q, width) */
    float *o;          /* (n_q, width), sums of values so far */
    float *scores;     /* (n_q, KERNEL_KV_TILE) */
    float top[OPS_ATTENTION_QUERIES], sum[OPS_ATTENTION_QUERIES], rescale[OPS_ATTENTION_QUERIES];
};

/* n floats to a multiple of 8, zero-padded. */
static void attention_copy(float *to, const float *from, size_t n)
{
    for (size_t i = 0; i < n; i += 8)
        f32x8_store(to + i, ops_load(from + i, n - i));
}

static void attention_copy_f16(float *to, const uint16_t *from, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        f32x8_store(to + i, f32x8_load_f16(from + i));
    if (i < n) f32x8_store(to + i, f32x8_load_f16_n(from + i, n - i));
}

/* n rows of the cache from `slot` on, as floats; followed by rows of zeros up to a multiple of 4. */
static void attention_unpack(const struct attention_state *state, const struct kernel_attention *job, const void *cache,
                             size_t slot, size_t n)
{
    float *to = state->rows;
    for (size_t i = slot; i < slot + n; i++, to += state->width) {
        if (job->kv_format == FORMAT_F16)
            attention_copy_f16(to, (const uint16_t *)cache + i * job->kv_stride, job->head_dim);
        else
            attention_copy(to, (const float *)cache + i * job->kv_stride, job->head_dim);
    }
    for (; n % 4 != 0; n++, to += state->width)
        memset(to, 0, state->width * sizeof *to);
}

/* Four dot products of one query, and of two. */
static inline void attention_dot_1x4(const float *q, const float *k, size_t width, float *out)
{
    const float *k1 = k + width, *k2 = k1 + width, *k3 = k2 + width;
    f32x8 a0 = f32x8_zero(), a1 = a0, a2 = a0, a3 = a0;
    for (size_t d = 0; d < width; d += 8) {
        f32x8 x = f32x8_load(q + d);
        a0 = f32x8_fma(x, f32x8_load(k + d), a0);
        a1 = f32x8_fma(x, f32x8_load(k1 + d), a1);
        a2 = f32x8_fma(x, f32x8_load(k2 + d), a2);
        a3 = f32x8_fma(x, f32x8_load(k3 + d), a3);
    }
    f32x8_sum4(out, a0, a1, a2, a3);
}

static inline void attention_dot_2x4(const float *q, const float *k, size_t width, float *out)
{
    const float *k1 = k + width, *k2 = k1 + width, *k3 = k2 + width, *q1 = q + width;
    f32x8 a0 = f32x8_zero(), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    for (size_t d = 0; d < width; d += 8) {
        f32x8 x = f32x8_load(q + d), y = f32x8_load(q1 + d), row = f32x8_load(k + d);
        a0 = f32x8_fma(x, row, a0);
        b0 = f32x8_fma(y, row, b0);
        row = f32x8_load(k1 + d);
        a1 = f32x8_fma(x, row, a1);
        b1 = f32x8_fma(y, row, b1);
        row = f32x8_load(k2 + d);
        a2 = f32x8_fma(x, row, a2);
        b2 = f32x8_fma(y, row, b2);
        row = f32x8_load(k3 + d);
        a3 = f32x8_fma(x, row, a3);
        b3 = f32x8_fma(y, row, b3);
    }
    f32x8_sum4(out, a0, a1, a2, a3);
    f32x8_sum4(out + KERNEL_KV_TILE, b0, b1, b2, b3);
}

/* Dot products with n positions of a tile, the first in `slot`. */
static void attention_dots(const struct attention_state *state, const struct kernel_attention *job, size_t slot,
                           size_t n)
{
    for (size_t begin = 0; begin < n; begin += OPS_ATTENTION_ROWS) {
        size_t n_rows = n - begin < OPS_ATTENTION_ROWS ? n - begin : OPS_ATTENTION_ROWS;
        attention_unpack(state, job, job->k, slot + begin, n_rows);
        for (size_t i = 0; i < n_rows; i += 4) {
            const float *k = state->rows + i * state->width;
            float *out = state->scores + begin + i;
            size_t q = 0;
            for (; q + 2 <= state->n_q; q += 2)
                attention_dot_2x4(state->q + q * state->width, k, state->width, out + q * KERNEL_KV_TILE);
            if (q < state->n_q)
                attention_dot_1x4(state->q + q * state->width, k, state->width, out + q * KERNEL_KV_TILE);
        }
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
static void attention_weights(struct attention_state *state, const struct kernel_attention *job, size_t n)
{
    float top[OPS_ATTENTION_QUERIES];
    memcpy(top, state->top, sizeof top);
    for (size_t q = 0; q < state->n_q; q++) {
        float tile = attention_scale(state->scores + q * KERNEL_KV_TILE, n, job->scale, job->softcap);
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

/* o += p[i] * row i, n rows, over eight values of one query; over 32 of one; over 32 of two. */
static inline void attention_add_1x1(float *o, const float *p, const float *v, size_t width, size_t n)
{
    f32x8 a = f32x8_load(o);
    for (size_t i = 0; i < n; i++, v += width)
        a = f32x8_fma(f32x8_set1(p[i]), f32x8_load(v), a);
    f32x8_store(o, a);
}

static inline void attention_add_1x4(float *o, const float *p, const float *v, size_t width, size_t n)
{
    f32x8 a0 = f32x8_load(o), a1 = f32x8_load(o + 8), a2 = f32x8_load(o + 16), a3 = f32x8_load(o + 24);
    for (size_t i = 0; i < n; i++, v += width) {
        f32x8 x = f32x8_set1(p[i]);
        a0 = f32x8_fma(x, f32x8_load(v), a0);
        a1 = f32x8_fma(x, f32x8_load(v + 8), a1);
        a2 = f32x8_fma(x, f32x8_load(v + 16), a2);
        a3 = f32x8_fma(x, f32x8_load(v + 24), a3);
    }
    f32x8_store(o, a0);
    f32x8_store(o + 8, a1);
    f32x8_store(o + 16, a2);
    f32x8_store(o + 24, a3);
}

static inline void attention_add_2x4(float *o, const float *p, const float *v, size_t width, size_t n)
{
    float *o1 = o + width;
    f32x8 a0 = f32x8_load(o), a1 = f32x8_load(o + 8), a2 = f32x8_load(o + 16), a3 = f32x8_load(o + 24);
    f32x8 b0 = f32x8_load(o1), b1 = f32x8_load(o1 + 8), b2 = f32x8_load(o1 + 16), b3 = f32x8_load(o1 + 24);
    for (size_t i = 0; i < n; i++, v += width) {
        f32x8 x = f32x8_set1(p[i]), y = f32x8_set1(p[i + KERNEL_KV_TILE]), row = f32x8_load(v);
        a0 = f32x8_fma(x, row, a0);
        b0 = f32x8_fma(y, row, b0);
        row = f32x8_load(v + 8);
        a1 = f32x8_fma(x, row, a1);
        b1 = f32x8_fma(y, row, b1);
        row = f32x8_load(v + 16);
        a2 = f32x8_fma(x, row, a2);
        b2 = f32x8_fma(y, row, b2);
        row = f32x8_load(v + 24);
        a3 = f32x8_fma(x, row, a3);
        b3 = f32x8_fma(y, row, b3);
    }
    f32x8_store(o, a0);
    f32x8_store(o + 8, a1);
    f32x8_store(o + 16, a2);
    f32x8_store(o + 24, a3);
    f32x8_store(o1, b0);
    f32x8_store(o1 + 8, b1);
    f32x8_store(o1 + 16, b2);
    f32x8_store(o1 + 24, b3);
}

/* Adds n weighted rows of values, the first in `slot`. */
static void attention_values(const struct attention_state *state, const struct kernel_attention *job, size_t slot,
                             size_t n)
{
    size_t width = state->width;
    for (size_t begin = 0; begin < n; begin += OPS_ATTENTION_ROWS) {
        size_t n_rows = n - begin < OPS_ATTENTION_ROWS ? n - begin : OPS_ATTENTION_ROWS, q = 0, d;
        attention_unpack(state, job, job->v, slot + begin, n_rows);
        for (; q < state->n_q; q++) {
            const float *p = state->scores + q * KERNEL_KV_TILE + begin;
            float *o = state->o + q * width;
            bool two = q + 2 <= state->n_q;
            for (d = 0; d + 32 <= width; d += 32) {
                if (two)
                    attention_add_2x4(o + d, p, state->rows + d, width, n_rows);
                else
                    attention_add_1x4(o + d, p, state->rows + d, width, n_rows);
            }
            for (; d < width; d += 8) {
                attention_add_1x1(o + d, p, state->rows + d, width, n_rows);
                if (two) attention_add_1x1(o + width + d, p + KERNEL_KV_TILE, state->rows + d, width, n_rows);
            }
            if (two) q++;
        }
    }
}

static void attention_tile(struct attention_state *state, const struct kernel_attention *job, size_t begin, size_t end)
{
    size_t slot = begin % job->capacity;
    attention_dots(state, job, slot, end - begin);
    attention_weights(state, job, end - begin);
    for (size_t q = 0; q < state->n_q; q++) {
        if (state->rescale[q] == 1.0f) continue; /* the top did not move */
        float *o = state->o + q * state->width;
        f32x8 factor = f32x8_set1(state->rescale[q]);
        for (size_t d = 0; d < state->width; d += 8)
            f32x8_store(o + d, f32x8_mul(f32x8_load(o + d), factor));
    }
    attention_values(state, job, slot, end - begin);
}

static void attention_group(const struct kernel_attention *job, size_t first, size_t n_q, float *scratch)
{
    size_t width = (job->head_dim + 7) / 8 * 8;
    struct attention_state state = {.n_q = n_q, .width = width, .rows = scratch};
    state.q = state.rows + OPS_ATTENTION_ROWS * width;
    state.o = state.q + OPS_ATTENTION_QUERIES * width;
    state.scores = state.o + OPS_ATTENTION_QUERIES * width;
    for (size_t q = 0; q < n_q; q++) {
        attention_copy(state.q + q * width, job->q + (first + q) * job->head_dim, job->head_dim);
        state.top[q] = -INFINITY;
    }
    memset(state.o, 0, n_q * width * sizeof *state.o);
    for (size_t begin = job->begin, end; begin < job->end; begin = end) {
        end = (begin / KERNEL_KV_TILE + 1) * KERNEL_KV_TILE;
        if (end > job->end) end = job->end;
        attention_tile(&state, job, begin, end);
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
