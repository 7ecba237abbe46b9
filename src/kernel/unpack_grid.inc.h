/* unpack_grid.inc.h - codebooks, ternary codes and bits in the vector words of i8_<isa>.h; see unpack_codes.inc.h.
 *
 * A super-block of a codebook is first spread out: the numbers of its rows in 16 bits each, its signs as one bit for
 * each element, its sub-scales. From there on these formats differ only in the table and the length of its rows.
 */
#include "format/grids.h"

struct grid_block {
    _Alignas(64) uint16_t rows[64]; /* 32 of them where rows have 8 elements */
    _Alignas(64) uint8_t signs[32]; /* bit k of byte g: element 8 g + k is negative; IQ1: shift + 1 of 8 g ... */
    i16x16 scales;
    i16x16 shifts; /* IQ1_S: the scales with the sign of the shift */
};

typedef void grid_spread_fn(const uint8_t *block, struct grid_block *to);

/* The eighth sign of each byte makes the number of negatives even. */
I8_INLINE i8x32 grid_even_signs(i8x32 sevens)
{
    static const int8_t parity[16] = {0, -128, -128, 0, -128, 0, 0, -128, -128, 0, 0, -128, 0, -128, -128, 0};
    i8x32 low = i8x32_lookup(i8x32_fields(sevens, 0, 15), parity);
    return i8x32_add(sevens, i8x32_add(low, i8x32_lookup(i8x32_fields(sevens, 4, 15), parity)));
}

/* Scales of n mean 2n + 1. */
I8_INLINE i16x16 grid_odd(i16x16 v)
{
    return i16x16_affine(v, 2, 1);
}

I8_INLINE void grid_spread_iq2_xxs(const uint8_t *block, struct grid_block *to)
{
    i32x8 rows, words;
    i32x8_load_pairs(block + 2, &rows, &words);
    i8x32_store_pairs(to->rows, i32x8_bytes(rows), i8x32_set1(0));
    i8x32_store(to->signs, grid_even_signs(i8x32_spread(words, 7)));
    to->scales = grid_odd(i16x16_doubled(i32x8_fields(words, 28, 15)));
}

I8_INLINE void grid_spread_iq2_xs(const uint8_t *block, struct grid_block *to)
{
    i16x16 a = i16x16_load((const int16_t *)(const void *)(block + 2));
    i16x16 b = i16x16_load((const int16_t *)(const void *)(block + 34));
    i16x16_store((int16_t *)to->rows, i16x16_fields(a, 0, 511));
    i16x16_store((int16_t *)to->rows + 16, i16x16_fields(b, 0, 511));
    i8x32_store(to->signs, grid_even_signs(i8x32_narrow(i16x16_fields(a, 9, 127), i16x16_fields(b, 9, 127))));
    to->scales = grid_odd(i16x16_nibbles(block + 66));
}

I8_INLINE void grid_spread_iq2_s(const uint8_t *block, struct grid_block *to)
{
    i8x32_store_pairs(to->rows, i8x32_load(block + 2), i8x32_spread(i32x8_from_u8(block + 66), 2));
    i8x32_store(to->signs, i8x32_load(block + 34));
    to->scales = grid_odd(i16x16_nibbles(block + 74));
}

I8_INLINE void grid_spread_iq3_xxs(const uint8_t *block, struct grid_block *to)
{
    i32x8 words = i32x8_load((const int32_t *)(const void *)(block + 66));
    i8x32_store_pairs(to->rows, i8x32_load(block + 2), i8x32_set1(0));
    i8x32_store_pairs(to->rows + 32, i8x32_load(block + 34), i8x32_set1(0));
    i8x32_store(to->signs, grid_even_signs(i8x32_spread(words, 7)));
    to->scales = grid_odd(i16x16_doubled(i32x8_fields(words, 28, 15)));
}

I8_INLINE void grid_spread_iq3_s(const uint8_t *block, struct grid_block *to)
{
    i8x32_store_pairs(to->rows, i8x32_load(block + 2), i8x32_bits(load_u32(block + 66), 1));
    i8x32_store_pairs(to->rows + 32, i8x32_load(block + 34), i8x32_bits(load_u32(block + 70), 1));
    i8x32_store(to->signs, i8x32_load(block + 74));
    to->scales = grid_odd(i16x16_doubled(i32x8_fields_of(load_u32(block + 106), 4, 15)));
}

I8_INLINE void grid_spread_iq1_s(const uint8_t *block, struct grid_block *to)
{
    i32x8 words = i32x8_from_u16(block + 34), negative = i32x8_mask(words, 15);
    i8x32_store_pairs(to->rows, i8x32_load(block + 2), i8x32_spread(words, 3));
    i8x32 minus = i32x8_bytes(negative);
    i8x32_store(to->signs, i8x32_add(i8x32_set1(2), i8x32_add(minus, minus)));
    to->scales = grid_odd(i16x16_doubled(i32x8_fields(words, 12, 7)));
    to->shifts = i16x16_negate(to->scales, negative);
}

I8_INLINE void grid_spread_iq1_m(const uint8_t *block, struct grid_block *to)
{
    static const int8_t shift[16] = {2, 2, 2, 2, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0};
    i8x32 nibbles = i8x32_spread(i32x8_from_u16(block + 32), 4);
    i8x32_store_pairs(to->rows, i8x32_load(block), i8x32_fields(nibbles, 0, 7));
    i8x32_store(to->signs, i8x32_lookup(nibbles, shift));
    to->scales = grid_odd(i16x16_from_last(i8x32_spread(i32x8_from_u16(block + 40), 3)));
}

/* Spread over the top nibbles of the four scale words. */
I8_INLINE uint16_t grid_d_iq1_m(const uint8_t *block)
{
    const uint8_t *p = block + 48;
    return (uint16_t)(load_u16(p) >> 12 | (load_u16(p + 2) >> 12) << 4 | (load_u16(p + 4) >> 12) << 8 |
                      (load_u16(p + 6) >> 12) << 12);
}

/* The j-th 32 elements: magnitudes, or -1, 0, 1. */
I8_INLINE i8x32 grid_rows(const struct grid_block *b, const int8_t *table, int row_elements, int j)
{
    return row_elements == 8 ? i8x32_rows8(table, b->rows + 4 * j) : i8x32_rows4(table, b->rows + 8 * j);
}

I8_INLINE uint32_t grid_signs_of(const struct grid_block *b, int j)
{
    return load_u32(b->signs + 4 * j);
}

/* -1, 0, 1, and 1 more */
I8_INLINE i8x32 grid_ternary_rows(const struct grid_block *b, int j)
{
    return i8x32_add(grid_rows(b, grid_iq1_s[0], 8, j), i8x32_set1(1));
}

/* 8 * row +- 1, and 9 more */
I8_INLINE i8x32 grid_shifted_rows(const struct grid_block *b, int j)
{
    return i8x32_or(i8x32_shift_left(grid_ternary_rows(b, j), 3), i8x32_octets(grid_signs_of(b, j)));
}

/* ---- ternary and bits -------------------------------------------------------------------------- */

I8_INLINE i8x32 codes_tq2_0(const uint8_t *block, int j)
{
    return i8x32_fields(i8x32_load(block + 32 * (j / 4)), 2 * (j % 4), 3);
}

/* Digit n of a byte is the third of 256 in which byte * 3^n lies. Moved down by 128, bytes are signed, and multiplying
 * by odd numbers leaves that as it is. 32 bytes have five digits, then 16 have five, then 4 have four. */
I8_INLINE i8x32 codes_tq1_0(const uint8_t *block, int j)
{
    static const int8_t powers[3][32] = {
        {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3},
        {9,  9,  9,  9,  9,  9,  9,  9,  9,  9,  9,  9,  9,  9,  9,  9,
         27, 27, 27, 27, 27, 27, 27, 27, 27, 27, 27, 27, 27, 27, 27, 27},
        {81, 81, 81, 81, 81, 81, 81, 81, 81, 81, 81, 81, 81, 81, 81, 81,
         1,  1,  1,  1,  3,  3,  3,  3,  9,  9,  9,  9,  27, 27, 27, 27},
    };
    const i8x32 down = i8x32_set1(-128);
    i8x32 v;
    if (j < 5) {
        v = i8x32_add(i8x32_load(block), down);
        UNROLL(4)
        for (int n = 0; n < 4; n++)
            v = n < j ? i8x32_add(v, i8x32_add(v, v)) : v;
    } else {
        v = j < 7 ? i8x32_twice(block + 32) : i8x32_join(block + 32, load_u32(block + 48));
        v = i8x32_times(i8x32_add(v, down), i8x32_load(powers[j - 5]));
    }
    return i8x32_thirds(v);
}

I8_INLINE i8x32 codes_q1_0(const uint8_t *block, size_t part)
{
    return i8x32_bits(load_u32(block + 2 + 4 * part), 2);
}

I8_INLINE i8x32 codes_q2_0(const uint8_t *block, size_t part)
{
    return i8x32_spread(i32x8_from_u8(block + 2 + 8 * part), 2);
}

/* ---- to memory --------------------------------------------------------------------------------- */

I8_INLINE void unpack_grid(const uint8_t *block, struct unpacked *out, grid_spread_fn *spread, const int8_t *table,
                           int row_elements, float factor, int offset)
{
    struct grid_block b;
    spread(block, &b);
    I8_IN_MEMORY(&b);
    i16x16_store(out->scales, b.scales);
    out->super_d = f32_from_f16(load_u16(block)) * factor;
    UNROLL(8)
    for (int j = 0; j < 8; j++) {
        i8x32 codes = i8x32_negate(grid_rows(&b, table, row_elements, j), grid_signs_of(&b, j));
        i8x32_store(out->codes + 32 * j, i8x32_add(codes, i8x32_set1(offset)));
    }
}

I8_INLINE void unpack_grid_shifted(const uint8_t *block, struct unpacked *out, grid_spread_fn *spread, uint16_t d)
{
    struct grid_block b;
    spread(block, &b);
    I8_IN_MEMORY(&b);
    i16x16_store(out->scales, b.scales);
    out->super_d = f32_from_f16(d) * 0.125f;
    UNROLL(8)
    for (int j = 0; j < 8; j++)
        i8x32_store(out->codes + 32 * j, grid_shifted_rows(&b, j));
}

I8_INLINE void unpack_parts(const uint8_t *p, size_t n, struct unpacked *out, i8x32 (*codes)(const uint8_t *, size_t),
                            size_t n_parts)
{
    for (size_t b = 0; b < n / 32; b++) {
        const uint8_t *block = p + 18 * (b / n_parts);
        out->d[b] = f32_from_f16(load_u16(block));
        i8x32_store(out->codes + 32 * b, codes(block, b % n_parts));
    }
}

I8_INLINE void unpack_ternary(const uint8_t *p, struct unpacked *out, i8x32 (*codes)(const uint8_t *, int),
                              size_t offset_d)
{
    out->super_d = f32_from_f16(load_u16(p + offset_d));
    i16x16_store(out->scales, i16x16_set1(1));
    UNROLL(8)
    for (int j = 0; j < 8; j++)
        i8x32_store(out->codes + 32 * j, codes(p, j));
}

#define UNPACK_GRID(name, row_elements, factor, offset)                                        \
    static void unpack_fast_##name(const uint8_t *p, size_t n, struct unpacked *out)           \
    {                                                                                          \
        (void)n;                                                                               \
        unpack_grid(p, out, grid_spread_##name, grid_##name[0], row_elements, factor, offset); \
    }

UNPACK_GRID(iq2_xxs, 8, 0.125f, 43)
UNPACK_GRID(iq2_xs, 8, 0.125f, 43)
UNPACK_GRID(iq2_s, 8, 0.125f, 43)
UNPACK_GRID(iq3_xxs, 4, 0.25f, 62)
UNPACK_GRID(iq3_s, 4, 1.0f, 15)

static void unpack_fast_iq1_s(const uint8_t *p, size_t n, struct unpacked *out)
{
    (void)n;
    unpack_grid_shifted(p, out, grid_spread_iq1_s, load_u16(p));
}

static void unpack_fast_iq1_m(const uint8_t *p, size_t n, struct unpacked *out)
{
    (void)n;
    unpack_grid_shifted(p, out, grid_spread_iq1_m, grid_d_iq1_m(p));
}

static void unpack_fast_tq1_0(const uint8_t *p, size_t n, struct unpacked *out)
{
    (void)n;
    unpack_ternary(p, out, codes_tq1_0, 52);
}

static void unpack_fast_tq2_0(const uint8_t *p, size_t n, struct unpacked *out)
{
    (void)n;
    unpack_ternary(p, out, codes_tq2_0, 64);
}

static void unpack_fast_q1_0(const uint8_t *p, size_t n, struct unpacked *out)
{
    unpack_parts(p, n, out, codes_q1_0, 4);
}

static void unpack_fast_q2_0(const uint8_t *p, size_t n, struct unpacked *out)
{
    unpack_parts(p, n, out, codes_q2_0, 2);
}
