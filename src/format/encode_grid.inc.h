/* encode_grid.inc.h - super-blocks of 256 whose weights are rows of a codebook (grids.h), 8 or 4 at a time.
 *
 * For a given scale the best row is found exactly: the error of a row is the sum of the errors of its two halves, and a
 * half has at most 81 different contents, so it is 81 sums, twice, and then one addition per row; rows that share a
 * half are passed over together when that half alone is worse than the best row so far. Scales are found as in
 * encode_k.inc.h: each sub-block alone, then the shared scale, then integers by the error they leave.
 */
#include "format/grids.h"

#include <assert.h>

struct grid_codes {
    uint16_t d;        /* half float */
    uint16_t rows[64]; /* row of the codebook of each group */
    uint8_t signs[32]; /* of 8 elements */
    uint8_t scales[16];
    uint8_t shifts[32]; /* IQ1: which of the two shifts each group has */
};

enum grid_signs_kind { SIGNS_OF_ROW, SIGNS_FREE, SIGNS_EVEN };

enum { ROWS_MAX = 2048, HALF_MAX = 81 };

struct grid_format {
    const int8_t *grid;
    int n_rows, group; /* elements of a row: 8 or 4 */
    int n_values;      /* different values in the codebook: 3 or 8 */
    const float *values;
    float shift;      /* groups of `shift_groups` have all their values moved by +shift or -shift */
    int shift_groups; /* 0: no shifts */
    enum grid_signs_kind signs;
    int n_subs, n_scales; /* scale of a sub-block: (2 * code + 1) * d / divisor */
    float divisor;
    struct sweep sweep;
    void (*pack)(const struct grid_codes *codes, uint8_t *block);
};

/* A codebook for the search: its rows as pairs of halves, a half being a number in base n_values. Rows are sorted by
 * their upper half (all codebooks are): those with upper half h are runs[h] .. runs[h + 1] - 1. */
struct halves {
    uint8_t low[ROWS_MAX];
    uint16_t runs[HALF_MAX + 1];
};

static void split_rows(const struct grid_format *f, struct halves *halves)
{
    int run = 0;
    for (int r = 0; r < f->n_rows; r++) {
        int number[2] = {0, 0};
        for (int k = f->group - 1; k >= 0; k--) {
            int v = 0;
            while (f->values[v] != (float)f->grid[r * f->group + k])
                v++;
            number[k / (f->group / 2)] = number[k / (f->group / 2)] * f->n_values + v;
        }
        halves->low[r] = (uint8_t)number[0];
        assert(number[1] + 1 >= run);
        while (run <= number[1])
            halves->runs[run++] = (uint16_t)r;
    }
    while (run <= HALF_MAX)
        halves->runs[run++] = (uint16_t)f->n_rows;
}

/* The weighted squared error of every content of n elements. */
static void half_errors(const struct grid_format *f, const float *x, const float *w, int n, float scale, float shift,
                        float *errors)
{
    int size = 1;
    errors[0] = 0;
    for (int k = 0; k < n; k++, size *= f->n_values) {
        for (int v = f->n_values - 1; v >= 0; v--) { /* value 0 last: it overwrites what the others start from */
            float rest = x[k] - scale * (f->values[v] + shift), error = w[k] * rest * rest;
            for (int i = 0; i < size; i++)
                errors[v * size + i] = errors[i] + error;
        }
    }
}

static float best_row(const struct grid_format *f, const struct halves *halves, const float *x, const float *w,
                      float scale, float shift, uint16_t *row)
{
    float low[HALF_MAX], high[HALF_MAX], least = INFINITY, least_low = INFINITY, first_error = INFINITY;
    int half = f->group / 2, best = 0, n_halves = half == 2 ? 64 : 81, first = 0;
    half_errors(f, x, w, half, scale, shift, low);
    half_errors(f, x + half, w + half, half, scale, shift, high);
    for (int h = 0; h < n_halves; h++) {
        least_low = low[h] < least_low ? low[h] : least_low;
        if (halves->runs[h] == halves->runs[h + 1] || !(high[h] < first_error)) continue;
        first_error = high[h];
        first = h;
    }
    for (int i = -1; i < n_halves; i++) { /* the most promising run first, it rules most others out */
        int h = i < 0 ? first : i;
        if (!(high[h] + least_low < least)) continue;
        for (int r = halves->runs[h]; r < halves->runs[h + 1]; r++) {
            float error = low[halves->low[r]] + high[h];
            best = error < least ? r : best;
            least = error < least ? error : least;
        }
    }
    *row = (uint16_t)best;
    return least;
}

/* Rows and shifts of one sub-block from group `first` on; returns the error. */
static float encode_groups(const struct grid_format *f, const struct halves *halves, const float *x, const float *w,
                           float scale, int first, int n_groups, struct grid_codes *out)
{
    float error = 0;
    int unit = f->shift_groups > 0 ? f->shift_groups : n_groups;
    for (int u = first; u < first + n_groups; u += unit) {
        uint16_t rows[2][64];
        float errors[2] = {0, INFINITY};
        for (int s = 0; s < (f->shift_groups > 0 ? 2 : 1); s++) {
            errors[s] = 0;
            for (int g = 0; g < unit; g++)
                errors[s] += best_row(f, halves, x + (u + g) * f->group, w + (u + g) * f->group, scale,
                                      s ? -f->shift : f->shift, &rows[s][g]);
        }
        int s = errors[1] < errors[0];
        error += errors[s];
        for (int g = 0; g < unit; g++) {
            out->rows[u + g] = rows[s][g];
            if (f->group == 8) out->shifts[u + g] = (uint8_t)s;
        }
    }
    return error;
}

/* What the codes of element i stand for, in units of the sub-block's scale. */
static float level_of(const struct grid_format *f, const struct grid_codes *codes, int i)
{
    int g = i / f->group;
    float value = (float)f->grid[codes->rows[g] * f->group + i % f->group];
    return f->shift_groups > 0 ? value + (codes->shifts[g] ? -f->shift : f->shift) : value;
}

/* The best scale for the codes at hand: sum(w x l) / sum(w l l), the latter left in *weight. */
static float solve_sub(const struct grid_format *f, const struct grid_codes *codes, const float *x, const float *w,
                       int first, int n, float *weight)
{
    float xl = 0, ll = 0;
    for (int i = first; i < first + n; i++) {
        float l = level_of(f, codes, i);
        xl += w[i] * x[i] * l;
        ll += w[i] * l * l;
    }
    *weight = ll;
    return ll > 0 ? xl / ll : 0;
}

static float scale_value(const struct grid_format *f, float d, int code)
{
    return d * (float)(2 * code + 1) / f->divisor;
}

/* Magnitudes into x and signs aside. Where their number must be even, the cheapest element keeps the wrong one. */
static void take_signs(const struct grid_format *f, float *x, const float *w, uint8_t *signs)
{
    for (int g = 0; g < 32 && f->signs != SIGNS_OF_ROW; g++) {
        float *y = x + 8 * g, least = INFINITY;
        int bits = 0, cheapest = 0;
        for (int k = 0; k < 8; k++) {
            float cost = w[8 * g + k] * fabsf(y[k]);
            bits |= (y[k] < 0) << k;
            y[k] = fabsf(y[k]);
            if (cost < least) cheapest = k;
            least = cost < least ? cost : least;
        }
        if (f->signs == SIGNS_EVEN && __builtin_parity((unsigned)bits)) {
            bits ^= 1 << cheapest;
            y[cheapest] = -y[cheapest];
        }
        signs[g] = (uint8_t)bits;
    }
}

/* The scale of one sub-block: the sweep's guesses, each solved once for the codes it gives. */
static float fit_sub(const struct grid_format *f, const struct halves *halves, const float *x, const float *w,
                     int first, float *weight, struct grid_codes *out)
{
    int n = SUPER / f->n_subs, n_groups = n / f->group;
    float amax = 0, least = INFINITY, best = 0;
    *weight = 0;
    for (int i = first; i < first + n; i++)
        amax = fabsf(x[i]) > amax ? fabsf(x[i]) : amax;
    if (amax == 0) return 0;
    for (int k = 0; k < f->sweep.n; k++) {
        float top = f->values[f->n_values - 1] + f->shift, now_weight;
        float scale = amax / (top * (f->sweep.first + f->sweep.step * (float)k));
        float error = encode_groups(f, halves, x, w, scale, first / f->group, n_groups, out);
        float solved = solve_sub(f, out, x, w, first, n, &now_weight);
        error -= now_weight * (solved - scale) * (solved - scale);
        if (!(error < least)) continue;
        least = error;
        best = solved;
        *weight = now_weight;
    }
    return best;
}

/* The integer scale of a sub-block: the nearest to the fitted one or a neighbour, by the error left. */
static void choose(const struct grid_format *f, const struct halves *halves, const float *x, const float *w, int j,
                   float wanted, struct grid_codes *out)
{
    const struct levels odd = {f->n_scales, 1, 2, NULL};
    int n = SUPER / f->n_subs, first = j * n, n_groups = n / f->group, best = 0;
    float d = f32_from_f16(out->d), least = INFINITY;
    int near = levels_nearest(&odd, d != 0 ? wanted * f->divisor / d : 0);
    for (int s = near - 1; s <= near + 1; s++) {
        if (s < 0 || s >= f->n_scales) continue;
        float error = encode_groups(f, halves, x, w, scale_value(f, d, s), first / f->group, n_groups, out);
        if (!(error < least)) continue;
        least = error;
        best = s;
    }
    encode_groups(f, halves, x, w, scale_value(f, d, best), first / f->group, n_groups, out);
    out->scales[j] = (uint8_t)best;
}

/* The shared scale for all codes at hand. */
static float solve_all(const struct grid_format *f, const struct grid_codes *codes, const float *x, const float *w)
{
    double xu = 0, uu = 0;
    int n = SUPER / f->n_subs;
    for (int i = 0; i < SUPER; i++) {
        double u = (double)(scale_value(f, 1, codes->scales[i / n]) * level_of(f, codes, i));
        xu += (double)w[i] * (double)x[i] * u;
        uu += (double)w[i] * u * u;
    }
    return uu > 0 ? (float)(xu / uu) : 0;
}

static void encode_grid(const struct grid_format *f, const float *x_signed, const float *w, uint8_t *block)
{
    const struct levels odd = {f->n_scales, 1, 2, NULL};
    static const struct sweep sweep = {12, 0.8f, 0.05f};
    struct grid_codes out = {0};
    struct halves halves;
    float x[SUPER], wanted[16], weights[16];
    int n = SUPER / f->n_subs;
    memcpy(x, x_signed, sizeof x);
    split_rows(f, &halves);
    take_signs(f, x, w, out.signs);
    for (int j = 0; j < f->n_subs; j++)
        wanted[j] = fit_sub(f, &halves, x, w, j * n, &weights[j], &out);
    out.d = scale_to_f16(f->divisor * fit_scale(&odd, &sweep, wanted, weights, f->n_subs));
    for (int pass = 0; pass < 2; pass++) {
        if (pass > 0) out.d = scale_to_f16(solve_all(f, &out, x, w));
        for (int j = 0; j < f->n_subs; j++)
            choose(f, &halves, x, w, j, wanted[j], &out);
    }
    f->pack(&out, block);
}

/* ---- how they are packed ----------------------------------------------------------------------- */

static void pack_iq2_xxs(const struct grid_codes *codes, uint8_t *block)
{
    memcpy(block, &codes->d, 2);
    for (int j = 0; j < 8; j++) {
        uint32_t word = (uint32_t)codes->scales[j] << 28;
        for (int g = 0; g < 4; g++) {
            block[2 + 8 * j + g] = (uint8_t)codes->rows[4 * j + g];
            word |= (codes->signs[4 * j + g] & 127u) << 7 * g;
        }
        memcpy(block + 2 + 8 * j + 4, &word, 4);
    }
}

static void pack_scale_nibbles(const uint8_t *scales, int n, uint8_t *out)
{
    for (int j = 0; j < n; j += 2)
        out[j / 2] = (uint8_t)(scales[j] | scales[j + 1] << 4);
}

static void pack_iq2_xs(const struct grid_codes *codes, uint8_t *block)
{
    memcpy(block, &codes->d, 2);
    for (int g = 0; g < 32; g++) {
        uint16_t q = (uint16_t)(codes->rows[g] | (codes->signs[g] & 127) << 9);
        memcpy(block + 2 + 2 * g, &q, 2);
    }
    pack_scale_nibbles(codes->scales, 16, block + 66);
}

static void pack_iq2_s(const struct grid_codes *codes, uint8_t *block)
{
    memcpy(block, &codes->d, 2);
    memcpy(block + 34, codes->signs, 32);
    memset(block + 66, 0, 8);
    for (int g = 0; g < 32; g++) {
        block[2 + g] = (uint8_t)codes->rows[g];
        block[66 + g / 4] |= (uint8_t)(codes->rows[g] >> 8 << 2 * (g % 4));
    }
    pack_scale_nibbles(codes->scales, 16, block + 74);
}

static void pack_iq3_xxs(const struct grid_codes *codes, uint8_t *block)
{
    memcpy(block, &codes->d, 2);
    for (int h = 0; h < 64; h++)
        block[2 + h] = (uint8_t)codes->rows[h];
    for (int j = 0; j < 8; j++) {
        uint32_t word = (uint32_t)codes->scales[j] << 28;
        for (int g = 0; g < 4; g++)
            word |= (codes->signs[4 * j + g] & 127u) << 7 * g;
        memcpy(block + 66 + 4 * j, &word, 4);
    }
}

static void pack_iq3_s(const struct grid_codes *codes, uint8_t *block)
{
    memcpy(block, &codes->d, 2);
    memset(block + 66, 0, 8);
    for (int h = 0; h < 64; h++) {
        block[2 + h] = (uint8_t)codes->rows[h];
        block[66 + h / 8] |= (uint8_t)(codes->rows[h] >> 8 << h % 8);
    }
    memcpy(block + 74, codes->signs, 32);
    pack_scale_nibbles(codes->scales, 8, block + 106);
}

static void pack_iq1_s(const struct grid_codes *codes, uint8_t *block)
{
    memcpy(block, &codes->d, 2);
    for (int j = 0; j < 8; j++) {
        uint16_t high = (uint16_t)(codes->scales[j] << 12 | codes->shifts[4 * j] << 15);
        for (int g = 0; g < 4; g++) {
            block[2 + 4 * j + g] = (uint8_t)codes->rows[4 * j + g];
            high |= (uint16_t)(codes->rows[4 * j + g] >> 8 << 3 * g);
        }
        memcpy(block + 34 + 2 * j, &high, 2);
    }
}

static void pack_iq1_m(const struct grid_codes *codes, uint8_t *block)
{
    memset(block + 32, 0, 16);
    for (int g = 0; g < 32; g++) {
        block[g] = (uint8_t)codes->rows[g];
        block[32 + g / 2] |= (uint8_t)((codes->rows[g] >> 8 | codes->shifts[g] << 3) << 4 * (g & 1));
    }
    for (int k = 0; k < 4; k++) { /* four scales of three bits, then four bits of d */
        uint16_t word = (uint16_t)((codes->d >> 4 * k & 15) << 12);
        for (int p = 0; p < 4; p++)
            word |= (uint16_t)(codes->scales[4 * k + p] << 3 * p);
        memcpy(block + 48 + 2 * k, &word, 2);
    }
}

/* ---- the formats --------------------------------------------------------------------------------- */

/* The different values of each codebook, rising. */
static const float iq2_values[] = {8, 25, 43}, iq1_values[] = {-1, 0, 1};
static const float iq3_xxs_values[] = {4, 12, 20, 28, 36, 44, 52, 62}, iq3_s_values[] = {1, 3, 5, 7, 9, 11, 13, 15};

#define GRID_FORMAT(name, table, rows, group_, ...)                                               \
    static void encode_##name(const float *x, const float *w, uint8_t *block)                     \
    {                                                                                             \
        static const struct grid_format format = {                                                \
            .grid = table[0], .n_rows = rows, .group = group_, .pack = pack_##name, __VA_ARGS__}; \
        encode_grid(&format, x, w, block);                                                        \
    }

GRID_FORMAT(iq2_xxs, grid_iq2_xxs, 256, 8, .n_values = 3, .values = iq2_values, .signs = SIGNS_EVEN, .n_subs = 8,
            .n_scales = 16, .divisor = 8, .sweep = {9, 0.8f, 0.07f})
GRID_FORMAT(iq2_xs, grid_iq2_xs, 512, 8, .n_values = 3, .values = iq2_values, .signs = SIGNS_EVEN, .n_subs = 16,
            .n_scales = 16, .divisor = 8, .sweep = {9, 0.8f, 0.07f})
GRID_FORMAT(iq2_s, grid_iq2_s, 1024, 8, .n_values = 3, .values = iq2_values, .signs = SIGNS_FREE, .n_subs = 16,
            .n_scales = 16, .divisor = 8, .sweep = {9, 0.8f, 0.07f})
GRID_FORMAT(iq3_xxs, grid_iq3_xxs, 256, 4, .n_values = 8, .values = iq3_xxs_values, .signs = SIGNS_EVEN, .n_subs = 8,
            .n_scales = 16, .divisor = 4, .sweep = {9, 0.8f, 0.05f})
GRID_FORMAT(iq3_s, grid_iq3_s, 512, 4, .n_values = 8, .values = iq3_s_values, .signs = SIGNS_FREE, .n_subs = 8,
            .n_scales = 16, .divisor = 1, .sweep = {9, 0.8f, 0.05f})
GRID_FORMAT(iq1_s, grid_iq1_s, 2048, 8, .n_values = 3, .values = iq1_values, .shift = 0.125f, .shift_groups = 4,
            .n_subs = 8, .n_scales = 8, .divisor = 1, .sweep = {7, 1, 0.2f})
GRID_FORMAT(iq1_m, grid_iq1_s, 2048, 8, .n_values = 3, .values = iq1_values, .shift = 0.125f, .shift_groups = 1,
            .n_subs = 16, .n_scales = 8, .divisor = 1, .sweep = {7, 1, 0.2f})
