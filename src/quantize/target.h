/* target.h - formats for a size: those with which the model's matrices lose least together, as measured.
 *
 * What a matrix loses is the share of error in what it computes (measure.h), times how much such an error matters where the
 * matrix stands (target_weight). The formats that make the sum least within the size are found by choose.h.
 */
#ifndef STILE_QUANTIZE_TARGET_H
#define STILE_QUANTIZE_TARGET_H

#include "quantize/convert.h"

struct target {
    double bits_per_weight; /* of all tensors; 0: not given */
    uint64_t file_bytes;    /* of the whole file; 0: not given */
};

/* Chooses the formats of all matrices that no recipe decides about. `header_bytes`: of the file, without second scales.
 * ARGUMENT when the size is too small. */
int target_choose(struct table *table, const struct target *target, uint64_t header_bytes,
                  const struct convert_options *options, struct stile_error *error);
/* How much an error in what this matrix computes matters, compared with other matrices. */
double target_weight(const struct table *table, const struct table_tensor *tensor);

#endif
