/* i8_grid_x86.h - words for codebooks, ternary codes and bits (unpack_grid.inc.h), with AVX2.
 *
 * The words, the same for each instruction set, beside those of i8_x86.h (bytes are an i8x32, words an i32x8, scales an
 * i16x16):
 *   i8x32_times         products of bytes, modulo 256
 *   i8x32_thirds        which third of -128 ... 127 each is in: 0, 1, 2
 *   i8x32_twice, join   16 bytes twice; 16 bytes and four times the word `four`
 *   i8x32_octets        each of four bytes, the lowest first, eight times
 *   i8x32_spread        of each word its four lowest fields of `width` bits, as bytes
 *   i8x32_rows8, rows4  rows of a table: four of 8 elements, eight of 4
 *   i8x32_store_pairs   64 bytes, of both in turn
 *   i8x32_narrow        of 32 numbers of 16 bits, 0..255
 *   i8x32_negate        the negative where bit i is set (i8_avx2.h, i8_avx512.h)
 *   i32x8_from_u8, from_u16, load_pairs (even words, odd words)
 *   i32x8_fields        (v >> shift) & mask
 *   i32x8_fields_of     lane j: (bits >> width * j) & mask
 *   i32x8_mask          all bits where bit n is set, else none
 *   i32x8_bytes         the same as an i8x32
 *   i16x16_set1, fields; doubled: lane j of an i32x8 in lanes 2j and 2j + 1
 *   i16x16_nibbles      of 8 bytes, low ones first
 *   i16x16_from_last    of the last 16 bytes
 *   i16x16_affine       v * factor + add, factor 1 or 2
 *   i16x16_negate       lanes whose bits in the mask are set
 *   i8_small_add, sums  products of codes 0..3 with activations, at most eight added to zero; then an i32x8
 *   f32x8_from_halves   of eight binary16
 */
#ifndef STILE_KERNEL_I8_GRID_X86_H
#define STILE_KERNEL_I8_GRID_X86_H

#include "kernel/i8_x86.h"

I8_INLINE i8x32 i8x32_times(i8x32 a, i8x32 b)
{
    const __m256i low = _mm256_set1_epi16(0xff);
    __m256i even = _mm256_and_si256(_mm256_mullo_epi16(a, b), low);
    __m256i odd = _mm256_mullo_epi16(_mm256_srli_epi16(a, 8), _mm256_srli_epi16(b, 8));
    return _mm256_or_si256(even, _mm256_slli_epi16(odd, 8));
}

I8_INLINE i8x32 i8x32_thirds(i8x32 v)
{
    __m256i second = _mm256_cmpgt_epi8(v, _mm256_set1_epi8(-43)), third = _mm256_cmpgt_epi8(v, _mm256_set1_epi8(42));
    return _mm256_abs_epi8(_mm256_add_epi8(second, third));
}

I8_INLINE i8x32 i8x32_twice(const void *p)
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(p));
}

I8_INLINE i8x32 i8x32_join(const void *p, uint32_t four)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(p)), _mm_set1_epi32((int)four), 1);
}

I8_INLINE i8x32 i8x32_octets(uint32_t four)
{
    const __m256i byte_of = _mm256_set_epi64x(0x0303030303030303, 0x0202020202020202, 0x0101010101010101, 0);
    return _mm256_shuffle_epi8(_mm256_set1_epi32((int)four), byte_of);
}

I8_INLINE i8x32 i8x32_spread(__m256i words, int width)
{
    const int mask = (1 << width) - 1;
    __m256i a = _mm256_and_si256(words, _mm256_set1_epi32(mask));
    __m256i b = _mm256_and_si256(_mm256_slli_epi32(words, 8 - width), _mm256_set1_epi32(mask << 8));
    __m256i c = _mm256_and_si256(_mm256_slli_epi32(words, 16 - 2 * width), _mm256_set1_epi32(mask << 16));
    __m256i d = _mm256_and_si256(_mm256_slli_epi32(words, 24 - 3 * width), _mm256_set1_epi32(mask << 24));
    return _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d));
}

/* Broadcasts cost no arithmetic, and blends go where shuffles do not. */
I8_INLINE i8x32 i8x32_rows8(const int8_t *rows, const uint16_t *index)
{
    __m256i a = _mm256_set1_epi64x(load_i64(rows + 8 * (size_t)index[0])),
            b = _mm256_set1_epi64x(load_i64(rows + 8 * (size_t)index[1]));
    __m256i c = _mm256_set1_epi64x(load_i64(rows + 8 * (size_t)index[2])),
            d = _mm256_set1_epi64x(load_i64(rows + 8 * (size_t)index[3]));
    return _mm256_blend_epi32(_mm256_blend_epi32(a, b, 0x0c), _mm256_blend_epi32(c, d, 0xc0), 0xf0);
}

I8_INLINE i8x32 i8x32_rows4(const int8_t *rows, const uint16_t *index)
{
    __m256i v[8];
    UNROLL(8)
    for (int i = 0; i < 8; i++)
        v[i] = _mm256_set1_epi32((int)load_u32(rows + 4 * (size_t)index[i]));
    __m256i a = _mm256_blend_epi32(v[0], v[1], 0x02), b = _mm256_blend_epi32(v[2], v[3], 0x08);
    __m256i c = _mm256_blend_epi32(v[4], v[5], 0x20), d = _mm256_blend_epi32(v[6], v[7], 0x80);
    return _mm256_blend_epi32(_mm256_blend_epi32(a, b, 0x0c), _mm256_blend_epi32(c, d, 0xc0), 0xf0);
}

I8_INLINE void i8x32_store_pairs(void *p, i8x32 first, i8x32 second)
{
    __m256i a = _mm256_unpacklo_epi8(first, second), b = _mm256_unpackhi_epi8(first, second);
    _mm256_storeu_si256(p, _mm256_permute2x128_si256(a, b, 0x20));
    _mm256_storeu_si256((__m256i *)p + 1, _mm256_permute2x128_si256(a, b, 0x31));
}

I8_INLINE i8x32 i8x32_narrow(__m256i a, __m256i b)
{
    return _mm256_permute4x64_epi64(_mm256_packus_epi16(a, b), 0xd8);
}

I8_INLINE i32x8 i32x8_from_u8(const void *p)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(p));
}

I8_INLINE i32x8 i32x8_from_u16(const void *p)
{
    return _mm256_cvtepu16_epi32(_mm_loadu_si128(p));
}

I8_INLINE void i32x8_load_pairs(const void *p, i32x8 *even, i32x8 *odd)
{
    f32x8 e, o;
    f32x8_load_pairs(p, &e, &o);
    *even = _mm256_castps_si256(e);
    *odd = _mm256_castps_si256(o);
}

I8_INLINE i32x8 i32x8_fields(i32x8 v, int shift, int mask)
{
    return _mm256_and_si256(_mm256_srli_epi32(v, shift), _mm256_set1_epi32(mask));
}

I8_INLINE i8x32 i32x8_bytes(i32x8 v)
{
    return v;
}

I8_INLINE i32x8 i32x8_fields_of(uint32_t bits, int width, int mask)
{
    const __m256i shifts = _mm256_mullo_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(width));
    return _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32((int)bits), shifts), _mm256_set1_epi32(mask));
}

I8_INLINE i32x8 i32x8_mask(i32x8 v, int n)
{
    return _mm256_srai_epi32(_mm256_slli_epi32(v, 31 - n), 31);
}

I8_INLINE i16x16 i16x16_fields(i16x16 v, int shift, int mask)
{
    return _mm256_and_si256(_mm256_srli_epi16(v, shift), _mm256_set1_epi16((short)mask));
}

I8_INLINE i16x16 i16x16_doubled(i32x8 v)
{
    return _mm256_or_si256(v, _mm256_slli_epi32(v, 16));
}

I8_INLINE i16x16 i16x16_nibbles(const void *eight)
{
    const __m128i mask = _mm_set1_epi8(15);
    __m128i x = _mm_loadl_epi64(eight);
    return _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(_mm_and_si128(x, mask), _mm_and_si128(_mm_srli_epi16(x, 4), mask)));
}

I8_INLINE i16x16 i16x16_from_last(i8x32 v)
{
    return _mm256_cvtepi8_epi16(_mm256_extracti128_si256(v, 1));
}

I8_INLINE i16x16 i16x16_affine(i16x16 v, int factor, int add)
{
    return _mm256_add_epi16(factor == 2 ? _mm256_add_epi16(v, v) : v, _mm256_set1_epi16((short)add));
}

I8_INLINE i16x16 i16x16_negate(i16x16 v, i32x8 mask)
{
    return _mm256_sub_epi16(_mm256_xor_si256(v, mask), mask);
}

I8_INLINE i16x16 i16x16_set1(int x)
{
    return _mm256_set1_epi16((short)x);
}

I8_INLINE f32x8 f32x8_from_halves(const uint16_t h[8])
{
    return _mm256_cvtph_ps(_mm_setr_epi16((short)h[0], (short)h[1], (short)h[2], (short)h[3], (short)h[4], (short)h[5],
                                          (short)h[6], (short)h[7]));
}

#endif
