/* unpack_iq.c - the IQ super-blocks: rows of a codebook with signs, and IQ4_XS.
 *
 * Fractions in the formulas move into super_d so that codes and scales are integers: d * (0.5 + s) / 4 is
 * (d / 8) * (2s + 1), and IQ1's grid +- 1/8 is (8 grid +- 1) / 8.
 */
#include "kernel/unpack.h"

#include "format/grids.h"
#include "format/smallfloat.h"

/* n codes of one grid row; bit k of `signs` makes element k negative. */
static void signed_row(const int8_t *row, int n, unsigned signs, int8_t *codes)
{
    for (int k = 0; k < n; k++)
        codes[k] = (int8_t)(signs >> k & 1u ? -row[k] : row[k]);
}

void unpack_iq2_xxs(const uint8_t *block, size_t n, struct unpacked *out)
{
    (void)n;
    out->super_d = f32_from_f16(load_u16(block)) * 0.125f;
    for (int g = 0; g < 32; g++) { /* groups of 8; 4 of them share 8 bytes: 4 indices, then signs and scale */
        const uint8_t *q = block + 2 + 8 * (g / 4);
        uint32_t word = load_u32(q + 4);
        out->scales[g / 2] = (int16_t)(2 * (word >> 28) + 1);
        signed_row(grid_iq2_xxs[q[g % 4]], 8, grid_signs(word >> 7 * (g % 4)), out->codes + 8 * g);
    }
}

/* One nibble for each 16 elements (IQ2_XS, IQ2_S). */
static void scales_iq2(const uint8_t *packed, int16_t *scales)
{
    for (int s = 0; s < 16; s++)
        scales[s] = (int16_t)(2 * (packed[s / 2] >> 4 * (s & 1) & 15) + 1);
}

void unpack_iq2_xs(const uint8_t *block, size_t n, struct unpacked *out)
{
    (void)n;
    out->super_d = f32_from_f16(load_u16(block)) * 0.125f;
    scales_iq2(block + 66, out->scales);
    for (int g = 0; g < 32; g++) {
        uint32_t q = load_u16(block + 2 + 2 * g);
        signed_row(grid_iq2_xs[q & 511], 8, grid_signs(q >> 9), out->codes + 8 * g);
    }
}

void unpack_iq2_s(const uint8_t *block, size_t n, struct unpacked *out)
{
    const uint8_t *qs = block + 2, *signs = block + 34, *qh = block + 66;
    (void)n;
    out->super_d = f32_from_f16(load_u16(block)) * 0.125f;
    scales_iq2(block + 74, out->scales);
    for (int g = 0; g < 32; g++) {
        int index = qs[g] | (qh[g / 4] >> 2 * (g % 4) & 3) << 8;
        signed_row(grid_iq2_s[index], 8, signs[g], out->codes + 8 * g);
    }
}

void unpack_iq3_xxs(const uint8_t *block, size_t n, struct unpacked *out)
{
    const uint8_t *qs = block + 2;
    (void)n;
    out->super_d = f32_from_f16(load_u16(block)) * 0.25f;
    for (int h = 0; h < 64; h++) { /* groups of 4 */
        uint32_t word = load_u32(block + 66 + 4 * (h / 8));
        unsigned signs = grid_signs(word >> 7 * (h % 8 / 2));
        out->scales[h / 4] = (int16_t)(2 * (word >> 28) + 1);
        signed_row(grid_iq3_xxs[qs[h]], 4, signs >> 4 * (h & 1), out->codes + 4 * h);
    }
}

void unpack_iq3_s(const uint8_t *block, size_t n, struct unpacked *out)
{
    const uint8_t *qs = block + 2, *qh = block + 66, *signs = block + 74, *scales = block + 106;
    (void)n;
    out->super_d = f32_from_f16(load_u16(block));
    for (int h = 0; h < 64; h++) { /* groups of 4 */
        int index = qs[h] | (qh[h / 8] >> h % 8 & 1) << 8;
        out->scales[h / 4] = (int16_t)(1 + 2 * (scales[h / 16] >> 4 * (h / 8 & 1) & 15));
        signed_row(grid_iq3_s[index], 4, (unsigned)signs[h / 2] >> 4 * (h & 1), out->codes + 4 * h);
    }
}

static void shifted_row(const int8_t row[8], bool negative, int8_t *codes)
{
    for (int k = 0; k < 8; k++)
        codes[k] = (int8_t)(8 * row[k] + (negative ? -1 : 1));
}

void unpack_iq1_s(const uint8_t *block, size_t n, struct unpacked *out)
{
    (void)n;
    out->super_d = f32_from_f16(load_u16(block)) * 0.125f;
    for (int g = 0; g < 32; g++) {
        int h = load_u16(block + 34 + 2 * (g / 4));
        out->scales[g / 2] = (int16_t)(2 * (h >> 12 & 7) + 1);
        shifted_row(grid_iq1_s[block[2 + g] | (h >> 3 * (g % 4) & 7) << 8], h >> 15, out->codes + 8 * g);
    }
}

void unpack_iq1_m(const uint8_t *block, size_t n, struct unpacked *out)
{
    const uint8_t *qs = block, *qh = block + 32, *scales = block + 48;
    unsigned d_bits = 0; /* spread over the top nibbles of the four scale words */
    (void)n;
    for (int k = 0; k < 4; k++)
        d_bits |= (unsigned)load_u16(scales + 2 * k) >> 12 << 4 * k;
    out->super_d = f32_from_f16((uint16_t)d_bits) * 0.125f;
    for (int g = 0; g < 32; g++) {
        int h = qh[g / 2] >> 4 * (g & 1) & 15, s = g / 2;
        out->scales[s] = (int16_t)(2 * (load_u16(scales + 2 * (s / 4)) >> 3 * (s % 4) & 7) + 1);
        shifted_row(grid_iq1_s[qs[g] | (h & 7) << 8], h >> 3, out->codes + 8 * g);
    }
}

void unpack_iq4_xs(const uint8_t *block, size_t n, struct unpacked *out)
{
    const uint8_t *scales_low = block + 4, *qs = block + 8;
    int scales_high = load_u16(block + 2);
    (void)n;
    out->super_d = f32_from_f16(load_u16(block));
    for (int s = 0; s < 16; s++) {
        int j = s / 2, scale = (scales_low[j / 2] >> 4 * (j & 1) & 15) | (scales_high >> 2 * j & 3) << 4;
        out->scales[s] = (int16_t)(scale - 32);
    }
    for (int i = 0; i < 256; i++)
        out->codes[i] = smallfloat_iq4_nl[qs[16 * (i / 32) + i % 16] >> 4 * (i % 32 / 16) & 15];
}
