/* matmul_row.inc.h - products of block formats for one token or a few: the weights are read once, from memory.
 *
 * Eight rows at once: a lane is a row, so the chain of sums in kernel.h is simply the order of the instructions. One
 * step takes a block of each of the eight rows (a group), unpacks it in registers for up to TOKENS_AT_ONCE tokens, and
 * meanwhile asks for as many bytes of the next eight rows, in the order in which they lie: so memory sees a single
 * stream, and the eight rows at work are in the cache, where more tokens find them again.
 */

enum { ROWS_AT_ONCE = 8 };

/* A block of each of eight rows, and the activations of some tokens that it meets. */
struct group {
    const uint8_t *p; /* the first row's block; */
    size_t stride;    /* the next row's is this many bytes further */
    int part;         /* of blocks of more than 32 elements: which 32 of them; -1: all in turn */
    const int8_t *q;  /* the first token's codes, scales and sums as in struct act_row; */
    const float *d, *s;
    const int16_t *sums;
    size_t act_stride; /* the next token's are this many bytes further */
};

/* The chains of n tokens go on from acc; n is a constant. */
typedef void group_fn(const struct group *g, size_t n, f32x8 *acc);

/* The same with token t as the first. */
I8_INLINE struct group group_token(const struct group *g, size_t t)
{
    size_t skip = t * g->act_stride;
    struct group of = *g;
    of.q += skip;
    of.d = (const float *)(const void *)((const uint8_t *)g->d + skip);
    if (g->s) of.s = (const float *)(const void *)((const uint8_t *)g->s + skip);
    of.sums = (const int16_t *)(const void *)((const uint8_t *)g->sums + skip);
    return of;
}

/* A format's products; compiled once for each number of tokens. */
struct rows_format {
    bool super;
    size_t block_elements, block_bytes;
    group_fn *group;
    f32x8 (*residual)(const struct group *g, f32x8 acc); /* group with one token, not inlined */
};

/* Rows [row, row + ROWS_AT_ONCE), and tokens from `token` on. */
struct rows_place {
    const struct kernel_matmul *job;
    size_t row, token;
    struct act_row acts; /* of the first token */
};

/* What residuals of the token t add that are left and lie before element `end`: of blocks that were just read. */
I8_INLINE f32x8 rows_residuals(const struct rows_place *place, const struct rows_format *format, size_t t, size_t end,
                               size_t *n_done, f32x8 acc)
{
    const struct kernel_matmul *job = place->job;
    const uint8_t *rows = (const uint8_t *)job->weights + place->row * job->row_bytes;
    const void *all = (const uint8_t *)place->acts.residuals + t * job->act_stride_bytes;
    size_t per_block = format->block_elements / 32;
    for (const struct act_residual *r = all; *n_done < ACT_RESIDUALS && r[*n_done].block < end / 32; ++*n_done) {
        struct act_residual const *next = &r[*n_done];
        struct group g = {
            .p = rows + next->block / per_block * format->block_bytes,
            .stride = job->row_bytes,
            .part = (int)(next->block % per_block),
            .q = next->q,
            .d = &next->d,
            .s = &next->s,
            .sums = next->sums,
        };
        acc = format->residual(&g, acc);
    }
    return acc;
}

/* Eight rows times n tokens. */
I8_INLINE void rows_eight(const struct rows_place *place, const struct rows_format *format, size_t n)
{
    const struct kernel_matmul *job = place->job;
    const struct act_row *a = &place->acts;
    const uint8_t *p = (const uint8_t *)job->weights + place->row * job->row_bytes;
    const uint8_t *ahead = p + ROWS_AT_ONCE * job->row_bytes;
    size_t n_residuals[TOKENS_AT_ONCE] = {0};
    f32x8 total[TOKENS_AT_ONCE], acc[TOKENS_AT_ONCE];
    for (size_t t = 0; t < n; t++)
        total[t] = f32x8_zero();
    for (size_t at = 0; at < job->k;) {
        size_t end = job->k - at < UNPACK_PIECE ? job->k : at + UNPACK_PIECE;
        UNROLL(TOKENS_AT_ONCE)
        for (size_t t = 0; t < n; t++)
            acc[t] = total[t];
        for (; at < end; at += format->block_elements, p += format->block_bytes) {
            size_t b = at / (format->super ? 256 : 32);
            const float *s = format->super ? NULL : a->s + b;
            struct group g = {p, job->row_bytes, -1, a->q + at, a->d + b, s, a->sums + at / 16, job->act_stride_bytes};
            for (size_t i = 0; i < ROWS_AT_ONCE * format->block_bytes; i += 64)
                __builtin_prefetch(ahead + i);
            ahead += ROWS_AT_ONCE * format->block_bytes;
            format->group(&g, n, acc);
        }
        UNROLL(TOKENS_AT_ONCE)
        for (size_t t = 0; t < n; t++)
            total[t] = acc[t];
        for (size_t t = 0; !format->super && t < n; t++)
            total[t] = rows_residuals(place, format, t, end, &n_residuals[t], total[t]);
    }
    for (size_t t = 0; t < n; t++) {
        f32x8 y = total[t];
        if (job->scale != 1.0f) y = f32x8_mul(y, f32x8_set1(job->scale));
        if (job->bias) y = f32x8_add(y, f32x8_load(job->bias + place->row));
        f32x8_store(job->out + (place->token + t) * job->out_stride + place->row, y);
    }
}

/* At least eight rows; tokens in shares as equal as possible. */
I8_INLINE void rows_run(const struct kernel_matmul *job, size_t row, size_t row_end, const struct rows_format *format)
{
    for (; row < row_end; row += ROWS_AT_ONCE) {
        struct rows_place place = {.job = job, .row = row};
        if (row_end - row < ROWS_AT_ONCE) place.row = row_end - ROWS_AT_ONCE; /* some of them a second time */
        for (size_t left = job->n_tokens, n; left; left -= n, place.token += n) {
            const uint8_t *acts = (const uint8_t *)job->acts + place.token * job->act_stride_bytes;
            place.acts = act_row_at(format->super ? ACT_Q8_256 : ACT_Q8_32, job->k, acts);
            n = left / ((left + TOKENS_AT_ONCE - 1) / TOKENS_AT_ONCE);
            if (n == 1)
                rows_eight(&place, format, 1);
            else if (n == 2)
                rows_eight(&place, format, 2);
            else if (n == 3)
                rows_eight(&place, format, 3);
            else if (n == 4)
                rows_eight(&place, format, 4);
            else if (TOKENS_AT_ONCE > 4 && n == 5)
                rows_eight(&place, format, 5);
            else if (TOKENS_AT_ONCE > 5 && n == 6)
                rows_eight(&place, format, 6);
        }
    }
}

/* ---- blocks of 32 ------------------------------------------------------------------------------ */

/* offset: what the codes in `sums` have too much. */
I8_INLINE f32x8 group_sums(const struct group *g, i32x8 sums, int offset)
{
    return f32x8_from_i32(offset ? i32x8_add(sums, i8_times_sums(g->sums, -offset)) : sums);
}

I8_INLINE void group_add(const struct group *g, size_t n, const i32x8 *sums, int offset, f32x8 d, f32x8 *acc)
{
    UNROLL(TOKENS_AT_ONCE)
    for (size_t t = 0; t < n; t++) {
        struct group of = group_token(g, t);
        acc[t] = f32x8_fma(f32x8_mul(d, f32x8_set1(*of.d)), group_sums(&of, sums[t], offset), acc[t]);
    }
}

/* With the scales and minimums at the head of each block. */
I8_INLINE void group_add_mins(const struct group *g, size_t n, const i32x8 *sums, f32x8 *acc)
{
    f32x8 d, m;
    f32x8_gather_f16_pairs(g->p, g->stride, &d, &m);
    group_add(g, n, sums, 0, d, acc);
    UNROLL(TOKENS_AT_ONCE)
    for (size_t t = 0; t < n; t++)
        acc[t] = f32x8_fma(m, f32x8_set1(*group_token(g, t).s), acc[t]);
}

I8_INLINE void group_q4_0(const struct group *g, size_t n, f32x8 *acc)
{
    i32x8 sums[TOKENS_AT_ONCE];
    i8_group_nibbles(g->p + 2, g->stride, g->q, g->act_stride, n, NULL, 15, sums);
    group_add(g, n, sums, 8, f32x8_gather_f16(g->p, g->stride), acc);
}

I8_INLINE void group_q4_1(const struct group *g, size_t n, f32x8 *acc)
{
    i32x8 sums[TOKENS_AT_ONCE];
    i8_group_nibbles(g->p + 4, g->stride, g->q, g->act_stride, n, NULL, 15, sums);
    group_add_mins(g, n, sums, acc);
}

I8_INLINE void group_q5_0(const struct group *g, size_t n, f32x8 *acc)
{
    i32x8 sums[TOKENS_AT_ONCE];
    i8_group_codes(codes_q5_0, g->p, g->stride, g->q, g->act_stride, n, 31, sums);
    group_add(g, n, sums, 16, f32x8_gather_f16(g->p, g->stride), acc);
}

I8_INLINE void group_q5_1(const struct group *g, size_t n, f32x8 *acc)
{
    i32x8 sums[TOKENS_AT_ONCE];
    i8_group_codes(codes_q5_1, g->p, g->stride, g->q, g->act_stride, n, 31, sums);
    group_add_mins(g, n, sums, acc);
}

I8_INLINE void group_q8_0(const struct group *g, size_t n, f32x8 *acc)
{
    i32x8 sums[TOKENS_AT_ONCE];
    i8_group_codes(codes_q8_0, g->p, g->stride, g->q, g->act_stride, n, 255, sums);
    group_add(g, n, sums, I8_OFFSET_S, f32x8_gather_f16(g->p, g->stride), acc);
}

I8_INLINE void group_iq4_nl(const struct group *g, size_t n, f32x8 *acc)
{
    i32x8 sums[TOKENS_AT_ONCE];
    i8_group_nibbles(g->p + 2, g->stride, g->q, g->act_stride, n, smallfloat_iq4_nl, 255, sums);
    group_add(g, n, sums, I8_OFFSET_S, f32x8_gather_f16(g->p, g->stride), acc);
}

I8_INLINE void group_mxfp4(const struct group *g, size_t n, f32x8 *acc)
{
    i32x8 sums[TOKENS_AT_ONCE];
    i8_group_nibbles(g->p + 1, g->stride, g->q, g->act_stride, n, e2m1_x2_up, 24, sums);
    group_add(g, n, sums, 12, f32x8_gather_e8m0_half(g->p, g->stride), acc);
}

/* t of kernel.h times the activation's scale. A residual meets both halves of the block, and one of them counts. */
I8_INLINE void group_nvfp4(const struct group *g, size_t n, f32x8 *acc)
{
    f32x8 both[TOKENS_AT_ONCE][2];
    if (g->part < 0) {
        i8_group_nvfp4(g->p, g->stride, g->q, g->sums, g->act_stride, n, e2m1_x2_up, both);
        UNROLL(TOKENS_AT_ONCE)
        for (size_t t = 0; t < n; t++) {
            const float *d = group_token(g, t).d;
            acc[t] = f32x8_fma(both[t][0], f32x8_set1(d[0]), acc[t]);
            acc[t] = f32x8_fma(both[t][1], f32x8_set1(d[1]), acc[t]);
        }
        return;
    }
    int8_t q[64];
    int16_t sums[4] = {g->sums[0], g->sums[1], g->sums[0], g->sums[1]};
    memcpy(q, g->q, 32);
    memcpy(q + 32, g->q, 32);
    i8_group_nvfp4(g->p, g->stride, q, sums, 0, 1, e2m1_x2_up, both);
    *acc = f32x8_fma(both[0][g->part], f32x8_set1(*g->d), *acc);
}

/* ---- super-blocks ------------------------------------------------------------------------------ */

/* acc += d * d_act * sums */
I8_INLINE void super_add(const struct group *g, size_t t, f32x8 d, i32x8 sums, f32x8 *acc)
{
    acc[t] = f32x8_fma(f32x8_mul(d, f32x8_set1(*group_token(g, t).d)), f32x8_from_i32(sums), acc[t]);
}

/* acc -= m * d_act * sums */
I8_INLINE void super_subtract(const struct group *g, size_t t, f32x8 m, i32x8 sums, f32x8 *acc)
{
    acc[t] = f32x8_fnma(f32x8_mul(m, f32x8_set1(*group_token(g, t).d)), f32x8_from_i32(sums), acc[t]);
}

I8_INLINE void group_super(const struct group *g, size_t n, f32x8 *acc, size_t offset_d,
                           i8x32 (*codes)(const uint8_t *, int), void (*scales_of)(const uint8_t *, i16x16 *, i16x16 *),
                           bool has_min, bool is_signed, int offset)
{
    i8_acc64 part[TOKENS_AT_ONCE][ROWS_AT_ONCE];
    i32x8 mins[TOKENS_AT_ONCE][ROWS_AT_ONCE];
    for (size_t r = 0; r < ROWS_AT_ONCE; r++) {
        const uint8_t *block = g->p + g->stride * r;
        i16x16 scale, min;
        i8_acc64 sum[TOKENS_AT_ONCE];
        scales_of(block, &scale, &min);
        i8_scales64 scales = i8_scales64_from(scale);
        UNROLL(TOKENS_AT_ONCE)
        for (size_t t = 0; t < n; t++) {
            const int16_t *of = group_token(g, t).sums;
            sum[t] = offset ? i8_acc64_from(i8_scaled_sums(i32x8_zero(), scale, of, -offset)) : i8_acc64_zero();
            if (has_min) mins[t][r] = i8_scaled_sums(i32x8_zero(), min, of, 1);
        }
        UNROLL(4)
        for (int i = 0; i < 4; i++) {
            i8x32 first = codes(block, 2 * i), last = codes(block, 2 * i + 1);
            i8x64 w = is_signed ? i8x64_signed(first, last) : i8x64_unsigned(first, last);
            i8_scale64 of = i8_scale64_at(scales, i);
            UNROLL(TOKENS_AT_ONCE)
            for (size_t t = 0; t < n; t++)
                sum[t] = i8_dot64(sum[t], w, g->q + t * g->act_stride + 64 * i, of, is_signed);
        }
        UNROLL(TOKENS_AT_ONCE)
        for (size_t t = 0; t < n; t++)
            part[t][r] = sum[t];
    }
    f32x8 d, m;
    if (has_min)
        f32x8_gather_f16_pairs(g->p + offset_d, g->stride, &d, &m);
    else
        d = f32x8_gather_f16(g->p + offset_d, g->stride);
    UNROLL(TOKENS_AT_ONCE)
    for (size_t t = 0; t < n; t++) {
        super_add(g, t, d, i8_acc64_sums8(part[t]), acc);
        if (has_min) super_subtract(g, t, m, i32x8_sums8(mins[t]), acc);
    }
}

I8_INLINE void group_q2_k(const struct group *g, size_t n, f32x8 *acc)
{
    group_super(g, n, acc, 80, codes_q2_k, scales_q2_k, true, false, 0);
}

I8_INLINE void group_q3_k(const struct group *g, size_t n, f32x8 *acc)
{
    group_super(g, n, acc, 108, codes_q3_k, scales_q3_k, false, false, 4);
}

/* Q4_K, Q5_K: scales of 32 elements, unpacked for all eight rows together. */
I8_INLINE void group_k4(const struct group *g, size_t n, f32x8 *acc, i8x64 (*codes)(const uint8_t *, int))
{
    uint32_t scales[8][ROWS_AT_ONCE];
    i8_mins_k4 mins = i8_scales_k4(g->p, g->stride, scales);
    i8_acc64 part[TOKENS_AT_ONCE][ROWS_AT_ONCE];
    f32x8 d, m;
    for (size_t r = 0; r < ROWS_AT_ONCE; r++) {
        const uint8_t *block = g->p + g->stride * r;
        i8_acc64 sum[TOKENS_AT_ONCE];
        UNROLL(TOKENS_AT_ONCE)
        for (size_t t = 0; t < n; t++)
            sum[t] = i8_acc64_zero();
        UNROLL(4)
        for (int i = 0; i < 4; i++) {
            i8x64 w = codes(block, i);
            i8_scale64 of = i8_scale64_two(&scales[2 * i][r], &scales[2 * i + 1][r]);
            UNROLL(TOKENS_AT_ONCE)
            for (size_t t = 0; t < n; t++)
                sum[t] = i8_dot64(sum[t], w, g->q + t * g->act_stride + 64 * i, of, false);
        }
        UNROLL(TOKENS_AT_ONCE)
        for (size_t t = 0; t < n; t++)
            part[t][r] = sum[t];
    }
    f32x8_gather_f16_pairs(g->p, g->stride, &d, &m);
    UNROLL(TOKENS_AT_ONCE)
    for (size_t t = 0; t < n; t++) {
        super_add(g, t, d, i8_acc64_sums8(part[t]), acc);
        super_subtract(g, t, m, i8_times_mins_k4(mins, group_token(g, t).sums), acc);
    }
}

I8_INLINE i8x64 codes64_q4_k(const uint8_t *block, int i)
{
    return i8x64_nibbles(block + 16 + 32 * i);
}

I8_INLINE i8x64 codes64_q5_k(const uint8_t *block, int i)
{
    return i8x64_unsigned(codes_q5_k(block, 2 * i), codes_q5_k(block, 2 * i + 1));
}

I8_INLINE void group_q4_k(const struct group *g, size_t n, f32x8 *acc)
{
    group_k4(g, n, acc, codes64_q4_k);
}

I8_INLINE void group_q5_k(const struct group *g, size_t n, f32x8 *acc)
{
    group_k4(g, n, acc, codes64_q5_k);
}

I8_INLINE void group_q6_k(const struct group *g, size_t n, f32x8 *acc)
{
    group_super(g, n, acc, 208, codes_q6_k, scales_q6_k, false, false, 32);
}

I8_INLINE void group_iq4_xs(const struct group *g, size_t n, f32x8 *acc)
{
    group_super(g, n, acc, 0, codes_iq4_xs, scales_iq4_xs, false, true, 0);
}

#include "kernel/matmul_row_grid.inc.h"

/* ---- by format --------------------------------------------------------------------------------- */

#define ROWS(name, super, block_elements, block_bytes)                                                         \
    static f32x8 residual_##name(const struct group *g, f32x8 acc)                                             \
    {                                                                                                          \
        group_##name(g, 1, &acc);                                                                              \
        return acc;                                                                                            \
    }                                                                                                          \
    static void rows_##name(const struct kernel_matmul *job, size_t begin, size_t end)                         \
    {                                                                                                          \
        const struct rows_format format = {super, block_elements, block_bytes, group_##name, residual_##name}; \
        rows_run(job, begin, end, &format);                                                                    \
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

/* At least eight rows. */
static void matmul_rows(const struct kernel_matmul *job, size_t begin, size_t end)
{
    rows_of[job->format](job, begin, end);
}
