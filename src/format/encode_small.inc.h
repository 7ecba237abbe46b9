/* encode_small.inc.h - blocks with one scale (Q4_1, Q5_1: and a minimum). */
#include "format/smallfloat.h"

/* ---- how codes are packed -------------------------------------------------------------------- */

/* 2 n codes: low nibbles of n bytes, then the high ones. */
static void pack_nibbles(const uint8_t *codes, int n, uint8_t *out)
{
    for (int i = 0; i < n; i++)
        out[i] = (uint8_t)((codes[i] & 15) | codes[n + i] << 4);
}

static void pack_4(const uint8_t *codes, uint8_t *out)
{
    pack_nibbles(codes, 16, out);
}

static void pack_5(const uint8_t *codes, uint8_t *out)
{
    uint32_t high = 0;
    for (int i = 0; i < 32; i++)
        high |= (uint32_t)(codes[i] >> 4) << i;
    memcpy(out, &high, 4);
    pack_nibbles(codes, 16, out + 4);
}

static void pack_8(const uint8_t *codes, uint8_t *out)
{
    for (int i = 0; i < 32; i++)
        out[i] = (uint8_t)(codes[i] - 127); /* code 0 is -127 */
}

static void pack_1(const uint8_t *codes, uint8_t *out)
{
    memset(out, 0, 16);
    for (int i = 0; i < 128; i++)
        out[i / 8] |= (uint8_t)(codes[i] << i % 8);
}

static void pack_2(const uint8_t *codes, uint8_t *out)
{
    memset(out, 0, 16);
    for (int i = 0; i < 64; i++)
        out[i / 4] |= (uint8_t)(codes[i] << 2 * (i % 4));
}

static void pack_tq2(const uint8_t *codes, uint8_t *out)
{
    memset(out, 0, 64);
    for (int i = 0; i < 256; i++)
        out[32 * (i / 128) + i % 32] |= (uint8_t)(codes[i] << 2 * (i % 128 / 32));
}

/* `n` digits, the first one most significant, every `stride` codes; as a fraction of 256, rounded up. */
static uint8_t ternary_byte(const uint8_t *codes, int n, int stride)
{
    unsigned q = 0;
    for (int k = 0; k < 5; k++)
        q = 3 * q + (k < n ? codes[k * stride] : 0);
    return (uint8_t)((q * 256 + 242) / 243);
}

static void pack_tq1(const uint8_t *codes, uint8_t *out)
{
    for (int i = 0; i < 32; i++)
        out[i] = ternary_byte(codes + i, 5, 32);
    for (int i = 0; i < 16; i++)
        out[32 + i] = ternary_byte(codes + 160 + i, 5, 16);
    for (int i = 0; i < 4; i++)
        out[48 + i] = ternary_byte(codes + 240 + i, 4, 4);
}

/* ---- one scale and perhaps a minimum, both half floats ---------------------------------------- */

struct small {
    int n;
    struct levels levels;
    struct sweep sweep;
    bool minimum; /* stored after the scale */
    int scale_at, codes_at;
    void (*pack)(const uint8_t *codes, uint8_t *out);
};

static void encode_small(const struct small *small, const float *x, const float *w, uint8_t *block)
{
    uint8_t codes[SUPER];
    struct fit fit = small->minimum ? fit_scale_minimum(&small->levels, &small->sweep, true, x, w, small->n)
                                    : fit_scale(&small->levels, &small->sweep, x, w, small->n);
    uint16_t scale = scale_to_f16(fit.scale), minimum = scale_to_f16(fit.minimum);
    levels_encode(&small->levels, x, w, small->n, f32_from_f16(scale), f32_from_f16(minimum), codes);
    memcpy(block + small->scale_at, &scale, 2);
    if (small->minimum) memcpy(block + small->scale_at + 2, &minimum, 2);
    small->pack(codes, block + small->codes_at);
}

#define SMALL(name, ...)                                                      \
    static void encode_##name(const float *x, const float *w, uint8_t *block) \
    {                                                                         \
        static const struct small small = {__VA_ARGS__};                      \
        encode_small(&small, x, w, block);                                    \
    }

SMALL(q4_0, 32, {16, -8, 1, NULL}, {20, 0.86f, 0.0125f}, false, 0, 2, pack_4)
SMALL(q4_1, 32, {16, 0, 1, NULL}, {20, 0.90f, 0.015f}, true, 0, 4, pack_4)
SMALL(q5_0, 32, {32, -16, 1, NULL}, {20, 0.92f, 0.0075f}, false, 0, 2, pack_5)
SMALL(q5_1, 32, {32, 0, 1, NULL}, {20, 0.94f, 0.0075f}, true, 0, 4, pack_5)
SMALL(q8_0, 32, {255, -127, 1, NULL}, {3, 0.998f, 0.002f}, false, 0, 2, pack_8)
SMALL(iq4_nl, 32, {16, 0, 1, smallfloat_iq4_nl}, {20, 0.86f, 0.0125f}, false, 0, 2, pack_4)
SMALL(q1_0, 128, {2, -1, 2, NULL}, {1, 1, 0}, false, 0, 2, pack_1)
SMALL(q2_0, 64, {4, -1, 1, NULL}, {24, 0.7f, 0.075f}, false, 0, 2, pack_2)
SMALL(tq1_0, 256, {3, -1, 1, NULL}, {24, 1, 0.15f}, false, 52, 0, pack_tq1)
SMALL(tq2_0, 256, {3, -1, 1, NULL}, {24, 1, 0.15f}, false, 64, 0, pack_tq2)
