/* gptq.h - the second-order method: weights are rounded column by column, and the error of each is made good by those
 * after it, as far as the inputs over a text allow.
 *
 * Layer by layer: the text goes through the part of the model that is quantized already, so later matrices also make good
 * what earlier ones lost. A block's scales are chosen when the rounding comes to it. Memory: the text between layers
 * (walk.h), the moments of one matrix's inputs (moments.h), a layer's new weights.
 */
#ifndef STILE_QUANTIZE_GPTQ_H
#define STILE_QUANTIZE_GPTQ_H

#include "quantize/chunks.h"
#include "quantize/output.h"
#include "quantize/table.h"
#include "quantize/walk.h"

struct gptq_options {
    struct walk_options walk;                                           /* on_progress is not used */
    void (*on_progress)(void *user, uint64_t n_done, uint64_t n_total); /* of elements; may be NULL */
    void *user;
};

/* Is this tensor quantized by the method? Matrices of layers whose elements have codes of their own (format_rounds). */
bool gptq_takes(const struct table_tensor *tensor);
/* Makes and writes all tensors that it takes, with their scales. CANCELLED, IO, MALFORMED, MEMORY. */
int gptq_run(const struct stile_model *model, const struct table *table, const struct chunks *chunks,
             struct output *output, const struct gptq_options *options, struct stile_error *error);

#endif
