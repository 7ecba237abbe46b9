/* pretokenizer.h - cuts text into pieces by a model family's regular expressions, run by pcre2.
 *
 * Immutable once created: safe to share.
 */
#ifndef STILE_TEXT_PRETOKENIZER_H
#define STILE_TEXT_PRETOKENIZER_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct pretokenizer;

struct pieces {
    size_t *ends; /* the piece i is [ends[i - 1], ends[i]); free with pieces_free */
    size_t n, capacity;
};
void pieces_free(struct pieces *pieces);

/* `name` as in tokenizer.ggml.pre; `path` of the file that asks for it, for errors. */
int pretokenizer_create(struct pretokenizer **pretokenizer, const char *name, const char *path,
                        struct stile_error *error);
void pretokenizer_free(struct pretokenizer *pretokenizer);
/* What the name also says about the vocabulary: a piece that is a token becomes it whatever the merges say; BOS goes
 * before a text unless the file has a key for that. */
bool pretokenizer_ignores_merges(const struct pretokenizer *pretokenizer);
bool pretokenizer_adds_bos(const struct pretokenizer *pretokenizer);

/* The pieces tile the n bytes. Bytes that are not UTF-8 count as control characters. The time is linear in n. */
int pretokenizer_split(const struct pretokenizer *pretokenizer, const char *text, size_t n, struct pieces *pieces,
                       struct stile_error *error);

#endif
