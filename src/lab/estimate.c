#include "lab/estimate.h"

#include "base/error.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const double estimate_quantiles[ESTIMATE_QUANTILES] = {0.5, 0.9, 0.95, 0.99, 0.999};

enum { N_DRAWS = 1000 };

struct estimate estimate_perplexity(const struct score *scores, size_t n, bool of_reference)
{
    double sum = 0, sum_squares = 0;
    for (size_t i = 0; i < n; i++) {
        double loss = of_reference ? -scores[i].reference_log_p : -scores[i].log_p;
        sum += loss;
        sum_squares += loss * loss;
    }
    double mean = sum / (double)n, variance = sum_squares / (double)n - mean * mean;
    double error = n > 1 && variance > 0 ? sqrt(variance / (double)(n - 1)) * exp(mean) : n > 1 ? 0 : NAN;
    return (struct estimate){exp(mean), error};
}

/* What is summed over the tokens of a window. */
enum { LOG_RATIO, DIVERGENCE, SAME_TOP, DIFFERENCE, SQUARE, N_SUMS };

struct sums {
    double n, values[N_SUMS];
};

static void add_score(struct sums *sums, const struct score *score)
{
    const double difference = exp(score->log_p) - exp(score->reference_log_p);
    sums->n++;
    sums->values[LOG_RATIO] += score->reference_log_p - score->log_p;
    sums->values[DIVERGENCE] += score->divergence;
    sums->values[SAME_TOP] += score->same_top;
    sums->values[DIFFERENCE] += difference;
    sums->values[SQUARE] += difference * difference;
}

static void add_sums(struct sums *sums, const struct sums *more, double times)
{
    sums->n += times * more->n;
    for (int i = 0; i < N_SUMS; i++)
        sums->values[i] += times * more->values[i];
}

/* Everything that is estimated, in one order. */
enum { N_VALUES = N_SUMS + ESTIMATE_QUANTILES };

static void values_of_sums(const struct sums *sums, double values[N_SUMS])
{
    for (int i = 0; i < N_SUMS; i++)
        values[i] = sums->values[i] / sums->n;
    values[LOG_RATIO] = exp(values[LOG_RATIO]);
    values[SQUARE] = sqrt(values[SQUARE]);
}

/* A token's divergence, and the window it is in. */
struct entry {
    double divergence;
    uint32_t window;
};

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->divergence != y->divergence) return x->divergence < y->divergence ? -1 : 1;
    return x->window < y->window ? -1 : x->window > y->window;
}

/* Quantiles of sorted entries, where window w counts times[w]; n is the sum of what counts. */
static void quantiles_of(const struct entry *entries, size_t n_entries, const uint32_t *times, double n, double *values)
{
    double below = 0; /* how many are */
    int q = 0;
    for (size_t i = 0; i < n_entries && q < ESTIMATE_QUANTILES; i++) {
        below += times[entries[i].window];
        while (q < ESTIMATE_QUANTILES && below > estimate_quantiles[q] * (n - 1))
            values[q++] = entries[i].divergence;
    }
}

/* The same, with what lies between two entries interpolated. */
static double quantile_between(const struct entry *entries, size_t n, double share)
{
    double at = share * (double)(n - 1);
    size_t i = (size_t)at;
    if (i + 1 >= n) return entries[n - 1].divergence;
    return entries[i].divergence + (at - (double)i) * (entries[i + 1].divergence - entries[i].divergence);
}

static uint64_t next_random(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Standard errors of the values, by drawing windows again. */
static void draw(const struct sums *windows, size_t n_windows, const struct entry *entries, size_t n_entries,
                 uint32_t *times, double *errors)
{
    double sum[N_VALUES] = {0}, sum_squares[N_VALUES] = {0};
    uint64_t random = 1;
    for (int d = 0; d < N_DRAWS; d++) {
        struct sums sums = {0};
        double values[N_VALUES] = {0};
        memset(times, 0, n_windows * sizeof *times);
        for (size_t i = 0; i < n_windows; i++)
            times[next_random(&random) % n_windows]++;
        for (size_t i = 0; i < n_windows; i++)
            add_sums(&sums, &windows[i], times[i]);
        values_of_sums(&sums, values);
        quantiles_of(entries, n_entries, times, sums.n, values + N_SUMS);
        for (int i = 0; i < N_VALUES; i++) {
            sum[i] += values[i];
            sum_squares[i] += values[i] * values[i];
        }
    }
    for (int i = 0; i < N_VALUES; i++) {
        double mean = sum[i] / N_DRAWS, variance = sum_squares[i] / N_DRAWS - mean * mean;
        errors[i] = n_windows < 2 ? NAN : variance > 0 ? sqrt(variance) : 0;
    }
}

static int estimate_difference(struct estimates *e, const struct windows *windows, const struct score *scores,
                               struct stile_error *error)
{
    struct sums *sums = calloc(e->n_windows, sizeof *sums), all = {0};
    struct entry *entries = malloc(e->n_scored * sizeof *entries);
    uint32_t *times = malloc(e->n_windows * sizeof *times);
    double values[N_SUMS], errors[N_VALUES];
    int failed = 0;
    if (!sums || !entries || !times) {
        failed = error_memory(error, e->n_scored * sizeof *entries, "estimates");
        goto end;
    }
    for (size_t w = 0, i = 0; w < e->n_windows; w++) {
        for (; i < windows_scored(windows, w + 1); i++) {
            add_score(&sums[w], &scores[i]);
            entries[i] = (struct entry){scores[i].divergence, (uint32_t)w};
        }
        add_sums(&all, &sums[w], 1);
    }
    qsort(entries, e->n_scored, sizeof *entries, compare_entries);
    values_of_sums(&all, values);
    draw(sums, e->n_windows, entries, e->n_scored, times, errors);
    e->perplexity_ratio = (struct estimate){values[LOG_RATIO], errors[LOG_RATIO]};
    e->divergence = (struct estimate){values[DIVERGENCE], errors[DIVERGENCE]};
    e->same_top = (struct estimate){values[SAME_TOP], errors[SAME_TOP]};
    e->p_difference = (struct estimate){values[DIFFERENCE], errors[DIFFERENCE]};
    e->p_rms = (struct estimate){values[SQUARE], errors[SQUARE]};
    e->divergence_max = entries[e->n_scored - 1].divergence;
    for (int q = 0; q < ESTIMATE_QUANTILES; q++)
        e->divergence_quantiles[q] =
            (struct estimate){quantile_between(entries, e->n_scored, estimate_quantiles[q]), errors[N_SUMS + q]};
end:
    free(sums);
    free(entries);
    free(times);
    return failed;
}

int estimate_scores(struct estimates *estimates, const struct windows *windows, size_t n_windows,
                    const struct score *scores, bool has_reference, struct stile_error *error)
{
    *estimates = (struct estimates){.n_windows = n_windows, .n_scored = windows_scored(windows, n_windows)};
    estimates->perplexity = estimate_perplexity(scores, estimates->n_scored, false);
    if (!has_reference) return 0;
    estimates->reference_perplexity = estimate_perplexity(scores, estimates->n_scored, true);
    return estimate_difference(estimates, windows, scores, error);
}
