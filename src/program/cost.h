/* cost.h - what an operation costs: the one definition of bytes and arithmetic that measuring and planning share.
 *
 * Counted is what must move at least once per step: weights (once, however many tokens; of experts, as many as are
 * expected to be chosen by some token, were all equally popular), the KV cache's visible part per token, and what is
 * appended to it. Activations stay in the caches of the processor and are not counted.
 */
#ifndef STILE_PROGRAM_COST_H
#define STILE_PROGRAM_COST_H

#include "program/op.h"

struct cost {
    uint64_t weight_bytes;
    uint64_t kv_bytes;
    uint64_t macs; /* multiply-adds of matrix products and attention */
};

/* A step over n_tokens tokens that follow n_past others; logits for the last n_selected. */
struct step_shape {
    uint64_t n_tokens, n_past, n_selected;
    enum format kv_format; /* of the KV cache */
};

struct cost op_cost(const struct program *program, const struct op *op, const struct step_shape *shape);
struct cost program_cost(const struct program *program, const struct step_shape *shape);

#endif
