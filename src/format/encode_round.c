/* encode_round.c - one element of a block that has its scales already. */
#include "base/bytes.h"
#include "format/encode.h"
#include "format/smallfloat.h"

#include <assert.h>
#include <math.h>

/* Where some bits of every code are: `width` bytes hold `group` elements, `count` bits each, in turn: bytes 0 ..
 * width - 1 the first `width` of them in their lowest bits, then again the next in the bits above. */
struct bits {
    int at, count, width, group;
};

/* value = scale * level - minimum; level = first + code, or table[code] */
struct rounding {
    struct bits low, high;
    int n_levels, first;
    const int8_t *table;
    int bias; /* is added to the code that is stored */
    void (*scale)(const uint8_t *block, int i, float *scale, float *minimum);
};

static float half_at(const uint8_t *p)
{
    return f32_from_f16(load_u16(p));
}

static void scale_half(const uint8_t *block, int i, float *scale, float *minimum)
{
    (void)i;
    *scale = half_at(block);
    *minimum = 0;
}

static void scale_and_minimum_half(const uint8_t *block, int i, float *scale, float *minimum)
{
    (void)i;
    *scale = half_at(block);
    *minimum = -half_at(block + 2);
}

static void scale_mxfp4(const uint8_t *block, int i, float *scale, float *minimum)
{
    (void)i;
    *scale = 0.5f * f32_from_e8m0(block[0]);
    *minimum = 0;
}

static void scale_nvfp4(const uint8_t *block, int i, float *scale, float *minimum)
{
    *scale = 0.5f * f32_from_ue4m3(block[i / 16]);
    *minimum = 0;
}

static void scale_q2_k(const uint8_t *block, int i, float *scale, float *minimum)
{
    *scale = half_at(block + 80) * (float)(block[i / 16] & 15);
    *minimum = half_at(block + 82) * (float)(block[i / 16] >> 4);
}

static void scale_q3_k(const uint8_t *block, int i, float *scale, float *minimum)
{
    const uint8_t *scales = block + 96;
    int j = i / 16, low = scales[j % 8] >> 4 * (j / 8) & 15, high = scales[8 + j % 4] >> 2 * (j / 4) & 3;
    *scale = half_at(block + 108) * (float)((low | high << 4) - 32);
    *minimum = 0;
}

/* Q4_K and Q5_K */
static void scale_q4_k(const uint8_t *block, int i, float *scale, float *minimum)
{
    const uint8_t *scales = block + 4;
    int j = i / 32, s = scales[j % 4], m = scales[j % 4 + 4], low = scales[j % 4 + 8];
    if (j < 4) {
        s &= 63;
        m &= 63;
    } else {
        s = (low & 15) | s >> 6 << 4;
        m = low >> 4 | m >> 6 << 4;
    }
    *scale = half_at(block) * (float)s;
    *minimum = half_at(block + 2) * (float)m;
}

static void scale_q6_k(const uint8_t *block, int i, float *scale, float *minimum)
{
    *scale = half_at(block + 208) * (float)(int8_t)block[192 + i / 16];
    *minimum = 0;
}

static void scale_iq4_xs(const uint8_t *block, int i, float *scale, float *minimum)
{
    int j = i / 32, low = block[4 + j / 2] >> 4 * (j % 2) & 15, high = load_u16(block + 2) >> 2 * j & 3;
    *scale = half_at(block) * (float)((low | high << 4) - 32);
    *minimum = 0;
}

static const struct rounding roundings[FORMAT_COUNT] = {
    [FORMAT_Q4_0] = {{2, 4, 16, 32}, {0}, 16, -8, NULL, 0, scale_half},
    [FORMAT_Q4_1] = {{4, 4, 16, 32}, {0}, 16, 0, NULL, 0, scale_and_minimum_half},
    [FORMAT_Q5_0] = {{6, 4, 16, 32}, {2, 1, 1, 8}, 32, -16, NULL, 0, scale_half},
    [FORMAT_Q5_1] = {{8, 4, 16, 32}, {4, 1, 1, 8}, 32, 0, NULL, 0, scale_and_minimum_half},
    [FORMAT_Q8_0] = {{2, 8, 32, 32}, {0}, 255, -127, NULL, -127, scale_half},
    [FORMAT_Q2_K] = {{16, 2, 32, 128}, {0}, 4, 0, NULL, 0, scale_q2_k},
    [FORMAT_Q3_K] = {{32, 2, 32, 128}, {0, 1, 32, 256}, 8, -4, NULL, 0, scale_q3_k},
    [FORMAT_Q4_K] = {{16, 4, 32, 64}, {0}, 16, 0, NULL, 0, scale_q4_k},
    [FORMAT_Q5_K] = {{48, 4, 32, 64}, {16, 1, 32, 256}, 32, 0, NULL, 0, scale_q4_k},
    [FORMAT_Q6_K] = {{0, 4, 64, 128}, {128, 2, 32, 128}, 64, -32, NULL, 0, scale_q6_k},
    [FORMAT_IQ4_NL] = {{2, 4, 16, 32}, {0}, 16, 0, smallfloat_iq4_nl, 0, scale_half},
    [FORMAT_IQ4_XS] = {{8, 4, 16, 32}, {0}, 16, 0, smallfloat_iq4_nl, 0, scale_iq4_xs},
    [FORMAT_MXFP4] = {{1, 4, 16, 32}, {0}, 16, 0, smallfloat_e2m1_x2, 0, scale_mxfp4},
    [FORMAT_NVFP4] = {{4, 4, 8, 16}, {0}, 16, 0, smallfloat_e2m1_x2, 0, scale_nvfp4},
};

static int nearest_code(const struct rounding *r, float v)
{
    int best = 0;
    if (!r->table) {
        float top = (float)(r->n_levels - 1), t = v - (float)r->first;
        t = t > 0 ? t : 0;
        t = t < top ? t : top;
        return (int)(t + 0.5f);
    }
    for (int c = 1; c < r->n_levels; c++)
        if (fabsf(v - (float)r->table[c]) < fabsf(v - (float)r->table[best])) best = c;
    return best;
}

static void store(const struct bits *bits, uint8_t *block, int i, int value)
{
    if (bits->count == 0) return;
    uint8_t *byte = block + bits->at + i / bits->group * bits->width + i % bits->width;
    int shift = bits->count * (i % bits->group / bits->width), mask = (1 << bits->count) - 1;
    *byte = (uint8_t)((*byte & ~(mask << shift)) | (value & mask) << shift);
}

bool format_rounds(enum format format)
{
    return roundings[format].scale != NULL;
}

float format_round(enum format format, void *block, int i, float x)
{
    const struct rounding *r = &roundings[format];
    float scale, minimum;
    assert(r->scale);
    r->scale(block, i, &scale, &minimum);
    float inverse = fabsf(scale) >= 0x1p-126f ? 1 / scale : 0; /* else it would be infinite */
    int code = nearest_code(r, (x + minimum) * inverse);
    store(&r->low, block, i, code + r->bias);
    store(&r->high, block, i, code >> r->low.count);
    return scale * (float)(r->table ? r->table[code] : r->first + code) - minimum;
}
