/* encode_search.inc.h - the few searches that all quantizers are made of.
 *
 * A block format is a set of levels (what a code stands for, in units of a scale) and a rule for how scales are stored.
 * Given the codes, the best scale is a least-squares solution; given the scale, the best code is the nearest level. So
 * a search tries a sweep of first guesses for the scale, solves each once, and keeps the one that explains most.
 * `n` is a multiple of 8 in all of these.
 */
#include "base/bytes.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

enum { SUPER = 256 }; /* elements of a super-block, and the most in any block */

/* What codes 0 .. n - 1 stand for, rising. */
struct levels {
    int n;
    float first, step;   /* first + step * code */
    const int8_t *table; /* or, where not NULL, these */
};

/* First guesses: the element of largest magnitude lies at first, first + step, ... times an outermost level. Above 1,
 * it is clipped. */
struct sweep {
    int n;
    float first, step;
};

/* value = scale * level(code) + minimum */
struct fit {
    float scale, minimum;
    float weight, weight_sq; /* sum of w, and of w * level^2: what an error of minimum and scale costs */
};

static float levels_value(const struct levels *levels, int code)
{
    return levels->table ? (float)levels->table[code] : levels->first + levels->step * (float)code;
}

/* Work is done for 8 elements at a time, in loops that compilers turn into vector code. */
enum { LANES = 8 };

struct lanes {
    float of[LANES];
};

static float sum(const struct lanes *lanes)
{
    const float *l = lanes->of;
    return ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]));
}

/* Codes and values of the levels nearest to v. A NaN, as 0 / 0 gives it, becomes code 0. */
static inline void nearest(const struct levels *levels, const struct lanes *v, int32_t *codes, struct lanes *values)
{
    if (levels->table) {
        /* as many steps up as there are middles between neighbours below v */
        const int8_t *table = levels->table;
        for (int i = 0; i < LANES; i++) {
            codes[i] = 0;
            values->of[i] = (float)table[0];
        }
        for (int c = 0; c + 1 < levels->n; c++) {
            float rise = (float)(table[c + 1] - table[c]), middle = (float)table[c] + 0.5f * rise;
            for (int i = 0; i < LANES; i++) {
                codes[i] += v->of[i] > middle ? 1 : 0;
                values->of[i] += v->of[i] > middle ? rise : 0;
            }
        }
        return;
    }
    float top = (float)(levels->n - 1), inverse_step = 1 / levels->step;
    for (int i = 0; i < LANES; i++) {
        float t = (v->of[i] - levels->first) * inverse_step;
        t = t > 0 ? t : 0;
        t = t < top ? t : top;
        codes[i] = (int32_t)(t + 0.5f);
        values->of[i] = levels->first + levels->step * (float)codes[i];
    }
}

static int levels_nearest(const struct levels *levels, float v)
{
    struct lanes values, all = {{v}};
    int32_t codes[LANES];
    nearest(levels, &all, codes, &values);
    return codes[0];
}

/* Nearest levels to (x - minimum) / scale, and the weighted squared error left. Scale 0: the level nearest to 0. */
static float levels_encode(const struct levels *levels, const float *x, const float *w, int n, float scale,
                           float minimum, uint8_t *codes)
{
    float inverse = fabsf(scale) >= 0x1p-126f ? 1 / scale : 0; /* else it would be infinite */
    struct lanes error = {{0}}, v, values;
    int32_t wide[LANES];
    for (int at = 0; at < n; at += LANES) {
        for (int i = 0; i < LANES; i++)
            v.of[i] = (x[at + i] - minimum) * inverse;
        nearest(levels, &v, wide, &values);
        for (int i = 0; i < LANES; i++) {
            float rest = x[at + i] - (scale * values.of[i] + minimum);
            error.of[i] += w[at + i] * rest * rest;
            codes[at + i] = (uint8_t)wide[i];
        }
    }
    return sum(&error);
}

/* Sums over the nearest levels l of x * inverse - shift. */
struct sums {
    float w, wl, wll, wx, wxl;
};

static struct sums sum_up(const struct levels *levels, const float *x, const float *w, int n, float inverse,
                          float shift)
{
    struct lanes v, l, s_w = {{0}}, s_wl = {{0}}, s_wll = {{0}}, s_wx = {{0}}, s_wxl = {{0}};
    int32_t codes[LANES];
    for (int at = 0; at < n; at += LANES) {
        for (int i = 0; i < LANES; i++)
            v.of[i] = x[at + i] * inverse - shift;
        nearest(levels, &v, codes, &l);
        for (int i = 0; i < LANES; i++) {
            float wl = w[at + i] * l.of[i];
            s_w.of[i] += w[at + i];
            s_wl.of[i] += wl;
            s_wll.of[i] += wl * l.of[i];
            s_wx.of[i] += w[at + i] * x[at + i];
            s_wxl.of[i] += wl * x[at + i];
        }
    }
    return (struct sums){sum(&s_w), sum(&s_wl), sum(&s_wll), sum(&s_wx), sum(&s_wxl)};
}

/* The scale alone (minimum 0). May be negative. */
static struct fit fit_scale(const struct levels *levels, const struct sweep *sweep, const float *x, const float *w,
                            int n)
{
    struct fit best = {0};
    float extreme = 0, gain = 0;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(extreme)) extreme = x[i];
    if (extreme == 0) return best;
    float last = levels_value(levels, levels->n - 1), first = levels_value(levels, 0);
    best.scale = extreme / last;
    /* the guesses, at the one end and the other in turn, then the best one's solution as one guess more */
    for (int k = 0; k <= sweep->n; k++) {
        float end = k % 2 == 0 && first < 0 ? first : last;
        float inverse = k < sweep->n ? end / extreme * (sweep->first + sweep->step * (float)k) : 1 / best.scale;
        struct sums s = sum_up(levels, x, w, n, inverse, 0);
        if (!(s.wll > 0 && s.wxl * s.wxl > gain * s.wll)) continue;
        gain = s.wxl * s.wxl / s.wll;
        best = (struct fit){.scale = s.wxl / s.wll, .weight = s.w, .weight_sq = s.wll};
    }
    return best;
}

/* Least squares for x = scale * l + minimum; with a minimum that may not be, the best scale alone. */
static struct fit solve_line(const struct sums *s, bool any_minimum)
{
    struct fit fit = {.weight = s->w, .weight_sq = s->wll};
    double determinant = (double)s->w * (double)s->wll - (double)s->wl * (double)s->wl;
    if (determinant > 0) {
        fit.scale = (float)(((double)s->w * (double)s->wxl - (double)s->wx * (double)s->wl) / determinant);
        fit.minimum = (float)(((double)s->wll * (double)s->wx - (double)s->wl * (double)s->wxl) / determinant);
    }
    if (determinant > 0 && (any_minimum || fit.minimum <= 0)) return fit;
    fit.minimum = 0;
    fit.scale = s->wll > 0 ? s->wxl / s->wll : 0;
    return fit;
}

/* Scale >= 0 and minimum; minimum <= 0 unless `any_minimum`. */
static struct fit fit_scale_minimum(const struct levels *levels, const struct sweep *sweep, bool any_minimum,
                                    const float *x, const float *w, int n)
{
    struct fit best = {0};
    float low = x[0], high = x[0], top = (float)(levels->n - 1);
    double gain = -1;
    for (int i = 1; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    if (!any_minimum && low > 0) low = 0;
    if (!(high > low)) {
        best.minimum = low;
        return best;
    }
    for (int k = 0; k <= sweep->n; k++) {
        /* what is clipped, or left over, is at the lower end and at the upper one in turn */
        float range = (high - low) / (sweep->first + sweep->step * (float)k), scale = range / top;
        float minimum = low == 0 || k % 2 == 0 ? low : high - range;
        if (k >= sweep->n) {
            scale = best.scale;
            minimum = best.minimum;
        }
        if (!(scale > 0)) break;
        struct sums s = sum_up(levels, x, w, n, 1 / scale, minimum / scale);
        struct fit fit = solve_line(&s, any_minimum);
        /* how much of sum(w x^2) the solution explains */
        double now = (double)fit.scale * (double)s.wxl + (double)fit.minimum * (double)s.wx;
        if (!(fit.scale >= 0 && now > gain)) continue;
        gain = now;
        best = fit;
    }
    return best;
}

/* Nearest half-float bits that are a finite number. */
static uint16_t scale_to_f16(float x)
{
    float largest = 65504;
    x = x > largest ? largest : x < -largest ? -largest : x;
    return f16_from_f32(x);
}
