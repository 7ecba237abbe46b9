/* encode_float.inc.h - four-bit floats (E2M1) whose scale has eight bits: MXFP4 and NVFP4.
 *
 * The scale can take few values, so all that could be best are tried: one in each lane, for all elements of the block.
 */
#include "format/smallfloat.h"

enum { TRIED = 16 };

/* E2M1 has no value above 6, a step of 1/2 below 2, and twice the step of the binade below from there on. Adding and
 * taking away a number whose last bit is worth one step rounds to it. v >= 0. */
ENCODE_INLINE vec e2m1_nearest(vec v)
{
    v = vec_min(v, vec_all(6));
    vec_mask binade = (vec_mask)vec_max(v, vec_all(1)) & 0x7f800000;
    vec magic = (vec)(binade + (22 << 23));
    return (v + magic) - magic;
}

/* The index of the scale that leaves the smallest weighted squared error. */
ENCODE_INLINE int best_scale(const float *x, const float *w, int n, const float *scales)
{
    float errors[TRIED];
    for (int k = 0; k < TRIED; k += WIDTH) {
        vec scale = vec_load(scales + k), error = vec_all(0);
        vec inverse = vec_select(scale > 0, 1 / scale, vec_all(0));
        for (int i = 0; i < n; i++) {
            float magnitude = fabsf(x[i]);
            vec rest = magnitude - scale * e2m1_nearest(magnitude * inverse);
            error += w[i] * (rest * rest);
        }
        vec_store(errors + k, error);
    }
    int best = 0;
    float least = errors[0];
    for (int k = 1; k < TRIED; k++) {
        best = errors[k] < least ? k : best;
        least = errors[k] < least ? errors[k] : least;
    }
    return best;
}

/* 2 n codes: low nibbles of n bytes, then the high ones. */
ENCODE_INLINE void encode_e2m1(const float *x, int n, float scale, uint8_t *out)
{
    int32_t codes[32];
    float inverse = scale > 0 ? 1 / scale : 0;
    for (int i = 0; i < 2 * n; i += WIDTH) {
        /* from 1 on the code is what the exponent and the first bit of the mantissa say */
        vec v = vec_load(x + i), q = e2m1_nearest(vec_max(v, -v) * inverse);
        vec_mask below_1 = q < 1, large = ((vec_mask)q >> 22) - 252;
        vec_mask code = (below_1 & __builtin_convertvector(q + q, vec_mask)) | (~below_1 & large);
        code |= (vec_mask)v >> 28 & 8;
        memcpy(codes + i, &code, sizeof code);
    }
    for (int i = 0; i < n; i++)
        out[i] = (uint8_t)(codes[i] | codes[n + i] << 4);
}

static float largest(const float *x, int n)
{
    uint32_t most = 0; /* magnitudes are in the order of their bits */
    for (int i = 0; i < n; i++) {
        uint32_t bits = f32_bits(x[i]) & 0x7fffffffu;
        most = bits > most ? bits : most;
    }
    return f32_from_bits(most);
}

static void encode_mxfp4(const float *x, const float *w, uint8_t *block)
{
    /* from well below the power of two that puts the largest element between 4 and 8 (it may count for nothing) */
    int from = (int)(f32_bits(largest(x, 32)) >> 23) - 2 - (TRIED - 3);
    from = from < 0 ? 0 : from;
    float scales[TRIED];
    for (int k = 0; k < TRIED; k++)
        scales[k] = f32_from_e8m0((uint8_t)(from + k));
    int best = best_scale(x, w, 32, scales);
    block[0] = (uint8_t)(from + best);
    encode_e2m1(x, 16, scales[best], block + 1);
}

/* The code of the largest E4M3 value that is not above t. */
static int ue4m3_below(float t)
{
    if (t < 0x1p-6f) return (int)(t * 0x1p9f);
    int code = (int)(f32_bits(t) >> 20) - (120 << 3);
    return code < 126 ? code : 126;
}

/* Eight values from `first` units on: subnormal numbers, then each binade. */
#define EIGHT(first, unit)                                                                          \
    ((first) + 0) * (unit), ((first) + 1) * (unit), ((first) + 2) * (unit), ((first) + 3) * (unit), \
        ((first) + 4) * (unit), ((first) + 5) * (unit), ((first) + 6) * (unit), ((first) + 7) * (unit)
static const float ue4m3_values[128] = {
    EIGHT(0, 0x1p-9f), EIGHT(8, 0x1p-9f), EIGHT(8, 0x1p-8f), EIGHT(8, 0x1p-7f), EIGHT(8, 0x1p-6f), EIGHT(8, 0x1p-5f),
    EIGHT(8, 0x1p-4f), EIGHT(8, 0x1p-3f), EIGHT(8, 0x1p-2f), EIGHT(8, 0x1p-1f), EIGHT(8, 0x1p0f),  EIGHT(8, 0x1p1f),
    EIGHT(8, 0x1p2f),  EIGHT(8, 0x1p3f),  EIGHT(8, 0x1p4f),  EIGHT(8, 0x1p5f),
};

static void encode_nvfp4(const float *x, const float *w, uint8_t *block)
{
    for (int s = 0; s < 4; s++, x += 16, w += 16) {
        /* the largest element may become 6, or 4 or 3: levels lie closer below it then; or be clipped, a little */
        int from = ue4m3_below(largest(x, 16) / 6) - 5;
        from = from < 0 ? 0 : from > 127 - TRIED ? 127 - TRIED : from;
        int best = best_scale(x, w, 16, ue4m3_values + from);
        block[s] = (uint8_t)(from + best);
        encode_e2m1(x, 8, ue4m3_values[from + best], block + 4 + 8 * s);
    }
}
