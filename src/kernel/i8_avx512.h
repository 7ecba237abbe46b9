/* i8_avx512.h - products of codes and activations with AVX-512 VNNI. The words: i8_x86.h, i8_avx2.h.
 *
 * vpdpbusd multiplies unsigned by signed bytes into 32 bits, so signed codes are moved up by 128 (I8_OFFSET_S) and the
 * caller subtracts 128 times the sum of the activations.
 */
#ifndef STILE_KERNEL_I8_AVX512_H
#define STILE_KERNEL_I8_AVX512_H

#include "kernel/i8_x86.h"

enum { I8_OFFSET_S = 128 };

I8_INLINE i8x32 i8_unsigned(i8x32 codes)
{
    return _mm256_xor_si256(codes, _mm256_set1_epi8((char)0x80));
}

I8_INLINE i32x8 i8_dot_u(i8x32 codes, i8x32 acts)
{
    return _mm256_dpbusd_epi32(_mm256_setzero_si256(), codes, acts);
}

I8_INLINE i32x8 i8_dot_s(i8x32 codes, i8x32 acts)
{
    return _mm256_dpbusd_epi32(_mm256_setzero_si256(), i8_unsigned(codes), acts);
}

I8_INLINE i32x8 i8_dot_scaled_u(i32x8 acc, i8x32 codes, i8x32 acts, i8_scales scales, int j)
{
    return _mm256_dpwssd_epi32(acc, _mm256_maddubs_epi16(codes, acts), i8_scale_pair(scales, j));
}

/* 255 * 127 * 2 would not fit in 16 bits, |code| * (activation with the code's sign) does. */
I8_INLINE i32x8 i8_dot_scaled_s(i32x8 acc, i8x32 codes, i8x32 acts, i8_scales scales, int j)
{
    __m256i products = _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(acts, codes));
    return _mm256_dpwssd_epi32(acc, products, i8_scale_pair(scales, j));
}

/* Sums of float products held in registers (matmul_float.inc.h). Macros, for the pragmas that unroll. */
#define FLOAT_ROWS    3
#define FLOAT_COLUMNS 4

/* ---- tiles ------------------------------------------------------------------------------------- */

enum { TILE_ROWS = 16, TILE_COLUMNS = 4 };

typedef __m512i tile_i;
typedef __m512 tile_f;

I8_INLINE tile_f tile_f_zero(void)
{
    return _mm512_setzero_ps();
}

I8_INLINE tile_f tile_f_set1(float x)
{
    return _mm512_set1_ps(x);
}

I8_INLINE tile_f tile_f_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

I8_INLINE void tile_f_store(float *p, tile_f v)
{
    _mm512_storeu_ps(p, v);
}

I8_INLINE tile_f tile_f_load_n(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}

I8_INLINE void tile_f_store_n(float *p, tile_f v, size_t n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), v);
}

I8_INLINE tile_f tile_f_mul(tile_f a, tile_f b)
{
    return _mm512_mul_ps(a, b);
}

I8_INLINE tile_f tile_f_add(tile_f a, tile_f b)
{
    return _mm512_add_ps(a, b);
}

I8_INLINE tile_f tile_f_fma(tile_f a, tile_f b, tile_f c)
{
    return _mm512_fmadd_ps(a, b, c);
}

I8_INLINE tile_f tile_f_fnma(tile_f a, tile_f b, tile_f c)
{
    return _mm512_fnmadd_ps(a, b, c);
}

I8_INLINE tile_f tile_f_from(tile_i v)
{
    return _mm512_cvtepi32_ps(v);
}

I8_INLINE tile_i tile_i_zero(void)
{
    return _mm512_setzero_si512();
}

I8_INLINE tile_i tile_i_set1(int x)
{
    return _mm512_set1_epi32(x);
}

I8_INLINE tile_i tile_i_load(const void *p)
{
    return _mm512_load_si512(p);
}

I8_INLINE void tile_i_store(void *p, tile_i v)
{
    _mm512_store_si512(p, v);
}

I8_INLINE tile_i tile_i_add(tile_i a, tile_i b)
{
    return _mm512_add_epi32(a, b);
}

I8_INLINE tile_i tile_pairs(tile_i acc, tile_i pairs, uint32_t act_pair)
{
    return _mm512_dpwssd_epi32(acc, pairs, _mm512_set1_epi32((int)act_pair));
}

I8_INLINE tile_i tile_pairs_times(tile_i pairs, int factor)
{
    return _mm512_mullo_epi16(pairs, _mm512_set1_epi16((short)factor));
}

I8_INLINE tile_i tile_scale(tile_i pairs, int which)
{
    return _mm512_srai_epi32(which ? pairs : _mm512_slli_epi32(pairs, 16), 16);
}

I8_INLINE void tile_dot(tile_i *sum, const uint8_t *codes, const int8_t *const *q, int n_columns, int n_quads, int max)
{
    (void)max;
#pragma GCC unroll 8
    for (int i = 0; i < n_quads; i++) {
        __m512i w = _mm512_load_si512(codes + 64 * i);
#pragma GCC unroll 4
        for (int c = 0; c < n_columns; c++)
            sum[c] = _mm512_dpbusd_epi32(sum[c], w, _mm512_set1_epi32((int)load_u32(q[c] + 4 * i)));
    }
}

I8_INLINE void tile_dot_scaled(tile_i *sum, const uint8_t *codes, const int8_t *const *q, int n_columns, int n_quads,
                               int max, tile_i scale)
{
    tile_i part[TILE_COLUMNS] = {tile_i_zero(), tile_i_zero(), tile_i_zero(), tile_i_zero()};
    tile_dot(part, codes, q, n_columns, n_quads, max);
#pragma GCC unroll 4
    for (int c = 0; c < n_columns; c++)
        sum[c] = _mm512_add_epi32(sum[c], _mm512_mullo_epi32(part[c], scale));
}

#endif
