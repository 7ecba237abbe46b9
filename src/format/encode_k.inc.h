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
    int reach;            /* integers tried on either side of the wanted scale, in the last pass */
    void (*pack)(const struct super_codes *super, uint8_t *block);
};

enum { PASSES = 2 };
static const struct sweep scales_sweep = {9, 0.96f, 0.01f};

/* The integers of each lane and the shared scales they are of. */
struct lane_integers {
    float d, dmin;
    float scales[TILE], minima[TILE];
};

/* The integers near the wanted scales, each with minima that go with it, that leave the smallest error. */
ENCODE_INLINE void choose_integers(const struct super *super, const struct tile *tile, const struct lane_fits *fits,
                                   int reach, struct lane_integers *integers)
{
    float first = super->scales.first, last = first + (float)(super->scales.n - 1);
    float inverse_d = integers->d != 0 ? 1 / integers->d : 0;
    float inverse_dmin = integers->dmin != 0 ? 1 / integers->dmin : 0;
    int spread = super->minima ? 1 : 0;
    for (int s = 0; s < TILE_STRIPS; s++) {
        struct strip strip = tile_strip(tile, s, super->n_subs == 8);
        vec near_scale = vec_near(&super->scales, vec_load(fits->scale + WIDTH * s) * inverse_d);
        vec mean = vec_load(fits->mean + WIDTH * s), mean_level = vec_load(fits->mean_level + WIDTH * s);
        vec best_scale = near_scale, best_minimum = vec_all(0), least = vec_all(INFINITY);
        for (int k = -reach; k <= reach; k++) {
            vec scale = vec_min(vec_max(near_scale + (float)k, vec_all(first)), vec_all(last));
            vec real_scale = integers->d * scale, inverse = vec_inverse(real_scale);
            /* with this scale the mean is kept by */
            vec near_minimum = vec_near(&super->scales, (real_scale * mean_level - mean) * inverse_dmin);
            for (int m = -spread; m <= spread; m++) {
                vec minimum = vec_min(vec_max(near_minimum + (float)m, vec_all(first)), vec_all(last));
                vec real_minimum = super->minima ? integers->dmin * minimum : vec_all(0), error = vec_all(0);
                for (int i = 0; i < TILE; i++) {
                    vec x = vec_load(strip.x + TILE * i) + real_minimum;
                    vec rest = x - real_scale * vec_near(&super->levels, x * inverse);
                    error += vec_load(strip.w + TILE * i) * rest * rest;
                }
                error = strip_sum(&strip, error);
                vec_mask better = error < least;
                least = vec_select(better, error, least);
                best_scale = vec_select(better, scale, best_scale);
                best_minimum = vec_select(better, minimum, best_minimum);
            }
        }
        vec_store(integers->scales + WIDTH * s, best_scale);
        vec_store(integers->minima + WIDTH * s, best_minimum);
    }
}

static float lanes_sum(const float *v)
{
    float sums[4];
    for (int i = 0; i < 4; i++)
        sums[i] = (v[i] + v[i + 8]) + (v[i + 4] + v[i + 12]);
    return (sums[0] + sums[2]) + (sums[1] + sums[3]);
}

/* Least squares for the shared scales, given all integers and codes: x = d * u - dmin * v. */
ENCODE_INLINE void solve_super(const struct super *super, const struct tile *tile, struct lane_integers *integers)
{
    float parts[5][TILE];
    for (int s = 0; s < TILE_STRIPS; s++) {
        struct strip strip = tile_strip(tile, s, false);
        vec scale = vec_load(integers->scales + WIDTH * s), weight = vec_all(0), wx = vec_all(0);
        vec minimum = super->minima ? vec_load(integers->minima + WIDTH * s) : vec_all(0);
        vec inverse = vec_inverse(integers->d * scale);
        struct lane_sums sums = strip_sums(&strip, &super->levels, inverse, integers->dmin * minimum * inverse);
        for (int i = 0; i < TILE; i++) {
            weight += vec_load(strip.w + TILE * i);
            wx += vec_load(strip.wx + TILE * i);
        }
        vec_store(parts[0] + WIDTH * s, scale * scale * sums.wll);
        vec_store(parts[1] + WIDTH * s, scale * minimum * sums.wl);
        vec_store(parts[2] + WIDTH * s, minimum * minimum * weight);
        vec_store(parts[3] + WIDTH * s, scale * sums.wxl);
        vec_store(parts[4] + WIDTH * s, minimum * wx);
    }
    double uu = (double)lanes_sum(parts[0]), uv = (double)lanes_sum(parts[1]), vv = (double)lanes_sum(parts[2]);
    double xu = (double)lanes_sum(parts[3]), xv = (double)lanes_sum(parts[4]), determinant = uu * vv - uv * uv;
    if (determinant > 1e-5 * uu * vv) {
        integers->d = f32_from_f16(scale_to_f16((float)((xu * vv - xv * uv) / determinant)));
        integers->dmin = f32_from_f16(scale_to_f16((float)((xu * uv - xv * uu) / determinant)));
    } else if (uu > 0) {
        integers->d = f32_from_f16(scale_to_f16((float)(xu / uu)));
    }
}

ENCODE_INLINE void encode_super(const struct super *super, const float *x, const float *w, uint8_t *block)
{
    struct tile tile;
    struct lane_fits fits;
    struct lane_integers integers = {0};
    bool pairs = super->n_subs == 8;
    tile_load(&tile, x, w);
    if (super->minima)
        tile_fit_line(&tile, pairs, &super->levels, &super->sweep, false, &fits);
    else
        tile_fit_scale(&tile, pairs, &super->levels, &super->sweep, &fits);
    float d = fit_scale(&super->scales, &scales_sweep, fits.scale, fits.weight_sq, TILE);
    integers.d = f32_from_f16(scale_to_f16(d));
    if (super->minima) {
        float minima[TILE];
        for (int j = 0; j < TILE; j++)
            minima[j] = -fits.minimum[j];
        float dmin = fit_scale(&super->scales, &scales_sweep, minima, fits.weight, TILE);
        integers.dmin = f32_from_f16(scale_to_f16(dmin));
    }
    for (int pass = 0; pass < PASSES; pass++) {
        if (pass > 0) solve_super(super, &tile, &integers);
        choose_integers(super, &tile, &fits, pass + 1 < PASSES ? 1 : super->reach, &integers);
    }
    struct super_codes out = {.d = scale_to_f16(integers.d), .dmin = scale_to_f16(integers.dmin)};
    for (int j = 0; j < TILE; j++) {
        float minimum = super->minima ? integers.dmin * integers.minima[j] : 0;
        encode_lane(&super->levels, x + TILE * j, integers.d * integers.scales[j], -minimum, out.codes + TILE * j);
        out.scales[pairs ? j / 2 : j] = (uint8_t)(integers.scales[j] - super->scales.first);
        out.minima[pairs ? j / 2 : j] = (uint8_t)integers.minima[j];
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

SUPER_FORMAT(q2_k, 16, true, {4, 0, 1, NULL}, {30, 0.7f, 0.04f}, {16, 0, 1, NULL}, 3, pack_q2_k)
SUPER_FORMAT(q3_k, 16, false, {8, -4, 1, NULL}, {30, 0.76f, 0.05f}, {64, -32, 1, NULL}, 12, pack_q3_k)
SUPER_FORMAT(q4_k, 8, true, {16, 0, 1, NULL}, {32, 0.90f, 0.01f}, {64, 0, 1, NULL}, 3, pack_q4_k)
SUPER_FORMAT(q5_k, 8, true, {32, 0, 1, NULL}, {32, 0.94f, 0.005f}, {64, 0, 1, NULL}, 3, pack_q5_k)
SUPER_FORMAT(q6_k, 16, false, {64, -32, 1, NULL}, {10, 0.97f, 0.012f}, {256, -128, 1, NULL}, 20, pack_q6_k)
SUPER_FORMAT(iq4_xs, 8, false, {16, 0, 1, smallfloat_iq4_nl}, {20, 0.86f, 0.0125f}, {64, -32, 1, NULL}, 1, pack_iq4_xs)
