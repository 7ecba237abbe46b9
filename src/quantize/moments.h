/* moments.h - second moments of the inputs of a product, H = sum of x x^T over all tokens, and what their factor says of how
 * an error in one weight can be made good by those after it.
 *
 * Products of a batch are made by the kernels for floats, in single precision and in the order that kernel.h fixes, and
 * added to doubles batch by batch: the same bits at any number of threads and any instruction set.
 */
#ifndef STILE_QUANTIZE_MOMENTS_H
#define STILE_QUANTIZE_MOMENTS_H

#include "backend/cpu.h"
#include "base/threads.h"

struct moments;

/* Of the experts from `first` on, n_experts of them (0 and 1 for a product without); at most n_rows inputs are seen
 * between two calls of moments_add. Memory: moments_bytes. */
int moments_create(struct moments **moments, uint64_t cols, uint64_t first, uint64_t n_experts, size_t n_rows,
                   struct threads *threads, const struct kernel_table *kernels, struct stile_error *error);
void moments_free(struct moments *moments);
uint64_t moments_bytes(uint64_t cols, uint64_t n_experts, size_t n_rows);

/* For struct cpu_observer; `user` is the moments, and it is told only of one product. */
void moments_see(void *user, const struct op *op, size_t expert, const float *values, const uint32_t *rows,
                 size_t n_rows, int i_thread, int n_threads);
/* Adds what was seen since; between runs. */
void moments_add(struct moments *moments);
uint64_t moments_count(const struct moments *moments, uint64_t expert);

/* An error e_j of weight j is worth making good in weight k > j by e_j * feedback[k][j]; what then remains of the loss is the
 * sum over k of worth[k] * (error of weight k, after what was made good in it)^2. (Rounding columns in order with this
 * feedback is the method called GPTQ, or OPTQ; in this form, LDLQ.) */
struct feedback {
    size_t cols, stride; /* floats between rows, which are aligned for kernels */
    float *rows;         /* (cols, stride): of weight k, for all j < k; 0 from there on */
    float *worth;        /* (cols) */
};
/* Of one expert, whose moments are used up by it. damping: the share that each column's own moment grows by, which weakens
 * all that columns say of each other: a text says it only roughly. (A share of the mean would drown most columns where a
 * few inputs are huge, as those of the first token of a text are.) */
int moments_factor(struct moments *moments, uint64_t expert, double damping, struct feedback *feedback,
                   struct stile_error *error);
void feedback_free(struct feedback *feedback);

#endif
