/* matmul_row.inc.h - products of block formats for one token: the weights are read once, from memory.
 *
 * Eight rows at once: a lane is a row, so the chain of sums in kernel.h is simply the order of the instructions. One
 * step takes a block of each of the eight rows (a group) and meanwhile asks for as many bytes of the next eight rows,
 * in the order in which they lie: so memory sees a single stream, and the eight rows at work are in the cache.
 */

enum { ROWS_AT_ONCE = 8 };

/* A block of each of eight rows, and the activations that it meets. */
struct group {
    const uint8_t *p; /* the first row's block; */
    size_t stride;    /* the next row's is this many bytes further */
    int part;         /* of blocks of more than 32 elements: which 32 of them; -1: all in turn */
    const int8_t *q;  /* codes, scales and sums as in struct act_row */
    const float *d, *s;
    const int16_t *sums;
};

/* The chain goes on from acc. */
typedef f32x8 group_fn(const struct group *g, f32x8 acc);

/* What a residual adds: 32 elements of a block that was just read. */
I8_INLINE f32x8 rows_residual(const struct kernel_matmul *job, const uint8_t *rows, const struct act_residual *r,
                              size_t block_elements, size_t block_bytes, group_fn *group, f32x8 acc)
{
    size_t per_block = block_elements / 32;
    struct group g = {
        .p = rows + r->block / per_block * block_bytes,
        .stride = job->row_bytes,
        .part = (int)(r->block % per_block),
        .q = r->q,
        .d = &r->d,
        .s = &r->s,
        .sums = r->sums,
    };
    return group(&g, acc);
}

/* Eight rows; `group` is inlined. */
I8_INLINE f32x8 rows_eight(const struct kernel_matmul *job, const uint8_t *rows, const struct act_row *a, bool super,
                           size_t block_elements, size_t block_bytes, group_fn *group)
{
    const uint8_t *p = rows, *ahead = rows + ROWS_AT_ONCE * job->row_bytes;
    const struct act_residual *residual = a->residuals;
    f32x8 acc = f32x8_zero();
    for (size_t at = 0; at < job->k;) {
        size_t end = job->k - at < UNPACK_PIECE ? job->k : at + UNPACK_PIECE;
        for (; at < end; at += block_elements, p += block_bytes, ahead += ROWS_AT_ONCE * block_bytes) {
            size_t b = at / (super ? 256 : 32);
            struct group g = {p, job->row_bytes, -1, a->q + at, a->d + b, super ? NULL : a->s + b, a->sums + at / 16};
            for (size_t i = 0; i < ROWS_AT_ONCE * block_bytes; i += 64)
                __builtin_prefetch(ahead + i);
            acc = group(&g, acc);
        }
        for (; !super && residual < a->residuals + ACT_RESIDUALS && residual->block < end / 32; residual++)
            acc = rows_residual(job, rows, residual, block_elements, block_bytes, group, acc);
    }
    return acc;
}

/* At least eight rows. */
I8_INLINE void rows_run(const struct kernel_matmul *job, size_t row, size_t row_end, bool super, size_t block_elements,
                        size_t block_bytes, group_fn *group)
{
    struct act_row a = act_row_at(super ? ACT_Q8_256 : ACT_Q8_32, job->k, job->acts);
    for (; row < row_end; row += ROWS_AT_ONCE) {
        if (row_end - row < ROWS_AT_ONCE) row = row_end - ROWS_AT_ONCE; /* some of them a second time */
        const uint8_t *rows = (const uint8_t *)job->weights + row * job->row_bytes;
        f32x8 acc = rows_eight(job, rows, &a, super, block_elements, block_bytes, group);
        if (job->scale != 1.0f) acc = f32x8_mul(acc, f32x8_set1(job->scale));
        if (job->bias) acc = f32x8_add(acc, f32x8_load(job->bias + row));
        f32x8_store(job->out + row, acc);
    }
}

/* ---- blocks of 32 ------------------------------------------------------------------------------ */

/* offset: what the codes in `sums` have too much. */
I8_INLINE f32x8 group_sums(const struct group *g, i32x8 sums, int offset)
{
    return f32x8_from_i32(offset ? i32x8_add(sums, i8_times_sums(g->sums, -offset)) : sums);
}

I8_INLINE f32x8 group_add(const struct group *g, i32x8 sums, int offset, f32x8 d, f32x8 acc)
{
    return f32x8_fma(f32x8_mul(d, f32x8_set1(*g->d)), group_sums(g, sums, offset), acc);
}

/* With the scales and minimums at the head of each block. */
I8_INLINE f32x8 group_add_mins(const struct group *g, i32x8 sums, f32x8 acc)
{
    f32x8 d, m;
    f32x8_gather_f16_pairs(g->p, g->stride, &d, &m);
    return f32x8_fma(m, f32x8_set1(*g->s), group_add(g, sums, 0, d, acc));
}

I8_INLINE f32x8 group_q4_0(const struct group *g, f32x8 acc)
{
    i32x8 sums = i8_group_nibbles(g->p + 2, g->stride, g->q, NULL, 15);
    return group_add(g, sums, 8, f32x8_gather_f16(g->p, g->stride), acc);
}

I8_INLINE f32x8 group_q4_1(const struct group *g, f32x8 acc)
{
    return group_add_mins(g, i8_group_nibbles(g->p + 4, g->stride, g->q, NULL, 15), acc);
}

I8_INLINE f32x8 group_q5_0(const struct group *g, f32x8 acc)
{
    i32x8 sums = i8_group_codes(codes_q5_0, g->p, g->stride, g->q, 31);
    return group_add(g, sums, 16, f32x8_gather_f16(g->p, g->stride), acc);
}

I8_INLINE f32x8 group_q5_1(const struct group *g, f32x8 acc)
{
    return group_add_mins(g, i8_group_codes(codes_q5_1, g->p, g->stride, g->q, 31), acc);
}

I8_INLINE f32x8 group_q8_0(const struct group *g, f32x8 acc)
{
    i32x8 sums = i8_group_codes(codes_q8_0, g->p, g->stride, g->q, 255);
    return group_add(g, sums, I8_OFFSET_S, f32x8_gather_f16(g->p, g->stride), acc);
}

I8_INLINE f32x8 group_iq4_nl(const struct group *g, f32x8 acc)
{
    i32x8 sums = i8_group_nibbles(g->p + 2, g->stride, g->q, smallfloat_iq4_nl, 255);
    return group_add(g, sums, I8_OFFSET_S, f32x8_gather_f16(g->p, g->stride), acc);
}

I8_INLINE f32x8 group_mxfp4(const struct group *g, f32x8 acc)
{
    i32x8 sums = i8_group_nibbles(g->p + 1, g->stride, g->q, e2m1_x2_up, 24);
    return group_add(g, sums, 12, f32x8_gather_e8m0_half(g->p, g->stride), acc);
}

/* t of kernel.h times the activation's scale. A residual meets both halves of the block, and one of them counts. */
I8_INLINE f32x8 group_nvfp4(const struct group *g, f32x8 acc)
{
    f32x8 t[2];
    if (g->part < 0) {
        i8_group_nvfp4(g->p, g->stride, g->q, g->sums, e2m1_x2_up, t);
        acc = f32x8_fma(t[0], f32x8_set1(g->d[0]), acc);
        return f32x8_fma(t[1], f32x8_set1(g->d[1]), acc);
    }
    int8_t q[64];
    int16_t sums[4] = {g->sums[0], g->sums[1], g->sums[0], g->sums[1]};
    memcpy(q, g->q, 32);
    memcpy(q + 32, g->q, 32);
    i8_group_nvfp4(g->p, g->stride, q, sums, e2m1_x2_up, t);
    return f32x8_fma(t[g->part], f32x8_set1(*g->d), acc);
}

/* ---- super-blocks ------------------------------------------------------------------------------ */

/* The sum of one super-block, still spread over lanes. */
I8_INLINE i32x8 super_sum(const uint8_t *p, i8x32 (*codes)(const uint8_t *, int), i16x16 scales, const int8_t *q,
                          const int16_t *sums, bool is_signed, int offset)
{
    i8_scales pairs = i8_scales_from(scales);
    i32x8 sum = offset ? i8_scaled_sums(i32x8_zero(), scales, sums, -offset) : i32x8_zero();
    UNROLL(8)
    for (int j = 0; j < 8; j++) {
        i8x32 w = codes(p, j), x = i8x32_load(q + 32 * j);
        sum = is_signed ? i8_dot_scaled_s(sum, w, x, pairs, j) : i8_dot_scaled_u(sum, w, x, pairs, j);
    }
    return sum;
}

I8_INLINE f32x8 group_super(const struct group *g, f32x8 acc, size_t offset_d, i8x32 (*codes)(const uint8_t *, int),
                            void (*scales_of)(const uint8_t *, i16x16 *, i16x16 *), bool has_min, bool is_signed,
                            int offset)
{
    i32x8 part[ROWS_AT_ONCE], part_min[ROWS_AT_ONCE];
    for (size_t r = 0; r < ROWS_AT_ONCE; r++) {
        const uint8_t *block = g->p + g->stride * r;
        i16x16 scales, mins;
        scales_of(block, &scales, &mins);
        part[r] = super_sum(block, codes, scales, g->q, g->sums, is_signed, offset);
        if (has_min) part_min[r] = i8_scaled_sums(i32x8_zero(), mins, g->sums, 1);
    }
    f32x8 d_act = f32x8_set1(*g->d), d, m;
    if (!has_min) {
        d = f32x8_gather_f16(g->p + offset_d, g->stride);
        return f32x8_fma(f32x8_mul(d, d_act), f32x8_from_i32(i32x8_sums8(part)), acc);
    }
    f32x8_gather_f16_pairs(g->p + offset_d, g->stride, &d, &m);
    acc = f32x8_fma(f32x8_mul(d, d_act), f32x8_from_i32(i32x8_sums8(part)), acc);
    return f32x8_fnma(f32x8_mul(m, d_act), f32x8_from_i32(i32x8_sums8(part_min)), acc);
}

I8_INLINE f32x8 group_q2_k(const struct group *g, f32x8 acc)
{
    return group_super(g, acc, 80, codes_q2_k, scales_q2_k, true, false, 0);
}

I8_INLINE f32x8 group_q3_k(const struct group *g, f32x8 acc)
{
    return group_super(g, acc, 108, codes_q3_k, scales_q3_k, false, false, 4);
}

/* Q4_K, Q5_K: scales of 32 elements, unpacked for all eight rows together. */
I8_INLINE f32x8 group_k4(const struct group *g, f32x8 acc, i8x32 (*codes)(const uint8_t *, int))
{
    uint32_t scales[8][ROWS_AT_ONCE];
    i32x8 part[ROWS_AT_ONCE], min = i8_scales_k4(g->p, g->stride, g->sums, scales);
    f32x8 d_act = f32x8_set1(*g->d), d, m;
    for (size_t first = 0; first < ROWS_AT_ONCE; first += ROWS_TOGETHER) { /* which share the activations they load */
        i32x8 sum[ROWS_TOGETHER];
        UNROLL(4)
        for (size_t r = 0; r < ROWS_TOGETHER; r++)
            sum[r] = i32x8_zero();
        UNROLL(8)
        for (int j = 0; j < 8; j++) {
            i8x32 x = i8x32_load(g->q + 32 * j);
            UNROLL(4)
            for (size_t r = 0; r < ROWS_TOGETHER; r++)
                sum[r] = i8_dot_times_u(sum[r], codes(g->p + g->stride * (first + r), j), x, &scales[j][first + r]);
        }
        UNROLL(4)
        for (size_t r = 0; r < ROWS_TOGETHER; r++)
            part[first + r] = sum[r];
    }
    f32x8_gather_f16_pairs(g->p, g->stride, &d, &m);
    acc = f32x8_fma(f32x8_mul(d, d_act), f32x8_from_i32(i32x8_sums8(part)), acc);
    return f32x8_fnma(f32x8_mul(m, d_act), f32x8_from_i32(min), acc);
}

I8_INLINE f32x8 group_q4_k(const struct group *g, f32x8 acc)
{
    return group_k4(g, acc, codes_q4_k);
}

I8_INLINE f32x8 group_q5_k(const struct group *g, f32x8 acc)
{
    return group_k4(g, acc, codes_q5_k);
}

I8_INLINE f32x8 group_q6_k(const struct group *g, f32x8 acc)
{
    return group_super(g, acc, 208, codes_q6_k, scales_q6_k, false, false, 32);
}

I8_INLINE f32x8 group_iq4_xs(const struct group *g, f32x8 acc)
{
    return group_super(g, acc, 0, codes_iq4_xs, scales_iq4_xs, false, true, 0);
}

#include "kernel/matmul_row_grid.inc.h"

/* ---- by format --------------------------------------------------------------------------------- */

#define ROWS(name, super, block_elements, block_bytes)                                 \
    static void rows_##name(const struct kernel_matmul *job, size_t begin, size_t end) \
    {                                                                                  \
        rows_run(job, begin, end, super, block_elements, block_bytes, group_##name);   \
    }

ROWS(q4_0, false, 32, 18)
ROWS(q4_1, false, 32, 20)
ROWS(q5_0, false, 32, 22)
ROWS(q5_1, false, 32, 24)
ROWS(q8_0, false, 32, 34)
ROWS(iq4_nl, false, 32, 18)
ROWS(mxfp4, false, 32, 17)
ROWS(nvfp4, false, 64, 36)
ROWS(q1_0, false, 128, 18)
ROWS(q2_0, false, 64, 18)
ROWS(q2_k, true, 256, 84)
ROWS(q3_k, true, 256, 110)
ROWS(q4_k, true, 256, 144)
ROWS(q5_k, true, 256, 176)
ROWS(q6_k, true, 256, 210)
ROWS(iq4_xs, true, 256, 136)
ROWS(iq3_s, true, 256, 110)
ROWS(iq3_xxs, true, 256, 98)
ROWS(iq2_s, true, 256, 82)
ROWS(iq2_xs, true, 256, 74)
ROWS(iq2_xxs, true, 256, 66)
ROWS(iq1_m, true, 256, 56)
ROWS(iq1_s, true, 256, 50)
ROWS(tq1_0, true, 256, 54)
ROWS(tq2_0, true, 256, 66)

static void (*const rows_of[FORMAT_COUNT])(const struct kernel_matmul *job, size_t begin, size_t end) = {
    [FORMAT_Q4_0] = rows_q4_0,     [FORMAT_Q4_1] = rows_q4_1,     [FORMAT_Q5_0] = rows_q5_0,
    [FORMAT_Q5_1] = rows_q5_1,     [FORMAT_Q8_0] = rows_q8_0,     [FORMAT_IQ4_NL] = rows_iq4_nl,
    [FORMAT_MXFP4] = rows_mxfp4,   [FORMAT_NVFP4] = rows_nvfp4,   [FORMAT_Q1_0] = rows_q1_0,
    [FORMAT_Q2_0] = rows_q2_0,     [FORMAT_Q2_K] = rows_q2_k,     [FORMAT_Q3_K] = rows_q3_k,
    [FORMAT_Q4_K] = rows_q4_k,     [FORMAT_Q5_K] = rows_q5_k,     [FORMAT_Q6_K] = rows_q6_k,
    [FORMAT_IQ4_XS] = rows_iq4_xs, [FORMAT_IQ3_S] = rows_iq3_s,   [FORMAT_IQ3_XXS] = rows_iq3_xxs,
    [FORMAT_IQ2_S] = rows_iq2_s,   [FORMAT_IQ2_XS] = rows_iq2_xs, [FORMAT_IQ2_XXS] = rows_iq2_xxs,
    [FORMAT_IQ1_M] = rows_iq1_m,   [FORMAT_IQ1_S] = rows_iq1_s,   [FORMAT_TQ1_0] = rows_tq1_0,
    [FORMAT_TQ2_0] = rows_tq2_0,
};

/* One token, at least eight rows. */
static void matmul_rows(const struct kernel_matmul *job, size_t begin, size_t end)
{
    rows_of[job->format](job, begin, end);
}
