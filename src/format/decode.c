/* decode.c - plain floats and the formats with small blocks: 16 to 128 elements, one scale each (NVFP4: four). */
#include "format/decode.h"

#include "base/bytes.h"
#include "format/smallfloat.h"

void decode_f32(const uint8_t *block, float *y)
{
    *y = f32_from_bits(load_u32(block));
}

void decode_f16(const uint8_t *block, float *y)
{
    *y = f32_from_f16(load_u16(block));
}

void decode_bf16(const uint8_t *block, float *y)
{
    *y = f32_from_bf16(load_u16(block));
}

/* Code i of 2 n packed as split halves: the low nibbles of n bytes, then the high ones. */
static int nibble(const uint8_t *qs, int n, int i)
{
    return i < n ? qs[i] & 15 : qs[i - n] >> 4;
}

void decode_q4_0(const uint8_t *block, float *y)
{
    float d = f32_from_f16(load_u16(block));
    for (int i = 0; i < 32; i++)
        y[i] = d * (float)(nibble(block + 2, 16, i) - 8);
}

void decode_q4_1(const uint8_t *block, float *y)
{
    float d = f32_from_f16(load_u16(block)), m = f32_from_f16(load_u16(block + 2));
    for (int i = 0; i < 32; i++)
        y[i] = d * (float)nibble(block + 4, 16, i) + m;
}

void decode_q5_0(const uint8_t *block, float *y)
{
    float d = f32_from_f16(load_u16(block));
    uint32_t qh = load_u32(block + 2);
    for (int i = 0; i < 32; i++) {
        int q = nibble(block + 6, 16, i) | (int)(qh >> i & 1) << 4;
        y[i] = d * (float)(q - 16);
    }
}

void decode_q5_1(const uint8_t *block, float *y)
{
    float d = f32_from_f16(load_u16(block)), m = f32_from_f16(load_u16(block + 2));
    uint32_t qh = load_u32(block + 4);
    for (int i = 0; i < 32; i++) {
        int q = nibble(block + 8, 16, i) | (int)(qh >> i & 1) << 4;
        y[i] = d * (float)q + m;
    }
}

void decode_q8_0(const uint8_t *block, float *y)
{
    float d = f32_from_f16(load_u16(block));
    for (int i = 0; i < 32; i++)
        y[i] = d * (float)(int8_t)block[2 + i];
}

void decode_iq4_nl(const uint8_t *block, float *y)
{
    float d = f32_from_f16(load_u16(block));
    for (int i = 0; i < 32; i++)
        y[i] = d * (float)smallfloat_iq4_nl[nibble(block + 2, 16, i)];
}

void decode_mxfp4(const uint8_t *block, float *y)
{
    float half_scale = 0.5f * f32_from_e8m0(block[0]); /* the table holds 2 x E2M1 */
    for (int i = 0; i < 32; i++)
        y[i] = half_scale * (float)smallfloat_e2m1_x2[nibble(block + 1, 16, i)];
}

/* The tensor's own scale is not part of the block: it is applied to the result of the product. */
void decode_nvfp4(const uint8_t *block, float *y)
{
    for (int s = 0; s < 4; s++) {
        float half_scale = 0.5f * f32_from_ue4m3(block[s]);
        for (int i = 0; i < 16; i++)
            y[16 * s + i] = half_scale * (float)smallfloat_e2m1_x2[nibble(block + 4 + 8 * s, 8, i)];
    }
}

void decode_q1_0(const uint8_t *block, float *y)
{
    float d = f32_from_f16(load_u16(block));
    for (int i = 0; i < 128; i++)
        y[i] = block[2 + i / 8] >> i % 8 & 1 ? d : -d;
}

void decode_q2_0(const uint8_t *block, float *y)
{
    float d = f32_from_f16(load_u16(block));
    for (int i = 0; i < 64; i++)
        y[i] = d * (float)((block[2 + i / 4] >> 2 * (i % 4) & 3) - 1);
}
