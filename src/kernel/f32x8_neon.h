/* f32x8_neon.h - eight float lanes in two NEON registers of aarch64. What the words mean: f32x8_scalar.h.
 *
 * Empty on other machines. max and min are compare and select: FMAX would give +0 for zeros of both signs and a NaN for
 * any NaN.
 */
#ifndef STILE_KERNEL_F32X8_NEON_H
#define STILE_KERNEL_F32X8_NEON_H

#ifdef __aarch64__

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    float32x4_t lo, hi; /* lanes 0-3, 4-7 */
} f32x8;

static inline f32x8 f32x8_set1(float x)
{
    return (f32x8){vdupq_n_f32(x), vdupq_n_f32(x)};
}

static inline f32x8 f32x8_zero(void)
{
    return f32x8_set1(0.0f);
}

static inline f32x8 f32x8_load(const float *p)
{
    return (f32x8){vld1q_f32(p), vld1q_f32(p + 4)};
}

static inline void f32x8_store(float *p, f32x8 a)
{
    vst1q_f32(p, a.lo);
    vst1q_f32(p + 4, a.hi);
}

static inline f32x8 f32x8_load_f16(const uint16_t *p)
{
    float16x8_t h = vreinterpretq_f16_u16(vld1q_u16(p));
    return (f32x8){vcvt_f32_f16(vget_low_f16(h)), vcvt_high_f32_f16(h)};
}

static inline f32x8 f32x8_load_bf16(const uint16_t *p)
{
    uint16x8_t h = vld1q_u16(p);
    return (f32x8){vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(h), 16)),
                   vreinterpretq_f32_u32(vshll_n_u16(vget_high_u16(h), 16))};
}

static inline void f32x8_store_f16(uint16_t *p, f32x8 a)
{
    vst1q_u16(p, vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(a.lo), a.hi)));
}

static inline void f32x8_load_pairs(const float *p, f32x8 *even, f32x8 *odd)
{
    float32x4x2_t lo = vld2q_f32(p), hi = vld2q_f32(p + 8);
    *even = (f32x8){lo.val[0], hi.val[0]};
    *odd = (f32x8){lo.val[1], hi.val[1]};
}

static inline void f32x8_store_pairs(float *p, f32x8 even, f32x8 odd)
{
    vst2q_f32(p, ((float32x4x2_t){{even.lo, odd.lo}}));
    vst2q_f32(p + 8, ((float32x4x2_t){{even.hi, odd.hi}}));
}

static inline f32x8 f32x8_add(f32x8 a, f32x8 b)
{
    return (f32x8){vaddq_f32(a.lo, b.lo), vaddq_f32(a.hi, b.hi)};
}

static inline f32x8 f32x8_sub(f32x8 a, f32x8 b)
{
    return (f32x8){vsubq_f32(a.lo, b.lo), vsubq_f32(a.hi, b.hi)};
}

static inline f32x8 f32x8_mul(f32x8 a, f32x8 b)
{
    return (f32x8){vmulq_f32(a.lo, b.lo), vmulq_f32(a.hi, b.hi)};
}

static inline f32x8 f32x8_div(f32x8 a, f32x8 b)
{
    return (f32x8){vdivq_f32(a.lo, b.lo), vdivq_f32(a.hi, b.hi)};
}

static inline f32x8 f32x8_fma(f32x8 a, f32x8 b, f32x8 c)
{
    return (f32x8){vfmaq_f32(c.lo, a.lo, b.lo), vfmaq_f32(c.hi, a.hi, b.hi)};
}

static inline f32x8 f32x8_fnma(f32x8 a, f32x8 b, f32x8 c)
{
    return (f32x8){vfmsq_f32(c.lo, a.lo, b.lo), vfmsq_f32(c.hi, a.hi, b.hi)};
}

static inline f32x8 f32x8_max(f32x8 a, f32x8 b)
{
    return (f32x8){vbslq_f32(vcgtq_f32(a.lo, b.lo), a.lo, b.lo), vbslq_f32(vcgtq_f32(a.hi, b.hi), a.hi, b.hi)};
}

static inline f32x8 f32x8_min(f32x8 a, f32x8 b)
{
    return (f32x8){vbslq_f32(vcltq_f32(a.lo, b.lo), a.lo, b.lo), vbslq_f32(vcltq_f32(a.hi, b.hi), a.hi, b.hi)};
}

static inline f32x8 f32x8_abs(f32x8 a)
{
    return (f32x8){vabsq_f32(a.lo), vabsq_f32(a.hi)};
}

static inline f32x8 f32x8_copysign(f32x8 a, f32x8 b)
{
    uint32x4_t sign = vdupq_n_u32(0x80000000u);
    return (f32x8){vbslq_f32(sign, b.lo, a.lo), vbslq_f32(sign, b.hi, a.hi)};
}

static inline f32x8 f32x8_exponent(f32x8 x, uint32_t bias)
{
    uint32x4_t b = vdupq_n_u32(bias);
    return (f32x8){vreinterpretq_f32_u32(vaddq_u32(vshlq_n_u32(vreinterpretq_u32_f32(x.lo), 23), b)),
                   vreinterpretq_f32_u32(vaddq_u32(vshlq_n_u32(vreinterpretq_u32_f32(x.hi), 23), b))};
}

static inline float f32x8_sum(f32x8 a)
{
    float32x4_t x = vaddq_f32(a.lo, a.hi);
    return vpadds_f32(vadd_f32(vget_low_f32(x), vget_high_f32(x)));
}

static inline void f32x8_sum4(float *p, f32x8 a, f32x8 b, f32x8 c, f32x8 d)
{
    float32x4_t a4 = vaddq_f32(a.lo, a.hi), b4 = vaddq_f32(b.lo, b.hi);
    float32x4_t c4 = vaddq_f32(c.lo, c.hi), d4 = vaddq_f32(d.lo, d.hi);
    float32x4_t ab =
        vaddq_f32(vcombine_f32(vget_low_f32(a4), vget_low_f32(b4)), vcombine_f32(vget_high_f32(a4), vget_high_f32(b4)));
    float32x4_t cd =
        vaddq_f32(vcombine_f32(vget_low_f32(c4), vget_low_f32(d4)), vcombine_f32(vget_high_f32(c4), vget_high_f32(d4)));
    vst1q_f32(p, vpaddq_f32(ab, cd));
}

static inline float f32x8_hmax(f32x8 a)
{
    float32x4_t x = vbslq_f32(vcgtq_f32(a.lo, a.hi), a.lo, a.hi);
    float32x2_t y = vbsl_f32(vcgt_f32(vget_low_f32(x), vget_high_f32(x)), vget_low_f32(x), vget_high_f32(x));
    float even = vget_lane_f32(y, 0), odd = vget_lane_f32(y, 1);
    return even > odd ? even : odd;
}

#include "kernel/f32x8_tail.inc.h"

#endif
#endif
