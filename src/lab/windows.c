#include "lab/windows.h"

#include "base/error.h"

#include <string.h>

int windows_bos(const struct stile_model *model, int32_t *bos, struct stile_error *error)
{
    int32_t *plain = NULL, *special = NULL;
    size_t n_plain, n_special;
    int failed = stile_tokenize(model, "a", 1, 0, &plain, &n_plain, error);
    if (!failed) failed = stile_tokenize(model, "a", 1, STILE_ADD_SPECIAL, &special, &n_special, error);
    if (!failed) *bos = n_special > n_plain && (n_plain == 0 || special[0] != plain[0]) ? special[0] : -1;
    stile_free(plain);
    stile_free(special);
    return failed;
}

int windows_create(struct windows *windows, const struct stile_model *model, const char *text, size_t n_bytes,
                   uint32_t n_ctx, uint32_t stride, size_t n_max, struct stile_error *error)
{
    struct windows w = {.n_ctx = n_ctx, .step = stride ? stride : n_ctx};
    if (n_ctx < 4) return error_set(error, STILE_ERROR_ARGUMENT, "windows of %u tokens: 4 is the least", n_ctx);
    if (stride >= n_ctx)
        return error_set(error, STILE_ERROR_ARGUMENT, "a stride of %u leaves nothing of windows of %u tokens before it",
                         stride, n_ctx);
    w.n_scored = stride ? stride : n_ctx - 1 - n_ctx / 2;
    int failed = windows_bos(model, &w.bos, error);
    if (!failed) failed = stile_tokenize(model, text, n_bytes, STILE_ADD_SPECIAL, &w.tokens, &w.n_tokens, error);
    if (failed) return failed;
    if (w.n_tokens > 1 && stile_token_is_end(model, w.tokens[w.n_tokens - 1])) w.n_tokens--; /* text has none itself */
    if (w.n_tokens < n_ctx) {
        error_set(error, STILE_ERROR_ARGUMENT,
                  "the text has %zu tokens: fewer than one window of %u (give a longer text, or a smaller --ctx)",
                  w.n_tokens, n_ctx);
        windows_free(&w);
        return STILE_ERROR_ARGUMENT;
    }
    w.n = stride ? (w.n_tokens - n_ctx + stride - 1) / stride + 1 : w.n_tokens / n_ctx;
    if (n_max > 0 && w.n > n_max) w.n = n_max;
    *windows = w;
    return 0;
}

void windows_free(struct windows *windows)
{
    stile_free(windows->tokens);
    windows->tokens = NULL;
}

struct window windows_at(const struct windows *windows, size_t i)
{
    struct window window = {.begin = i * windows->step, .n_tokens = windows->n_ctx, .n_scored = windows->n_scored};
    size_t left = windows->n_tokens - window.begin;
    if (left < window.n_tokens) { /* the last one, with a stride */
        window.n_scored -= window.n_tokens - (uint32_t)left;
        window.n_tokens = (uint32_t)left;
    }
    return window;
}

size_t windows_scored(const struct windows *windows, size_t i)
{
    return i == 0 ? 0 : (i - 1) * windows->n_scored + windows_at(windows, i - 1).n_scored;
}

void windows_tokens(const struct windows *windows, const struct window *window, int32_t *tokens)
{
    memcpy(tokens, windows->tokens + window->begin, window->n_tokens * sizeof *tokens);
    if (windows->bos >= 0) tokens[0] = windows->bos;
}
