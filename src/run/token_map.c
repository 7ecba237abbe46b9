#include "run/token_map.h"

#include <stdlib.h>
#include <string.h>

static const double least_share = 0.9; /* of the target's tokens that the draft model must have */

static bool is_same(const struct tokenizer *a, int32_t id_a, const struct tokenizer *b, int32_t id_b)
{
    size_t n_a, n_b; /* bytes; none for control tokens */
    const char *bytes_a = tokenizer_bytes(a, id_a, false, &n_a), *bytes_b = tokenizer_bytes(b, id_b, false, &n_b);
    return bytes_a && bytes_b && n_a == n_b && memcmp(bytes_a, bytes_b, n_a) == 0 &&
           strcmp(tokenizer_name(a, id_a), tokenizer_name(b, id_b)) == 0;
}

static int differ(const struct stile_model *target, const struct stile_model *draft, int32_t first, size_t n_same,
                  struct stile_error *error)
{
    const struct tokenizer *t = target->tokenizer, *d = draft->tokenizer;
    return error_set(
        error, STILE_ERROR_ARGUMENT,
        "%s cannot draft for %s: their vocabularies differ, token %d is \"%.40s\" there and \"%.40s\" here, "
        "%zu of %zu are the same; its guesses would be other words (take a smaller model of the same family)",
        draft->path, target->path, first, tokenizer_name(d, first), tokenizer_name(t, first), n_same,
        tokenizer_size(t));
}

int token_map_create(struct token_map *map, const struct stile_model *target, const struct stile_model *draft,
                     struct stile_error *error)
{
    const struct tokenizer *t = target->tokenizer, *d = draft->tokenizer;
    if (strcmp(tokenizer_model(t), tokenizer_model(d)) != 0)
        return error_set(error, STILE_ERROR_ARGUMENT,
                         "%s cannot draft for %s: its vocabulary is of another kind (%s, not %s); take a smaller model "
                         "of the same family",
                         draft->path, target->path, tokenizer_model(d), tokenizer_model(t));
    size_t n = target->model->hparams.n_vocab, n_draft = draft->model->hparams.n_vocab, n_same = 0;
    int32_t first = -1;
    struct token_map m = {.n_target = n, .filler = tokenizer_eos(d), .same = n == n_draft};
    m.to_draft = malloc(n * sizeof *m.to_draft);
    if (!m.to_draft) return error_memory(error, n * sizeof *m.to_draft, "the tokens of the draft model");
    for (size_t i = 0; i < n; i++) {
        int32_t id = (int32_t)i, there = is_same(t, id, d, id) ? id : -1;
        if (there < 0 && i < tokenizer_size(t)) {
            if (first < 0) first = id;
            there = tokenizer_find(d, tokenizer_name(t, id));
            if (there >= 0 && !is_same(t, id, d, there)) there = -1;
        }
        if (there >= 0 && (size_t)there >= n_draft) there = -1;
        m.to_draft[i] = there;
        m.same = m.same && there == id;
        n_same += there >= 0;
    }
    if ((double)n_same < least_share * (double)tokenizer_size(t)) {
        token_map_free(&m);
        return differ(target, draft, first, n_same, error);
    }
    if (m.filler < 0 || (size_t)m.filler >= n_draft) m.filler = 0;
    *map = m;
    return 0;
}

void token_map_free(struct token_map *map)
{
    free(map->to_draft);
    *map = (struct token_map){0};
}
