/* decode_k.c - super-blocks of 256 with sub-scales (K-quants), and the ternary formats. */
#include "format/decode.h"

#include "base/bytes.h"

/* Code i of 256 packed four to a byte: bits 0-1 of 32 bytes hold elements 0-31, bits 2-3 the next 32, and so on for
 * each half. */
static int two_bits(const uint8_t *qs, int i)
{
    return qs[32 * (i / 128) + i % 32] >> 2 * (i % 128 / 32) & 3;
}

void decode_q2_k(const uint8_t *block, float *y)
{
    const uint8_t *scales = block, *qs = block + 16;
    float d = f32_from_f16(load_u16(block + 80)), dmin = f32_from_f16(load_u16(block + 82));
    for (int i = 0; i < 256; i++) {
        float scale = d * (float)(scales[i / 16] & 15), minimum = dmin * (float)(scales[i / 16] >> 4);
        y[i] = scale * (float)two_bits(qs, i) - minimum;
    }
}

void decode_q3_k(const uint8_t *block, float *y)
{
    const uint8_t *high = block, *qs = block + 32, *scales = block + 96;
    float d = f32_from_f16(load_u16(block + 108));
    for (int i = 0; i < 256; i++) {
        int j = i / 16, low4 = scales[j % 8] >> 4 * (j / 8) & 15, high2 = scales[8 + j % 4] >> 2 * (j / 4) & 3;
        float scale = d * (float)((low4 | high2 << 4) - 32);
        int q = two_bits(qs, i) + 4 * (high[i % 32] >> i / 32 & 1) - 4;
        y[i] = scale * (float)q;
    }
}

/* The 6-bit scale and minimum of sub-block j (0..7) of Q4_K and Q5_K. */
static void scale_and_minimum(const uint8_t *scales, int j, int *scale, int *minimum)
{
    if (j < 4) {
        *scale = scales[j] & 63;
        *minimum = scales[j + 4] & 63;
    } else {
        *scale = (scales[j + 4] & 15) | scales[j - 4] >> 6 << 4;
        *minimum = scales[j + 4] >> 4 | scales[j] >> 6 << 4;
    }
}

void decode_q4_k(const uint8_t *block, float *y)
{
    const uint8_t *scales = block + 4, *qs = block + 16;
    float d = f32_from_f16(load_u16(block)), dmin = f32_from_f16(load_u16(block + 2));
    for (int i = 0; i < 256; i++) {
        int j = i / 32, sc, mn;
        scale_and_minimum(scales, j, &sc, &mn);
        float scale = d * (float)sc, minimum = dmin * (float)mn;
        int q = qs[32 * (i / 64) + i % 32] >> 4 * (j & 1) & 15;
        y[i] = scale * (float)q - minimum;
    }
}

void decode_q5_k(const uint8_t *block, float *y)
{
    const uint8_t *scales = block + 4, *qh = block + 16, *qs = block + 48;
    float d = f32_from_f16(load_u16(block)), dmin = f32_from_f16(load_u16(block + 2));
    for (int i = 0; i < 256; i++) {
        int j = i / 32, sc, mn;
        scale_and_minimum(scales, j, &sc, &mn);
        float scale = d * (float)sc, minimum = dmin * (float)mn;
        int q = (qs[32 * (i / 64) + i % 32] >> 4 * (j & 1) & 15) | (qh[i % 32] >> j & 1) << 4;
        y[i] = scale * (float)q - minimum;
    }
}

void decode_q6_k(const uint8_t *block, float *y)
{
    const uint8_t *ql = block, *qh = block + 128, *scales = block + 192;
    float d = f32_from_f16(load_u16(block + 208));
    for (int i = 0; i < 256; i++) {
        int n = i / 128, g = i % 128 / 32, l = i % 32;
        int low4 = ql[64 * n + 32 * (g & 1) + l] >> 4 * (g >> 1) & 15, high2 = qh[32 * n + l] >> 2 * g & 3;
        float scale = d * (float)(int8_t)scales[i / 16];
        y[i] = scale * (float)((low4 | high2 << 4) - 32);
    }
}

void decode_tq2_0(const uint8_t *block, float *y)
{
    float d = f32_from_f16(load_u16(block + 64));
    for (int i = 0; i < 256; i++)
        y[i] = d * (float)(two_bits(block, i) - 1);
}

/* Digit n (0 the most significant) of a byte that holds ceil(256 q / 243), q a number of five ternary digits. */
static int ternary_digit(uint8_t byte, int n)
{
    static const uint8_t power_of_3[5] = {1, 3, 9, 27, 81};
    return (uint8_t)(byte * power_of_3[n]) * 3 >> 8;
}

void decode_tq1_0(const uint8_t *block, float *y)
{
    const uint8_t *qs = block, *qh = block + 48;
    float d = f32_from_f16(load_u16(block + 52));
    for (int i = 0; i < 256; i++) {
        int digit;
        if (i < 160)
            digit = ternary_digit(qs[i % 32], i / 32);
        else if (i < 240)
            digit = ternary_digit(qs[32 + (i - 160) % 16], (i - 160) / 16);
        else
            digit = ternary_digit(qh[(i - 240) % 4], (i - 240) / 4);
        y[i] = d * (float)(digit - 1);
    }
}
