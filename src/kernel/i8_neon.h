/* i8_neon.h - the integer vocabulary with NEON: products by SDOT where the file is compiled for it, else by widening
 * multiplications. The words: i8_x86.h. Empty on machines other than aarch64.
 *
 * Codes of 0..127 and signed codes are multiplied alike, so I8_OFFSET_S is 0. A vector of 8 lanes is two registers.
 */
#ifndef STILE_KERNEL_I8_NEON_H
#define STILE_KERNEL_I8_NEON_H

#ifdef __aarch64__

#include "base/bytes.h"
#include "kernel/f32x8_neon.h"
#include "kernel/inline.h"
#include "kernel/unpack.h"

enum { I8_OFFSET_S = 0 };

/* In matmul_row.inc.h, not measured yet: tokens that share unpacked rows; tokens up to which that is quicker than a tile. */
#define TOKENS_AT_ONCE 4
enum { FEW_TOKENS = 6, FEW_TOKENS_S256 = 4 };

typedef struct {
    int8x16_t lo, hi;
} i8x32;

typedef struct {
    int32x4_t lo, hi;
} i32x8;

typedef struct {
    int16x8_t lo, hi;
} i16x16;

typedef struct {
    int16_t scale[16];
} i8_scales;

I8_INLINE i8x32 i8x32_load(const void *p)
{
    const int8_t *codes = p;
    return (i8x32){vld1q_s8(codes), vld1q_s8(codes + 16)};
}

I8_INLINE void i8x32_store(void *p, i8x32 v)
{
    int8_t *codes = p;
    vst1q_s8(codes, v.lo);
    vst1q_s8(codes + 16, v.hi);
}

I8_INLINE i8x32 i8x32_set1(int x)
{
    return (i8x32){vdupq_n_s8((int8_t)x), vdupq_n_s8((int8_t)x)};
}

I8_INLINE i8x32 i8x32_add(i8x32 a, i8x32 b)
{
    return (i8x32){vaddq_s8(a.lo, b.lo), vaddq_s8(a.hi, b.hi)};
}

I8_INLINE i8x32 i8x32_or(i8x32 a, i8x32 b)
{
    return (i8x32){vorrq_s8(a.lo, b.lo), vorrq_s8(a.hi, b.hi)};
}

I8_INLINE i8x32 i8x32_nibbles(const void *p)
{
    uint8x16_t x = vld1q_u8(p);
    return (i8x32){vreinterpretq_s8_u8(vandq_u8(x, vdupq_n_u8(15))), vreinterpretq_s8_u8(vshrq_n_u8(x, 4))};
}

I8_INLINE i8x32 i8x32_nibbles8(const void *p)
{
    i8x32 v = i8x32_nibbles(p);
    int64x2_t lo = vreinterpretq_s64_s8(v.lo), hi = vreinterpretq_s64_s8(v.hi);
    return (i8x32){vreinterpretq_s8_s64(vzip1q_s64(lo, hi)), vreinterpretq_s8_s64(vzip2q_s64(lo, hi))};
}

I8_INLINE int8x16_t i8x16_fields(int8x16_t v, int shift, int mask)
{
    uint8x16_t shifted = vshlq_u8(vreinterpretq_u8_s8(v), vdupq_n_s8((int8_t)-shift));
    return vreinterpretq_s8_u8(vandq_u8(shifted, vdupq_n_u8((uint8_t)mask)));
}

I8_INLINE i8x32 i8x32_fields(i8x32 v, int shift, int mask)
{
    return (i8x32){i8x16_fields(v.lo, shift, mask), i8x16_fields(v.hi, shift, mask)};
}

I8_INLINE i8x32 i8x32_shift_left(i8x32 v, int n)
{
    int8x16_t by = vdupq_n_s8((int8_t)n);
    return (i8x32){vshlq_s8(v.lo, by), vshlq_s8(v.hi, by)};
}

I8_INLINE i8x32 i8x32_lookup(i8x32 codes, const int8_t table[16])
{
    int8x16_t t = vld1q_s8(table);
    return (i8x32){vqtbl1q_s8(t, vreinterpretq_u8_s8(codes.lo)), vqtbl1q_s8(t, vreinterpretq_u8_s8(codes.hi))};
}

I8_INLINE i8x32 i8x32_bits(uint32_t bits, int value)
{
    const uint8x16_t byte_of = vcombine_u8(vdup_n_u8(0), vdup_n_u8(1));
    const uint8x16_t bit_of = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u));
    uint8x16_t all = vreinterpretq_u8_u32(vdupq_n_u32(bits)), set = vdupq_n_u8((uint8_t)value);
    uint8x16_t lo = vtstq_u8(vqtbl1q_u8(all, byte_of), bit_of);
    uint8x16_t hi = vtstq_u8(vqtbl1q_u8(all, vaddq_u8(byte_of, vdupq_n_u8(2))), bit_of);
    return (i8x32){vreinterpretq_s8_u8(vandq_u8(lo, set)), vreinterpretq_s8_u8(vandq_u8(hi, set))};
}

I8_INLINE i32x8 i32x8_zero(void)
{
    return (i32x8){vdupq_n_s32(0), vdupq_n_s32(0)};
}

I8_INLINE i32x8 i32x8_load(const int32_t *p)
{
    return (i32x8){vld1q_s32(p), vld1q_s32(p + 4)};
}

I8_INLINE i32x8 i32x8_add(i32x8 a, i32x8 b)
{
    return (i32x8){vaddq_s32(a.lo, b.lo), vaddq_s32(a.hi, b.hi)};
}

I8_INLINE i32x8 i32x8_set1(int x)
{
    return (i32x8){vdupq_n_s32(x), vdupq_n_s32(x)};
}

I8_INLINE int i32x8_sum(i32x8 v)
{
    return vaddvq_s32(vaddq_s32(v.lo, v.hi));
}

I8_INLINE int32x4_t i32x4_sums4(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d)
{
    return vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d));
}

/* i8_dot keeps the first 16 codes in lo and the last 16 in hi. */
I8_INLINE void i32x8_half_sums8(const i32x8 p[8], i32x8 *first, i32x8 *last)
{
    first->lo = i32x4_sums4(p[0].lo, p[1].lo, p[2].lo, p[3].lo);
    first->hi = i32x4_sums4(p[4].lo, p[5].lo, p[6].lo, p[7].lo);
    last->lo = i32x4_sums4(p[0].hi, p[1].hi, p[2].hi, p[3].hi);
    last->hi = i32x4_sums4(p[4].hi, p[5].hi, p[6].hi, p[7].hi);
}

I8_INLINE i32x8 i32x8_sums8(const i32x8 p[8])
{
    i32x8 first, last;
    i32x8_half_sums8(p, &first, &last);
    return i32x8_add(first, last);
}

I8_INLINE i16x16 i16x16_load(const int16_t *p)
{
    return (i16x16){vld1q_s16(p), vld1q_s16(p + 8)};
}

I8_INLINE void i16x16_store(int16_t *p, i16x16 v)
{
    vst1q_s16(p, v.lo);
    vst1q_s16(p + 8, v.hi);
}

I8_INLINE i16x16 i16x16_from_s8(const void *p)
{
    int8x16_t v = vld1q_s8(p);
    return (i16x16){vmovl_s8(vget_low_s8(v)), vmovl_high_s8(v)};
}

I8_INLINE i16x16 i16x16_from_bytes(uint64_t low, uint64_t high)
{
    return (i16x16){vmovl_s8(vcreate_s8(low)), vmovl_s8(vcreate_s8(high))};
}

I8_INLINE i16x16 i16x16_from_u8_doubled(uint64_t eight)
{
    uint8x8_t v = vcreate_u8(eight);
    return (i16x16){vreinterpretq_s16_u16(vmovl_u8(vzip1_u8(v, v))), vreinterpretq_s16_u16(vmovl_u8(vzip2_u8(v, v)))};
}

I8_INLINE void i16x16_store_pair_sums(int16_t to[8], i16x16 v)
{
    vst1q_s16(to, vpaddq_s16(v.lo, v.hi));
}

I8_INLINE i8_scales i8_scales_from(i16x16 v)
{
    i8_scales scales;
    i16x16_store(scales.scale, v);
    return scales;
}

/* Sums of 4 products each; without SDOT in pairs of 16-bit sums, which 2 * 128 * 127 just fits. */
I8_INLINE int32x4_t i8x16_dot(int8x16_t codes, int8x16_t acts)
{
#ifdef __ARM_FEATURE_DOTPROD
    return vdotq_s32(vdupq_n_s32(0), codes, acts);
#else
    int16x8_t products = vmull_s8(vget_low_s8(codes), vget_low_s8(acts));
    return vpaddlq_s16(vmlal_high_s8(products, codes, acts));
#endif
}

I8_INLINE i32x8 i8_dot_s(i8x32 codes, i8x32 acts)
{
    return (i32x8){i8x16_dot(codes.lo, acts.lo), i8x16_dot(codes.hi, acts.hi)};
}

#define i8_dot_u i8_dot_s

/* Minimums of block b, in order, for i8_times_mins_k4. */
typedef struct {
    uint8_t min[8][8];
} i8_mins_k4;

I8_INLINE i8_mins_k4 i8_scales_k4(const uint8_t *p, size_t stride, uint32_t scales[8][8])
{
    i8_mins_k4 mins;
    for (size_t b = 0; b < 8; b++) {
        const uint8_t *packed = p + b * stride + 4;
        for (int j = 0; j < 4; j++) {
            int low = packed[j], middle = packed[4 + j], high = packed[8 + j];
            scales[j][b] = (uint32_t)(low & 63);
            scales[4 + j][b] = (uint32_t)((high & 15) | low >> 6 << 4);
            mins.min[b][j] = (uint8_t)(middle & 63);
            mins.min[b][4 + j] = (uint8_t)(high >> 4 | middle >> 6 << 4);
        }
    }
    return mins;
}

I8_INLINE i32x8 i8_times_mins_k4(i8_mins_k4 mins, const int16_t sums[16])
{
    int32_t total[8];
    int16x8_t both = vpaddq_s16(vld1q_s16(sums), vld1q_s16(sums + 8));
    for (size_t b = 0; b < 8; b++) {
        int16x8_t min = vreinterpretq_s16_u16(vmovl_u8(vld1_u8(mins.min[b])));
        total[b] = vaddvq_s32(vmlal_high_s16(vmull_s16(vget_low_s16(min), vget_low_s16(both)), min, both));
    }
    return i32x8_load(total);
}

I8_INLINE i32x8 i8_scaled_sums(i32x8 acc, i16x16 scales, const int16_t sums[16], int factor)
{
    i16x16 s = i16x16_load(sums);
    int32x4_t lo = vmull_s16(vget_low_s16(scales.lo), vget_low_s16(s.lo));
    int32x4_t hi = vmull_s16(vget_low_s16(scales.hi), vget_low_s16(s.hi));
    lo = vmlal_high_s16(lo, scales.lo, s.lo);
    hi = vmlal_high_s16(hi, scales.hi, s.hi);
    return (i32x8){vmlaq_n_s32(acc.lo, lo, factor), vmlaq_n_s32(acc.hi, hi, factor)};
}

I8_INLINE i32x8 i8_times_sums(const int16_t sums[2], int factor)
{
    return i32x8_set1(factor * (sums[0] + sums[1]));
}

I8_INLINE f32x8 f32x8_from_i32(i32x8 v)
{
    return (f32x8){vcvtq_f32_s32(v.lo), vcvtq_f32_s32(v.hi)};
}

I8_INLINE f32x8 f32x8_from_bits(i8x32 v)
{
    return (f32x8){vreinterpretq_f32_s8(v.lo), vreinterpretq_f32_s8(v.hi)};
}

I8_INLINE void f32x8_store_bits(void *p, f32x8 v)
{
    i8x32_store(p, (i8x32){vreinterpretq_s8_f32(v.lo), vreinterpretq_s8_f32(v.hi)});
}

I8_INLINE void f32x4_transpose(float32x4_t *a, float32x4_t *b, float32x4_t *c, float32x4_t *d)
{
    float64x2_t ab1 = vreinterpretq_f64_f32(vtrn1q_f32(*a, *b)), ab2 = vreinterpretq_f64_f32(vtrn2q_f32(*a, *b));
    float64x2_t cd1 = vreinterpretq_f64_f32(vtrn1q_f32(*c, *d)), cd2 = vreinterpretq_f64_f32(vtrn2q_f32(*c, *d));
    *a = vreinterpretq_f32_f64(vtrn1q_f64(ab1, cd1));
    *b = vreinterpretq_f32_f64(vtrn1q_f64(ab2, cd2));
    *c = vreinterpretq_f32_f64(vtrn2q_f64(ab1, cd1));
    *d = vreinterpretq_f32_f64(vtrn2q_f64(ab2, cd2));
}

I8_INLINE void f32x8_transpose(f32x8 v[8])
{
    f32x4_transpose(&v[0].lo, &v[1].lo, &v[2].lo, &v[3].lo);
    f32x4_transpose(&v[4].lo, &v[5].lo, &v[6].lo, &v[7].lo);
    f32x4_transpose(&v[0].hi, &v[1].hi, &v[2].hi, &v[3].hi);
    f32x4_transpose(&v[4].hi, &v[5].hi, &v[6].hi, &v[7].hi);
    for (int i = 0; i < 4; i++) {
        float32x4_t top_right = v[i].hi;
        v[i].hi = v[i + 4].lo;
        v[i + 4].lo = top_right;
    }
}

I8_INLINE f32x8 f32x8_gather_f16(const uint8_t *p, size_t stride)
{
    uint16_t halves[8];
    for (size_t i = 0; i < 8; i++)
        halves[i] = load_u16(p + i * stride);
    return f32x8_load_f16(halves);
}

I8_INLINE void f32x8_gather_f16_pairs(const uint8_t *p, size_t stride, f32x8 *first, f32x8 *second)
{
    *first = f32x8_gather_f16(p, stride);
    *second = f32x8_gather_f16(p + 2, stride);
}

I8_INLINE f32x8 f32x8_from_ue4m3_half(uint16x8_t e)
{
    uint16_t halves[8];
    e = vbicq_u16(e, vceqq_u16(e, vdupq_n_u16(0x7f)));
    vst1q_u16(halves, vshlq_n_u16(e, 7));
    return f32x8_mul(f32x8_load_f16(halves), f32x8_set1(128.0f));
}

I8_INLINE void f32x8_ue4m3_half_pairs(const uint16_t pairs[8], f32x8 *first, f32x8 *second)
{
    uint16x8_t words = vld1q_u16(pairs), mask = vdupq_n_u16(0x7f);
    *first = f32x8_from_ue4m3_half(vandq_u16(words, mask));
    *second = f32x8_from_ue4m3_half(vandq_u16(vshrq_n_u16(words, 8), mask));
}

I8_INLINE float32x4_t f32x4_from_e8m0_half(uint16x4_t bytes)
{
    uint32x4_t e = vmovl_u16(bytes), smallest = vandq_u32(vceqzq_u32(e), vdupq_n_u32(0x400000));
    return vmulq_n_f32(vreinterpretq_f32_u32(vorrq_u32(vshlq_n_u32(e, 23), smallest)), 0.5f);
}

I8_INLINE f32x8 f32x8_gather_e8m0_half(const uint8_t *p, size_t stride)
{
    uint8x8_t bytes = vdup_n_u8(0);
    bytes = vld1_lane_u8(p, bytes, 0);
    bytes = vld1_lane_u8(p + stride, bytes, 1);
    bytes = vld1_lane_u8(p + 2 * stride, bytes, 2);
    bytes = vld1_lane_u8(p + 3 * stride, bytes, 3);
    bytes = vld1_lane_u8(p + 4 * stride, bytes, 4);
    bytes = vld1_lane_u8(p + 5 * stride, bytes, 5);
    bytes = vld1_lane_u8(p + 6 * stride, bytes, 6);
    bytes = vld1_lane_u8(p + 7 * stride, bytes, 7);
    uint16x8_t e = vmovl_u8(bytes);
    return (f32x8){f32x4_from_e8m0_half(vget_low_u16(e)), f32x4_from_e8m0_half(vget_high_u16(e))};
}

/* ---- quantizing -------------------------------------------------------------------------------- */

I8_INLINE uint32_t i8_amax_bits(const float *x, size_t n)
{
    uint32x4_t amax = vdupq_n_u32(0);
    for (size_t i = 0; i < n; i += 4)
        amax = vmaxq_u32(amax, vbicq_u32(vreinterpretq_u32_f32(vld1q_f32(x + i)), vdupq_n_u32(0x80000000u)));
    return vmaxvq_u32(amax);
}

I8_INLINE int32x4_t i8_round4(const float *x, float factor)
{
    return vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), factor));
}

I8_INLINE int i8_codes(const float *x, float factor, int8_t *q)
{
    int16x8_t a = vcombine_s16(vmovn_s32(i8_round4(x, factor)), vmovn_s32(i8_round4(x + 4, factor)));
    int16x8_t b = vcombine_s16(vmovn_s32(i8_round4(x + 8, factor)), vmovn_s32(i8_round4(x + 12, factor)));
    vst1q_s8(q, vcombine_s8(vmovn_s16(a), vmovn_s16(b)));
    return vaddvq_s16(vaddq_s16(a, b));
}

I8_INLINE void i8_group_nibbles(const uint8_t *p, size_t stride, const int8_t *acts, size_t act_stride, size_t n,
                                const int8_t *table, int max, i32x8 *sums)
{
    i8x32 w[8];
    i32x8 part[8];
    (void)max;
    UNROLL(8)
    for (size_t b = 0; b < 8; b++) {
        w[b] = i8x32_nibbles(p + b * stride);
        if (table) w[b] = i8x32_lookup(w[b], table);
    }
    UNROLL(TOKENS_AT_ONCE)
    for (size_t t = 0; t < n; t++) {
        i8x32 x = i8x32_load(acts + t * act_stride);
        UNROLL(8)
        for (size_t b = 0; b < 8; b++)
            part[b] = i8_dot_s(w[b], x);
        sums[t] = i32x8_sums8(part);
    }
}

I8_INLINE void i8_group_codes(i8x32 (*codes)(const uint8_t *), const uint8_t *p, size_t stride, const int8_t *acts,
                              size_t act_stride, size_t n, int max, i32x8 *sums)
{
    i8x32 w[8];
    i32x8 part[8];
    (void)max;
    UNROLL(8)
    for (size_t b = 0; b < 8; b++)
        w[b] = codes(p + b * stride);
    UNROLL(TOKENS_AT_ONCE)
    for (size_t t = 0; t < n; t++) {
        i8x32 x = i8x32_load(acts + t * act_stride);
        UNROLL(8)
        for (size_t b = 0; b < 8; b++)
            part[b] = i8_dot_s(w[b], x);
        sums[t] = i32x8_sums8(part);
    }
}

I8_INLINE void i8_group_nvfp4(const uint8_t *p, size_t stride, const int8_t *acts, const int16_t *sums,
                              size_t act_stride, size_t n, const int8_t *table, f32x8 (*both)[2])
{
    for (size_t half = 0; half < 2; half++) {
        i8x32 w[8];
        uint16_t pairs[8];
        f32x8 s0, s1;
        UNROLL(8)
        for (size_t b = 0; b < 8; b++) {
            const uint8_t *block = p + b * stride;
            w[b] = i8x32_lookup(i8x32_nibbles8(block + 4 + 16 * half), table);
            pairs[b] = load_u16(block + 2 * half);
        }
        f32x8_ue4m3_half_pairs(pairs, &s0, &s1);
        UNROLL(TOKENS_AT_ONCE)
        for (size_t t = 0; t < n; t++) {
            const int16_t *of_acts = (const int16_t *)(const void *)((const uint8_t *)sums + t * act_stride) + 2 * half;
            i8x32 x = i8x32_load(acts + t * act_stride + 32 * half);
            i32x8 part[8], first, last;
            UNROLL(8)
            for (size_t b = 0; b < 8; b++)
                part[b] = i8_dot_s(w[b], x);
            i32x8_half_sums8(part, &first, &last);
            first = i32x8_add(first, i32x8_set1(-12 * of_acts[0]));
            last = i32x8_add(last, i32x8_set1(-12 * of_acts[1]));
            both[t][half] = f32x8_fma(s1, f32x8_from_i32(last), f32x8_mul(s0, f32x8_from_i32(first)));
        }
    }
}

#endif
#endif
