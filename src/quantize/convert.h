/* convert.h - writes the tensors of a table, in slices of rows that all threads take from each other.
 *
 * Each row is read, decoded, encoded and written on its own, so the bytes do not depend on the number of threads, and memory
 * holds a slice for each thread whatever the size of the model.
 */
#ifndef STILE_QUANTIZE_CONVERT_H
#define STILE_QUANTIZE_CONVERT_H

#include "quantize/output.h"
#include "quantize/table.h"

struct convert_options {
    int n_threads;
    bool forget; /* what was read will not be needed again */
    const volatile int *cancel;
    void (*on_progress)(void *user, uint64_t n_done, uint64_t n_total); /* of elements, now and then; may be NULL */
    void *user;
};

/* From tensor `first` on, but for those that are made already. CANCELLED, IO, MALFORMED for numbers that are not finite. */
int convert_table(const struct table *table, size_t first, struct output *output, const struct convert_options *options,
                  struct stile_error *error);

#endif
