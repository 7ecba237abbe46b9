/* matmul_float_avx512.h - what matmul_float.inc.h needs beside f32v in AVX-512; sums fold lanes 8 ... 15 onto 0 ... 7
 * first.
 *
 * Needs a file compiled for AVX-512; empty without.
 */
#ifndef STILE_KERNEL_MATMUL_FLOAT_AVX512_H
#define STILE_KERNEL_MATMUL_FLOAT_AVX512_H

#ifdef __AVX512F__

#include "kernel/f32v_avx512.h"
#include "kernel/f32x8_avx2.h"
#include "kernel/inline.h"

/* How many sums are held in registers: of rows x tokens, and of one row for some tokens. */
#define FLOAT_ROWS    4
#define FLOAT_COLUMNS 6
#define FLOAT_DIRECT  8

static inline f32v f32v_load_bf16(const uint16_t *p)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

static inline f32x8 f32v_fold(f32v a)
{
    return _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
}

static inline float f32v_sum(f32v a)
{
    return f32x8_sum(f32v_fold(a));
}

/* One vector's halves (quarters, pairs) of both, added: the tree of f32v_sum for several at once. */
static inline f32v f32v_add_halves(f32v a, f32v b)
{
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
}

static inline f32v f32v_add_quarters(f32v a, f32v b)
{
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
}

static inline f32v f32v_add_pairs(f32v a, f32v b)
{
    __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
    return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
}

static inline f32v f32v_add_singles(f32v a, f32v b)
{
    return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd));
}

/* to[c][r] = the sum of v[c][r]; n_columns is a constant. */
I8_INLINE void f32v_sum_columns(float to[FLOAT_COLUMNS][4], f32v v[FLOAT_COLUMNS][4], size_t n_columns)
{
    f32v row[4];
    if (n_columns > 2) { /* a quarter of a register for each of four columns, the last may be there twice */
        UNROLL(4)
        for (size_t r = 0; r < 4; r++)
            row[r] = f32v_add_quarters(f32v_add_halves(v[0][r], v[1][r]),
                                       f32v_add_halves(v[2][r], v[n_columns > 3 ? 3 : 2][r]));
        f32v sums = f32v_add_singles(f32v_add_pairs(row[0], row[1]), f32v_add_pairs(row[2], row[3]));
        _mm512_storeu_ps(to[0], sums);
    }
    if (n_columns > 4 || n_columns < 3) { /* two columns */
        size_t c = n_columns > 4 ? 4 : 0, last = n_columns - 1;
        UNROLL(4)
        for (size_t r = 0; r < 4; r++)
            row[r] = f32v_add_halves(v[c][r], v[last][r]);
        f32v sums = f32v_add_pairs(f32v_add_quarters(row[0], row[2]), f32v_add_quarters(row[1], row[3]));
        sums = f32v_add_singles(sums, sums);
        sums = _mm512_permutexvar_ps(_mm512_setr_epi32(0, 1, 8, 9, 4, 5, 12, 13, 0, 0, 0, 0, 0, 0, 0, 0), sums);
        _mm256_storeu_ps(to[c], _mm512_castps512_ps256(sums));
    }
}

#endif
#endif
