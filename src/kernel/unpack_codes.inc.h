/* unpack_codes.inc.h - the codes and scales of block formats in the vector words of i8_<isa>.h.
 *
 * codes_x(block) are the 32 codes of a block, codes_x(block, j) the j-th 32 of a super-block, as the loops want them:
 * code + offset, or signed where unpack_table has max > 127. scales_x gives the 16 sub-scales (and minimums).
 * unpack_fast_x writes the same to a struct unpacked, with codes in that form. Layouts: docs/formats.md.
 */
#include "format/smallfloat.h"
#include "kernel/unpack.h"

static const int8_t e2m1_x2_up[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0}; /* + 12 */

I8_INLINE i8x32 codes_q4_0(const uint8_t *block)
{
    return i8x32_nibbles(block + 2);
}

I8_INLINE i8x32 codes_q4_1(const uint8_t *block)
{
    return i8x32_nibbles(block + 4);
}

I8_INLINE i8x32 codes_q5_0(const uint8_t *block)
{
    return i8x32_or(i8x32_nibbles(block + 6), i8x32_bits(load_u32(block + 2), 16));
}

I8_INLINE i8x32 codes_q5_1(const uint8_t *block)
{
    return i8x32_or(i8x32_nibbles(block + 8), i8x32_bits(load_u32(block + 4), 16));
}

I8_INLINE i8x32 codes_q8_0(const uint8_t *block)
{
    return i8x32_load(block + 2);
}

I8_INLINE i8x32 codes_iq4_nl(const uint8_t *block)
{
    return i8x32_lookup(i8x32_nibbles(block + 2), smallfloat_iq4_nl);
}

I8_INLINE i8x32 codes_mxfp4(const uint8_t *block)
{
    return i8x32_lookup(i8x32_nibbles(block + 1), e2m1_x2_up);
}

/* Half a block of 64. */
I8_INLINE i8x32 codes_nvfp4(const uint8_t *block, size_t half)
{
    return i8x32_lookup(i8x32_nibbles8(block + 4 + 16 * half), e2m1_x2_up);
}

I8_INLINE i8x32 codes_q2_k(const uint8_t *block, int j)
{
    return i8x32_fields(i8x32_load(block + 16 + 32 * (j / 4)), 2 * (j % 4), 3);
}

I8_INLINE i8x32 codes_q3_k(const uint8_t *block, int j)
{
    i8x32 low = i8x32_fields(i8x32_load(block + 32 + 32 * (j / 4)), 2 * (j % 4), 3);
    return i8x32_or(low, i8x32_fields(i8x32_load(block), j - 2, 4));
}

I8_INLINE i8x32 codes_q4_k(const uint8_t *block, int j)
{
    return i8x32_fields(i8x32_load(block + 16 + 32 * (j / 2)), 4 * (j % 2), 15);
}

I8_INLINE i8x32 codes_q5_k(const uint8_t *block, int j)
{
    i8x32 low = i8x32_fields(i8x32_load(block + 48 + 32 * (j / 2)), 4 * (j % 2), 15);
    return i8x32_or(low, i8x32_fields(i8x32_load(block + 16), j - 4, 16));
}

I8_INLINE i8x32 codes_q6_k(const uint8_t *block, int j)
{
    int part = j / 4, g = j % 4;
    i8x32 low = i8x32_fields(i8x32_load(block + 64 * part + 32 * (g & 1)), 4 * (g >> 1), 15);
    return i8x32_or(low, i8x32_fields(i8x32_load(block + 128 + 32 * part), 2 * g - 4, 0x30));
}

I8_INLINE i8x32 codes_iq4_xs(const uint8_t *block, int j)
{
    return i8x32_lookup(i8x32_nibbles(block + 8 + 16 * j), smallfloat_iq4_nl);
}

/* ---- scales ------------------------------------------------------------------------------------ */

/* The scales of eight blocks of 32, or of the first n. */
I8_INLINE f32x8 scales_f16(const uint8_t *p, size_t stride, size_t n)
{
    if (n >= 8) return f32x8_gather_f16(p, stride);
    uint16_t halves[8] = {0};
    for (size_t b = 0; b < n; b++)
        halves[b] = load_u16(p + b * stride);
    return f32x8_load_f16(halves);
}

I8_INLINE f32x8 scales_mxfp4(const uint8_t *p, size_t stride, size_t n)
{
    if (n >= 8) return f32x8_gather_e8m0_half(p, stride);
    uint8_t bytes[8] = {0};
    for (size_t b = 0; b < n; b++)
        bytes[b] = p[b * stride];
    return f32x8_gather_e8m0_half(bytes, 1);
}

/* Of eight sub-blocks of 32, the scales of their first halves and of their last. */
I8_INLINE void scales_nvfp4(const uint8_t *const blocks[8], const size_t halves[8], f32x8 *first, f32x8 *last)
{
    uint16_t pairs[8];
    UNROLL(8)
    for (size_t i = 0; i < 8; i++)
        pairs[i] = load_u16(blocks[i] + 2 * halves[i]);
    f32x8_ue4m3_half_pairs(pairs, first, last);
}

I8_INLINE uint64_t two_words(uint32_t low, uint32_t high)
{
    return (uint64_t)high << 32 | low;
}

/* Six bits each of eight scales and eight minimums in 12 bytes (Q4_K, Q5_K), four at a time. */
I8_INLINE void scales_k4(const uint8_t *block, i16x16 *scales, i16x16 *mins)
{
    uint32_t a = load_u32(block + 4), b = load_u32(block + 8), c = load_u32(block + 12);
    uint32_t scales_high = (c & 0x0f0f0f0fu) | (a >> 6 & 0x03030303u) << 4;
    uint32_t mins_high = (c >> 4 & 0x0f0f0f0fu) | (b >> 6 & 0x03030303u) << 4;
    *scales = i16x16_from_u8_doubled(two_words(a & 0x3f3f3f3fu, scales_high));
    *mins = i16x16_from_u8_doubled(two_words(b & 0x3f3f3f3fu, mins_high));
}

I8_INLINE void scales_q2_k(const uint8_t *block, i16x16 *scales, i16x16 *mins)
{
    *scales = i16x16_fields(i16x16_from_s8(block), 0, 15);
    *mins = i16x16_fields(i16x16_from_s8(block), 4, 15);
}

/* Four bits of 16 scales in 8 bytes, then two bits of them in 4; less 32. */
I8_INLINE void scales_q3_k(const uint8_t *block, i16x16 *scales, i16x16 *mins)
{
    uint64_t a = load_u64(block + 96), c = load_u32(block + 104);
    const uint64_t low = 0x0f0f0f0f0f0f0f0f, high = 0x3030303030303030, sign = 0x8080808080808080;
    uint64_t first = (a & low) | ((c << 4 | c << 34) & high), last = (a >> 4 & low) | ((c | c << 30) & high);
    /* as signed bytes: 32 less without a borrow into the next one */
    first = ((first | sign) - 0x2020202020202020) ^ sign;
    last = ((last | sign) - 0x2020202020202020) ^ sign;
    *scales = *mins = i16x16_from_bytes(first, last);
}

I8_INLINE void scales_q6_k(const uint8_t *block, i16x16 *scales, i16x16 *mins)
{
    *scales = *mins = i16x16_from_s8(block + 192);
}

I8_INLINE void scales_iq4_xs(const uint8_t *block, i16x16 *scales, i16x16 *mins)
{
    i32x8 low = i32x8_fields_of(load_u32(block + 4), 4, 15);
    i32x8 high = i32x8_fields_of((uint32_t)load_u16(block + 2) << 4, 2, 3 << 4);
    *scales = *mins = i16x16_affine(i16x16_doubled(i32x8_add(low, high)), 1, -32);
}

/* ---- to memory --------------------------------------------------------------------------------- */

I8_INLINE void unpack_b32(const uint8_t *p, size_t n, struct unpacked *out, i8x32 (*codes)(const uint8_t *),
                          size_t block_bytes, bool has_min)
{
    f32x8_store(out->d, scales_f16(p, block_bytes, n / 32));
    if (has_min) f32x8_store(out->m, scales_f16(p + 2, block_bytes, n / 32));
    for (size_t b = 0; b < n / 32; b++)
        i8x32_store(out->codes + 32 * b, codes(p + block_bytes * b));
}

static void unpack_fast_q4_0(const uint8_t *p, size_t n, struct unpacked *out)
{
    unpack_b32(p, n, out, codes_q4_0, 18, false);
}

static void unpack_fast_q4_1(const uint8_t *p, size_t n, struct unpacked *out)
{
    unpack_b32(p, n, out, codes_q4_1, 20, true);
}

static void unpack_fast_q5_0(const uint8_t *p, size_t n, struct unpacked *out)
{
    unpack_b32(p, n, out, codes_q5_0, 22, false);
}

static void unpack_fast_q5_1(const uint8_t *p, size_t n, struct unpacked *out)
{
    unpack_b32(p, n, out, codes_q5_1, 24, true);
}

static void unpack_fast_q8_0(const uint8_t *p, size_t n, struct unpacked *out)
{
    unpack_b32(p, n, out, codes_q8_0, 34, false);
}

static void unpack_fast_iq4_nl(const uint8_t *p, size_t n, struct unpacked *out)
{
    unpack_b32(p, n, out, codes_iq4_nl, 18, false);
}

static void unpack_fast_mxfp4(const uint8_t *p, size_t n, struct unpacked *out)
{
    f32x8_store(out->d, scales_mxfp4(p, 17, n / 32));
    for (size_t b = 0; b < n / 32; b++)
        i8x32_store(out->codes + 32 * b, codes_mxfp4(p + 17 * b));
}

static void unpack_fast_nvfp4(const uint8_t *p, size_t n, struct unpacked *out)
{
    const uint8_t *blocks[8];
    size_t halves[8];
    f32x8 first, last;
    UNROLL(8)
    for (size_t b = 0; b < 8; b++) { /* past the end: the first again */
        blocks[b] = b < n / 32 ? p + 36 * (b / 2) : p;
        halves[b] = b % 2;
    }
    scales_nvfp4(blocks, halves, &first, &last);
    f32x8_store_pairs(out->d, first, last);
    for (size_t b = 0; b < n / 32; b++)
        i8x32_store(out->codes + 32 * b, codes_nvfp4(p + 36 * (b / 2), b % 2));
}

I8_INLINE void unpack_s256(const uint8_t *p, struct unpacked *out, i8x32 (*codes)(const uint8_t *, int),
                           void (*scales)(const uint8_t *, i16x16 *, i16x16 *), size_t offset_d)
{
    i16x16 scale, min;
    scales(p, &scale, &min);
    i16x16_store(out->scales, scale);
    i16x16_store(out->mins, min);
    out->super_d = f32_from_f16(load_u16(p + offset_d));
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++)
        i8x32_store(out->codes + 32 * j, codes(p, j));
}

static void unpack_fast_q2_k(const uint8_t *p, size_t n, struct unpacked *out)
{
    (void)n;
    unpack_s256(p, out, codes_q2_k, scales_q2_k, 80);
    out->super_min = f32_from_f16(load_u16(p + 82));
}

static void unpack_fast_q3_k(const uint8_t *p, size_t n, struct unpacked *out)
{
    (void)n;
    unpack_s256(p, out, codes_q3_k, scales_q3_k, 108);
}

static void unpack_fast_q4_k(const uint8_t *p, size_t n, struct unpacked *out)
{
    (void)n;
    unpack_s256(p, out, codes_q4_k, scales_k4, 0);
    out->super_min = f32_from_f16(load_u16(p + 2));
}

static void unpack_fast_q5_k(const uint8_t *p, size_t n, struct unpacked *out)
{
    (void)n;
    unpack_s256(p, out, codes_q5_k, scales_k4, 0);
    out->super_min = f32_from_f16(load_u16(p + 2));
}

static void unpack_fast_q6_k(const uint8_t *p, size_t n, struct unpacked *out)
{
    (void)n;
    unpack_s256(p, out, codes_q6_k, scales_q6_k, 208);
}

static void unpack_fast_iq4_xs(const uint8_t *p, size_t n, struct unpacked *out)
{
    (void)n;
    unpack_s256(p, out, codes_iq4_xs, scales_iq4_xs, 0);
}

#include "kernel/unpack_grid.inc.h"

static void (*const unpack_fast[FORMAT_COUNT])(const uint8_t *, size_t, struct unpacked *) = {
    [FORMAT_Q4_0] = unpack_fast_q4_0,     [FORMAT_Q4_1] = unpack_fast_q4_1,     [FORMAT_Q5_0] = unpack_fast_q5_0,
    [FORMAT_Q5_1] = unpack_fast_q5_1,     [FORMAT_Q8_0] = unpack_fast_q8_0,     [FORMAT_IQ4_NL] = unpack_fast_iq4_nl,
    [FORMAT_MXFP4] = unpack_fast_mxfp4,   [FORMAT_NVFP4] = unpack_fast_nvfp4,   [FORMAT_Q2_K] = unpack_fast_q2_k,
    [FORMAT_Q3_K] = unpack_fast_q3_k,     [FORMAT_Q4_K] = unpack_fast_q4_k,     [FORMAT_Q5_K] = unpack_fast_q5_k,
    [FORMAT_Q6_K] = unpack_fast_q6_k,     [FORMAT_IQ4_XS] = unpack_fast_iq4_xs, [FORMAT_IQ2_XXS] = unpack_fast_iq2_xxs,
    [FORMAT_IQ2_XS] = unpack_fast_iq2_xs, [FORMAT_IQ2_S] = unpack_fast_iq2_s,   [FORMAT_IQ3_XXS] = unpack_fast_iq3_xxs,
    [FORMAT_IQ3_S] = unpack_fast_iq3_s,   [FORMAT_IQ1_S] = unpack_fast_iq1_s,   [FORMAT_IQ1_M] = unpack_fast_iq1_m,
    [FORMAT_TQ1_0] = unpack_fast_tq1_0,   [FORMAT_TQ2_0] = unpack_fast_tq2_0,   [FORMAT_Q1_0] = unpack_fast_q1_0,
    [FORMAT_Q2_0] = unpack_fast_q2_0,
};
