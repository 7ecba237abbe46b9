/* measure.h - what formats cost, tensor by tensor: how much of what a matrix computes is error afterwards.
 *
 * Of y = W x, with W rounded to Q, the share of energy that is error: sum_k a_k (w_k - q_k)^2 / sum_k a_k w_k^2 over
 * rows, with a_k the mean square of input k where an importance matrix says it, else 1. Rows are a sample, the same
 * every time, evenly spread.
 */
#ifndef STILE_QUANTIZE_MEASURE_H
#define STILE_QUANTIZE_MEASURE_H

#include "quantize/convert.h"

/* Does the format have whole blocks in the rows of this tensor? */
bool measure_fits(const struct table_tensor *tensor, enum format format);

/* Fills shares (n_tensors of the table, n_formats), of matrices alone and for formats that fit; others are left as they are.
 * Progress counts tensors. CANCELLED, IO, MALFORMED. */
int measure_errors(const struct table *table, const enum format *formats, size_t n_formats, double *shares,
                   const struct convert_options *options, struct stile_error *error);

#endif
