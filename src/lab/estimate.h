/* estimate.h - what the scores of a text add up to, and how sure that is.
 *
 * Tokens of a window are not independent, so errors come from drawing whole windows again (bootstrap, 1000 times, the same
 * draws every time); only the error of a perplexity is the one llama.cpp states, which takes tokens for independent.
 */
#ifndef STILE_LAB_ESTIMATE_H
#define STILE_LAB_ESTIMATE_H

#include "lab/score.h"
#include "lab/windows.h"

struct estimate {
    double value, error; /* one standard error; NAN: it cannot be told (of fewer than two windows) */
};

enum { ESTIMATE_QUANTILES = 5 };
extern const double estimate_quantiles[ESTIMATE_QUANTILES]; /* 0.5, 0.9, 0.95, 0.99, 0.999 */

struct estimates {
    size_t n_windows, n_scored;
    struct estimate perplexity;
    /* Against the reference; all 0 without. */
    struct estimate reference_perplexity;
    struct estimate perplexity_ratio; /* the model's as a multiple of the reference's */
    struct estimate divergence;       /* mean; nats per token */
    struct estimate divergence_quantiles[ESTIMATE_QUANTILES];
    double divergence_max;
    struct estimate same_top;     /* share of the tokens */
    struct estimate p_difference; /* mean of p - p_reference of the token that came */
    struct estimate p_rms;        /* root of the mean square of that */
};

/* Of the first n_windows windows, at least one. MEMORY on failure. */
int estimate_scores(struct estimates *estimates, const struct windows *windows, size_t n_windows,
                    const struct score *scores, bool has_reference, struct stile_error *error);

/* exp(-mean log p), with the error that llama.cpp states. */
struct estimate estimate_perplexity(const struct score *scores, size_t n, bool of_reference);

#endif
