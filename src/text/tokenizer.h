/* tokenizer.h - text to tokens and back, by the vocabulary of a GGUF file.
 *
 * Two families: byte-level BPE ("gpt2", by merge ranks, after a pre-tokenizer's regular expressions) and
 * SentencePiece ("llama", by scores, with byte fallback). Immutable once created: safe to share.
 */
#ifndef STILE_TEXT_TOKENIZER_H
#define STILE_TEXT_TOKENIZER_H

#include "base/buffer.h"
#include "file/gguf.h"

struct tokenizer;

enum { TOKENIZER_ADD_SPECIAL = 1, TOKENIZER_PARSE_SPECIAL = 2, TOKENIZER_ADD_BOS = 4 /* BOS, but no EOS */ };

struct tokens {
    int32_t *ids; /* free with tokens_free */
    size_t n;
    size_t capacity;
};
void tokens_free(struct tokens *tokens);
/* False when memory is out. */
bool tokens_add(struct tokens *tokens, int32_t id);

/* Reads tokenizer.ggml.* keys. The gguf may be closed afterwards. */
int tokenizer_create(struct tokenizer **tokenizer, const struct gguf *gguf, struct stile_error *error);
void tokenizer_free(struct tokenizer *tokenizer);

/* Appends the tokens of n bytes (any bytes) to `tokens`. TOKENIZER_ADD_SPECIAL adds BOS/EOS as the vocabulary asks
 * (BOS not twice when the text begins with it and PARSE_SPECIAL is on). */
int tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t n, unsigned flags,
                     struct tokens *tokens, struct stile_error *error);
/* The same for text of mixed origin: control tokens spelled in bytes that `doubtful` (n flags) marks stay text, and
 * nothing else changes: what lies on both sides of a mark is tokenized as one. */
int tokenizer_encode_marked(const struct tokenizer *tokenizer, const char *text, size_t n, const bool *doubtful,
                            unsigned flags, struct tokens *tokens, struct stile_error *error);

size_t tokenizer_size(const struct tokenizer *tokenizer);
/* Of the vocabulary and its tables. */
size_t tokenizer_memory_bytes(const struct tokenizer *tokenizer);
/* Bytes the token prints as; n = 0 for control tokens unless `special`. NULL for ids out of range. */
const char *tokenizer_bytes(const struct tokenizer *tokenizer, int32_t id, bool special, size_t *n);
/* The vocabulary's spelling, NUL-terminated. "" for ids out of range. */
const char *tokenizer_name(const struct tokenizer *tokenizer, int32_t id);
/* The first token with this spelling; -1. */
int32_t tokenizer_find(const struct tokenizer *tokenizer, const char *name);
bool tokenizer_is_end(const struct tokenizer *tokenizer, int32_t id);
/* -1 when the vocabulary has none. */
int32_t tokenizer_bos(const struct tokenizer *tokenizer);
int32_t tokenizer_eos(const struct tokenizer *tokenizer);
bool tokenizer_adds_bos(const struct tokenizer *tokenizer);
const char *tokenizer_model(const struct tokenizer *tokenizer); /* "gpt2", "llama" */
const char *tokenizer_pre(const struct tokenizer *tokenizer);   /* "smollm", ...; "" for "llama" */
/* Does decoding the first token of a text drop its leading space (SentencePiece with a space prefix)? */
bool tokenizer_drops_space(const struct tokenizer *tokenizer);

#endif
