/* imatrix.h - importance matrices: the mean square of every input of a model's matrices, over some text.
 *
 * Encoders weight the error of a weight by it: what meets a large input matters. Read are llama.cpp's two forms, the GGUF
 * one and the older binary one, as hostile input; written is the GGUF form. Sources: docs/formats.md.
 *
 * An expert that no token of the text was sent to gets the mean of those that were, column by column: it sees the same
 * kind of input. Where none was, all columns count alike.
 */
#ifndef STILE_QUANTIZE_IMATRIX_H
#define STILE_QUANTIZE_IMATRIX_H

#include "base/error.h"

#include <stddef.h>

struct imatrix_entry {
    const char *name; /* of the model's tensor: "blk.0.attn_q.weight" */
    uint64_t n;       /* columns times experts */
    float *means;     /* (n): mean squares, finite, not negative */
};

struct imatrix {
    size_t n_entries;
    const struct imatrix_entry *entries; /* sorted by name */
    uint32_t n_chunks, chunk_tokens;     /* of the text; 0: the file does not say */
    const char *dataset;                 /* what the text was called, "" where the file does not say */
    struct imatrix_private *private;
};

/* All is in memory afterwards. */
int imatrix_open(struct imatrix **imatrix, const char *path, struct stile_error *error);
/* The same of the bytes of a file, which is called `path` in messages; they must outlive it. */
int imatrix_open_bytes(struct imatrix **imatrix, const char *path, const uint8_t *bytes, size_t n,
                       struct stile_error *error);
void imatrix_close(struct imatrix *imatrix);

/* Mean squares of a tensor's inputs, (n_experts, cols); n_experts is 1 where there are none. NULL: nothing is known of
 * it, or it was of another shape. */
const float *imatrix_find(const struct imatrix *imatrix, const char *tensor_name, uint64_t cols, uint64_t n_experts);

/* What is written of a tensor: sums of squares of its inputs, (n_experts, cols), and how many inputs each expert had. */
struct imatrix_sums {
    const char *name;
    uint64_t cols, n_experts; /* n_experts: 1 where there are none */
    const double *sums;
    const uint64_t *counts; /* (n_experts) */
};
/* Writes a file of n tensors, beside and renamed. The text had n_chunks windows of chunk_tokens. MALFORMED where a sum is not
 * finite. */
int imatrix_write(const char *path, const struct imatrix_sums *tensors, size_t n, uint32_t n_chunks,
                  uint32_t chunk_tokens, const char *dataset, uint64_t *size_bytes, struct stile_error *error);

#endif
