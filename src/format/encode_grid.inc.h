/* encode_grid.inc.h - super-blocks of 256 whose weights are rows of a codebook, 8 or 4 at a time.
 *
 * For a given scale the best row is found exactly. The error of a row is the sum of the errors of its two halves, and a
 * half has at most 81 different contents: these are computed once, then every row costs one comparison, of many groups
 * at a time, one in each lane. Scales are found as in encode_k.inc.h: each sub-block alone, then the shared scale, then
 * integers by the error they leave.
 */
#include "format/encode_codebook.h"
#include "format/encode_grid_pack.inc.h"

enum grid_signs_kind { SIGNS_OF_ROW, SIGNS_FREE, SIGNS_EVEN };

struct grid_format {
    enum codebook_id codebook;
    float shift;      /* groups of `shift_groups` have all their values moved by +shift or -shift */
    int shift_groups; /* 0: no shifts */
    enum grid_signs_kind signs;
    float lowest;         /* SIGNS_EVEN: usual size of the lowest level, in root mean squares of the weights */
    int n_subs, n_scales; /* scale of a sub-block: (2 * code + 1) * d / divisor */
    float divisor;
    struct sweep sweep; /* of the scale that would be best if all rows existed */
    void (*pack)(const struct grid_codes *codes, uint8_t *block);
};

enum { GROUPS = 64, SUBS = 16 };

struct grid_work {
    const struct grid_format *f;
    const struct codebook *book;
    int n_groups;             /* 32 or 64 */
    float x[SUPER], w[SUPER]; /* element k of group g at k * n_groups + g; without signs where these are apart */
};

/* The weighted squared error of every content of n elements, in WIDTH groups at a time. */
ENCODE_INLINE void half_errors(const struct grid_work *work, int n_values, int n, int first, vec scale, vec shift,
                               float (*errors)[WIDTH])
{
    int size = 1;
    vec_store(errors[0], vec_all(0));
    for (int k = 0; k < n; k++, size *= n_values) {
        vec x = vec_load(work->x + first + k * work->n_groups), w = vec_load(work->w + first + k * work->n_groups);
        for (int v = n_values - 1; v >= 0; v--) { /* value 0 last: it overwrites what the others start from */
            vec rest = x - scale * ((float)work->book->values[v] + shift), error = w * rest * rest;
            for (int i = 0; i < size; i++)
                vec_store(errors[v * size + i], vec_load(errors[i]) + error);
        }
    }
}

/* The best row of each group at its scale and shift, and its error; `rows` may be NULL. */
ENCODE_INLINE void search_rows(const struct grid_work *work, int n_values, int half, const float *scales,
                               const float *shifts, float *errors, uint16_t *rows)
{
    const struct codebook *book = work->book;
    _Alignas(64) float low[CODEBOOK_HALVES][WIDTH], high[CODEBOOK_HALVES][WIDTH];
    for (int g = 0; g < work->n_groups; g += WIDTH) {
        vec scale = vec_load(scales + g), shift = vec_load(shifts + g);
        vec least = vec_all(INFINITY), best_run = vec_all(0), run_number = vec_all(0);
        half_errors(work, n_values, half, g, scale, shift, low);
        half_errors(work, n_values, half, g + half * work->n_groups, scale, shift, high);
        for (int r = 0; r < book->n_runs; r++) {
            const struct codebook_run *run = &book->runs[r];
            const uint8_t *lows = book->low + run->first, *end = lows + run->n;
            vec error = vec_all(INFINITY), other = error;
            for (; lows < end; lows += CODEBOOK_STRIDE) {
                error = vec_min(vec_min(error, vec_load(low[lows[0]])), vec_load(low[lows[1]]));
                other = vec_min(vec_min(other, vec_load(low[lows[2]])), vec_load(low[lows[3]]));
            }
            error = vec_min(error, other);
            error += vec_load(high[run->high]);
            best_run = vec_select(error < least, run_number, best_run);
            least = vec_min(error, least);
            run_number += 1;
        }
        vec_store(errors + g, least);
        if (!rows) continue;
        float runs[WIDTH];
        vec_store(runs, best_run);
        for (int i = 0; i < WIDTH; i++) {
            const struct codebook_run *run = &book->runs[(int)runs[i]];
            int best = run->first;
            for (int k = run->first + 1; k < run->first + run->n; k++)
                if (low[book->low[k]][i] < low[book->low[best]][i]) best = k;
            rows[g + i] = book->rows[best];
        }
    }
}

static float shift_value(const struct grid_format *f, int code)
{
    return code ? -f->shift : f->shift;
}

static void grid_search(const struct grid_work *work, const float *scales, const float *shifts, float *errors,
                        uint16_t *rows)
{
    if (work->book->n_values == 3)
        search_rows(work, 3, 4, scales, shifts, errors, rows);
    else
        search_rows(work, 8, 2, scales, shifts, errors, rows);
}

/* The errors of the sub-blocks at their scales, with the shifts at hand; and the rows, if `rows` is not NULL. */
static void search_subs(const struct grid_work *work, const float *sub_scales, const uint8_t *shifts, float *sub_errors,
                        uint16_t *rows)
{
    int n_groups = work->n_groups, per_sub = n_groups / work->f->n_subs;
    float group_scales[GROUPS] = {0}, group_shifts[GROUPS] = {0}, errors[GROUPS];
    for (int g = 0; g < n_groups; g++) {
        group_scales[g] = sub_scales[g / per_sub];
        group_shifts[g] = shift_value(work->f, shifts[g]);
    }
    grid_search(work, group_scales, group_shifts, errors, rows);
    for (int j = 0; j < work->f->n_subs; j++)
        sub_errors[j] = 0;
    for (int g = 0; g < n_groups; g++)
        sub_errors[g / per_sub] += errors[g];
}

/* As search_subs, with the shift of each unit of groups that leaves the smaller error, which goes into `shifts`. */
static void choose_shifts(const struct grid_work *work, const float *sub_scales, uint8_t *shifts, float *sub_errors)
{
    int n_groups = work->n_groups, per_sub = n_groups / work->f->n_subs, unit = work->f->shift_groups;
    float scales[GROUPS] = {0}, one_shift[GROUPS], errors[2][GROUPS];
    if (unit == 0) {
        search_subs(work, sub_scales, shifts, sub_errors, NULL);
        return;
    }
    for (int g = 0; g < n_groups; g++)
        scales[g] = sub_scales[g / per_sub];
    for (int s = 0; s < 2; s++) {
        for (int g = 0; g < GROUPS; g++)
            one_shift[g] = shift_value(work->f, s);
        grid_search(work, scales, one_shift, errors[s], NULL);
    }
    for (int j = 0; j < work->f->n_subs; j++)
        sub_errors[j] = 0;
    for (int g = 0; g < n_groups; g += unit) {
        float error[2] = {0, 0};
        for (int k = g; k < g + unit; k++) {
            error[0] += errors[0][k];
            error[1] += errors[1][k];
        }
        bool second = error[1] < error[0];
        sub_errors[g / per_sub] += error[second];
        memset(shifts + g, second, (size_t)unit);
    }
}

/* For the codes at hand: sum(w x l) and sum(w l l) of each sub-block, l being what a code stands for. */
static void sum_groups(const struct grid_work *work, const struct grid_codes *codes, float *xl, float *ll)
{
    int n_groups = work->n_groups, per_sub = n_groups / work->f->n_subs, group = work->book->group;
    for (int j = 0; j < work->f->n_subs; j++)
        xl[j] = ll[j] = 0;
    for (int g = 0; g < n_groups; g++) {
        const int8_t *row = work->book->grid + codes->rows[g] * group;
        float shift = shift_value(work->f, codes->shifts[g]);
        for (int k = 0; k < group; k++) {
            float l = (float)row[k] + shift, wl = work->w[k * n_groups + g] * l;
            xl[g / per_sub] += wl * work->x[k * n_groups + g];
            ll[g / per_sub] += wl * l;
        }
    }
}

static float scale_value(const struct grid_format *f, float d, int code)
{
    return d * (float)(2 * code + 1) / f->divisor;
}

static float root_mean_square(const float *x, int n)
{
    float squares = 0;
    for (int i = 0; i < n; i++)
        squares += x[i] * x[i];
    return sqrtf(squares / (float)n);
}

/* What a wrong sign costs, beside a right one, where the lowest level is `lowest`: it gets that. */
static float wrong_sign_cost(float magnitude, float lowest)
{
    float sum = magnitude + lowest;
    return magnitude < 2 * lowest ? 4 * magnitude * lowest : sum * sum;
}

/* Magnitudes into x and signs aside. Where their number must be even, the cheapest element keeps the wrong one. */
static void take_signs(const struct grid_format *f, float *x, const float *w, uint8_t *signs)
{
    float lowest = 0;
    for (int g = 0; g < 32 && f->signs != SIGNS_OF_ROW; g++) {
        float *y = x + 8 * g, least = INFINITY;
        int bits = 0, cheapest = 0;
        if (g % 4 == 0) lowest = f->lowest * root_mean_square(y, 32);
        for (int k = 0; k < 8; k++) {
            bits |= (y[k] < 0) << k;
            y[k] = fabsf(y[k]);
            float cost = w[8 * g + k] * wrong_sign_cost(y[k], lowest);
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

/* The scale of each sub-block as if every row existed. */
static void fit_freely(const struct grid_work *work, const float *x, const float *w, float *scales)
{
    static const struct sweep sweep = {8, 0.8f, 0.1f};
    const struct levels levels = {work->book->n_values, 0, 1, work->book->values};
    struct tile tile;
    struct lane_fits fits;
    bool pairs = work->f->n_subs == 8;
    tile_load(&tile, x, w);
    tile_fit_scale(&tile, pairs, &levels, &sweep, &fits);
    for (int j = 0; j < work->f->n_subs; j++)
        scales[j] = fabsf(fits.scale[pairs ? 2 * j : j]);
}

/* The scale of each sub-block alone, the best of a few guesses solved for the codes it gives. */
static void fit_subs(const struct grid_work *work, const float *free_scales, float *wanted, float *weights,
                     struct grid_codes *out)
{
    const struct grid_format *f = work->f;
    float least[SUBS], errors[SUBS], scales[SUBS] = {0}, best[SUBS] = {0}, xl[SUBS];
    uint8_t shifts[GROUPS] = {0};
    int per_sub = work->n_groups / f->n_subs;
    for (int j = 0; j < f->n_subs; j++)
        least[j] = INFINITY;
    for (int k = 0; k < f->sweep.n; k++) {
        for (int j = 0; j < f->n_subs; j++)
            scales[j] = free_scales[j] * (f->sweep.first + f->sweep.step * (float)k);
        choose_shifts(work, scales, shifts, errors);
        for (int j = 0; j < f->n_subs; j++) {
            if (!(errors[j] < least[j])) continue;
            least[j] = errors[j];
            best[j] = scales[j];
            memcpy(out->shifts + j * per_sub, shifts + j * per_sub, (size_t)per_sub);
        }
    }
    search_subs(work, best, out->shifts, errors, out->rows);
    sum_groups(work, out, xl, weights);
    for (int j = 0; j < f->n_subs; j++)
        wanted[j] = weights[j] > 0 ? xl[j] / weights[j] : 0;
}

/* The integer scales: the nearest to the fitted ones or, within `reach`, what leaves a smaller error. */
static void choose_codes(const struct grid_work *work, const float *wanted, int reach, struct grid_codes *out)
{
    const struct grid_format *f = work->f;
    const struct levels odd = {f->n_scales, 1, 2, NULL};
    float d = f32_from_f16(out->d), least[SUBS], errors[SUBS], scales[SUBS] = {0};
    int near[SUBS];
    for (int j = 0; j < f->n_subs; j++) {
        near[j] = levels_nearest(&odd, d != 0 ? wanted[j] * f->divisor / d : 0);
        least[j] = INFINITY;
        out->scales[j] = (uint8_t)near[j];
    }
    for (int step = -reach; step <= reach && reach > 0; step++) {
        int codes[SUBS];
        for (int j = 0; j < f->n_subs; j++) {
            int code = near[j] + step;
            codes[j] = code < 0 ? 0 : code >= f->n_scales ? f->n_scales - 1 : code;
            scales[j] = scale_value(f, d, codes[j]);
        }
        search_subs(work, scales, out->shifts, errors, NULL);
        for (int j = 0; j < f->n_subs; j++) {
            if (!(errors[j] < least[j])) continue;
            least[j] = errors[j];
            out->scales[j] = (uint8_t)codes[j];
        }
    }
    for (int j = 0; j < f->n_subs; j++)
        scales[j] = scale_value(f, d, out->scales[j]);
    if (reach > 0 && f->shift_groups > 0) choose_shifts(work, scales, out->shifts, errors);
    search_subs(work, scales, out->shifts, errors, out->rows);
}

/* The shared scale for all codes at hand. */
static float solve_all(const struct grid_work *work, const struct grid_codes *codes)
{
    float xl[SUBS], ll[SUBS];
    double xu = 0, uu = 0;
    sum_groups(work, codes, xl, ll);
    for (int j = 0; j < work->f->n_subs; j++) {
        double unit = (double)scale_value(work->f, 1, codes->scales[j]);
        xu += unit * (double)xl[j];
        uu += unit * unit * (double)ll[j];
    }
    return uu > 0 ? (float)(xu / uu) : 0;
}

static void encode_grid(const struct grid_format *f, const float *x_signed, const float *w, uint8_t *block)
{
    const struct levels odd = {f->n_scales, 1, 2, NULL};
    static const struct sweep sweep = {12, 0.8f, 0.05f};
    const struct codebook *book = codebook_get(f->codebook);
    struct grid_work work = {.f = f, .book = book, .n_groups = SUPER / book->group};
    struct grid_codes out = {0};
    float x[SUPER], free_scales[SUBS], wanted[SUBS], weights[SUBS];
    memcpy(x, x_signed, sizeof x);
    take_signs(f, x, w, out.signs);
    fit_freely(&work, x, w, free_scales);
    for (int g = 0; g < work.n_groups; g++) {
        for (int k = 0; k < book->group; k++) {
            work.x[k * work.n_groups + g] = x[g * book->group + k];
            work.w[k * work.n_groups + g] = w[g * book->group + k];
        }
    }
    fit_subs(&work, free_scales, wanted, weights, &out);
    out.d = scale_to_f16(f->divisor * fit_scale(&odd, &sweep, wanted, weights, f->n_subs));
    choose_codes(&work, wanted, 0, &out);
    out.d = scale_to_f16(solve_all(&work, &out));
    choose_codes(&work, wanted, 1, &out);
    f->pack(&out, block);
}

/* ---- the formats --------------------------------------------------------------------------------- */

#define GRID_FORMAT(name, ...)                                                       \
    static void encode_##name(const float *x, const float *w, uint8_t *block)        \
    {                                                                                \
        static const struct grid_format format = {.pack = pack_##name, __VA_ARGS__}; \
        encode_grid(&format, x, w, block);                                           \
    }

GRID_FORMAT(iq2_xxs, .codebook = CODEBOOK_IQ2_XXS, .signs = SIGNS_EVEN, .lowest = 0.36f, .n_subs = 8, .n_scales = 16,
            .divisor = 8, .sweep = {8, 0.68f, 0.11f})
GRID_FORMAT(iq2_xs, .codebook = CODEBOOK_IQ2_XS, .signs = SIGNS_EVEN, .lowest = 0.36f, .n_subs = 16, .n_scales = 16,
            .divisor = 8, .sweep = {8, 0.68f, 0.11f})
GRID_FORMAT(iq2_s, .codebook = CODEBOOK_IQ2_S, .signs = SIGNS_FREE, .n_subs = 16, .n_scales = 16, .divisor = 8,
            .sweep = {8, 0.68f, 0.11f})
GRID_FORMAT(iq3_xxs, .codebook = CODEBOOK_IQ3_XXS, .signs = SIGNS_EVEN, .lowest = 0.15f, .n_subs = 8, .n_scales = 16,
            .divisor = 4, .sweep = {13, 0.68f, 0.13f})
GRID_FORMAT(iq3_s, .codebook = CODEBOOK_IQ3_S, .signs = SIGNS_FREE, .n_subs = 8, .n_scales = 16, .divisor = 1,
            .sweep = {10, 0.64f, 0.09f})
GRID_FORMAT(iq1_s, .codebook = CODEBOOK_IQ1, .shift = 0.125f, .shift_groups = 4, .n_subs = 8, .n_scales = 8,
            .divisor = 1, .sweep = {4, 0.79f, 0.17f})
GRID_FORMAT(iq1_m, .codebook = CODEBOOK_IQ1, .shift = 0.125f, .shift_groups = 1, .n_subs = 16, .n_scales = 8,
            .divisor = 1, .sweep = {4, 0.79f, 0.17f})
