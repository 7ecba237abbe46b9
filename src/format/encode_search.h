/* encode_search.h - the few searches that all quantizers are made of: private to the format room.
 *
 * A block format is a set of levels (what a code stands for, in units of a scale) and a rule for how scales are stored.
 * Given the codes, the best scale is a least-squares solution; given the scale, the best code is the nearest level. So
 * a search tries a sweep of first guesses for the scale, solves each once, and keeps the one that explains most.
 */
#ifndef STILE_FORMAT_ENCODE_SEARCH_H
#define STILE_FORMAT_ENCODE_SEARCH_H

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

/* `n` is a multiple of 8 in all of these. */

/* Nearest levels to (x - minimum) / scale, and the weighted squared error left. Scale 0: the level nearest to 0. */
float levels_encode(const struct levels *levels, const float *x, const float *w, int n, float scale, float minimum,
                    uint8_t *codes);
int levels_nearest(const struct levels *levels, float v);
float levels_value(const struct levels *levels, int code);

/* The scale alone (minimum 0). May be negative. */
struct fit fit_scale(const struct levels *levels, const struct sweep *sweep, const float *x, const float *w, int n);
/* Scale >= 0 and minimum; minimum <= 0 unless `any_minimum`. */
struct fit fit_scale_minimum(const struct levels *levels, const struct sweep *sweep, bool any_minimum, const float *x,
                             const float *w, int n);

/* Nearest half-float bits that are a finite number. */
uint16_t encode_f16(float x);

typedef void encode_block(const float *x, const float *w, uint8_t *block);

encode_block encode_q4_0, encode_q4_1, encode_q5_0, encode_q5_1, encode_q8_0, encode_iq4_nl, encode_mxfp4, encode_nvfp4;
encode_block encode_q1_0, encode_q2_0, encode_tq1_0, encode_tq2_0;
encode_block encode_q2_k, encode_q3_k, encode_q4_k, encode_q5_k, encode_q6_k, encode_iq4_xs;
encode_block encode_iq1_s, encode_iq1_m, encode_iq2_xxs, encode_iq2_xs, encode_iq2_s, encode_iq3_xxs, encode_iq3_s;

#endif
