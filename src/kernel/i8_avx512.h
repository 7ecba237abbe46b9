/* i8_avx512.h - products of codes and activations with AVX-512 VNNI. The words: i8_x86.h, i8_avx2.h.
 *
 * vpdpbusd multiplies unsigned by signed bytes into 32 bits, so signed codes are moved up by 128 (I8_OFFSET_S) and the
 * caller subtracts 128 times the sum of the activations.
 */
#ifndef STILE_KERNEL_I8_AVX512_H
#define STILE_KERNEL_I8_AVX512_H

#include "kernel/i8_x86.h"
#include "kernel/unpack.h"

enum { I8_OFFSET_S = 128 };

/* In matmul_row.inc.h, measured: tokens that share unpacked rows; tokens up to which that is quicker than a tile. */
#define TOKENS_AT_ONCE 6
enum { FEW_TOKENS = 8, FEW_TOKENS_S256 = 8 };

I8_INLINE i8x32 i8_unsigned(i8x32 codes)
{
    return _mm256_xor_si256(codes, _mm256_set1_epi8((char)0x80));
}

I8_INLINE i8x32 i8x32_bits(uint32_t bits, int value)
{
    return _mm256_maskz_mov_epi8(bits, _mm256_set1_epi8((char)value));
}

I8_INLINE i8x32 i8x32_negate(i8x32 v, uint32_t bits)
{
    return _mm256_mask_sub_epi8(v, bits, _mm256_setzero_si256(), v);
}

I8_INLINE i32x8 i8_dot_u(i8x32 codes, i8x32 acts)
{
    return _mm256_dpbusd_epi32(_mm256_setzero_si256(), codes, acts);
}

I8_INLINE i32x8 i8_dot_s(i8x32 codes, i8x32 acts)
{
    return _mm256_dpbusd_epi32(_mm256_setzero_si256(), i8_unsigned(codes), acts);
}

I8_INLINE __m512i i8_two_halves(__m256i low, __m256i high)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

typedef __m512i i8_acc64;
typedef __m512i i8_scales64;

/* Those of sub-block n mod 4 in quarter n, in order. */
I8_INLINE i8_scales64 i8_scales64_from(i16x16 v)
{
    const __m512i order =
        _mm512_set_epi64(0, 0x000f000b00070003, 0, 0x000e000a00060002, 0, 0x000d000900050001, 0, 0x000c000800040000);
    return _mm512_permutexvar_epi16(order, _mm512_castsi256_si512(v));
}

typedef struct {
    __m512i codes; /* their magnitudes */
    __mmask64 minus;
} i8x64;

typedef __m512i i8_scale64;

I8_INLINE i8x64 i8x64_unsigned(i8x32 first, i8x32 last)
{
    return (i8x64){i8_two_halves(first, last), 0};
}

I8_INLINE i8x64 i8x64_nibbles(const uint8_t *p)
{
    const __m512i shifts = i8_two_halves(_mm256_setzero_si256(), _mm256_set1_epi16(4));
    __m512i v = _mm512_srlv_epi16(_mm512_broadcast_i64x4(i8x32_load(p)), shifts);
    return (i8x64){_mm512_and_si512(v, _mm512_set1_epi8(15)), 0};
}

I8_INLINE i8x64 i8x64_signed(i8x32 first, i8x32 last)
{
    __m512i v = i8_two_halves(first, last);
    return (i8x64){_mm512_abs_epi8(v), _mm512_movepi8_mask(v)};
}

I8_INLINE i8x64 i8x64_negative(i8x32 first, i8x32 last, const uint8_t *bits)
{
    return (i8x64){i8_two_halves(first, last), (__mmask64)load_i64(bits)};
}

I8_INLINE i8_scale64 i8_scale64_at(i8_scales64 scales, int i)
{
    return _mm512_shuffle_epi8(scales, _mm512_set1_epi16((short)(2 * i | (2 * i + 1) << 8)));
}

I8_INLINE i8_scale64 i8_scale64_two(const uint32_t *first, const uint32_t *last)
{
    return _mm512_mask_set1_epi32(_mm512_set1_epi32((int)*first), 0xff00, (int)*last);
}

I8_INLINE i8_acc64 i8_dot64(i8_acc64 acc, i8x64 w, const int8_t *acts, i8_scale64 scale, bool has_signs)
{
    __m512i x = _mm512_loadu_si512(acts);
    if (has_signs) x = _mm512_mask_sub_epi8(x, w.minus, _mm512_setzero_si512(), x);
    return _mm512_dpwssd_epi32(acc, _mm512_maddubs_epi16(w.codes, x), scale);
}

#define i8_acc64_zero _mm512_setzero_si512
#define i8_acc64_from _mm512_zextsi256_si512

I8_INLINE i32x8 i8_acc64_sums(i8_acc64 acc)
{
    return _mm256_add_epi32(_mm512_castsi512_si256(acc), _mm512_extracti64x4_epi64(acc, 1));
}

I8_INLINE __m512i i32_add_even_odd(__m512i a, __m512i b)
{
    return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
}

I8_INLINE __m512i i32_add_halves(__m512i a, __m512i b)
{
    return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}

I8_INLINE i32x8 i8_acc64_sums8(const i8_acc64 p[8])
{
    /* each quarter: a part of the sums of p[0] ... p[3], of p[4] ... p[7] */
    __m512i a = i32_add_halves(i32_add_even_odd(p[0], p[1]), i32_add_even_odd(p[2], p[3]));
    __m512i b = i32_add_halves(i32_add_even_odd(p[4], p[5]), i32_add_even_odd(p[6], p[7]));
    __m512i all = _mm512_add_epi32(_mm512_shuffle_i64x2(a, b, 0x44), _mm512_shuffle_i64x2(a, b, 0xee));
    return i8_acc64_sums(_mm512_shuffle_i64x2(all, all, 0xd8));
}

I8_INLINE i32x8 i8_small_add(i32x8 acc, i8x32 codes, i8x32 acts)
{
    return _mm256_dpbusd_epi32(acc, codes, acts);
}

I8_INLINE i32x8 i8_small_sums(i32x8 acc)
{
    return acc;
}

I8_INLINE __m512i i8_four_quarters(const uint8_t *p, size_t stride)
{
    __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const void *)p));
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(p + stride)), 1);
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(p + 2 * stride)), 2);
    return _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(p + 3 * stride)), 3);
}

/* What 16 codes stand for, made unsigned. */
I8_INLINE __m512i i8_table(const int8_t *table, int max)
{
    __m512i t = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)table));
    return max > 127 ? _mm512_xor_si512(t, _mm512_set1_epi8((char)0x80)) : t;
}

I8_INLINE void i8_group_nibbles(const uint8_t *p, size_t stride, const int8_t *acts, size_t act_stride, size_t n,
                                const int8_t *table, int max, i32x8 *all)
{
    const __m512i firsts = _mm512_set_epi64(0, 0, 0, 0, 6, 4, 2, 0), mask = _mm512_set1_epi8(15);
    __m512i w[2][2]; /* of even blocks and of odd ones the low and the high nibbles */
    UNROLL(2)
    for (size_t i = 0; i < 2; i++) {
        __m512i bytes = i8_four_quarters(p + i * stride, 2 * stride);
        w[i][0] = _mm512_and_si512(bytes, mask);
        w[i][1] = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), mask);
        if (!table) continue;
        w[i][0] = _mm512_shuffle_epi8(i8_table(table, max), w[i][0]);
        w[i][1] = _mm512_shuffle_epi8(i8_table(table, max), w[i][1]);
    }
    UNROLL(TOKENS_AT_ONCE)
    for (size_t t = 0; t < n; t++, acts += act_stride) {
        __m512i x = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)acts)), sums[2];
        __m512i y = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)(acts + 16)));
        UNROLL(2)
        for (size_t i = 0; i < 2; i++)
            sums[i] = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(_mm512_setzero_si512(), w[i][0], x), w[i][1], y);
        /* each quarter: even, odd, even, odd, two sums of each; then all of each */
        __m512i halves = i32_add_even_odd(sums[0], sums[1]);
        halves = _mm512_add_epi32(halves, _mm512_shuffle_epi32(halves, 0x4e));
        all[t] = _mm512_castsi512_si256(_mm512_permutexvar_epi64(firsts, halves));
    }
}

I8_INLINE void i8_group_codes(i8x32 (*codes)(const uint8_t *), const uint8_t *p, size_t stride, const int8_t *acts,
                              size_t act_stride, size_t n, int max, i32x8 *sums)
{
    const __m512i quarters_02 = _mm512_set_epi64(0, 0, 0, 0, 5, 4, 1, 0);
    __m512i w[4];
    UNROLL(4)
    for (size_t i = 0; i < 4; i++) { /* blocks i (low half) and 4 + i */
        w[i] = i8_two_halves(codes(p + i * stride), codes(p + (4 + i) * stride));
        if (max > 127) w[i] = _mm512_xor_si512(w[i], _mm512_set1_epi8((char)0x80));
    }
    UNROLL(TOKENS_AT_ONCE)
    for (size_t t = 0; t < n; t++, acts += act_stride) {
        __m512i x = _mm512_broadcast_i64x4(i8x32_load(acts)), part[4];
        UNROLL(4)
        for (size_t i = 0; i < 4; i++)
            part[i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), w[i], x);
        /* quarters 0, 1: sums of blocks 0 ... 3 in two parts; 2, 3: of blocks 4 ... 7 */
        __m512i all = i32_add_halves(i32_add_even_odd(part[0], part[1]), i32_add_even_odd(part[2], part[3]));
        all = _mm512_add_epi32(all, _mm512_shuffle_i64x2(all, all, 0xb1));
        sums[t] = _mm512_castsi512_si256(_mm512_permutexvar_epi64(quarters_02, all));
    }
}

/* Of each two neighbours the sum, per 128 bits first of a, then of b. */
I8_INLINE __m512i i32_add_pairs(__m512i a, __m512i b)
{
    __m512 x = _mm512_castsi512_ps(a), y = _mm512_castsi512_ps(b);
    return _mm512_add_epi32(_mm512_castps_si512(_mm512_shuffle_ps(x, y, 0x88)),
                            _mm512_castps_si512(_mm512_shuffle_ps(x, y, 0xdd)));
}

I8_INLINE void i8_group_nvfp4(const uint8_t *p, size_t stride, const int8_t *acts, const int16_t *sums,
                              size_t act_stride, size_t n, const int8_t *table, f32x8 (*both)[2])
{
    const __m512i mask = _mm512_set1_epi8(15), map = i8_table(table, 24);
    const __m512i halves = _mm512_set_epi32(1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0);
    const __m512i order_x = _mm512_set_epi64(6, 4, 2, 0, 6, 4, 2, 0),
                  order_y = _mm512_set_epi64(7, 5, 3, 1, 7, 5, 3, 1);
    __m512i first[4], last[4];
    __m256i scales[2];
    UNROLL(4)
    for (size_t i = 0; i < 4; i++) { /* blocks i (low half) and 4 + i */
        __m512i v = i8_two_halves(i8x32_load(p + 4 + i * stride), i8x32_load(p + 4 + (4 + i) * stride));
        first[i] = _mm512_shuffle_epi8(map, _mm512_and_si512(v, mask));
        last[i] = _mm512_shuffle_epi8(map, _mm512_and_si512(_mm512_srli_epi16(v, 4), mask));
    }
    i8_scales_nvfp4(p, stride, &scales[0], &scales[1]);
    __m512 s0 = _mm512_cvtph_ps(scales[0]), s1 = _mm512_cvtph_ps(scales[1]);
    UNROLL(TOKENS_AT_ONCE)
    for (size_t t = 0; t < n; t++, acts += act_stride) {
        const uint8_t *pairs = (const uint8_t *)sums + t * act_stride;
        __m512i q = _mm512_loadu_si512(acts);
        __m512i x = _mm512_permutexvar_epi64(order_x, q), y = _mm512_permutexvar_epi64(order_y, q), part[4];
        UNROLL(4)
        for (size_t i = 0; i < 4; i++) /* two sums of each sub-block */
            part[i] = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(_mm512_setzero_si512(), first[i], x), last[i], y);
        __m512 a = _mm512_castsi512_ps(i32_add_pairs(part[0], part[1]));
        __m512 b = _mm512_castsi512_ps(i32_add_pairs(part[2], part[3]));
        __m512i of_acts =
            _mm512_permutexvar_epi32(halves, _mm512_castsi128_si512(_mm_loadl_epi64((const void *)pairs)));
        __m512i minus0 = _mm512_madd_epi16(of_acts, _mm512_set1_epi32(-12 & 0xffff));
        __m512i minus1 = _mm512_madd_epi16(of_acts, _mm512_set1_epi32(-12 * 0x10000));
        /* sub-blocks 0 | 2 | 0 | 2 and 1 | 3 | 1 | 3 of blocks 0 ... 3 and 4 ... 7 */
        __m512i i0 = _mm512_add_epi32(_mm512_castps_si512(_mm512_shuffle_ps(a, b, 0x88)), minus0);
        __m512i i1 = _mm512_add_epi32(_mm512_castps_si512(_mm512_shuffle_ps(a, b, 0xdd)), minus1);
        __m512 v = _mm512_fmadd_ps(s1, _mm512_cvtepi32_ps(i1), _mm512_mul_ps(s0, _mm512_cvtepi32_ps(i0)));
        v = _mm512_mul_ps(_mm512_shuffle_f32x4(v, v, 0xd8), _mm512_set1_ps(128.0f));
        both[t][0] = _mm512_castps512_ps256(v);
        both[t][1] = _mm512_extractf32x8_ps(v, 1);
    }
}

/* ---- tiles ------------------------------------------------------------------------------------- */

#define TILE_LANES        16
#define TILE_VECTORS      2
#define TILE_COLUMNS      6
#define TILE_ROWS         96
#define TILE_MAX_UNSIGNED 127
#define TILE_ACTS_MIXED   0

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

I8_INLINE tile_i tile_i_load(const void *p)
{
    return _mm512_load_si512(p);
}

I8_INLINE void tile_i_store(void *p, tile_i v)
{
    _mm512_store_si512(p, v);
}

I8_INLINE tile_i tile_pairs(tile_i acc, tile_i pairs, uint32_t act_pair)
{
    return _mm512_dpwssd_epi32(acc, pairs, _mm512_set1_epi32((int)act_pair));
}

I8_INLINE tile_i tile_scale(tile_i pairs, int which)
{
    return _mm512_srai_epi32(which ? pairs : _mm512_slli_epi32(pairs, 16), 16);
}

I8_INLINE void tile_minus(const int8_t *q, const int16_t *sums, int offset, size_t n_each, int32_t minus[16])
{
    __m256i words = _mm256_loadu_si256((const void *)sums);
    (void)q;
    if (n_each == 32)
        i8x32_store(minus, _mm256_madd_epi16(words, _mm256_set1_epi16((short)-offset)));
    else
        _mm512_storeu_si512(minus, _mm512_mullo_epi32(_mm512_cvtepi16_epi32(words), _mm512_set1_epi32(-offset)));
}

I8_INLINE void tile_dot(tile_i sum[TILE_COLUMNS * TILE_VECTORS], const int32_t *minus, const uint8_t *codes,
                        const int8_t *const q[TILE_COLUMNS], size_t at, int n_quads, int max)
{
    (void)max;
    UNROLL(TILE_COLUMNS * TILE_VECTORS)
    for (int j = 0; j < TILE_COLUMNS * TILE_VECTORS; j++)
        sum[j] = minus ? _mm512_set1_epi32(minus[UNPACK_PIECE / 16 * (j / TILE_VECTORS)]) : _mm512_setzero_si512();
    UNROLL(8)
    for (int i = 0; i < n_quads; i++) {
        __m512i w[TILE_VECTORS];
        UNROLL(TILE_VECTORS)
        for (int v = 0; v < TILE_VECTORS; v++)
            w[v] = _mm512_load_si512(codes + 4 * TILE_ROWS * i + 4 * TILE_LANES * v);
        UNROLL(TILE_COLUMNS)
        for (int c = 0; c < TILE_COLUMNS; c++) {
            __m512i a = _mm512_set1_epi32((int)load_u32(q[c] + at + 4 * (size_t)i));
            UNROLL(TILE_VECTORS)
            for (int v = 0; v < TILE_VECTORS; v++)
                sum[c * TILE_VECTORS + v] = _mm512_dpbusd_epi32(sum[c * TILE_VECTORS + v], w[v], a);
        }
    }
}

I8_INLINE void tile_dot_scaled(tile_i sum[TILE_COLUMNS * TILE_VECTORS], const int32_t *minus, const uint8_t *codes,
                               const int8_t *const q[TILE_COLUMNS], size_t at, int n_quads, int max,
                               const int32_t *scales)
{
    tile_i part[TILE_COLUMNS * TILE_VECTORS];
    tile_dot(part, minus, codes, q, at, n_quads, max);
    UNROLL(TILE_COLUMNS * TILE_VECTORS)
    for (int j = 0; j < TILE_COLUMNS * TILE_VECTORS; j++) {
        tile_i scale = tile_i_load(scales + TILE_LANES * (j % TILE_VECTORS));
        sum[j] = _mm512_add_epi32(sum[j], _mm512_mullo_epi32(part[j], scale));
    }
}

#endif
