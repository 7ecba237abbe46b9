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
    size_t block_bytes;
    struct levels levels;
    struct sweep sweep;
    bool minimum; /* stored after the scale */
    void (*pack)(const uint8_t *codes, uint8_t *out);
};

/* Blocks of 32, up to eight at a time. */
ENCODE_INLINE void encode_small(const struct small *small, const float *x, const float *w, size_t n_blocks,
                                uint8_t *out)
{
    float x_padded[SUPER], w_padded[SUPER];
    struct tile tile;
    struct lane_fits fits;
    if (n_blocks < 8) {
        memset(x_padded, 0, sizeof x_padded);
        memset(w_padded, 0, sizeof w_padded);
        x = memcpy(x_padded, x, n_blocks * 32 * sizeof *x);
        w = memcpy(w_padded, w, n_blocks * 32 * sizeof *w);
    }
    tile_load(&tile, x, w);
    if (small->minimum)
        tile_fit_line(&tile, true, &small->levels, &small->sweep, true, &fits);
    else
        tile_fit_scale(&tile, true, &small->levels, &small->sweep, &fits);
    for (size_t b = 0; b < n_blocks; b++, x += 32, out += small->block_bytes) {
        uint8_t codes[32];
        uint16_t scale = scale_to_f16(fits.scale[2 * b]), minimum = scale_to_f16(fits.minimum[2 * b]);
        for (int half = 0; half < 32; half += TILE)
            encode_lane(&small->levels, x + half, f32_from_f16(scale), f32_from_f16(minimum), codes + half);
        memcpy(out, &scale, 2);
        if (small->minimum) memcpy(out + 2, &minimum, 2);
        small->pack(codes, out + (small->minimum ? 4 : 2));
    }
}

#define SMALL(name, ...)                                                                     \
    static void encode_##name(const float *x, const float *w, size_t n_blocks, uint8_t *out) \
    {                                                                                        \
        static const struct small small = {__VA_ARGS__};                                     \
        encode_small(&small, x, w, n_blocks, out);                                           \
    }

SMALL(q4_0, 18, {16, -8, 1, NULL}, {30, 0.86f, 0.02f}, false, pack_4)
SMALL(q4_1, 20, {16, 0, 1, NULL}, {32, 0.90f, 0.01f}, true, pack_4)
SMALL(q5_0, 22, {32, -16, 1, NULL}, {40, 0.92f, 0.01f}, false, pack_5)
SMALL(q5_1, 24, {32, 0, 1, NULL}, {32, 0.94f, 0.005f}, true, pack_5)
SMALL(q8_0, 34, {255, -127, 1, NULL}, {8, 0.992f, 0.004f}, false, pack_8)
SMALL(iq4_nl, 18, {16, 0, 1, smallfloat_iq4_nl}, {20, 0.86f, 0.0125f}, false, pack_4)

/* ---- larger blocks: few levels, one scale ------------------------------------------------------- */

struct large {
    int n;
    struct levels levels;
    struct sweep sweep;
    int scale_at, codes_at;
    void (*pack)(const uint8_t *codes, uint8_t *out);
};

static void encode_large(const struct large *large, const float *x, const float *w, uint8_t *block)
{
    uint8_t codes[SUPER];
    uint16_t scale = scale_to_f16(fit_scale(&large->levels, &large->sweep, x, w, large->n));
    levels_encode(&large->levels, x, large->n, f32_from_f16(scale), codes);
    memcpy(block + large->scale_at, &scale, 2);
    large->pack(codes, block + large->codes_at);
}

#define LARGE(name, ...)                                                      \
    static void encode_##name(const float *x, const float *w, uint8_t *block) \
    {                                                                         \
        static const struct large large = {__VA_ARGS__};                      \
        encode_large(&large, x, w, block);                                    \
    }

LARGE(q1_0, 128, {2, -1, 2, NULL}, {1, 1, 0}, 0, 2, pack_1)
LARGE(q2_0, 64, {4, -1, 1, NULL}, {24, 0.7f, 0.075f}, 0, 2, pack_2)
LARGE(tq1_0, 256, {3, -1, 1, NULL}, {24, 1, 0.15f}, 52, 0, pack_tq1)
LARGE(tq2_0, 256, {3, -1, 1, NULL}, {24, 1, 0.15f}, 64, 0, pack_tq2)
