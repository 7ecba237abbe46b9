/* chunks.h - a text as windows of tokens, cut as llama.cpp's tools cut it: n_ctx tokens each, the first of each replaced by
 * the beginning token where the vocabulary asks for one; what is left over at the end is dropped.
 */
#ifndef STILE_QUANTIZE_CHUNKS_H
#define STILE_QUANTIZE_CHUNKS_H

#include "run/loaded.h"

enum { CHUNKS_CTX_DEFAULT = 512 };

struct chunks {
    int32_t *tokens; /* (n, n_ctx) */
    uint32_t n, n_ctx;
};

/* n_ctx 0: the default; n_max 0: all that the text gives. ARGUMENT when that is none. */
int chunks_create(struct chunks *chunks, const struct stile_model *model, const char *text, size_t n_bytes,
                  uint32_t n_ctx, uint32_t n_max, struct stile_error *error);
void chunks_free(struct chunks *chunks);

#endif
