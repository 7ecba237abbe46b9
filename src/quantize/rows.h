/* rows.h - rows of a model's tensors as floats, read from its files a few at a time.
 *
 * Read rather than mapped, so that memory holds only what is at work. From any thread.
 */
#ifndef STILE_QUANTIZE_ROWS_H
#define STILE_QUANTIZE_ROWS_H

#include "quantize/table.h"

/* Bytes of a tensor's row in the model. */
uint64_t rows_bytes(const struct table_tensor *tensor);
/* Reads n bytes of a tensor's data at an offset in it. IO. */
int rows_read_bytes(const struct table *table, const struct table_tensor *tensor, uint64_t offset, uint64_t n,
                    void *bytes, struct stile_error *error);
/* Reads rows [row, row + n), as they are in the model but in the order of GGUF files: n * rows_bytes. IO. */
int rows_read(const struct table *table, const struct table_tensor *tensor, uint64_t row, uint64_t n, void *bytes,
              struct stile_error *error);
/* One row that rows_read brought: (cols), NVFP4's second scale included. MALFORMED when a number is not finite. */
int rows_decode(const struct table *table, const struct table_tensor *tensor, uint64_t row, const void *bytes, float *x,
                struct stile_error *error);
/* Has the system begin to read what will be needed soon, or forget what will not be needed again. */
void rows_ahead(const struct table *table, const struct table_tensor *tensor, uint64_t offset, uint64_t n);
void rows_forget(const struct table *table, const struct table_tensor *tensor, uint64_t offset, uint64_t n);

#endif
