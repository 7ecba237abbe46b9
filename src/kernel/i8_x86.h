/* i8_x86.h - the integer vocabulary of 32 codes in one AVX2 register; shared by the AVX2 and AVX-512 tables.
 *
 * The words, the same for each instruction set:
 *   i8x32       32 codes; load, store, set1, add, or
 *     nibbles       16 bytes -> the low nibbles, then the high ones
 *     nibbles8      the same for each 8 of 16 bytes (NVFP4)
 *     fields        (each byte >> shift) & mask; shift < 0: to the left
 *     shift_left    each byte << n, which must not lose bits
 *     lookup        table[code], codes 0..15
 *     bits          `value` where bit i is set, else 0
 *   i32x8       partial sums: which products a lane holds is private, until one of these
 *     sum           of all lanes
 *     sums8         lane b is the sum of p[b]
 *     load, add     lane by lane
 *   i16x16      scales of 16 sub-blocks; load, store, from_s8, from_bytes, from_u8_doubled
 *     store_pair_sums   of each two neighbours the sum, which must fit
 *   i8_dot_u, i8_dot_s      codes (u: 0..127, s: signed) times activations; s gives the products of code + I8_OFFSET_S,
 *                           which the caller corrects
 *   i8_group_nibbles        lane b: the sum over block b of 8, `stride` bytes apart, of 32 nibbles each (table: what they
 *                           stand for), for each of n tokens, whose activations are `act_stride` bytes apart; max: the
 *                           largest code, over 127: signed
 *   i8_group_codes          the same for codes(p + b * stride)
 *   i8_group_nvfp4          t of kernel.h for the first 32 elements of such 8 blocks of NVFP4, and for the last
 *   i8x64       64 codes: unsigned, signed, or negative (where bits are set), or the low nibbles of 32 bytes, then the high
 *               ones; i8_scale64: the scales of their four sub-blocks, from i8_scales64 (at) or of 32 codes each (two)
 *   i8_dot64    i8_acc64 + scales * products of 64 activations, with the signs or not; codes of 0..127 without them
 *   i8_acc64    from an i32x8; sums: as an i32x8; sums8: lane b is the sum of p[b]
 *   i8_scaled_sums          acc + factor * (scales[s] * sums[s] for each s)
 *   i8_scales_k4            of 8 blocks, `stride` bytes apart, of six-bit scales and minimums (Q4_K, Q5_K): scales[j][b]
 *                           is that of 32 elements, as i8_scale64_two wants it; returns the minimums
 *   i8_times_mins_k4        the sum of these times sums
 *   i8_times_sums           factor * (sums[0] + sums[1]) in each lane
 *   f32x8       from_i32, from_bits, store_bits, transpose, gather_f16 (_pairs), ue4m3_half_pairs, gather_e8m0_half
 */
#ifndef STILE_KERNEL_I8_X86_H
#define STILE_KERNEL_I8_X86_H

#include "base/bytes.h"
#include "kernel/f32x8_avx2.h"
#include "kernel/inline.h"
#include "kernel/unpack.h"

#include <stdbool.h>

typedef __m256i i8x32;
typedef __m256i i32x8;
typedef __m256i i16x16;
typedef __m256i i8_scales;

I8_INLINE long long load_i64(const void *p)
{
    long long x;
    memcpy(&x, p, sizeof x);
    return x;
}

I8_INLINE i8x32 i8x32_load(const void *p)
{
    return _mm256_loadu_si256(p);
}

I8_INLINE void i8x32_store(void *p, i8x32 v)
{
    _mm256_storeu_si256(p, v);
}

I8_INLINE i8x32 i8x32_set1(int x)
{
    return _mm256_set1_epi8((char)x);
}

I8_INLINE i8x32 i8x32_add(i8x32 a, i8x32 b)
{
    return _mm256_add_epi8(a, b);
}

I8_INLINE i8x32 i8x32_or(i8x32 a, i8x32 b)
{
    return _mm256_or_si256(a, b);
}

I8_INLINE i8x32 i8x32_nibbles(const void *p)
{
    __m128i x = _mm_loadu_si128(p);
    __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(x), _mm_srli_epi16(x, 4), 1);
    return _mm256_and_si256(both, _mm256_set1_epi8(15));
}

I8_INLINE i8x32 i8x32_nibbles8(const void *p)
{
    return _mm256_permute4x64_epi64(i8x32_nibbles(p), 0xd8);
}

I8_INLINE i8x32 i8x32_fields(i8x32 v, int shift, int mask)
{
    __m256i moved = shift < 0 ? _mm256_slli_epi16(v, -shift) : _mm256_srli_epi16(v, shift);
    return _mm256_and_si256(moved, _mm256_set1_epi8((char)mask));
}

I8_INLINE i8x32 i8x32_shift_left(i8x32 v, int n)
{
    return _mm256_slli_epi16(v, n);
}

I8_INLINE i8x32 i8x32_lookup(i8x32 codes, const int8_t table[16])
{
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)table)), codes);
}

I8_INLINE i32x8 i32x8_zero(void)
{
    return _mm256_setzero_si256();
}

I8_INLINE i32x8 i32x8_load(const int32_t *p)
{
    return _mm256_loadu_si256((const void *)p);
}

I8_INLINE i32x8 i32x8_add(i32x8 a, i32x8 b)
{
    return _mm256_add_epi32(a, b);
}

I8_INLINE int i32x8_sum(i32x8 v)
{
    __m128i x = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    x = _mm_add_epi32(x, _mm_unpackhi_epi64(x, x));
    return _mm_cvtsi128_si32(_mm_add_epi32(x, _mm_shuffle_epi32(x, 1)));
}

I8_INLINE i32x8 i32x8_sums8(const i32x8 p[8])
{
    /* 0..3 | 0..3: sums of the halves of the first four, then of the last four */
    __m256i a = _mm256_hadd_epi32(_mm256_hadd_epi32(p[0], p[1]), _mm256_hadd_epi32(p[2], p[3]));
    __m256i b = _mm256_hadd_epi32(_mm256_hadd_epi32(p[4], p[5]), _mm256_hadd_epi32(p[6], p[7]));
    return _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31));
}

I8_INLINE i16x16 i16x16_load(const int16_t *p)
{
    return _mm256_loadu_si256((const void *)p);
}

I8_INLINE void i16x16_store(int16_t *p, i16x16 v)
{
    _mm256_storeu_si256((void *)p, v);
}

I8_INLINE i16x16 i16x16_from_s8(const void *p)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(p));
}

/* Of eight blocks, `stride` bytes apart (at least 32), four bytes each. Loads reach 28 bytes before the later ones. */
I8_INLINE __m256i i8_gather_u32(const uint8_t *p, size_t stride)
{
    __m256i v = _mm256_loadu_si256((const void *)p);
    v = _mm256_blend_epi32(v, _mm256_loadu_si256((const void *)(p + stride - 4)), 0x02);
    v = _mm256_blend_epi32(v, _mm256_loadu_si256((const void *)(p + 2 * stride - 8)), 0x04);
    v = _mm256_blend_epi32(v, _mm256_loadu_si256((const void *)(p + 3 * stride - 12)), 0x08);
    v = _mm256_blend_epi32(v, _mm256_loadu_si256((const void *)(p + 4 * stride - 16)), 0x10);
    v = _mm256_blend_epi32(v, _mm256_loadu_si256((const void *)(p + 5 * stride - 20)), 0x20);
    v = _mm256_blend_epi32(v, _mm256_loadu_si256((const void *)(p + 6 * stride - 24)), 0x40);
    return _mm256_blend_epi32(v, _mm256_loadu_si256((const void *)(p + 7 * stride - 28)), 0x80);
}

/* Byte j of each word of 32 bits, as two numbers of 16 bits. */
I8_INLINE __m256i i8_byte_twice(__m256i words, int j)
{
    const __m256i firsts =
        _mm256_set_epi64x(0x0c0c0c0c08080808, 0x0404040400000000, 0x0c0c0c0c08080808, 0x0404040400000000);
    const __m256i upper = _mm256_set1_epi16((short)0x8000);
    return _mm256_shuffle_epi8(words, _mm256_or_si256(_mm256_add_epi8(firsts, _mm256_set1_epi8((char)j)), upper));
}

/* Minimums 0 ... 3 and 4 ... 7, a byte each. */
typedef struct {
    __m256i min[2];
} i8_mins_k4;

I8_INLINE i8_mins_k4 i8_scales_k4(const uint8_t *p, size_t stride, uint32_t scales[8][8])
{
    const __m256i six = _mm256_set1_epi8(0x3f), four = _mm256_set1_epi8(0x0f), two = _mm256_set1_epi8(0x30);
    __m256i a = i8_gather_u32(p + 4, stride), b = i8_gather_u32(p + 8, stride), c = i8_gather_u32(p + 12, stride);
    i8_mins_k4 mins;
    __m256i scale[2];
    scale[0] = _mm256_and_si256(a, six);
    scale[1] = _mm256_or_si256(_mm256_and_si256(c, four), _mm256_and_si256(_mm256_srli_epi16(a, 2), two));
    mins.min[0] = _mm256_and_si256(b, six);
    mins.min[1] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(c, 4), four),
                                  _mm256_and_si256(_mm256_srli_epi16(b, 2), two));
    UNROLL(8)
    for (int j = 0; j < 8; j++)
        _mm256_storeu_si256((void *)scales[j], i8_byte_twice(scale[j / 4], j % 4));
    return mins;
}

I8_INLINE i32x8 i8_times_mins_k4(i8_mins_k4 mins, const int16_t sums[16])
{
    const __m256i even = _mm256_set1_epi16(0xff);
    __m256i sum = _mm256_madd_epi16(_mm256_loadu_si256((const void *)sums), _mm256_set1_epi16(1));
    /* words 0, 1, 4, 5: pairs of sums 0 and 2, 1 and 3, 4 and 6, 5 and 7, to meet such pairs of minimums */
    sum = _mm256_blend_epi16(sum, _mm256_slli_epi32(_mm256_shuffle_epi32(sum, 0x0e), 16), 0xaa);
    __m256i total = _mm256_setzero_si256();
    UNROLL(2)
    for (int i = 0; i < 2; i++) {
        __m256i first = _mm256_permutevar8x32_epi32(sum, _mm256_set1_epi32(4 * i));
        __m256i second = _mm256_permutevar8x32_epi32(sum, _mm256_set1_epi32(4 * i + 1));
        total = _mm256_add_epi32(total, _mm256_madd_epi16(_mm256_and_si256(mins.min[i], even), first));
        total = _mm256_add_epi32(total, _mm256_madd_epi16(_mm256_srli_epi16(mins.min[i], 8), second));
    }
    return total;
}

/* Of signed bytes, the lowest first. */
I8_INLINE i16x16 i16x16_from_bytes(uint64_t low, uint64_t high)
{
    return _mm256_cvtepi8_epi16(_mm_set_epi64x((long long)high, (long long)low));
}

I8_INLINE i16x16 i16x16_from_u8_doubled(uint64_t eight)
{
    __m128i x = _mm_cvtsi64_si128((long long)eight);
    return _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(x, x));
}

I8_INLINE void i16x16_store_pair_sums(int16_t to[8], i16x16 v)
{
    __m256i sums = _mm256_madd_epi16(v, _mm256_set1_epi16(1));
    _mm_storeu_si128((void *)to, _mm_packs_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1)));
}

/* Even ones in the low half, odd ones in the high half. */
I8_INLINE i8_scales i8_scales_from(i16x16 v)
{
    const __m256i order = _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0f0e0b0a07060302, 0x0d0c090805040100));
    return _mm256_permute4x64_epi64(_mm256_shuffle_epi8(v, order), 0xd8);
}

/* 16 bits number j of each half, in all places of that half */
I8_INLINE __m256i i8_scale_pair(i8_scales scales, int j)
{
    return _mm256_shuffle_epi8(scales, _mm256_set1_epi16((short)(2 * j | (2 * j + 1) << 8)));
}

I8_INLINE i32x8 i8_scaled_sums(i32x8 acc, i16x16 scales, const int16_t sums[16], int factor)
{
    __m256i pairs = _mm256_madd_epi16(scales, _mm256_loadu_si256((const void *)sums));
    return _mm256_add_epi32(acc, factor == 1 ? pairs : _mm256_mullo_epi32(pairs, _mm256_set1_epi32(factor)));
}

/* In each lane factor * (sums[0] + sums[1]). */
I8_INLINE i32x8 i8_times_sums(const int16_t sums[2], int factor)
{
    return _mm256_madd_epi16(_mm256_set1_epi32((int)load_u32(sums)), _mm256_set1_epi16((short)factor));
}

I8_INLINE f32x8 f32x8_from_i32(i32x8 v)
{
    return _mm256_cvtepi32_ps(v);
}

I8_INLINE f32x8 f32x8_from_bits(i8x32 v)
{
    return _mm256_castsi256_ps(v);
}

I8_INLINE void f32x8_store_bits(void *p, f32x8 v)
{
    _mm256_storeu_si256(p, _mm256_castps_si256(v));
}

/* An 8 x 8 matrix of 32-bit words, rows to columns. */
I8_INLINE void f32x8_transpose(f32x8 v[8])
{
    __m256 a0 = _mm256_unpacklo_ps(v[0], v[1]), a1 = _mm256_unpackhi_ps(v[0], v[1]);
    __m256 a2 = _mm256_unpacklo_ps(v[2], v[3]), a3 = _mm256_unpackhi_ps(v[2], v[3]);
    __m256 a4 = _mm256_unpacklo_ps(v[4], v[5]), a5 = _mm256_unpackhi_ps(v[4], v[5]);
    __m256 a6 = _mm256_unpacklo_ps(v[6], v[7]), a7 = _mm256_unpackhi_ps(v[6], v[7]);
    __m256 b0 = _mm256_shuffle_ps(a0, a2, 0x44), b1 = _mm256_shuffle_ps(a0, a2, 0xee);
    __m256 b2 = _mm256_shuffle_ps(a1, a3, 0x44), b3 = _mm256_shuffle_ps(a1, a3, 0xee);
    __m256 b4 = _mm256_shuffle_ps(a4, a6, 0x44), b5 = _mm256_shuffle_ps(a4, a6, 0xee);
    __m256 b6 = _mm256_shuffle_ps(a5, a7, 0x44), b7 = _mm256_shuffle_ps(a5, a7, 0xee);
    v[0] = _mm256_permute2f128_ps(b0, b4, 0x20);
    v[1] = _mm256_permute2f128_ps(b1, b5, 0x20);
    v[2] = _mm256_permute2f128_ps(b2, b6, 0x20);
    v[3] = _mm256_permute2f128_ps(b3, b7, 0x20);
    v[4] = _mm256_permute2f128_ps(b0, b4, 0x31);
    v[5] = _mm256_permute2f128_ps(b1, b5, 0x31);
    v[6] = _mm256_permute2f128_ps(b2, b6, 0x31);
    v[7] = _mm256_permute2f128_ps(b3, b7, 0x31);
}

/* Halves `stride` bytes apart. */
I8_INLINE f32x8 f32x8_gather_f16(const uint8_t *p, size_t stride)
{
    __m128i h = _mm_cvtsi32_si128(load_u16(p));
    h = _mm_insert_epi16(h, load_u16(p + stride), 1);
    h = _mm_insert_epi16(h, load_u16(p + 2 * stride), 2);
    h = _mm_insert_epi16(h, load_u16(p + 3 * stride), 3);
    h = _mm_insert_epi16(h, load_u16(p + 4 * stride), 4);
    h = _mm_insert_epi16(h, load_u16(p + 5 * stride), 5);
    h = _mm_insert_epi16(h, load_u16(p + 6 * stride), 6);
    h = _mm_insert_epi16(h, load_u16(p + 7 * stride), 7);
    return _mm256_cvtph_ps(h);
}

/* Two halves each, `stride` bytes apart. */
I8_INLINE void f32x8_gather_f16_pairs(const uint8_t *p, size_t stride, f32x8 *first, f32x8 *second)
{
    const __m256i apart = _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0f0e0b0a07060302, 0x0d0c090805040100));
    __m128i lo = _mm_cvtsi32_si128((int)load_u32(p)), hi = _mm_cvtsi32_si128((int)load_u32(p + 4 * stride));
    lo = _mm_insert_epi32(lo, (int)load_u32(p + stride), 1);
    hi = _mm_insert_epi32(hi, (int)load_u32(p + 5 * stride), 1);
    lo = _mm_insert_epi32(lo, (int)load_u32(p + 2 * stride), 2);
    hi = _mm_insert_epi32(hi, (int)load_u32(p + 6 * stride), 2);
    lo = _mm_insert_epi32(lo, (int)load_u32(p + 3 * stride), 3);
    hi = _mm_insert_epi32(hi, (int)load_u32(p + 7 * stride), 3);
    __m256i all = _mm256_inserti128_si256(_mm256_castsi128_si256(lo), hi, 1);
    all = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(all, apart), 0xd8);
    *first = _mm256_cvtph_ps(_mm256_castsi256_si128(all));
    *second = _mm256_cvtph_ps(_mm256_extracti128_si256(all, 1));
}

/* Half of f32_from_ue4m3 of words of 7 bits: as a binary16 the bits mean 2^-8 of it. (Shifted into a binary32 they
 * would need one multiplication less, but subnormal operands are slow on some processors.) */
I8_INLINE f32x8 f32x8_from_ue4m3_half(__m128i e)
{
    e = _mm_andnot_si128(_mm_cmpeq_epi16(e, _mm_set1_epi16(0x7f)), e);
    return _mm256_mul_ps(_mm256_cvtph_ps(_mm_slli_epi16(e, 7)), _mm256_set1_ps(128.0f));
}

/* Of eight pairs of bytes. */
I8_INLINE void f32x8_ue4m3_half_pairs(const uint16_t pairs[8], f32x8 *first, f32x8 *second)
{
    const __m128i mask = _mm_set1_epi16(0x7f);
    __m128i words = _mm_setr_epi16((short)pairs[0], (short)pairs[1], (short)pairs[2], (short)pairs[3], (short)pairs[4],
                                   (short)pairs[5], (short)pairs[6], (short)pairs[7]);
    *first = f32x8_from_ue4m3_half(_mm_and_si128(words, mask));
    *second = f32x8_from_ue4m3_half(_mm_and_si128(_mm_srli_epi16(words, 8), mask));
}

/* Half of f32_from_e8m0 of bytes `stride` bytes apart. */
I8_INLINE f32x8 f32x8_gather_e8m0_half(const uint8_t *p, size_t stride)
{
    __m128i bytes = _mm_cvtsi32_si128(p[0]);
    bytes = _mm_insert_epi8(bytes, p[stride], 1);
    bytes = _mm_insert_epi8(bytes, p[2 * stride], 2);
    bytes = _mm_insert_epi8(bytes, p[3 * stride], 3);
    bytes = _mm_insert_epi8(bytes, p[4 * stride], 4);
    bytes = _mm_insert_epi8(bytes, p[5 * stride], 5);
    bytes = _mm_insert_epi8(bytes, p[6 * stride], 6);
    bytes = _mm_insert_epi8(bytes, p[7 * stride], 7);
    __m256i e = _mm256_cvtepu8_epi32(bytes);
    __m256i smallest = _mm256_and_si256(_mm256_cmpeq_epi32(e, _mm256_setzero_si256()), _mm256_set1_epi32(0x400000));
    __m256i bits = _mm256_or_si256(_mm256_slli_epi32(e, 23), smallest);
    return _mm256_mul_ps(_mm256_castsi256_ps(bits), _mm256_set1_ps(0.5f));
}

/* The scales of eight blocks of NVFP4, 2^-7 / 2 of each as binary16: lane by lane of 128 bits, those of sub-blocks 0
 * and 2 (first) and of 1 and 3 (second), of blocks 0 ... 3 in the lower and of 4 ... 7 in the upper lane. */
I8_INLINE void i8_scales_nvfp4(const uint8_t *p, size_t stride, __m256i *first, __m256i *second)
{
    const __m256i order = _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0f0b07030d090501, 0x0e0a06020c080400));
    const __m256i mask = _mm256_set1_epi8(0x7f), zero = _mm256_setzero_si256();
    __m256i e = i8_gather_u32(p, stride);
    e = _mm256_and_si256(_mm256_shuffle_epi8(e, order), mask);
    e = _mm256_andnot_si256(_mm256_cmpeq_epi8(e, mask), e);
    *first = _mm256_srli_epi16(_mm256_unpacklo_epi8(zero, e), 1);
    *second = _mm256_srli_epi16(_mm256_unpackhi_epi8(zero, e), 1);
}

/* ---- quantizing -------------------------------------------------------------------------------- */

I8_INLINE uint32_t i8_amax_bits(const float *x, size_t n)
{
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    __m256i amax = _mm256_setzero_si256();
    for (size_t i = 0; i < n; i += 8)
        amax = _mm256_max_epu32(amax, _mm256_and_si256(_mm256_loadu_si256((const void *)(x + i)), magnitude));
    __m128i m = _mm_max_epu32(_mm256_castsi256_si128(amax), _mm256_extracti128_si256(amax, 1));
    m = _mm_max_epu32(m, _mm_unpackhi_epi64(m, m));
    return (uint32_t)_mm_cvtsi128_si32(_mm_max_epu32(m, _mm_shuffle_epi32(m, 1)));
}

I8_INLINE int i8_codes(const float *x, float factor, int8_t *q)
{
    __m256 f = _mm256_set1_ps(factor);
    __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), f));
    __m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8), f));
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
    _mm_storeu_si128((void *)q, _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
    return i32x8_sum(_mm256_add_epi32(a, b));
}

/* ---- tiles (i8_avx2.h) -------------------------------------------------------------------------- */

#define tile_transpose f32x8_transpose

I8_INLINE void tile_acts_store(int8_t *q, size_t c, size_t i, i8x32 acts)
{
    i8x32_store(q + UNPACK_PIECE * c + i, acts);
}

#endif
