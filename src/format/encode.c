#include "format/encode.h"

#include "base/bytes.h"
#include "format/encode_search.h"

#include <assert.h>
#include <math.h>

static void encode_f32(const float *x, const float *w, uint8_t *block)
{
    (void)w;
    memcpy(block, x, 4);
}

static void encode_half(const float *x, const float *w, uint8_t *block)
{
    (void)w;
    uint16_t h = encode_f16(*x);
    memcpy(block, &h, 2);
}

static void encode_bf16(const float *x, const float *w, uint8_t *block)
{
    (void)w;
    uint16_t h = bf16_from_f32(*x);
    memcpy(block, &h, 2);
}

static encode_block *const encoders[FORMAT_COUNT] = {
    [FORMAT_F32] = encode_f32,         [FORMAT_F16] = encode_half,      [FORMAT_BF16] = encode_bf16,
    [FORMAT_Q4_0] = encode_q4_0,       [FORMAT_Q4_1] = encode_q4_1,     [FORMAT_Q5_0] = encode_q5_0,
    [FORMAT_Q5_1] = encode_q5_1,       [FORMAT_Q8_0] = encode_q8_0,     [FORMAT_Q2_K] = encode_q2_k,
    [FORMAT_Q3_K] = encode_q3_k,       [FORMAT_Q4_K] = encode_q4_k,     [FORMAT_Q5_K] = encode_q5_k,
    [FORMAT_Q6_K] = encode_q6_k,       [FORMAT_IQ1_S] = encode_iq1_s,   [FORMAT_IQ1_M] = encode_iq1_m,
    [FORMAT_IQ2_XXS] = encode_iq2_xxs, [FORMAT_IQ2_XS] = encode_iq2_xs, [FORMAT_IQ2_S] = encode_iq2_s,
    [FORMAT_IQ3_XXS] = encode_iq3_xxs, [FORMAT_IQ3_S] = encode_iq3_s,   [FORMAT_IQ4_NL] = encode_iq4_nl,
    [FORMAT_IQ4_XS] = encode_iq4_xs,   [FORMAT_TQ1_0] = encode_tq1_0,   [FORMAT_TQ2_0] = encode_tq2_0,
    [FORMAT_MXFP4] = encode_mxfp4,     [FORMAT_NVFP4] = encode_nvfp4,   [FORMAT_Q1_0] = encode_q1_0,
    [FORMAT_Q2_0] = encode_q2_0,
};

void format_encode(enum format format, const float *x, size_t n, const float *importance, void *out)
{
    const struct format_info *info = format_info(format);
    assert(info && encoders[format] && n % info->block_elements == 0);
    float same[SUPER];
    for (int i = 0; i < SUPER; i++)
        same[i] = 1;
    uint8_t *block = out;
    for (size_t i = 0; i < n; i += info->block_elements, block += info->block_bytes)
        encoders[format](x + i, importance ? importance + i : same, block);
}

float format_nvfp4_tensor_scale(const float *x, size_t n)
{
    float amax = 0;
    for (size_t i = 0; i < n; i++)
        amax = fabsf(x[i]) > amax ? fabsf(x[i]) : amax;
    float scale = amax / (6 * 256);
    return scale > 0 ? scale : 1;
}
