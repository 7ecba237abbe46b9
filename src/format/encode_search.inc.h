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

/* Nearest levels to x / scale. Scale 0: the level nearest to 0. */
static void levels_encode(const struct levels *levels, const float *x, int n, float scale, uint8_t *codes)
{
    float inverse = fabsf(scale) >= 0x1p-126f ? 1 / scale : 0; /* else it would be infinite */
    struct lanes v, values;
    int32_t wide[LANES];
    for (int at = 0; at < n; at += LANES) {
        for (int i = 0; i < LANES; i++)
            v.of[i] = x[at + i] * inverse;
        nearest(levels, &v, wide, &values);
        for (int i = 0; i < LANES; i++)
            codes[at + i] = (uint8_t)wide[i];
    }
}

/* sum(w l l) and sum(w x l) over the nearest levels l to x * inverse. */
struct sums {
    float wll, wxl;
};

static struct sums sum_up(const struct levels *levels, const float *x, const float *w, int n, float inverse)
{
    struct lanes v, l, wll = {{0}}, wxl = {{0}};
    int32_t codes[LANES];
    for (int at = 0; at < n; at += LANES) {
        for (int i = 0; i < LANES; i++)
            v.of[i] = x[at + i] * inverse;
        nearest(levels, &v, codes, &l);
        for (int i = 0; i < LANES; i++) {
            float wl = w[at + i] * l.of[i];
            wll.of[i] += wl * l.of[i];
            wxl.of[i] += wl * x[at + i];
        }
    }
    return (struct sums){sum(&wll), sum(&wxl)};
}

/* The scale of least error. May be negative. */
static float fit_scale(const struct levels *levels, const struct sweep *sweep, const float *x, const float *w, int n)
{
    float extreme = 0, gain = 0;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(extreme)) extreme = x[i];
    if (extreme == 0) return 0;
    float last = levels_value(levels, levels->n - 1), first = levels_value(levels, 0), best = extreme / last;
    /* the guesses, at the one end and the other in turn, then the best one's solution as one guess more */
    for (int k = 0; k <= sweep->n; k++) {
        float end = k % 2 == 0 && first < 0 ? first : last;
        float inverse = k < sweep->n ? end / extreme * (sweep->first + sweep->step * (float)k) : 1 / best;
        struct sums s = sum_up(levels, x, w, n, inverse);
        if (!(s.wll > 0 && s.wxl * s.wxl > gain * s.wll)) continue;
        gain = s.wxl * s.wxl / s.wll;
        best = s.wxl / s.wll;
    }
    return best;
}

/* Nearest half-float bits that are a finite number; 0 for a NaN, left over by sums that were too large. */
static uint16_t scale_to_f16(float x)
{
    float largest = 65504;
    x = x > largest ? largest : x < -largest ? -largest : x == x ? x : 0;
    return f16_from_f32(x);
}
