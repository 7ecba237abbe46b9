/* score.h - what a row of logits says of the token that came, and how far two rows are apart.
 *
 * Exponentials are floats, good to 1e-7; sums are float64 in eight lanes, always in the same order: the same bits at any
 * number of threads.
 */
#ifndef STILE_LAB_SCORE_H
#define STILE_LAB_SCORE_H

#include "base/threads.h"

#include <stdbool.h>
#include <stdint.h>

/* Of one token of a text. Probabilities are natural logarithms. */
struct score {
    double log_p;           /* of the token, by the model */
    double reference_log_p; /* and by the reference; this and the next two are 0 without one */
    double
        divergence; /* Kullback-Leibler, of the model from the reference, in nats: sum p_reference (log p_reference - log p) */
    bool same_top; /* both find the same token most likely */
};

/* Scores n_rows rows, (n_rows, n_vocab), where tokens[i] came after row i; `reference` may be NULL. MALFORMED when a row
 * of the model or the reference has no finite result. */
int score_rows(struct threads *threads, const float *rows, const float *reference, size_t n_rows, size_t n_vocab,
               const int32_t *tokens, struct score *scores, struct stile_error *error);

#endif
