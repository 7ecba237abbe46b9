/* encode_k.inc.h - super-blocks of 256: sub-blocks whose scales (and minima) are small integers times a shared half float.
 *
 * Every sub-block is fitted alone, the shared scale is fitted to the sub-blocks' scales as if those were weights, then
 * integers and codes are chosen by the error they leave, and the shared scale is solved once more for them.
 */
#include "format/smallfloat.h"

struct super_codes {
    uint16_t d, dmin; /* half floats */
    uint8_t scales[16], minima[16];
    uint8_t codes[SUPER];
};

struct super {
    int n_subs;
    bool minima; /* value = d * scale * level - dmin * minimum */
    struct levels levels;
    struct sweep sweep;
    struct levels scales; /* what the integers of scales and minima stand for */
    void (*pack)(const struct super_codes *super, uint8_t *block);
};

enum { PASSES = 2 };
static const struct sweep scales_sweep = {9, 0.96f, 0.01f};

/* For one sub-block: the integers next to the wanted scale and minimum that leave the smallest error. */
static void choose_scales(const struct super *super, struct super_codes *out, int j, const struct fit *fit,
                          const float *x, const float *w)
{
    int n = SUPER / super->n_subs, spread = super->minima ? 1 : 0, best_scale = 0, best_minimum = 0;
    float d = f32_from_f16(out->d), dmin = f32_from_f16(out->dmin), least = INFINITY;
    int near_scale = levels_nearest(&super->scales, d != 0 ? fit->scale / d : 0);
    int near_minimum = levels_nearest(&super->scales, dmin != 0 ? -fit->minimum / dmin : 0);
    uint8_t codes[SUPER], *kept = out->codes + j * n;
    for (int m = near_minimum - spread; m <= near_minimum + spread; m++) {
        for (int s = near_scale - 1; s <= near_scale + 1; s++) {
            if (s < 0 || s >= super->scales.n || m < 0 || m >= super->scales.n) continue;
            float minimum = super->minima ? dmin * levels_value(&super->scales, m) : 0;
            float error = levels_encode(&super->levels, x, w, n, d * levels_value(&super->scales, s), -minimum, codes);
            if (!(error < least)) continue;
            least = error;
            best_scale = s;
            best_minimum = m;
            memcpy(kept, codes, (size_t)n);
        }
    }
    out->scales[j] = (uint8_t)best_scale;
    out->minima[j] = (uint8_t)best_minimum;
}

/* Least squares for the shared scales, given all integers: x = d * u - dmin * v. */
static void solve_super(const struct super *super, struct super_codes *out, const float *x, const float *w)
{
    double uu = 0, uv = 0, vv = 0, xu = 0, xv = 0;
    int n = SUPER / super->n_subs;
    for (int i = 0; i < SUPER; i++) {
        int j = i / n;
        double weight = (double)w[i], value = (double)x[i];
        double u =
            (double)levels_value(&super->scales, out->scales[j]) * (double)levels_value(&super->levels, out->codes[i]);
        double v = super->minima ? (double)levels_value(&super->scales, out->minima[j]) : 0;
        uu += weight * u * u;
        uv += weight * u * v;
        vv += weight * v * v;
        xu += weight * value * u;
        xv += weight * value * v;
    }
    double determinant = uu * vv - uv * uv;
    if (determinant > 0) {
        out->d = scale_to_f16((float)((xu * vv - xv * uv) / determinant));
        out->dmin = scale_to_f16((float)((xu * uv - xv * uu) / determinant));
    } else if (uu > 0) {
        out->d = scale_to_f16((float)(xu / uu));
    }
}

static void encode_super(const struct super *super, const float *x, const float *w, uint8_t *block)
{
    struct super_codes out = {0};
    struct fit fits[16];
    float scales[16], minima[16], scale_weights[16], minimum_weights[16];
    int n_subs = super->n_subs, n = SUPER / n_subs;
    for (int j = 0; j < n_subs; j++) {
        fits[j] = super->minima ? fit_scale_minimum(&super->levels, &super->sweep, false, x + j * n, w + j * n, n)
                                : fit_scale(&super->levels, &super->sweep, x + j * n, w + j * n, n);
        scales[j] = fits[j].scale;
        minima[j] = -fits[j].minimum;
        scale_weights[j] = fits[j].weight_sq;
        minimum_weights[j] = fits[j].weight;
    }
    out.d = scale_to_f16(fit_scale(&super->scales, &scales_sweep, scales, scale_weights, n_subs).scale);
    if (super->minima)
        out.dmin = scale_to_f16(fit_scale(&super->scales, &scales_sweep, minima, minimum_weights, n_subs).scale);
    for (int pass = 0; pass < PASSES; pass++) {
        if (pass > 0) solve_super(super, &out, x, w);
        for (int j = 0; j < n_subs; j++)
            choose_scales(super, &out, j, &fits[j], x + j * n, w + j * n);
    }
    super->pack(&out, block);
}

/* ---- how they are packed ----------------------------------------------------------------------- */

/* Two bits of each code: bits 0-1 of 32 bytes hold elements 0-31, bits 2-3 the next 32, and so on for each half. */
static void pack_pairs(const uint8_t *codes, uint8_t *out)
{
    memset(out, 0, 64);
    for (int i = 0; i < SUPER; i++)
        out[32 * (i / 128) + i % 32] |= (uint8_t)((codes[i] & 3) << 2 * (i % 128 / 32));
}

/* Nibbles: elements 64 k .. 64 k + 31 low in 32 bytes, the next 32 high. */
static void pack_nibble_rows(const uint8_t *codes, uint8_t *out)
{
    for (int i = 0; i < SUPER / 2; i++) {
        const uint8_t *pair = codes + 64 * (i / 32) + i % 32;
        out[i] = (uint8_t)((pair[0] & 15) | (pair[32] & 15) << 4);
    }
}

/* Eight scales and eight minima of six bits: the second four are split. */
static void pack_scales_and_minima(const struct super_codes *super, uint8_t *out)
{
    for (int j = 0; j < 4; j++) {
        int scale = super->scales[j + 4], minimum = super->minima[j + 4];
        out[j] = (uint8_t)(super->scales[j] | scale >> 4 << 6);
        out[j + 4] = (uint8_t)(super->minima[j] | minimum >> 4 << 6);
        out[j + 8] = (uint8_t)((scale & 15) | (minimum & 15) << 4);
    }
}

static void pack_q2_k(const struct super_codes *super, uint8_t *block)
{
    for (int j = 0; j < 16; j++)
        block[j] = (uint8_t)(super->scales[j] | super->minima[j] << 4);
    pack_pairs(super->codes, block + 16);
    memcpy(block + 80, &super->d, 2);
    memcpy(block + 82, &super->dmin, 2);
}

static void pack_q3_k(const struct super_codes *super, uint8_t *block)
{
    uint8_t *high = block, *scales = block + 96;
    memset(high, 0, 32);
    memset(scales, 0, 12);
    for (int i = 0; i < SUPER; i++)
        high[i % 32] |= (uint8_t)(super->codes[i] >> 2 << i / 32);
    pack_pairs(super->codes, block + 32);
    for (int j = 0; j < 16; j++) {
        scales[j % 8] |= (uint8_t)((super->scales[j] & 15) << 4 * (j / 8));
        scales[8 + j % 4] |= (uint8_t)(super->scales[j] >> 4 << 2 * (j / 4));
    }
    memcpy(block + 108, &super->d, 2);
}

static void pack_q4_k(const struct super_codes *super, uint8_t *block)
{
    memcpy(block, &super->d, 2);
    memcpy(block + 2, &super->dmin, 2);
    pack_scales_and_minima(super, block + 4);
    pack_nibble_rows(super->codes, block + 16);
}

static void pack_q5_k(const struct super_codes *super, uint8_t *block)
{
    memcpy(block, &super->d, 2);
    memcpy(block + 2, &super->dmin, 2);
    pack_scales_and_minima(super, block + 4);
    memset(block + 16, 0, 32);
    for (int i = 0; i < SUPER; i++)
        block[16 + i % 32] |= (uint8_t)(super->codes[i] >> 4 << i / 32);
    pack_nibble_rows(super->codes, block + 48);
}

static void pack_q6_k(const struct super_codes *super, uint8_t *block)
{
    uint8_t *low = block, *high = block + 128;
    memset(block, 0, 192);
    for (int i = 0; i < SUPER; i++) {
        int half = i / 128, quarter = i % 128 / 32, l = i % 32;
        low[64 * half + 32 * (quarter & 1) + l] |= (uint8_t)((super->codes[i] & 15) << 4 * (quarter >> 1));
        high[32 * half + l] |= (uint8_t)(super->codes[i] >> 4 << 2 * quarter);
    }
    for (int j = 0; j < 16; j++)
        block[192 + j] = (uint8_t)(super->scales[j] - 128);
    memcpy(block + 208, &super->d, 2);
}

static void pack_iq4_xs(const struct super_codes *super, uint8_t *block)
{
    uint16_t high = 0;
    memcpy(block, &super->d, 2);
    memset(block + 4, 0, 4);
    for (int j = 0; j < 8; j++) {
        high |= (uint16_t)(super->scales[j] >> 4 << 2 * j);
        block[4 + j / 2] |= (uint8_t)((super->scales[j] & 15) << 4 * (j & 1));
        for (int i = 0; i < 16; i++)
            block[8 + 16 * j + i] = (uint8_t)(super->codes[32 * j + i] | super->codes[32 * j + 16 + i] << 4);
    }
    memcpy(block + 2, &high, 2);
}

/* ---- the formats --------------------------------------------------------------------------------- */

#define SUPER_FORMAT(name, ...)                                               \
    static void encode_##name(const float *x, const float *w, uint8_t *block) \
    {                                                                         \
        static const struct super super = {__VA_ARGS__};                      \
        encode_super(&super, x, w, block);                                    \
    }

SUPER_FORMAT(q2_k, 16, true, {4, 0, 1, NULL}, {20, 0.8f, 0.03f}, {16, 0, 1, NULL}, pack_q2_k)
SUPER_FORMAT(q3_k, 16, false, {8, -4, 1, NULL}, {20, 0.76f, 0.025f}, {64, -32, 1, NULL}, pack_q3_k)
SUPER_FORMAT(q4_k, 8, true, {16, 0, 1, NULL}, {20, 0.90f, 0.015f}, {64, 0, 1, NULL}, pack_q4_k)
SUPER_FORMAT(q5_k, 8, true, {32, 0, 1, NULL}, {20, 0.94f, 0.0075f}, {64, 0, 1, NULL}, pack_q5_k)
SUPER_FORMAT(q6_k, 16, false, {64, -32, 1, NULL}, {20, 0.97f, 0.003f}, {256, -128, 1, NULL}, pack_q6_k)
SUPER_FORMAT(iq4_xs, 8, false, {16, 0, 1, smallfloat_iq4_nl}, {20, 0.86f, 0.0125f}, {64, -32, 1, NULL}, pack_iq4_xs)
