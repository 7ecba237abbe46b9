/* f32v_avx512.h - f32v, as many float lanes as one register of the instruction set takes well: sixteen here, eight
 * elsewhere (f32v_f32x8.inc.h).
 *
 * For loops whose result does not depend on the number of lanes: element by element, or a lane per position. Words are
 * those of f32x8 (f32x8_scalar.h); F32V_LANES counts the lanes.
 */
#ifndef STILE_KERNEL_F32V_AVX512_H
#define STILE_KERNEL_F32V_AVX512_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define F32V_LANES 16

typedef __m512 f32v;

static inline f32v f32v_set1(float x)
{
    return _mm512_set1_ps(x);
}

static inline f32v f32v_zero(void)
{
    return _mm512_setzero_ps();
}

static inline f32v f32v_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline f32v f32v_load_n(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}

static inline f32v f32v_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
}

static inline void f32v_store(float *p, f32v a)
{
    _mm512_storeu_ps(p, a);
}

static inline void f32v_store_n(float *p, f32v a, size_t n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), a);
}

static inline void f32v_load_pairs(const float *p, f32v *even, f32v *odd)
{
    const __m512i first = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    __m512 a = _mm512_loadu_ps(p), b = _mm512_loadu_ps(p + 16);
    *even = _mm512_permutex2var_ps(a, first, b);
    *odd = _mm512_permutex2var_ps(a, _mm512_add_epi32(first, _mm512_set1_epi32(1)), b);
}

static inline void f32v_store_pairs(float *p, f32v even, f32v odd)
{
    const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    _mm512_storeu_ps(p, _mm512_permutex2var_ps(even, low, odd));
    _mm512_storeu_ps(p + 16, _mm512_permutex2var_ps(even, _mm512_add_epi32(low, _mm512_set1_epi32(8)), odd));
}

static inline f32v f32v_add(f32v a, f32v b)
{
    return _mm512_add_ps(a, b);
}

static inline f32v f32v_sub(f32v a, f32v b)
{
    return _mm512_sub_ps(a, b);
}

static inline f32v f32v_mul(f32v a, f32v b)
{
    return _mm512_mul_ps(a, b);
}

static inline f32v f32v_div(f32v a, f32v b)
{
    return _mm512_div_ps(a, b);
}

static inline f32v f32v_fma(f32v a, f32v b, f32v c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline f32v f32v_fnma(f32v a, f32v b, f32v c)
{
    return _mm512_fnmadd_ps(a, b, c);
}

static inline f32v f32v_max(f32v a, f32v b)
{
    return _mm512_max_ps(a, b);
}

static inline f32v f32v_min(f32v a, f32v b)
{
    return _mm512_min_ps(a, b);
}

static inline f32v f32v_abs(f32v a)
{
    return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a);
}

static inline f32v f32v_copysign(f32v a, f32v b)
{
    return _mm512_or_ps(f32v_abs(a), _mm512_and_ps(_mm512_set1_ps(-0.0f), b));
}

static inline f32v f32v_exponent(f32v x, uint32_t bias)
{
    __m512i shifted = _mm512_slli_epi32(_mm512_castps_si512(x), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(shifted, _mm512_set1_epi32((int)bias)));
}

#endif
