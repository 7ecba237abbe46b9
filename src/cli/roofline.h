/* roofline.h - what a machine's disk, memory and arithmetic allow, and where a model runs into them: one picture.
 *
 * To the right, the multiply-adds that are made with each byte that is read; upwards, multiply-adds per second. A rate
 * of reading is a slope, a rate of arithmetic is level; what is below the lowest of them that binds it can be had.
 */
#ifndef STILE_CLI_ROOFLINE_H
#define STILE_CLI_ROOFLINE_H

#include <stdbool.h>
#include <stddef.h>

enum { ROOFLINE_SLOPES_MAX = 4, ROOFLINE_LEVELS_MAX = 4, ROOFLINE_SERIES_MAX = 6 };

struct roofline_point {
    double macs_per_byte, macs_per_s;
    double tokens_per_s, tokens_low_per_s, tokens_high_per_s; /* 0: not known, and no point */
};

struct roofline {
    char title[160], subtitle[200];
    size_t n_slopes, n_levels, n_series;
    struct {
        char name[48];
        double bytes_per_s;
    } slopes[ROOFLINE_SLOPES_MAX];
    struct {
        char name[48];
        double macs_per_s;
    } levels[ROOFLINE_LEVELS_MAX];
    struct {
        char name[48]; /* "q4_k_m" */
        struct roofline_point decode, prefill;
    } series[ROOFLINE_SERIES_MAX];
};

/* As SVG, readable on light and dark ground. Free it with free; NULL when memory is out. */
char *roofline_svg(const struct roofline *roofline);

#endif
