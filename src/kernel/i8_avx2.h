/* i8_avx2.h - products of codes and activations with AVX2, and the words for tiles of rows.
 *
 * i8x32 words: see i8_x86.h. A tile holds TILE_ROWS rows, interleaved so that one vector is TILE_ROWS rows x 4
 * consecutive elements; lane = row. Words for tiles:
 *   tile_i, tile_f    integers and floats, one lane per row
 *   tile_dot          sum[c] += products of n_quads vectors of codes with column c's activations, for all columns
 *   tile_dot_scaled   the same times a scale per row (scales as tile_scale made them)
 *   tile_pairs        acc + pair.first * act.first + pair.second * act.second, 16-bit pairs, act the same for all rows
 * `max` is the largest code (a constant): it decides how many products fit in 16 bits. Codes over 127 are signed.
 */
#ifndef STILE_KERNEL_I8_AVX2_H
#define STILE_KERNEL_I8_AVX2_H

#include "kernel/i8_x86.h"

enum { I8_OFFSET_S = 0 };

I8_INLINE i32x8 i8_dot_u(i8x32 codes, i8x32 acts)
{
    return _mm256_madd_epi16(_mm256_maddubs_epi16(codes, acts), _mm256_set1_epi16(1));
}

/* |code| * (activation with the code's sign): 128 * 127 * 2 fits in 16 bits. */
I8_INLINE __m256i i8_products_s(i8x32 codes, i8x32 acts)
{
    return _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(acts, codes));
}

I8_INLINE i32x8 i8_dot_s(i8x32 codes, i8x32 acts)
{
    return _mm256_madd_epi16(i8_products_s(codes, acts), _mm256_set1_epi16(1));
}

I8_INLINE i32x8 i8_dot_scaled_u(i32x8 acc, i8x32 codes, i8x32 acts, i8_scales scales, int j)
{
    return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(codes, acts), i8_scale_pair(scales, j)));
}

I8_INLINE i32x8 i8_dot_scaled_s(i32x8 acc, i8x32 codes, i8x32 acts, i8_scales scales, int j)
{
    return _mm256_add_epi32(acc, _mm256_madd_epi16(i8_products_s(codes, acts), i8_scale_pair(scales, j)));
}

/* Vector i: blocks i (low half) and 4 + i; the first 16 activations of each, then the last 16. */
I8_INLINE void i8_arrange_nibbles(const int8_t *const blocks[8], int8_t *to)
{
    for (int i = 0; i < 4; i++) {
        for (int part = 0; part < 2; part++) {
            memcpy(to + 64 * i + 32 * part, blocks[i] + 16 * part, 16);
            memcpy(to + 64 * i + 32 * part + 16, blocks[4 + i] + 16 * part, 16);
        }
    }
}

I8_INLINE i32x8 i8_group_nibbles(const uint8_t *p, size_t stride, const int8_t *acts, const int8_t *table,
                                 bool is_signed)
{
    const __m256i mask = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
    __m256i part[4];
    UNROLL(4)
    for (size_t i = 0; i < 4; i++) {
        __m128i low = _mm_loadu_si128((const void *)(p + i * stride));
        __m128i high = _mm_loadu_si128((const void *)(p + (4 + i) * stride));
        __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
        __m256i first = _mm256_and_si256(both, mask), last = _mm256_and_si256(_mm256_srli_epi16(both, 4), mask);
        __m256i x = _mm256_loadu_si256((const void *)(acts + 64 * i));
        __m256i y = _mm256_loadu_si256((const void *)(acts + 64 * i + 32));
        if (table) {
            first = i8x32_lookup(first, table);
            last = i8x32_lookup(last, table);
        }
        if (is_signed) /* a sum of four products would not fit in 16 bits */
            part[i] = _mm256_add_epi32(i8_dot_s(first, x), i8_dot_s(last, y));
        else
            part[i] = _mm256_madd_epi16(_mm256_add_epi16(_mm256_maddubs_epi16(first, x), _mm256_maddubs_epi16(last, y)),
                                        ones);
    }
    return _mm256_hadd_epi32(_mm256_hadd_epi32(part[0], part[1]), _mm256_hadd_epi32(part[2], part[3]));
}

I8_INLINE void i8_arrange_codes(const int8_t *const blocks[8], int8_t *to)
{
    for (int b = 0; b < 8; b++)
        memcpy(to + 32 * b, blocks[b], 32);
}

I8_INLINE i32x8 i8_group_codes(i8x32 (*codes)(const uint8_t *), const uint8_t *p, size_t stride, const int8_t *acts,
                               bool is_signed)
{
    i32x8 part[8];
    UNROLL(8)
    for (size_t b = 0; b < 8; b++) {
        i8x32 w = codes(p + b * stride), x = i8x32_load(acts + 32 * b);
        part[b] = is_signed ? i8_dot_s(w, x) : i8_dot_u(w, x);
    }
    return i32x8_sums8(part);
}

/* Sums of float products held in registers (matmul_float.inc.h). Macros, for the pragmas that unroll. */
#define FLOAT_ROWS    3
#define FLOAT_COLUMNS 3

/* ---- tiles ------------------------------------------------------------------------------------- */

#define TILE_ROWS    8
#define TILE_COLUMNS 4

typedef __m256i tile_i;
typedef f32x8 tile_f;

#define tile_f_zero  f32x8_zero
#define tile_f_set1  f32x8_set1
#define tile_f_load  f32x8_load
#define tile_f_store f32x8_store
#define tile_f_mul   f32x8_mul
#define tile_f_add   f32x8_add
#define tile_f_fma   f32x8_fma
#define tile_f_fnma  f32x8_fnma
#define tile_f_from  f32x8_from_i32

I8_INLINE __m256i tile_mask(size_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

I8_INLINE tile_f tile_f_load_n(const float *p, size_t n)
{
    return _mm256_maskload_ps(p, tile_mask(n));
}

I8_INLINE void tile_f_store_n(float *p, tile_f v, size_t n)
{
    _mm256_maskstore_ps(p, tile_mask(n), v);
}

I8_INLINE tile_i tile_i_zero(void)
{
    return _mm256_setzero_si256();
}

I8_INLINE tile_i tile_i_set1(int x)
{
    return _mm256_set1_epi32(x);
}

I8_INLINE tile_i tile_i_load(const void *p)
{
    return _mm256_load_si256(p);
}

I8_INLINE void tile_i_store(void *p, tile_i v)
{
    _mm256_store_si256(p, v);
}

I8_INLINE tile_i tile_i_add(tile_i a, tile_i b)
{
    return _mm256_add_epi32(a, b);
}

I8_INLINE tile_i tile_pairs(tile_i acc, tile_i pairs, uint32_t act_pair)
{
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi32((int)act_pair)));
}

I8_INLINE tile_i tile_pairs_times(tile_i pairs, int factor)
{
    return _mm256_mullo_epi16(pairs, _mm256_set1_epi16((short)factor));
}

/* Of a pair of 16-bit numbers per row, the first (which = 0) or the second, as tile_dot_scaled wants it. */
I8_INLINE tile_i tile_scale(tile_i pairs, int which)
{
    const __m256i first = _mm256_set1_epi64x(0x0504050401000100), second = _mm256_set1_epi64x(0x0706070603020302);
    const __m256i upper = _mm256_set_epi64x(0x0808080808080808, 0, 0x0808080808080808, 0);
    return _mm256_shuffle_epi8(pairs, _mm256_add_epi8(which ? second : first, upper));
}

I8_INLINE __m256i tile_products(__m256i codes, uint32_t acts, int max)
{
    __m256i a = _mm256_set1_epi32((int)acts);
    if (max > 127) return _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(a, codes));
    return _mm256_maddubs_epi16(codes, a);
}

I8_INLINE void tile_dot_scaled(tile_i *sum, const uint8_t *codes, const int8_t *const *q, int n_columns, int n_quads,
                               int max, tile_i scale)
{
    /* Pairs of products reach 2 * max * 127: this many of them are added in 16 bits. */
    const int run = max <= 15 ? 8 : max <= 32 ? 4 : max <= 64 ? 2 : 1;
    __m256i part[TILE_COLUMNS];
    UNROLL(8)
    for (int i = 0; i < n_quads; i++) {
        __m256i w = _mm256_load_si256((const void *)(codes + 32 * i));
        UNROLL(TILE_COLUMNS)
        for (int c = 0; c < n_columns; c++) {
            __m256i products = tile_products(w, load_u32(q[c] + 4 * i), max);
            part[c] = i % run == 0 ? products : _mm256_add_epi16(part[c], products);
            if (i % run == run - 1 || i == n_quads - 1)
                sum[c] = _mm256_add_epi32(sum[c], _mm256_madd_epi16(part[c], scale));
        }
    }
}

I8_INLINE void tile_dot(tile_i *sum, const uint8_t *codes, const int8_t *const *q, int n_columns, int n_quads, int max)
{
    tile_dot_scaled(sum, codes, q, n_columns, n_quads, max, _mm256_set1_epi16(1));
}

#endif
