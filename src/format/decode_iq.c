/* decode_iq.c - super-blocks of 256 whose weights are rows of a codebook (grids.h), and IQ4_XS. */
#include "format/decode.h"

#include "base/bytes.h"
#include "format/grids.h"
#include "format/smallfloat.h"

#include <stdbool.h>

/* n weights of one grid row; bit k of `signs` makes element k negative. */
static void signed_row(float scale, const int8_t *row, int n, unsigned signs, float *y)
{
    for (int k = 0; k < n; k++)
        y[k] = scale * (float)row[k] * (signs >> k & 1 ? -1.0f : 1.0f);
}

void decode_iq2_xxs(const uint8_t *block, float *y)
{
    float d = f32_from_f16(load_u16(block));
    for (int g = 0; g < 32; g++) { /* groups of 8; 4 of them share 8 bytes: 4 indices, then signs and scale */
        const uint8_t *q = block + 2 + 8 * (g / 4);
        uint32_t word = load_u32(q + 4);
        float scale = d * (0.5f + (float)(word >> 28)) * 0.25f;
        signed_row(scale, grid_iq2_xxs[q[g % 4]], 8, grid_signs(word >> 7 * (g % 4)), y + 8 * g);
    }
}

/* The nibble of sub-block g / 2 (16 weights) in IQ2_XS and IQ2_S. */
static float iq2_scale(float d, const uint8_t *scales, int g)
{
    return d * (0.5f + (float)(scales[g / 4] >> 4 * (g % 4 / 2) & 15)) * 0.25f;
}

void decode_iq2_xs(const uint8_t *block, float *y)
{
    float d = f32_from_f16(load_u16(block));
    for (int g = 0; g < 32; g++) {
        uint32_t q = load_u16(block + 2 + 2 * g);
        signed_row(iq2_scale(d, block + 66, g), grid_iq2_xs[q & 511], 8, grid_signs(q >> 9), y + 8 * g);
    }
}

void decode_iq2_s(const uint8_t *block, float *y)
{
    const uint8_t *qs = block + 2, *signs = block + 34, *qh = block + 66, *scales = block + 74;
    float d = f32_from_f16(load_u16(block));
    for (int g = 0; g < 32; g++) {
        int index = qs[g] | (qh[g / 4] >> 2 * (g % 4) & 3) << 8;
        signed_row(iq2_scale(d, scales, g), grid_iq2_s[index], 8, signs[g], y + 8 * g);
    }
}

void decode_iq3_xxs(const uint8_t *block, float *y)
{
    const uint8_t *qs = block + 2;
    float d = f32_from_f16(load_u16(block));
    for (int h = 0; h < 64; h++) { /* groups of 4 */
        uint32_t word = load_u32(block + 66 + 4 * (h / 8));
        float scale = d * (0.5f + (float)(word >> 28)) * 0.5f;
        unsigned signs = grid_signs(word >> 7 * (h % 8 / 2));
        signed_row(scale, grid_iq3_xxs[qs[h]], 4, signs >> 4 * (h & 1), y + 4 * h);
    }
}

void decode_iq3_s(const uint8_t *block, float *y)
{
    const uint8_t *qs = block + 2, *qh = block + 66, *signs = block + 74, *scales = block + 106;
    float d = f32_from_f16(load_u16(block));
    for (int h = 0; h < 64; h++) { /* groups of 4 */
        int index = qs[h] | (qh[h / 8] >> h % 8 & 1) << 8;
        float scale = d * (float)(1 + 2 * (scales[h / 16] >> 4 * (h / 8 & 1) & 15));
        signed_row(scale, grid_iq3_s[index], 4, (unsigned)signs[h / 2] >> 4 * (h & 1), y + 4 * h);
    }
}

static void shifted_row(float scale, const int8_t row[8], bool negative, float *y)
{
    for (int k = 0; k < 8; k++)
        y[k] = scale * ((float)row[k] + (negative ? -0.125f : 0.125f));
}

void decode_iq1_s(const uint8_t *block, float *y)
{
    float d = f32_from_f16(load_u16(block));
    for (int g = 0; g < 32; g++) {
        int h = load_u16(block + 34 + 2 * (g / 4));
        int index = block[2 + g] | (h >> 3 * (g % 4) & 7) << 8;
        shifted_row(d * (float)(2 * (h >> 12 & 7) + 1), grid_iq1_s[index], h >> 15, y + 8 * g);
    }
}

void decode_iq1_m(const uint8_t *block, float *y)
{
    const uint8_t *qs = block, *qh = block + 32, *scales = block + 48;
    unsigned d_bits = 0; /* spread over the top nibbles of the four scale words */
    for (int k = 0; k < 4; k++)
        d_bits |= (unsigned)load_u16(scales + 2 * k) >> 12 << 4 * k;
    float d = f32_from_f16((uint16_t)d_bits);
    for (int g = 0; g < 32; g++) {
        int h = qh[g / 2] >> 4 * (g & 1) & 15, p = g / 2;
        int s3 = load_u16(scales + 2 * (p / 4)) >> 3 * (p % 4) & 7;
        shifted_row(d * (float)(2 * s3 + 1), grid_iq1_s[qs[g] | (h & 7) << 8], h >> 3, y + 8 * g);
    }
}

void decode_iq4_xs(const uint8_t *block, float *y)
{
    const uint8_t *scales_low = block + 4, *qs = block + 8;
    float d = f32_from_f16(load_u16(block));
    int scales_high = load_u16(block + 2);
    for (int i = 0; i < 256; i++) {
        int j = i / 32, r = i % 32;
        int ls = (scales_low[j / 2] >> 4 * (j & 1) & 15) | (scales_high >> 2 * j & 3) << 4;
        float scale = d * (float)(ls - 32);
        y[i] = scale * (float)smallfloat_iq4_nl[qs[16 * j + r % 16] >> 4 * (r / 16) & 15];
    }
}
