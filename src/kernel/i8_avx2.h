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

/* All bits where bit i is set. */
I8_INLINE i8x32 i8x32_bit_mask(uint32_t bits)
{
    const __m256i byte_of = _mm256_set_epi64x(0x0303030303030303, 0x0202020202020202, 0x0101010101010101, 0);
    const __m256i bit_of = _mm256_set1_epi64x((long long)0x8040201008040201);
    __m256i x = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32((int)bits), byte_of), bit_of);
    return _mm256_cmpeq_epi8(x, bit_of);
}

I8_INLINE i8x32 i8x32_bits(uint32_t bits, int value)
{
    return _mm256_and_si256(i8x32_bit_mask(bits), _mm256_set1_epi8((char)value));
}

I8_INLINE i8x32 i8x32_negate(i8x32 v, uint32_t bits)
{
    __m256i mask = i8x32_bit_mask(bits);
    return _mm256_sub_epi8(_mm256_xor_si256(v, mask), mask);
}

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

/* In 16 bits: 8 * 2 * 3 * 127 fits. */
I8_INLINE i32x8 i8_small_add(i32x8 acc, i8x32 codes, i8x32 acts)
{
    return _mm256_add_epi16(acc, _mm256_maddubs_epi16(codes, acts));
}

I8_INLINE i32x8 i8_small_sums(i32x8 acc)
{
    return _mm256_madd_epi16(acc, _mm256_set1_epi16(1));
}

/* Of each two neighbours the sum, per 128 bits first of a, then of b: pairs of 16-bit sums. */
I8_INLINE __m256i i16_add_pairs(__m256i a, __m256i b)
{
    __m256 x = _mm256_castsi256_ps(a), y = _mm256_castsi256_ps(b);
    return _mm256_add_epi16(_mm256_castps_si256(_mm256_shuffle_ps(x, y, 0x88)),
                            _mm256_castps_si256(_mm256_shuffle_ps(x, y, 0xdd)));
}

I8_INLINE __m256i i8_two_halves(const uint8_t *low, const uint8_t *high)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const void *)low)),
                                   _mm_loadu_si128((const void *)high), 1);
}

I8_INLINE __m256i i8_twice(const void *p)
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(p));
}

I8_INLINE i32x8 i8_group_nibbles(const uint8_t *p, size_t stride, const int8_t *acts, const int8_t *table, int max)
{
    const __m256i mask = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
    __m256i x = i8_twice(acts), y = i8_twice(acts + 16), part[4];
    UNROLL(4)
    for (size_t i = 0; i < 4; i++) {
        __m256i both = i8_two_halves(p + i * stride, p + (4 + i) * stride);
        __m256i first = _mm256_and_si256(both, mask), last = _mm256_and_si256(_mm256_srli_epi16(both, 4), mask);
        if (table) {
            first = i8x32_lookup(first, table);
            last = i8x32_lookup(last, table);
        }
        if (max > 127)
            part[i] = _mm256_add_epi32(i8_dot_s(first, x), i8_dot_s(last, y));
        else
            part[i] = _mm256_add_epi16(_mm256_maddubs_epi16(first, x), _mm256_maddubs_epi16(last, y));
    }
    if (max > 127) return _mm256_hadd_epi32(_mm256_hadd_epi32(part[0], part[1]), _mm256_hadd_epi32(part[2], part[3]));
    __m256i a = i16_add_pairs(part[0], part[1]), b = i16_add_pairs(part[2], part[3]);
    if (max > 16) /* 16 products would not fit in 16 bits */
        return _mm256_hadd_epi32(_mm256_madd_epi16(a, ones), _mm256_madd_epi16(b, ones));
    return _mm256_madd_epi16(i16_add_pairs(a, b), ones);
}

I8_INLINE i32x8 i8_group_codes(i8x32 (*codes)(const uint8_t *), const uint8_t *p, size_t stride, const int8_t *acts,
                               int max)
{
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i x = i8x32_load(acts), part[8];
    UNROLL(8)
    for (size_t b = 0; b < 8; b++) {
        i8x32 w = codes(p + b * stride);
        part[b] = max > 127 ? i8_dot_s(w, x) : _mm256_maddubs_epi16(w, x);
    }
    if (max > 127) return i32x8_sums8(part);
    /* 8 products of up to 32 * 127 fit in 16 bits */
    __m256i a = i16_add_pairs(i16_add_pairs(part[0], part[1]), i16_add_pairs(part[2], part[3]));
    __m256i b = i16_add_pairs(i16_add_pairs(part[4], part[5]), i16_add_pairs(part[6], part[7]));
    a = _mm256_madd_epi16(a, ones);
    b = _mm256_madd_epi16(b, ones);
    return _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31));
}

/* Four blocks: 32-bit words (0x88) 0 and 2 of each 128 bits, or (0xdd) 1 and 3, as floats. */
#define I8_FLOATS_NVFP4(a, b, which, add) \
    _mm256_cvtepi32_ps(_mm256_add_epi32(  \
        _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), (which))), (add)))

I8_INLINE void i8_group_nvfp4(const uint8_t *p, size_t stride, const int8_t *acts, const int16_t *sums,
                              const int8_t *table, f32x8 t[2])
{
    const __m256i mask = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1),
                  halves = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    /* eight activations of each of four sub-blocks: the first of each, the last */
    __m256i q0 = i8x32_load(acts), q1 = i8x32_load(acts + 32);
    __m256i x = _mm256_permute4x64_epi64(_mm256_unpacklo_epi64(q0, q1), 0xd8);
    __m256i y = _mm256_permute4x64_epi64(_mm256_unpackhi_epi64(q0, q1), 0xd8);
    __m256i part[8], pairs[4], scales[2];
    UNROLL(8)
    for (size_t b = 0; b < 8; b++) {
        __m256i v = i8x32_load(p + b * stride + 4);
        __m256i first = i8x32_lookup(_mm256_and_si256(v, mask), table);
        __m256i last = i8x32_lookup(_mm256_and_si256(_mm256_srli_epi16(v, 4), mask), table);
        part[b] = _mm256_add_epi16(_mm256_maddubs_epi16(first, x), _mm256_maddubs_epi16(last, y));
    }
    UNROLL(4)
    for (size_t i = 0; i < 4; i++) /* per 128 bits two sub-blocks of block 2i, two of the next */
        pairs[i] = _mm256_madd_epi16(i16_add_pairs(part[2 * i], part[2 * i + 1]), ones);
    __m256i both = _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(_mm_loadl_epi64((const void *)sums)), halves);
    __m256i minus0 = _mm256_madd_epi16(both, _mm256_set1_epi32(-12 & 0xffff));
    __m256i minus1 = _mm256_madd_epi16(both, _mm256_set1_epi32(-12 * 0x10000));
    i8_scales_nvfp4(p, stride, &scales[0], &scales[1]);
    /* blocks 0 ... 3, then 4 ... 7: sub-blocks 0 | 2 and 1 | 3 */
    f32x8 a0 = _mm256_mul_ps(_mm256_cvtph_ps(_mm256_castsi256_si128(scales[0])),
                             I8_FLOATS_NVFP4(pairs[0], pairs[1], 0x88, minus0));
    f32x8 b0 = _mm256_mul_ps(_mm256_cvtph_ps(_mm256_extracti128_si256(scales[0], 1)),
                             I8_FLOATS_NVFP4(pairs[2], pairs[3], 0x88, minus0));
    f32x8 a = _mm256_fmadd_ps(_mm256_cvtph_ps(_mm256_castsi256_si128(scales[1])),
                              I8_FLOATS_NVFP4(pairs[0], pairs[1], 0xdd, minus1), a0);
    f32x8 b = _mm256_fmadd_ps(_mm256_cvtph_ps(_mm256_extracti128_si256(scales[1], 1)),
                              I8_FLOATS_NVFP4(pairs[2], pairs[3], 0xdd, minus1), b0);
    t[0] = _mm256_mul_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_set1_ps(128.0f));
    t[1] = _mm256_mul_ps(_mm256_permute2f128_ps(a, b, 0x31), _mm256_set1_ps(128.0f));
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
