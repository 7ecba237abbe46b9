/* token_map.h - the tokens of one vocabulary in the ids of another: what a model guesses for another must be words that
 * this one knows. */
#ifndef STILE_RUN_TOKEN_MAP_H
#define STILE_RUN_TOKEN_MAP_H

#include "run/loaded.h"

struct token_map {
    int32_t *to_draft; /* (n_target) -1: the draft model has no such token */
    size_t n_target;   /* ids of the target's logits */
    int32_t filler;    /* what the draft model reads where it has no such token */
    bool same;         /* every id means the same in both */
};

/* Vocabularies of different sizes or with moved ids are fine as long as nearly all tokens are there; otherwise the error
 * ARGUMENT says which was the first that is not. */
int token_map_create(struct token_map *map, const struct stile_model *target, const struct stile_model *draft,
                     struct stile_error *error);
void token_map_free(struct token_map *map);

#endif
