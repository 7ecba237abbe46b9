/* stats.h - what a handful of timings says: the median, how far it can be trusted, and whether two differ.
 *
 * Nothing here assumes a normal distribution: timings have a hard floor and a long tail. The interval of a median is
 * made of order statistics: the true median lies between the k-th smallest and the k-th largest of n samples with
 * probability 1 - 2 P(Binomial(n, 1/2) < k), whatever the distribution.
 */
#ifndef STILE_LAB_STATS_H
#define STILE_LAB_STATS_H

#include <stdbool.h>
#include <stddef.h>

enum { STATS_SAMPLES_MAX = 1024 };

struct stats {
    size_t n;
    double median, min, max;
    double mad;        /* median of the distances from the median */
    double low, high;  /* the narrowest such interval with a confidence of at least 0.9, or min and max */
    double confidence; /* of that interval: 0.9375 with 5 samples, 0.75 with 3, 0 with 1 */
};

/* n in 1..STATS_SAMPLES_MAX; the samples stay as they are. All zero when n is 0. */
void stats_of(const double *samples, size_t n, struct stats *stats);

/* Half the width of the interval, as a share of the median; 0 where the median is 0. */
double stats_spread(const struct stats *stats);

/* b as a multiple of a, sample by sample: for samples that were taken in turn, so that what disturbed one disturbed
 * its neighbour. The common number of samples counts; an `a` of 0 is left out. */
void stats_paired_ratio(const double *a, const double *b, size_t n, struct stats *ratio);

/* b as a multiple of a where the samples are from different runs: the ratio of the medians, and the widest interval
 * that theirs allow. `beyond_noise`: the intervals do not touch. */
struct stats_ratio {
    double ratio, low, high;
    bool beyond_noise;
};
struct stats_ratio stats_ratio_of(const struct stats *a, const struct stats *b);

/* Did something change while measuring? The change from the first half of the samples to the second, as a share of
 * the first, where every sample of one half is above every one of the other; otherwise, and for fewer than 4, 0. (Of an
 * odd number the middle one belongs to neither.) */
double stats_halves_shift(const double *samples, size_t n);

#endif
