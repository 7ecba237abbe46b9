/* kv_neon.h - what attention asks of an instruction set beside f32v. The words: kv_avx512.h. */
#ifndef STILE_KERNEL_KV_NEON_H
#define STILE_KERNEL_KV_NEON_H

#ifdef __aarch64__

#include "kernel/f32x8_neon.h"

#include "kernel/f32v_f32x8.inc.h"
#include "kernel/inline.h"

#define KV_QUERIES   4
#define KV_GROUPS(n) ((n) == 1 ? 4 : (n) == 4 ? 1 : 2)

typedef struct {
    int8x16_t lo, hi;
} kv_codes;
typedef struct {
    int32x4_t lo, hi;
} kv_sums;

I8_INLINE f32v kv_load_i8(const int8_t *p)
{
    int16x8_t wide = vmovl_s8(vld1_s8(p));
    return (f32v){vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide))), vcvtq_f32_s32(vmovl_high_s16(wide))};
}

I8_INLINE kv_codes kv_codes_load(const int8_t *p)
{
    return (kv_codes){vld1q_s8(p), vld1q_s8(p + 16)};
}

I8_INLINE kv_sums kv_sums_start(int32_t total)
{
    (void)total;
    return (kv_sums){vdupq_n_s32(0), vdupq_n_s32(0)};
}

I8_INLINE int32x4_t kv_sums_add4(int32x4_t sums, int8x16_t codes, int8x16_t acts)
{
#ifdef __ARM_FEATURE_DOTPROD
    return vdotq_s32(sums, codes, acts);
#else
    int16x8_t low = vmull_s8(vget_low_s8(codes), vget_low_s8(acts)), high = vmull_high_s8(codes, acts);
    return vaddq_s32(sums, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
#endif
}

I8_INLINE kv_sums kv_sums_add(kv_sums sums, kv_codes codes, uint32_t acts)
{
    int8x16_t a = vreinterpretq_s8_u32(vdupq_n_u32(acts));
    return (kv_sums){kv_sums_add4(sums.lo, codes.lo, a), kv_sums_add4(sums.hi, codes.hi, a)};
}

I8_INLINE f32v kv_sums_float(kv_sums sums)
{
    return (f32v){vcvtq_f32_s32(sums.lo), vcvtq_f32_s32(sums.hi)};
}

#endif
#endif
