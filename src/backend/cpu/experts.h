/* experts.h - the steps of a mixture of experts. Private to the CPU backend.
 *
 * Values that have a row for each choice of each token (VALUE_GATE, VALUE_UP, VALUE_EXPERTS) keep these rows in slots:
 * all choices of a step by expert, and by token where the expert is the same. So the tokens of an expert are one product
 * of several tokens, and each expert's weights are gone through once. What a slot holds depends on its token and expert
 * alone, and a token's choices are summed best first: batches and threads leave no trace in the bits.
 */
#ifndef STILE_BACKEND_CPU_EXPERTS_H
#define STILE_BACKEND_CPU_EXPERTS_H

#include "backend/cpu/cpu_private.h"

void experts_route(const struct context *context, const struct step *step);
void experts_group(const struct context *context, const struct step *step);
void experts_observe(const struct context *context, const struct step *step);
void experts_quantize(const struct context *context, const struct step *step);
void experts_matmul(const struct context *context, const struct step *step);
/* Says which experts the next layer will probably want. One thread, at ROUTE. */
void experts_guess(const struct context *context, const struct step *step);
/* The n_used largest of n scores, of equal ones those of lower number: numbers, largest first, then weights. A NaN
 * counts as the smallest, so that there are always n_used experts. */
void experts_choose(const struct kernel_table *kernels, const float *scores, size_t n, size_t n_used, float *route);
void experts_combine(const struct context *context, const struct step *step);

#endif
