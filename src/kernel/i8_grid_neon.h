/* i8_grid_neon.h - words for codebooks, ternary codes and bits, with NEON: see i8_grid_x86.h. Empty on machines other
 * than aarch64.
 */
#ifndef STILE_KERNEL_I8_GRID_NEON_H
#define STILE_KERNEL_I8_GRID_NEON_H

#ifdef __aarch64__

#include "kernel/i8_neon.h"

I8_INLINE i8x32 i8x32_times(i8x32 a, i8x32 b)
{
    return (i8x32){vmulq_s8(a.lo, b.lo), vmulq_s8(a.hi, b.hi)};
}

I8_INLINE int8x16_t i8x16_thirds(int8x16_t v)
{
    uint8x16_t second = vcgtq_s8(v, vdupq_n_s8(-43)), third = vcgtq_s8(v, vdupq_n_s8(42));
    return vabsq_s8(vreinterpretq_s8_u8(vaddq_u8(second, third)));
}

I8_INLINE i8x32 i8x32_thirds(i8x32 v)
{
    return (i8x32){i8x16_thirds(v.lo), i8x16_thirds(v.hi)};
}

I8_INLINE i8x32 i8x32_twice(const void *p)
{
    return (i8x32){vld1q_s8(p), vld1q_s8(p)};
}

I8_INLINE i8x32 i8x32_join(const void *p, uint32_t four)
{
    return (i8x32){vld1q_s8(p), vreinterpretq_s8_u32(vdupq_n_u32(four))};
}

I8_INLINE i8x32 i8x32_octets(uint32_t four)
{
    const uint8x16_t byte_of = vcombine_u8(vdup_n_u8(0), vdup_n_u8(1));
    int8x16_t all = vreinterpretq_s8_u32(vdupq_n_u32(four));
    return (i8x32){vqtbl1q_s8(all, byte_of), vqtbl1q_s8(all, vaddq_u8(byte_of, vdupq_n_u8(2)))};
}

I8_INLINE int8x16_t i8x16_spread(int32x4_t words, int width)
{
    uint32x4_t w = vreinterpretq_u32_s32(words), spread = vdupq_n_u32(0);
    UNROLL(4)
    for (int i = 0; i < 4; i++) {
        uint32x4_t moved = vshlq_u32(w, vdupq_n_s32(i * (8 - width)));
        spread = vorrq_u32(spread, vandq_u32(moved, vdupq_n_u32(((1u << width) - 1) << 8 * i)));
    }
    return vreinterpretq_s8_u32(spread);
}

I8_INLINE i8x32 i8x32_spread(i32x8 words, int width)
{
    return (i8x32){i8x16_spread(words.lo, width), i8x16_spread(words.hi, width)};
}

I8_INLINE int8x16_t i8x16_rows8(const int8_t *a, const int8_t *b)
{
    return vcombine_s8(vld1_s8(a), vld1_s8(b));
}

I8_INLINE i8x32 i8x32_rows8(const int8_t *rows, const uint16_t *index)
{
    return (i8x32){i8x16_rows8(rows + 8 * (size_t)index[0], rows + 8 * (size_t)index[1]),
                   i8x16_rows8(rows + 8 * (size_t)index[2], rows + 8 * (size_t)index[3])};
}

I8_INLINE int8x16_t i8x16_rows4(const int8_t *rows, const uint16_t *index)
{
    uint32x4_t v = vdupq_n_u32(load_u32(rows + 4 * (size_t)index[0]));
    v = vsetq_lane_u32(load_u32(rows + 4 * (size_t)index[1]), v, 1);
    v = vsetq_lane_u32(load_u32(rows + 4 * (size_t)index[2]), v, 2);
    return vreinterpretq_s8_u32(vsetq_lane_u32(load_u32(rows + 4 * (size_t)index[3]), v, 3));
}

I8_INLINE i8x32 i8x32_rows4(const int8_t *rows, const uint16_t *index)
{
    return (i8x32){i8x16_rows4(rows, index), i8x16_rows4(rows, index + 4)};
}

I8_INLINE void i8x32_store_pairs(void *p, i8x32 first, i8x32 second)
{
    int8_t *to = p;
    vst2q_s8(to, ((int8x16x2_t){{first.lo, second.lo}}));
    vst2q_s8(to + 32, ((int8x16x2_t){{first.hi, second.hi}}));
}

I8_INLINE i8x32 i8x32_narrow(i16x16 a, i16x16 b)
{
    return (i8x32){vcombine_s8(vmovn_s16(a.lo), vmovn_s16(a.hi)), vcombine_s8(vmovn_s16(b.lo), vmovn_s16(b.hi))};
}

I8_INLINE i32x8 i32x8_widened(uint16x8_t v)
{
    return (i32x8){vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(v))), vreinterpretq_s32_u32(vmovl_high_u16(v))};
}

I8_INLINE i32x8 i32x8_from_u8(const void *p)
{
    return i32x8_widened(vmovl_u8(vld1_u8(p)));
}

I8_INLINE i32x8 i32x8_from_u16(const void *p)
{
    return i32x8_widened(vreinterpretq_u16_u8(vld1q_u8(p)));
}

I8_INLINE void i32x8_load_pairs(const void *p, i32x8 *even, i32x8 *odd)
{
    i8x32 a = i8x32_load(p), b = i8x32_load((const int8_t *)p + 32);
    int32x4_t a0 = vreinterpretq_s32_s8(a.lo), a1 = vreinterpretq_s32_s8(a.hi);
    int32x4_t b0 = vreinterpretq_s32_s8(b.lo), b1 = vreinterpretq_s32_s8(b.hi);
    *even = (i32x8){vuzp1q_s32(a0, a1), vuzp1q_s32(b0, b1)};
    *odd = (i32x8){vuzp2q_s32(a0, a1), vuzp2q_s32(b0, b1)};
}

I8_INLINE int32x4_t i32x4_fields(int32x4_t v, int32x4_t shifts, int mask)
{
    uint32x4_t moved = vshlq_u32(vreinterpretq_u32_s32(v), vnegq_s32(shifts));
    return vandq_s32(vreinterpretq_s32_u32(moved), vdupq_n_s32(mask));
}

I8_INLINE i32x8 i32x8_fields(i32x8 v, int shift, int mask)
{
    int32x4_t shifts = vdupq_n_s32(shift);
    return (i32x8){i32x4_fields(v.lo, shifts, mask), i32x4_fields(v.hi, shifts, mask)};
}

I8_INLINE i8x32 i32x8_bytes(i32x8 v)
{
    return (i8x32){vreinterpretq_s8_s32(v.lo), vreinterpretq_s8_s32(v.hi)};
}

I8_INLINE i32x8 i32x8_fields_of(uint32_t bits, int width, int mask)
{
    const int32x4_t firsts = {0, 1, 2, 3};
    int32x4_t all = vdupq_n_s32((int32_t)bits), shifts = vmulq_n_s32(firsts, width);
    return (i32x8){i32x4_fields(all, shifts, mask), i32x4_fields(all, vaddq_s32(shifts, vdupq_n_s32(4 * width)), mask)};
}

I8_INLINE i32x8 i32x8_mask(i32x8 v, int n)
{
    int32x4_t bit = vdupq_n_s32(1 << n);
    return (i32x8){vreinterpretq_s32_u32(vtstq_s32(v.lo, bit)), vreinterpretq_s32_u32(vtstq_s32(v.hi, bit))};
}

I8_INLINE int16x8_t i16x8_fields(int16x8_t v, int shift, int mask)
{
    uint16x8_t moved = vshlq_u16(vreinterpretq_u16_s16(v), vdupq_n_s16((int16_t)-shift));
    return vandq_s16(vreinterpretq_s16_u16(moved), vdupq_n_s16((int16_t)mask));
}

I8_INLINE i16x16 i16x16_fields(i16x16 v, int shift, int mask)
{
    return (i16x16){i16x8_fields(v.lo, shift, mask), i16x8_fields(v.hi, shift, mask)};
}

I8_INLINE int16x8_t i16x8_doubled(int32x4_t v)
{
    return vreinterpretq_s16_s32(vorrq_s32(v, vshlq_n_s32(v, 16)));
}

I8_INLINE i16x16 i16x16_doubled(i32x8 v)
{
    return (i16x16){i16x8_doubled(v.lo), i16x8_doubled(v.hi)};
}

I8_INLINE i16x16 i16x16_nibbles(const void *eight)
{
    uint8x8_t x = vld1_u8(eight), low = vand_u8(x, vdup_n_u8(15)), high = vshr_n_u8(x, 4);
    return (i16x16){vreinterpretq_s16_u16(vmovl_u8(vzip1_u8(low, high))),
                    vreinterpretq_s16_u16(vmovl_u8(vzip2_u8(low, high)))};
}

I8_INLINE i16x16 i16x16_from_last(i8x32 v)
{
    return (i16x16){vmovl_s8(vget_low_s8(v.hi)), vmovl_high_s8(v.hi)};
}

I8_INLINE i16x16 i16x16_affine(i16x16 v, int factor, int add)
{
    int16x8_t all = vdupq_n_s16((int16_t)add);
    return (i16x16){vmlaq_n_s16(all, v.lo, (int16_t)factor), vmlaq_n_s16(all, v.hi, (int16_t)factor)};
}

I8_INLINE i16x16 i16x16_negate(i16x16 v, i32x8 mask)
{
    int16x8_t lo = vreinterpretq_s16_s32(mask.lo), hi = vreinterpretq_s16_s32(mask.hi);
    return (i16x16){vsubq_s16(veorq_s16(v.lo, lo), lo), vsubq_s16(veorq_s16(v.hi, hi), hi)};
}

I8_INLINE i16x16 i16x16_set1(int x)
{
    return (i16x16){vdupq_n_s16((int16_t)x), vdupq_n_s16((int16_t)x)};
}

I8_INLINE f32x8 f32x8_from_halves(const uint16_t h[8])
{
    return f32x8_load_f16(h);
}

I8_INLINE i8x32 i8x32_negate(i8x32 v, uint32_t bits)
{
    i8x32 mask = i8x32_bits(bits, 0xff);
    return (i8x32){vsubq_s8(veorq_s8(v.lo, mask.lo), mask.lo), vsubq_s8(veorq_s8(v.hi, mask.hi), mask.hi)};
}

typedef i32x8 i8_acc64;
typedef i8_scales i8_scales64;

#define i8_scales64_from i8_scales_from

/* Negative codes are that here. */
typedef struct {
    i8x32 first, last;
} i8x64;

typedef struct {
    int16_t scale[4];
} i8_scale64;

I8_INLINE i8x64 i8x64_signed(i8x32 first, i8x32 last)
{
    return (i8x64){first, last};
}

#define i8x64_unsigned i8x64_signed

I8_INLINE i8x64 i8x64_nibbles(const uint8_t *p)
{
    i8x32 v = i8x32_load(p);
    return i8x64_unsigned(i8x32_fields(v, 0, 15), i8x32_fields(v, 4, 15));
}

I8_INLINE i8x64 i8x64_negative(i8x32 first, i8x32 last, const uint8_t *bits)
{
    return (i8x64){i8x32_negate(first, load_u32(bits)), i8x32_negate(last, load_u32(bits + 4))};
}

I8_INLINE i8_scale64 i8_scale64_at(i8_scales64 scales, int i)
{
    const int16_t *s = scales.scale + 4 * i;
    return (i8_scale64){{s[0], s[1], s[2], s[3]}};
}

I8_INLINE i8_scale64 i8_scale64_two(const uint32_t *first, const uint32_t *last)
{
    int16_t a = (int16_t)*first, b = (int16_t)*last;
    return (i8_scale64){{a, a, b, b}};
}

I8_INLINE i8_acc64 i8_dot64(i8_acc64 acc, i8x64 w, const int8_t *acts, i8_scale64 scale, bool has_signs)
{
    i32x8 a = i8_dot_s(w.first, i8x32_load(acts)), b = i8_dot_s(w.last, i8x32_load(acts + 32));
    (void)has_signs;
    acc.lo = vmlaq_n_s32(vmlaq_n_s32(acc.lo, a.lo, scale.scale[0]), b.lo, scale.scale[2]);
    acc.hi = vmlaq_n_s32(vmlaq_n_s32(acc.hi, a.hi, scale.scale[1]), b.hi, scale.scale[3]);
    return acc;
}

#define i8_acc64_zero i32x8_zero

#define i8_acc64_sums8 i32x8_sums8

I8_INLINE i8_acc64 i8_acc64_from(i32x8 v)
{
    return v;
}

I8_INLINE i32x8 i8_acc64_sums(i8_acc64 acc)
{
    return acc;
}

I8_INLINE i32x8 i8_small_add(i32x8 acc, i8x32 codes, i8x32 acts)
{
    return i32x8_add(acc, i8_dot_s(codes, acts));
}

I8_INLINE i32x8 i8_small_sums(i32x8 acc)
{
    return acc;
}

#endif
#endif
