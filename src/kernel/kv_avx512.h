/* kv_avx512.h - what attention asks of an instruction set beside f32v. The words:
 *
 *   kv_load_i8        F32V_LANES bytes as floats
 *   kv_codes          four dimensions of the keys of F32V_LANES positions; load
 *   kv_sums           exact sums, a lane per position; start(sum of all activations that will follow), add (four
 *                     dimensions), float
 *   KV_QUERIES        most queries worked on at once
 *   KV_GROUPS(n)      groups of positions (or panels of 16 values) that go with n queries: their sums fill the registers
 */
#ifndef STILE_KERNEL_KV_AVX512_H
#define STILE_KERNEL_KV_AVX512_H

#include "kernel/f32v_avx512.h"
#include "kernel/inline.h"

#define KV_QUERIES   6
#define KV_GROUPS(n) 4

typedef __m512i kv_codes;
typedef __m512i kv_sums;

I8_INLINE f32v kv_load_i8(const int8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)p)));
}

/* vpdpbusd multiplies unsigned by signed bytes: codes are moved up by 128, and the sums start lower by as much. */
I8_INLINE kv_codes kv_codes_load(const int8_t *p)
{
    return _mm512_xor_si512(_mm512_loadu_si512(p), _mm512_set1_epi8((char)0x80));
}

I8_INLINE kv_sums kv_sums_start(int32_t total)
{
    return _mm512_set1_epi32(-128 * total);
}

I8_INLINE kv_sums kv_sums_add(kv_sums sums, kv_codes codes, uint32_t acts)
{
    return _mm512_dpbusd_epi32(sums, codes, _mm512_set1_epi32((int)acts));
}

I8_INLINE f32v kv_sums_float(kv_sums sums)
{
    return _mm512_cvtepi32_ps(sums);
}

#endif
