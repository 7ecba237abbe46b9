/* choose.h - one choice for each of many items, so that their losses add up to little and their sizes fit a budget.
 *
 * The multiple-choice knapsack problem, by its Lagrangian: each item climbs the lower convex hull of its choices, the
 * steepest steps of all items first, until the budget is used up; what is left is then spent on the single changes that
 * still fit. With hundreds of items that is next to the optimum, and `bound` says how near.
 */
#ifndef STILE_QUANTIZE_CHOOSE_H
#define STILE_QUANTIZE_CHOOSE_H

#include "base/error.h"

struct choice {
    uint64_t size_bytes;
    double loss; /* finite, not negative */
};

struct choose_item {
    const struct choice *choices; /* (n_choices), in any order */
    size_t n_choices;             /* at least 1 */
    size_t chosen;                /* the result */
};

struct choose_result {
    uint64_t size_bytes;
    double loss;
    double bound;         /* no choices within the budget lose less than this */
    uint64_t least_bytes; /* of the smallest choices together */
};

/* False when even the smallest choices are too large; `result` then has their size alone. MEMORY. */
int choose(struct choose_item *items, size_t n, uint64_t budget_bytes, struct choose_result *result, bool *possible,
           struct stile_error *error);

#endif
