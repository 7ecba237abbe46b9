/* round.h - rounds the rows of a matrix to blocks of a format (format_rounds), with the feedback of its errors (moments.h).
 */
#ifndef STILE_QUANTIZE_ROUND_H
#define STILE_QUANTIZE_ROUND_H

#include "base/threads.h"
#include "quantize/moments.h"
#include "quantize/table.h"

/* Rounds the rows of one expert of a tensor (0: of a tensor without) to `out`, all of its rows. scale: NVFP4's second one, 1
 * for other formats. */
int round_rows(const struct table *table, const struct table_tensor *tensor, uint64_t expert,
               const struct feedback *feedback, float scale, void *out, struct threads *threads,
               const struct kernel_table *kernels, struct stile_error *error);
/* The second scale of NVFP4. */
int round_find_scale(const struct table *table, const struct table_tensor *tensor, uint64_t expert, float *scale,
                     struct stile_error *error);

#endif
