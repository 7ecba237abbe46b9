#include "quantize/chunks.h"

#include <stdlib.h>

int chunks_create(struct chunks *chunks, const struct stile_model *model, const char *text, size_t n_bytes,
                  uint32_t n_ctx, uint32_t n_max, struct stile_error *error)
{
    const struct tokenizer *tokenizer = model->tokenizer;
    struct tokens tokens = {0};
    if (n_ctx == 0) n_ctx = CHUNKS_CTX_DEFAULT;
    if (n_ctx > HPARAMS_CONTEXT_MAX)
        return error_set(error, STILE_ERROR_ARGUMENT, "windows of %u tokens are more than %d", n_ctx,
                         HPARAMS_CONTEXT_MAX);
    int failed = tokenizer_encode(tokenizer, text, n_bytes, TOKENIZER_ADD_SPECIAL, &tokens, error);
    if (!failed && tokens.n < n_ctx)
        failed = error_set(error, STILE_ERROR_ARGUMENT,
                           "the text has %zu tokens, less than one window of %u (take more text, or a smaller --ctx)",
                           tokens.n, n_ctx);
    if (failed) {
        tokens_free(&tokens);
        return failed;
    }
    size_t n = tokens.n / n_ctx;
    if (n_max > 0 && n > n_max) n = n_max;
    if (n > UINT32_MAX) n = UINT32_MAX;
    if (tokenizer_adds_bos(tokenizer) && tokenizer_bos(tokenizer) >= 0)
        for (size_t i = 0; i < n; i++)
            tokens.ids[i * n_ctx] = tokenizer_bos(tokenizer);
    *chunks = (struct chunks){tokens.ids, (uint32_t)n, n_ctx};
    return 0;
}

void chunks_free(struct chunks *chunks)
{
    free(chunks->tokens);
    *chunks = (struct chunks){0};
}
