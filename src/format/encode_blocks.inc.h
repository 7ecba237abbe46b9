/* encode_blocks.inc.h - all quantizers of blocks, compiled once for each instruction set (encode_base.c,
 * encode_avx2.c ...): plain C and a fixed order of every sum, so all give the same bytes. */
#include "format/encode_tables.h"

#include "format/encode_search.inc.h"
#include "format/encode_tile.inc.h"

#include "format/encode_float.inc.h"
#include "format/encode_grid.inc.h"
#include "format/encode_k.inc.h"
#include "format/encode_small.inc.h"

/* One block of finite floats with a weight >= 0 each. */
typedef void encode_block(const float *x, const float *w, uint8_t *block);
/* Blocks of 32, at most eight. */
typedef void encode_blocks(const float *x, const float *w, size_t n_blocks, uint8_t *out);

static encode_blocks *const small_encoders[FORMAT_COUNT] = {
    [FORMAT_Q4_0] = encode_q4_0, [FORMAT_Q4_1] = encode_q4_1, [FORMAT_Q5_0] = encode_q5_0,
    [FORMAT_Q5_1] = encode_q5_1, [FORMAT_Q8_0] = encode_q8_0, [FORMAT_IQ4_NL] = encode_iq4_nl,
};
static encode_block *const block_encoders[FORMAT_COUNT] = {
    [FORMAT_Q2_K] = encode_q2_k,     [FORMAT_Q3_K] = encode_q3_k,       [FORMAT_Q4_K] = encode_q4_k,
    [FORMAT_Q5_K] = encode_q5_k,     [FORMAT_Q6_K] = encode_q6_k,       [FORMAT_IQ1_S] = encode_iq1_s,
    [FORMAT_IQ1_M] = encode_iq1_m,   [FORMAT_IQ2_XXS] = encode_iq2_xxs, [FORMAT_IQ2_XS] = encode_iq2_xs,
    [FORMAT_IQ2_S] = encode_iq2_s,   [FORMAT_IQ3_XXS] = encode_iq3_xxs, [FORMAT_IQ3_S] = encode_iq3_s,
    [FORMAT_IQ4_XS] = encode_iq4_xs, [FORMAT_TQ1_0] = encode_tq1_0,     [FORMAT_TQ2_0] = encode_tq2_0,
    [FORMAT_MXFP4] = encode_mxfp4,   [FORMAT_NVFP4] = encode_nvfp4,     [FORMAT_Q1_0] = encode_q1_0,
    [FORMAT_Q2_0] = encode_q2_0,
};

/* What elements are worth if nobody says: more where they are large, since columns with large weights tend to be those
 * that matter. sqrt(4 * mean square + x^2), of at most 256 elements (a multiple of 32), in units of the largest: models
 * diverge 5 to 10% less than with equal worth. */
static void own_importance(const float *x, size_t n, float *w)
{
    _Alignas(64) float lanes[TILE] = {0};
    float amax = 0, sum = 0;
    for (size_t i = 0; i < n; i += TILE) {
        for (size_t k = 0; k < TILE; k++)
            lanes[k] = fabsf(x[i + k]) > lanes[k] ? fabsf(x[i + k]) : lanes[k];
    }
    for (int k = 0; k < TILE; k++)
        amax = lanes[k] > amax ? lanes[k] : amax;
    float inverse = amax >= 0x1p-126f ? 1 / amax : 0;
    memset(lanes, 0, sizeof lanes);
    for (size_t i = 0; i < n; i += TILE) {
        for (size_t k = 0; k < TILE; k++)
            lanes[k] += (x[i + k] * inverse) * (x[i + k] * inverse);
    }
    sum = lanes_sum(lanes);
    for (size_t i = 0; i < n; i += WIDTH) {
        vec t = vec_load(x + i) * inverse;
        vec_store(w + i, vec_sqrt(4 / (float)n * sum + t * t));
    }
}

static void encode(enum format format, const float *x, size_t n, const float *importance, uint8_t *out)
{
    const struct format_info *info = format_info(format);
    for (size_t i = 0; i < n; i += SUPER) {
        float own[SUPER];
        const float *w = importance ? importance + i : own;
        size_t piece = n - i < SUPER ? n - i : SUPER, n_blocks = piece / info->block_elements;
        if (!importance) own_importance(x + i, piece, own);
        if (small_encoders[format]) small_encoders[format](x + i, w, n_blocks, out);
        for (size_t b = 0; !small_encoders[format] && b < n_blocks; b++) {
            size_t at = b * info->block_elements;
            block_encoders[format](x + i + at, w + at, out + b * info->block_bytes);
        }
        out += n_blocks * info->block_bytes;
    }
#ifdef __AVX__
    /* What runs next may use old instructions, which are slow while the upper halves of registers hold anything; gcc 12
     * forgets this where it inlines all. */
    _mm256_zeroupper();
#endif
}
