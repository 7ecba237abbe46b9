/* i8_tile_neon.h - tiles of rows with NEON: products by SMMLA (i8mm) or SDOT where the file is compiled for it, else by
 * widening multiplications. The words: i8_avx2.h. Empty on machines other than aarch64.
 *
 * SMMLA multiplies 2 x 8 by 8 x 2 codes, so with it a vector of the tile holds 8 elements of each of 4 rows, and each 16
 * activations of a pair of columns are mixed in place: the first 8 of both, where the one column has its own otherwise,
 * and the last 8 of both, where the other has.
 */
#ifndef STILE_KERNEL_I8_TILE_NEON_H
#define STILE_KERNEL_I8_TILE_NEON_H

#ifdef __aarch64__

#include "kernel/i8_neon.h"

#define TILE_LANES        8
#define TILE_VECTORS      1
#define TILE_COLUMNS      4
#define TILE_ROWS         32
#define TILE_MAX_UNSIGNED 127

typedef i32x8 tile_i;
typedef f32x8 tile_f;

#define tile_f_zero    f32x8_zero
#define tile_f_set1    f32x8_set1
#define tile_f_load    f32x8_load
#define tile_f_store   f32x8_store
#define tile_f_load_n  f32x8_load_n
#define tile_f_store_n f32x8_store_n
#define tile_f_mul     f32x8_mul
#define tile_f_add     f32x8_add
#define tile_f_fma     f32x8_fma
#define tile_f_fnma    f32x8_fnma
#define tile_f_from    f32x8_from_i32
#define tile_i_zero    i32x8_zero

I8_INLINE tile_i tile_i_load(const int32_t *p)
{
    return (tile_i){vld1q_s32(p), vld1q_s32(p + 4)};
}

I8_INLINE void tile_i_store(int32_t *p, tile_i v)
{
    vst1q_s32(p, v.lo);
    vst1q_s32(p + 4, v.hi);
}

I8_INLINE int32x4_t tile_pairs4(int32x4_t acc, int32x4_t pairs, int32x4_t act)
{
    int16x8_t p = vreinterpretq_s16_s32(pairs), a = vreinterpretq_s16_s32(act);
    return vaddq_s32(acc, vpaddq_s32(vmull_s16(vget_low_s16(p), vget_low_s16(a)), vmull_high_s16(p, a)));
}

I8_INLINE tile_i tile_pairs(tile_i acc, tile_i pairs, uint32_t act_pair)
{
    int32x4_t act = vdupq_n_s32((int32_t)act_pair);
    return (tile_i){tile_pairs4(acc.lo, pairs.lo, act), tile_pairs4(acc.hi, pairs.hi, act)};
}

I8_INLINE tile_i tile_scale(tile_i pairs, int which)
{
    if (which == 0) pairs = (tile_i){vshlq_n_s32(pairs.lo, 16), vshlq_n_s32(pairs.hi, 16)};
    return (tile_i){vshrq_n_s32(pairs.lo, 16), vshrq_n_s32(pairs.hi, 16)};
}

I8_INLINE void tile_minus(const int8_t *q, const int16_t *sums, int offset, size_t n_each, int32_t minus[16])
{
    (void)q;
    for (size_t i = 0; i < 256 / n_each; i++)
        minus[i] = -offset * (n_each == 16 ? sums[i] : sums[2 * i] + sums[2 * i + 1]);
}

#ifdef __ARM_FEATURE_MATMUL_INT8

#define TILE_ACTS_MIXED 1

/* Of two rows, 16 codes each, the first 8 of both or the last 8 of both. */
I8_INLINE float32x4_t tile_firsts(float32x4_t a, float32x4_t b)
{
    return vreinterpretq_f32_f64(vzip1q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)));
}

I8_INLINE float32x4_t tile_lasts(float32x4_t a, float32x4_t b)
{
    return vreinterpretq_f32_f64(vzip2q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)));
}

I8_INLINE void tile_transpose(f32x8 v[8])
{
    f32x8 to[8];
    UNROLL(2)
    for (size_t h = 0; h < 2; h++) { /* rows 0 ... 3, 4 ... 7 */
        const f32x8 *r = v + 4 * h;
        to[h] = (f32x8){tile_firsts(r[0].lo, r[1].lo), tile_firsts(r[2].lo, r[3].lo)};
        to[2 + h] = (f32x8){tile_lasts(r[0].lo, r[1].lo), tile_lasts(r[2].lo, r[3].lo)};
        to[4 + h] = (f32x8){tile_firsts(r[0].hi, r[1].hi), tile_firsts(r[2].hi, r[3].hi)};
        to[6 + h] = (f32x8){tile_lasts(r[0].hi, r[1].hi), tile_lasts(r[2].hi, r[3].hi)};
    }
    UNROLL(8)
    for (size_t j = 0; j < 8; j++)
        v[j] = to[j];
}

I8_INLINE void tile_acts_store(int8_t *q, size_t c, size_t i, i8x32 acts)
{
    int8_t *to = q + UNPACK_PIECE * (c - c % 2) + i + 8 * (c % 2);
    vst1_s8(to, vget_low_s8(acts.lo));
    vst1_s8(to + UNPACK_PIECE, vget_high_s8(acts.lo));
    vst1_s8(to + 16, vget_low_s8(acts.hi));
    vst1_s8(to + UNPACK_PIECE + 16, vget_high_s8(acts.hi));
}

/* What two columns have to do with four rows: two of each SMMLA's sums belong to a column. */
I8_INLINE int32x4_t tile_of_first(int32x4_t rows01, int32x4_t rows23)
{
    return vreinterpretq_s32_s64(vzip1q_s64(vreinterpretq_s64_s32(rows01), vreinterpretq_s64_s32(rows23)));
}

I8_INLINE int32x4_t tile_of_second(int32x4_t rows01, int32x4_t rows23)
{
    return vreinterpretq_s32_s64(vzip2q_s64(vreinterpretq_s64_s32(rows01), vreinterpretq_s64_s32(rows23)));
}

I8_INLINE void tile_dot(tile_i sum[TILE_COLUMNS], const int32_t *minus, const uint8_t *codes,
                        const int8_t *const q[TILE_COLUMNS], size_t at, int n_quads, int max)
{
    int32x4_t part[TILE_COLUMNS / 2][4]; /* two columns times rows 0 and 1, 2 and 3, ... */
    (void)max;
    UNROLL(2)
    for (int c = 0; c < TILE_COLUMNS / 2; c++) {
        const int32_t *from = minus ? minus + UNPACK_PIECE / 16 * 2 * c : NULL;
        UNROLL(4)
        for (int r = 0; r < 4; r++)
            part[c][r] = from ? vcombine_s32(vdup_n_s32(from[0]), vdup_n_s32(from[UNPACK_PIECE / 16])) : vdupq_n_s32(0);
    }
    UNROLL(4)
    for (int i = 0; i < n_quads / 2; i++) { /* of 8 elements */
        const int8_t *p = (const int8_t *)codes + 8 * TILE_ROWS * i;
        int8x16_t w[4] = {vld1q_s8(p), vld1q_s8(p + 16), vld1q_s8(p + 4 * TILE_ROWS), vld1q_s8(p + 4 * TILE_ROWS + 16)};
        UNROLL(2)
        for (int c = 0; c < TILE_COLUMNS / 2; c++) {
            int8x16_t acts = vld1q_s8(q[2 * c + i % 2] + at + 16 * (i / 2));
            UNROLL(4)
            for (int r = 0; r < 4; r++)
                part[c][r] = vmmlaq_s32(part[c][r], acts, w[r]);
        }
    }
    UNROLL(2)
    for (int c = 0; c < TILE_COLUMNS / 2; c++) {
        const int32x4_t *rows = part[c];
        sum[2 * c] = (tile_i){tile_of_first(rows[0], rows[1]), tile_of_first(rows[2], rows[3])};
        sum[2 * c + 1] = (tile_i){tile_of_second(rows[0], rows[1]), tile_of_second(rows[2], rows[3])};
    }
}

#else

#define TILE_ACTS_MIXED 0
#define tile_transpose  f32x8_transpose

I8_INLINE void tile_acts_store(int8_t *q, size_t c, size_t i, i8x32 acts)
{
    i8x32_store(q + UNPACK_PIECE * c + i, acts);
}

/* Four rows and four elements of each: one lane per row with SDOT; else see tile_settle. */
struct tile_part {
    int32x4_t a, b;
};

#ifdef __ARM_FEATURE_DOTPROD
#define tile_part_add(part, codes, acts, lane) (part).a = vdotq_laneq_s32((part).a, codes, acts, lane)
#else
#define tile_part_add(part, codes, acts, lane) \
    tile_part_add_quad(&(part), codes, vreinterpretq_s8_s32(vdupq_laneq_s32(vreinterpretq_s32_s8(acts), lane)))

I8_INLINE void tile_part_add_quad(struct tile_part *part, int8x16_t codes, int8x16_t acts)
{
    part->a = vpadalq_s16(part->a, vmull_s8(vget_low_s8(codes), vget_low_s8(acts)));
    part->b = vpadalq_s16(part->b, vmull_high_s8(codes, acts));
}
#endif

/* Four vectors of codes, one row under the other in the tile, and their 16 activations. */
I8_INLINE struct tile_part tile_part_add4(struct tile_part part, const uint8_t *codes, int8x16_t acts)
{
    const int8_t *p = (const int8_t *)codes;
    tile_part_add(part, vld1q_s8(p), acts, 0);
    tile_part_add(part, vld1q_s8(p + 4 * TILE_ROWS), acts, 1);
    tile_part_add(part, vld1q_s8(p + 8 * TILE_ROWS), acts, 2);
    tile_part_add(part, vld1q_s8(p + 12 * TILE_ROWS), acts, 3);
    return part;
}

I8_INLINE int32x4_t tile_settle(struct tile_part part)
{
#ifdef __ARM_FEATURE_DOTPROD
    return part.a;
#else
    return vpaddq_s32(part.a, part.b);
#endif
}

I8_INLINE void tile_dot(tile_i sum[TILE_COLUMNS], const int32_t *minus, const uint8_t *codes,
                        const int8_t *const q[TILE_COLUMNS], size_t at, int n_quads, int max)
{
    (void)max;
    UNROLL(TILE_COLUMNS)
    for (int c = 0; c < TILE_COLUMNS; c++) {
        struct tile_part lo = {vdupq_n_s32(0), vdupq_n_s32(0)}, hi = lo;
        UNROLL(2)
        for (int i = 0; i < n_quads; i += 4) {
            const uint8_t *p = codes + 4 * TILE_ROWS * i;
            int8x16_t acts = vld1q_s8(q[c] + at + 4 * i);
            lo = tile_part_add4(lo, p, acts);
            hi = tile_part_add4(hi, p + 16, acts);
        }
        int32x4_t from = vdupq_n_s32(minus ? minus[UNPACK_PIECE / 16 * c] : 0);
        sum[c] = (tile_i){vaddq_s32(tile_settle(lo), from), vaddq_s32(tile_settle(hi), from)};
    }
}

#endif

I8_INLINE void tile_dot_scaled(tile_i sum[TILE_COLUMNS], const int32_t *minus, const uint8_t *codes,
                               const int8_t *const q[TILE_COLUMNS], size_t at, int n_quads, int max,
                               const int32_t *scales)
{
    tile_i part[TILE_COLUMNS], scale = tile_i_load(scales);
    tile_dot(part, minus, codes, q, at, n_quads, max);
    UNROLL(TILE_COLUMNS)
    for (int c = 0; c < TILE_COLUMNS; c++)
        sum[c] = (tile_i){vmlaq_s32(sum[c].lo, part[c].lo, scale.lo), vmlaq_s32(sum[c].hi, part[c].hi, scale.hi)};
}

#endif
#endif
