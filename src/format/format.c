#include "format/format.h"

#include "base/checked.h"
#include "format/decode.h"

#include <assert.h>
#include <strings.h>

/* Every format of weights: name, decoder of one block, elements and bytes per block. */
#define WEIGHTS(X)               \
    X(F32, f32, 1, 4)            \
    X(F16, f16, 1, 2)            \
    X(Q4_0, q4_0, 32, 18)        \
    X(Q4_1, q4_1, 32, 20)        \
    X(Q5_0, q5_0, 32, 22)        \
    X(Q5_1, q5_1, 32, 24)        \
    X(Q8_0, q8_0, 32, 34)        \
    X(Q2_K, q2_k, 256, 84)       \
    X(Q3_K, q3_k, 256, 110)      \
    X(Q4_K, q4_k, 256, 144)      \
    X(Q5_K, q5_k, 256, 176)      \
    X(Q6_K, q6_k, 256, 210)      \
    X(IQ2_XXS, iq2_xxs, 256, 66) \
    X(IQ2_XS, iq2_xs, 256, 74)   \
    X(IQ3_XXS, iq3_xxs, 256, 98) \
    X(IQ1_S, iq1_s, 256, 50)     \
    X(IQ4_NL, iq4_nl, 32, 18)    \
    X(IQ3_S, iq3_s, 256, 110)    \
    X(IQ2_S, iq2_s, 256, 82)     \
    X(IQ4_XS, iq4_xs, 256, 136)  \
    X(IQ1_M, iq1_m, 256, 56)     \
    X(BF16, bf16, 1, 2)          \
    X(TQ1_0, tq1_0, 256, 54)     \
    X(TQ2_0, tq2_0, 256, 66)     \
    X(MXFP4, mxfp4, 32, 17)      \
    X(NVFP4, nvfp4, 64, 36)      \
    X(Q1_0, q1_0, 128, 18)       \
    X(Q2_0, q2_0, 64, 18)

#define DECODE_BLOCKS(id, decoder, elements, bytes)                                        \
    static void decode_blocks_##decoder(const void *blocks, size_t n_blocks, float *out)   \
    {                                                                                      \
        for (size_t i = 0; i < n_blocks; i++)                                              \
            decode_##decoder((const uint8_t *)blocks + i * (bytes), out + i * (elements)); \
    }
WEIGHTS(DECODE_BLOCKS)

#define WEIGHT_ENTRY(id, decoder, elements, bytes) [FORMAT_##id] = {#id, elements, bytes, decode_blocks_##decoder},
static const struct format_info formats[FORMAT_COUNT] = {
    [FORMAT_I8] = {"I8", 1, 1, NULL},   [FORMAT_I16] = {"I16", 1, 2, NULL}, [FORMAT_I32] = {"I32", 1, 4, NULL},
    [FORMAT_I64] = {"I64", 1, 8, NULL}, [FORMAT_F64] = {"F64", 1, 8, NULL}, WEIGHTS(WEIGHT_ENTRY)};

/* Ids that files may carry and that are refused. Those from 97 up are ik_llama.cpp's own. */
static const struct {
    uint32_t first, last;
    const char *name;
} retired[] = {
    {4, 4, "Q4_2 (retired)"},
    {5, 5, "Q4_3 (retired)"},
    {9, 9, "Q8_1 (for activations only)"},
    {15, 15, "Q8_K (for activations only)"},
    {31, 31, "Q4_0_4_4 (retired)"},
    {32, 32, "Q4_0_4_8 (retired)"},
    {33, 33, "Q4_0_8_8 (retired)"},
    {36, 36, "IQ4_NL_4_4 (retired) or ik_llama.cpp's I2_S"},
    {37, 37, "IQ4_NL_4_8 (retired)"},
    {38, 38, "IQ4_NL_8_8 (retired)"},
    {97, 99, "an activation type (private to ik_llama.cpp)"},
    {133, 133, "Q6_0 (private to ik_llama.cpp)"},
    {134, 134, "IQ1_BN (private to ik_llama.cpp)"},
    {135, 135, "IQ2_BN (private to ik_llama.cpp)"},
    {136, 136, "a type private to ik_llama.cpp"},
    {137, 137, "IQ2_K (private to ik_llama.cpp)"},
    {138, 138, "IQ3_K (private to ik_llama.cpp)"},
    {139, 139, "IQ4_K (private to ik_llama.cpp)"},
    {140, 140, "IQ5_K (private to ik_llama.cpp)"},
    {141, 141, "IQ6_K (private to ik_llama.cpp)"},
    {142, 143, "a type private to ik_llama.cpp"},
    {144, 144, "IQ4_KS (private to ik_llama.cpp)"},
    {145, 145, "IQ2_KS (private to ik_llama.cpp)"},
    {146, 146, "IQ4_KSS (private to ik_llama.cpp)"},
    {147, 151, "a type private to ik_llama.cpp"},
    {152, 152, "IQ5_KS (private to ik_llama.cpp)"},
    {153, 153, "IQ2_KT (private to ik_llama.cpp)"},
    {154, 154, "IQ3_KT (private to ik_llama.cpp)"},
    {155, 155, "IQ4_KT (private to ik_llama.cpp)"},
    {156, 156, "IQ3_KS (private to ik_llama.cpp)"},
    {157, 157, "IQ2_KL (private to ik_llama.cpp)"},
    {158, 158, "IQ1_KT (private to ik_llama.cpp)"},
    {202, 399, "a row-interleaved type (private to ik_llama.cpp)"},
};

const struct format_info *format_info(uint32_t id)
{
    return id < FORMAT_COUNT && formats[id].name ? &formats[id] : NULL;
}

const struct format_info *format_by_name(const char *name, enum format *format)
{
    for (uint32_t id = 0; id < FORMAT_COUNT; id++) {
        if (!formats[id].name || strcasecmp(formats[id].name, name) != 0) continue;
        if (format) *format = (enum format)id;
        return &formats[id];
    }
    return NULL;
}

const char *format_retired_name(uint32_t id)
{
    for (size_t i = 0; i < sizeof retired / sizeof *retired; i++)
        if (id >= retired[i].first && id <= retired[i].last) return retired[i].name;
    return NULL;
}

bool format_row_bytes(enum format format, uint64_t n, uint64_t *bytes)
{
    const struct format_info *info = format_info(format);
    if (!info || n % info->block_elements != 0) return false;
    return checked_mul(n / info->block_elements, info->block_bytes, bytes);
}

void format_decode(enum format format, const void *row, size_t n, float *out)
{
    const struct format_info *info = format_info(format);
    assert(info && info->decode && n % info->block_elements == 0);
    info->decode(row, n / info->block_elements, out);
}
