/* windows.h - a text as windows of tokens, each evaluated on its own.
 *
 * Without a stride: windows follow each other, and the tokens of the second half of each are scored (all but the first
 * of them): what llama.cpp's perplexity tool does, so that numbers can be compared. With a stride: windows move by it and
 * every token is scored once, after at least n_ctx - stride others.
 * Where the vocabulary asks for a beginning token, it stands in place of each window's first token.
 */
#ifndef STILE_LAB_WINDOWS_H
#define STILE_LAB_WINDOWS_H

#include "stile.h"

struct windows {
    int32_t *tokens;
    size_t n_tokens;
    int32_t bos; /* -1: none */
    uint32_t n_ctx, step, n_scored;
    size_t n; /* windows */
};

/* Tokens of the text from `begin`; its last n_scored are scored: row n_tokens - n_scored - 1 says the first. */
struct window {
    size_t begin;
    uint32_t n_tokens, n_scored;
};

/* n_max: windows at most, 0: all. ARGUMENT when the text is shorter than one window. */
int windows_create(struct windows *windows, const struct stile_model *model, const char *text, size_t n_bytes,
                   uint32_t n_ctx, uint32_t stride, size_t n_max, struct stile_error *error);
void windows_free(struct windows *windows);

struct window windows_at(const struct windows *windows, size_t i);
/* Scored tokens of all windows before the i-th; i up to windows->n. */
size_t windows_scored(const struct windows *windows, size_t i);
/* The window's tokens as they are evaluated. */
void windows_tokens(const struct windows *windows, const struct window *window, int32_t *tokens);

/* The token that text begins with, by the vocabulary; -1: none. */
int windows_bos(const struct stile_model *model, int32_t *bos, struct stile_error *error);

#endif
