/* i8_avx2.h - products of codes and activations with AVX2, and the words for tiles of rows.
 *
 * i8x32 words: see i8_x86.h. A tile holds TILE_ROWS rows, interleaved so that a vector is TILE_LANES rows x 4
 * consecutive elements (a quad); lane = row. TILE_VECTORS such vectors times TILE_COLUMNS tokens are what the registers
 * hold sums of, column by column; q: where the activations of each column are, `at`: which. Words for tiles:
 *   tile_i, tile_f    integers and floats, one lane per row
 *   tile_transpose    8 rows of 32 codes become 8 vectors of the tile, in the order that tile_dot wants
 *   tile_acts_store   32 activations of column c, from element i on, where tile_dot looks for them; q: of column 0
 *   TILE_ACTS_MIXED   that is the only place where tile_dot can read them: it wants those of several columns together
 *   tile_dot          sum = minus of the column (or NULL) + products of n_quads quads
 *   tile_dot_scaled   sum += scale per row (as tile_scale made them) * (the same)
 *   tile_minus        what these take as minus, of each n_each activations: -offset * their sum, in some form
 *   tile_pairs        acc + pair.first * act.first + pair.second * act.second, 16-bit pairs, act the same for all rows
 * `max` is the largest code (a constant): it decides how many products fit in 16 bits. Formats with codes up to more
 * than TILE_MAX_UNSIGNED have signed ones in the tile, moved up by I8_OFFSET_S; the others have code + offset.
 */
#ifndef STILE_KERNEL_I8_AVX2_H
#define STILE_KERNEL_I8_AVX2_H

#include "kernel/i8_x86.h"
#include "kernel/unpack.h"

enum { I8_OFFSET_S = 0 };

/* In matmul_row.inc.h, measured: tokens that share unpacked rows; tokens up to which that is quicker than a tile. */
#define TOKENS_AT_ONCE 5
enum { FEW_TOKENS = 8, FEW_TOKENS_S256 = 6 };

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

typedef i32x8 i8_acc64;
typedef i8_scales i8_scales64;

#define i8_scales64_from i8_scales_from

typedef struct {
    i8x32 first, last; /* their magnitudes */
    i8x32 first_sign, last_sign;
} i8x64;

typedef struct {
    __m256i first, last;
} i8_scale64;

I8_INLINE i8x64 i8x64_unsigned(i8x32 first, i8x32 last)
{
    return (i8x64){first, last, first, last};
}

I8_INLINE i8x64 i8x64_signed(i8x32 first, i8x32 last)
{
    return (i8x64){_mm256_abs_epi8(first), _mm256_abs_epi8(last), first, last};
}

I8_INLINE i8x64 i8x64_nibbles(const uint8_t *p)
{
    i8x32 v = i8x32_load(p);
    return i8x64_unsigned(i8x32_fields(v, 0, 15), i8x32_fields(v, 4, 15));
}

I8_INLINE i8x64 i8x64_negative(i8x32 first, i8x32 last, const uint8_t *bits)
{
    const __m256i one = _mm256_set1_epi8(1);
    __m256i first_minus = i8x32_bit_mask(load_u32(bits)), last_minus = i8x32_bit_mask(load_u32(bits + 4));
    return (i8x64){first, last, _mm256_or_si256(first_minus, one), _mm256_or_si256(last_minus, one)};
}

I8_INLINE i8_scale64 i8_scale64_at(i8_scales64 scales, int i)
{
    return (i8_scale64){i8_scale_pair(scales, 2 * i), i8_scale_pair(scales, 2 * i + 1)};
}

I8_INLINE i8_scale64 i8_scale64_two(const uint32_t *first, const uint32_t *last)
{
    return (i8_scale64){_mm256_set1_epi32((int)*first), _mm256_set1_epi32((int)*last)};
}

I8_INLINE i8_acc64 i8_dot64(i8_acc64 acc, i8x64 w, const int8_t *acts, i8_scale64 scale, bool has_signs)
{
    i8x32 x = i8x32_load(acts), y = i8x32_load(acts + 32);
    if (has_signs) {
        x = _mm256_sign_epi8(x, w.first_sign);
        y = _mm256_sign_epi8(y, w.last_sign);
    }
    acc = _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(w.first, x), scale.first));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(w.last, y), scale.last));
}

#define i8_acc64_zero i32x8_zero

#define i8_acc64_sums8 i32x8_sums8

I8_INLINE i8_acc64 i8_acc64_from(i32x8 v)
{
    return v;
}

I8_INLINE i32x8 i8_acc64_sums(i8_acc64 acc)
{
    return acc;
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

I8_INLINE void i8_group_nibbles(const uint8_t *p, size_t stride, const int8_t *acts, size_t act_stride, size_t n,
                                const int8_t *table, int max, i32x8 *sums)
{
    const __m256i mask = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
    __m256i first[4], last[4];
    UNROLL(4)
    for (size_t i = 0; i < 4; i++) {
        __m256i both = i8_two_halves(p + i * stride, p + (4 + i) * stride);
        first[i] = _mm256_and_si256(both, mask);
        last[i] = _mm256_and_si256(_mm256_srli_epi16(both, 4), mask);
        if (!table) continue;
        first[i] = i8x32_lookup(first[i], table);
        last[i] = i8x32_lookup(last[i], table);
    }
    UNROLL(TOKENS_AT_ONCE)
    for (size_t t = 0; t < n; t++, acts += act_stride) {
        __m256i x = i8_twice(acts), y = i8_twice(acts + 16), part[4];
        UNROLL(4)
        for (size_t i = 0; i < 4; i++) {
            if (max > 127)
                part[i] = _mm256_add_epi32(i8_dot_s(first[i], x), i8_dot_s(last[i], y));
            else
                part[i] = _mm256_add_epi16(_mm256_maddubs_epi16(first[i], x), _mm256_maddubs_epi16(last[i], y));
        }
        if (max > 127) {
            sums[t] = _mm256_hadd_epi32(_mm256_hadd_epi32(part[0], part[1]), _mm256_hadd_epi32(part[2], part[3]));
            continue;
        }
        __m256i a = i16_add_pairs(part[0], part[1]), b = i16_add_pairs(part[2], part[3]);
        if (max > 16) /* 16 products would not fit in 16 bits */
            sums[t] = _mm256_hadd_epi32(_mm256_madd_epi16(a, ones), _mm256_madd_epi16(b, ones));
        else
            sums[t] = _mm256_madd_epi16(i16_add_pairs(a, b), ones);
    }
}

I8_INLINE void i8_group_codes(i8x32 (*codes)(const uint8_t *), const uint8_t *p, size_t stride, const int8_t *acts,
                              size_t act_stride, size_t n, int max, i32x8 *sums)
{
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i w[8];
    UNROLL(8)
    for (size_t b = 0; b < 8; b++)
        w[b] = codes(p + b * stride);
    UNROLL(TOKENS_AT_ONCE)
    for (size_t t = 0; t < n; t++, acts += act_stride) {
        __m256i x = i8x32_load(acts), part[8];
        UNROLL(8)
        for (size_t b = 0; b < 8; b++)
            part[b] = max > 127 ? i8_dot_s(w[b], x) : _mm256_maddubs_epi16(w[b], x);
        if (max > 127) {
            sums[t] = i32x8_sums8(part);
            continue;
        }
        /* 8 products of up to 32 * 127 fit in 16 bits */
        __m256i a = i16_add_pairs(i16_add_pairs(part[0], part[1]), i16_add_pairs(part[2], part[3]));
        __m256i b = i16_add_pairs(i16_add_pairs(part[4], part[5]), i16_add_pairs(part[6], part[7]));
        a = _mm256_madd_epi16(a, ones);
        b = _mm256_madd_epi16(b, ones);
        sums[t] = _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31));
    }
}

/* Four blocks: 32-bit words (0x88) 0 and 2 of each 128 bits, or (0xdd) 1 and 3, as floats. */
#define I8_FLOATS_NVFP4(a, b, which, add) \
    _mm256_cvtepi32_ps(_mm256_add_epi32(  \
        _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), (which))), (add)))

I8_INLINE void i8_group_nvfp4(const uint8_t *p, size_t stride, const int8_t *acts, const int16_t *sums,
                              size_t act_stride, size_t n, const int8_t *table, f32x8 (*both)[2])
{
    const __m256i mask = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1),
                  halves = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    __m256i first[8], last[8], scales[2];
    UNROLL(8)
    for (size_t b = 0; b < 8; b++) {
        __m256i v = i8x32_load(p + b * stride + 4);
        first[b] = i8x32_lookup(_mm256_and_si256(v, mask), table);
        last[b] = i8x32_lookup(_mm256_and_si256(_mm256_srli_epi16(v, 4), mask), table);
    }
    i8_scales_nvfp4(p, stride, &scales[0], &scales[1]);
    UNROLL(TOKENS_AT_ONCE)
    for (size_t t = 0; t < n; t++, acts += act_stride) {
        const uint8_t *of_sums = (const uint8_t *)sums + t * act_stride;
        /* eight activations of each of four sub-blocks: the first of each, the last */
        __m256i q0 = i8x32_load(acts), q1 = i8x32_load(acts + 32);
        __m256i x = _mm256_permute4x64_epi64(_mm256_unpacklo_epi64(q0, q1), 0xd8);
        __m256i y = _mm256_permute4x64_epi64(_mm256_unpackhi_epi64(q0, q1), 0xd8);
        __m256i part[8], pairs[4];
        UNROLL(8)
        for (size_t b = 0; b < 8; b++)
            part[b] = _mm256_add_epi16(_mm256_maddubs_epi16(first[b], x), _mm256_maddubs_epi16(last[b], y));
        UNROLL(4)
        for (size_t i = 0; i < 4; i++) /* per 128 bits two sub-blocks of block 2i, two of the next */
            pairs[i] = _mm256_madd_epi16(i16_add_pairs(part[2 * i], part[2 * i + 1]), ones);
        __m256i of_acts =
            _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(_mm_loadl_epi64((const void *)of_sums)), halves);
        __m256i minus0 = _mm256_madd_epi16(of_acts, _mm256_set1_epi32(-12 & 0xffff));
        __m256i minus1 = _mm256_madd_epi16(of_acts, _mm256_set1_epi32(-12 * 0x10000));
        /* blocks 0 ... 3, then 4 ... 7: sub-blocks 0 | 2 and 1 | 3 */
        f32x8 a0 = _mm256_mul_ps(_mm256_cvtph_ps(_mm256_castsi256_si128(scales[0])),
                                 I8_FLOATS_NVFP4(pairs[0], pairs[1], 0x88, minus0));
        f32x8 b0 = _mm256_mul_ps(_mm256_cvtph_ps(_mm256_extracti128_si256(scales[0], 1)),
                                 I8_FLOATS_NVFP4(pairs[2], pairs[3], 0x88, minus0));
        f32x8 a = _mm256_fmadd_ps(_mm256_cvtph_ps(_mm256_castsi256_si128(scales[1])),
                                  I8_FLOATS_NVFP4(pairs[0], pairs[1], 0xdd, minus1), a0);
        f32x8 b = _mm256_fmadd_ps(_mm256_cvtph_ps(_mm256_extracti128_si256(scales[1], 1)),
                                  I8_FLOATS_NVFP4(pairs[2], pairs[3], 0xdd, minus1), b0);
        both[t][0] = _mm256_mul_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_set1_ps(128.0f));
        both[t][1] = _mm256_mul_ps(_mm256_permute2f128_ps(a, b, 0x31), _mm256_set1_ps(128.0f));
    }
}

/* ---- tiles ------------------------------------------------------------------------------------- */

#define TILE_LANES        8
#define TILE_VECTORS      2
#define TILE_COLUMNS      3
#define TILE_ROWS         64
#define TILE_MAX_UNSIGNED 64
#define TILE_ACTS_MIXED   0

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

I8_INLINE tile_i tile_i_load(const void *p)
{
    return _mm256_load_si256(p);
}

I8_INLINE void tile_i_store(void *p, tile_i v)
{
    _mm256_store_si256(p, v);
}

I8_INLINE tile_i tile_pairs(tile_i acc, tile_i pairs, uint32_t act_pair)
{
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi32((int)act_pair)));
}

/* Of a pair of 16-bit numbers per row, the first (which = 0) or the second, as tile_dot_scaled wants it. */
I8_INLINE tile_i tile_scale(tile_i pairs, int which)
{
    const __m256i first = _mm256_set1_epi64x(0x0504050401000100), second = _mm256_set1_epi64x(0x0706070603020302);
    const __m256i upper = _mm256_set_epi64x(0x0808080808080808, 0, 0x0808080808080808, 0);
    return _mm256_shuffle_epi8(pairs, _mm256_add_epi8(which ? second : first, upper));
}

/* Of each n_each activations two 16-bit numbers, as the pairs of products have two lanes. 16-bit sums may wrap on the
 * way, with the offset gone they fit: 8 * 32 * 127, 16 * 16 * 127. */
I8_INLINE void tile_minus(const int8_t *q, const int16_t *sums, int offset, size_t n_each, int32_t minus[16])
{
    const __m256i ones = _mm256_set1_epi8(1), order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    (void)sums;
    UNROLL(2)
    for (size_t i = 0; i < 2; i++) {
        __m256i pairs[4];
        UNROLL(4)
        for (size_t j = 0; j < 4; j++)
            pairs[j] = _mm256_maddubs_epi16(ones, i8x32_load(q + 128 * i + 32 * j));
        __m256i low =
            _mm256_add_epi16(_mm256_unpacklo_epi64(pairs[0], pairs[1]), _mm256_unpackhi_epi64(pairs[0], pairs[1]));
        __m256i high =
            _mm256_add_epi16(_mm256_unpacklo_epi64(pairs[2], pairs[3]), _mm256_unpackhi_epi64(pairs[2], pairs[3]));
        __m256 even = _mm256_shuffle_ps(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high), 0x88);
        __m256 odd = _mm256_shuffle_ps(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high), 0xdd);
        /* of each 16, the first of each 32 in the low half */
        __m256i all = _mm256_add_epi16(_mm256_castps_si256(even), _mm256_castps_si256(odd));
        all = _mm256_mullo_epi16(all, _mm256_set1_epi16((short)-offset));
        if (n_each == 16)
            i8x32_store(minus + 8 * i, _mm256_permutevar8x32_epi32(all, order));
        else
            _mm_storeu_si128((void *)(minus + 4 * i),
                             _mm_add_epi16(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1)));
    }
}

/* The sum is formed here and now: gcc 12 would rather have all products of a chain first, and not the registers. */
#define TILE_KEEP(sum) __asm__("" : "+x"(sum))

/* Adds n quads of products to 16-bit sums. */
I8_INLINE void tile_products(__m256i part[TILE_COLUMNS * TILE_VECTORS], const uint8_t *codes,
                             const int8_t *const q[TILE_COLUMNS], size_t at, int n_quads, int max)
{
    UNROLL(8)
    for (int i = 0; i < n_quads; i++) {
        __m256i w[TILE_VECTORS];
        UNROLL(TILE_VECTORS)
        for (int v = 0; v < TILE_VECTORS; v++)
            w[v] = _mm256_load_si256((const void *)(codes + 4 * TILE_ROWS * i + 4 * TILE_LANES * v));
        UNROLL(TILE_COLUMNS)
        for (int c = 0; c < TILE_COLUMNS; c++) {
            __m256i a = _mm256_set1_epi32((int)load_u32(q[c] + at + 4 * (size_t)i));
            UNROLL(TILE_VECTORS)
            for (int v = 0; v < TILE_VECTORS; v++) {
                __m256i x = max > TILE_MAX_UNSIGNED
                                ? _mm256_maddubs_epi16(_mm256_abs_epi8(w[v]), _mm256_sign_epi8(a, w[v]))
                                : _mm256_maddubs_epi16(w[v], a);
                part[c * TILE_VECTORS + v] = _mm256_add_epi16(part[c * TILE_VECTORS + v], x);
                TILE_KEEP(part[c * TILE_VECTORS + v]);
            }
        }
    }
}

/* 16-bit sums to begin with, of every column the same for all rows; or zeros. */
I8_INLINE void tile_begin(__m256i sum[TILE_COLUMNS * TILE_VECTORS], const int32_t *minus)
{
    UNROLL(TILE_COLUMNS * TILE_VECTORS)
    for (int j = 0; j < TILE_COLUMNS * TILE_VECTORS; j++)
        sum[j] = minus ? _mm256_set1_epi32(minus[UNPACK_PIECE / 16 * (j / TILE_VECTORS)]) : _mm256_setzero_si256();
}

/* Pairs of products reach 2 * max * 127: this many of them are added in 16 bits. */
I8_INLINE int tile_run(int max)
{
    return max <= 15 ? 8 : max <= 32 ? 4 : max <= 127 ? 2 : 1;
}

/* sum += scale * (minus + products) */
I8_INLINE void tile_add_run(tile_i sum[TILE_COLUMNS * TILE_VECTORS], const int32_t *minus, const uint8_t *codes,
                            const int8_t *const q[TILE_COLUMNS], size_t at, int n_quads, int max,
                            const __m256i scale[TILE_VECTORS])
{
    __m256i part[TILE_COLUMNS * TILE_VECTORS];
    tile_begin(part, minus);
    tile_products(part, codes, q, at, n_quads, max);
    UNROLL(TILE_COLUMNS * TILE_VECTORS)
    for (int j = 0; j < TILE_COLUMNS * TILE_VECTORS; j++)
        sum[j] = _mm256_add_epi32(sum[j], _mm256_madd_epi16(part[j], scale[j % TILE_VECTORS]));
}

I8_INLINE void tile_dot_scaled(tile_i sum[TILE_COLUMNS * TILE_VECTORS], const int32_t *minus, const uint8_t *codes,
                               const int8_t *const q[TILE_COLUMNS], size_t at, int n_quads, int max,
                               const int32_t *scales)
{
    const int run = minus || tile_run(max) > n_quads ? n_quads : tile_run(max);
    for (int i = 0; i < n_quads; i += run) {
        __m256i scale[TILE_VECTORS];
        UNROLL(TILE_VECTORS)
        for (int v = 0; v < TILE_VECTORS; v++)
            scale[v] = tile_i_load(scales + TILE_LANES * v);
        tile_add_run(sum, minus, codes + 4 * TILE_ROWS * i, q, at + 4 * (size_t)i, run, max, scale);
    }
}

I8_INLINE void tile_dot(tile_i sum[TILE_COLUMNS * TILE_VECTORS], const int32_t *minus, const uint8_t *codes,
                        const int8_t *const q[TILE_COLUMNS], size_t at, int n_quads, int max)
{
    const int run = minus || tile_run(max) > n_quads ? n_quads : tile_run(max);
    __m256i ones[TILE_VECTORS];
    UNROLL(TILE_VECTORS)
    for (int v = 0; v < TILE_VECTORS; v++)
        ones[v] = _mm256_set1_epi16(1);
    tile_begin(sum, NULL);
    for (int i = 0; i < n_quads; i += run)
        tile_add_run(sum, minus, codes + 4 * TILE_ROWS * i, q, at + 4 * (size_t)i, run, max, ones);
}

#endif
