#include "lab/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_of_sorted(const double *sorted, size_t n)
{
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

/* The largest k (from 1) whose interval, the k-th smallest to the k-th largest, has a confidence of at least 0.9; 1
 * where none has. */
static size_t interval_rank(size_t n, double *confidence)
{
    /* Binomial(n, 1/2) by logarithms: 2^-1024 is no normal number */
    double below = 0; /* P(X < k) */
    size_t k = 1;
    for (size_t i = 0; i < n / 2; i++) {
        double x = (double)i, m = (double)n;
        double next = below + exp(lgamma(m + 1) - lgamma(x + 1) - lgamma(m - x + 1) - m * log(2));
        if (i > 0 && 1 - 2 * next < 0.9) break;
        below = next;
        k = i + 1;
    }
    *confidence = n > 1 ? 1 - 2 * below : 0;
    return k;
}

void stats_of(const double *samples, size_t n, struct stats *stats)
{
    double sorted[STATS_SAMPLES_MAX];
    memset(stats, 0, sizeof *stats);
    if (n > STATS_SAMPLES_MAX) n = STATS_SAMPLES_MAX;
    if (n == 0) return;
    memcpy(sorted, samples, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare_doubles);
    stats->n = n;
    stats->median = median_of_sorted(sorted, n);
    stats->min = sorted[0];
    stats->max = sorted[n - 1];
    size_t k = interval_rank(n, &stats->confidence);
    stats->low = sorted[k - 1];
    stats->high = sorted[n - k];
    for (size_t i = 0; i < n; i++)
        sorted[i] = fabs(samples[i] - stats->median);
    qsort(sorted, n, sizeof *sorted, compare_doubles);
    stats->mad = median_of_sorted(sorted, n);
}

double stats_spread(const struct stats *stats)
{
    return stats->median != 0 ? (stats->high - stats->low) / 2 / fabs(stats->median) : 0;
}

void stats_paired_ratio(const double *a, const double *b, size_t n, struct stats *ratio)
{
    double ratios[STATS_SAMPLES_MAX];
    size_t n_ratios = 0;
    for (size_t i = 0; i < n && n_ratios < STATS_SAMPLES_MAX; i++)
        if (a[i] != 0) ratios[n_ratios++] = b[i] / a[i];
    stats_of(ratios, n_ratios, ratio);
}

struct stats_ratio stats_ratio_of(const struct stats *a, const struct stats *b)
{
    struct stats_ratio result = {0};
    if (a->median <= 0 || a->low <= 0 || a->high <= 0) return result;
    result.ratio = b->median / a->median;
    result.low = b->low / a->high;
    result.high = b->high / a->low;
    /* one sample has an interval of no width: that says nothing about noise */
    result.beyond_noise = a->n > 1 && b->n > 1 && (result.low > 1 || result.high < 1);
    return result;
}

double stats_halves_shift(const double *samples, size_t n)
{
    struct stats first, second;
    if (n < 4) return 0;
    stats_of(samples, n / 2, &first);
    stats_of(samples + (n + 1) / 2, n / 2, &second);
    if (first.max >= second.min && second.max >= first.min) return 0;
    return first.median != 0 ? second.median / first.median - 1 : 0;
}
