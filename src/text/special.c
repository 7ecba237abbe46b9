#include "text/special.h"

#include <stdlib.h>
#include <string.h>

static bool is_special(const struct vocab_token *token)
{
    return token->type == TOKEN_CONTROL || token->type == TOKEN_UNKNOWN || token->type == TOKEN_USER_DEFINED;
}

static size_t pair_of(const char *text)
{
    return (size_t)(unsigned char)text[0] << 8 | (unsigned char)text[1];
}

static void filter_set(struct special_filter *filter, size_t pair)
{
    filter->pairs[pair / 64] |= UINT64_C(1) << pair % 64;
}

static bool filter_has(const struct special_filter *filter, size_t pair)
{
    return filter->pairs[pair / 64] >> pair % 64 & 1;
}

static void filter_add(struct special_filter *filter, const struct vocab_token *token)
{
    if (token->n_text >= 2) {
        filter_set(filter, pair_of(token->text));
        return;
    }
    char pair[2] = {token->text[0], 0};
    for (int second = 0; second < 256; second++) {
        pair[1] = (char)second;
        filter_set(filter, pair_of(pair));
    }
}

/* The lengths in use, longest first. */
static int lengths_fill(struct special *special, struct arena *arena, struct stile_error *error)
{
    const struct vocab *vocab = special->vocab;
    bool *used = calloc((size_t)vocab->n_text_max + 1, sizeof *used);
    if (!used) return error_memory(error, vocab->n_text_max, "the special tokens");
    for (size_t i = 0; i < vocab->n; i++) {
        const struct vocab_token *token = &vocab->tokens[i];
        if (!is_special(token) || used[token->n_text]) continue;
        used[token->n_text] = true;
        special->n_lengths++;
    }
    special->lengths = arena_array(arena, special->n_lengths, sizeof *special->lengths);
    size_t n = 0;
    for (uint32_t length = vocab->n_text_max; special->lengths && length > 0; length--) {
        if (used[length]) special->lengths[n++] = length;
    }
    free(used);
    if (!special->lengths) return error_memory(error, special->n_lengths * sizeof *special->lengths, "special tokens");
    return STILE_OK;
}

int special_create(struct special *special, struct vocab *vocab, const char *path, struct stile_error *error)
{
    struct arena *arena = &vocab->arena;
    *special = (struct special){.vocab = vocab};
    for (size_t i = 0; i < vocab->n; i++)
        special->n += is_special(&vocab->tokens[i]);
    special->trusted = arena_array(arena, 1, sizeof *special->trusted);
    special->user = arena_array(arena, 1, sizeof *special->user);
    if (!special->trusted || !special->user) return error_memory(error, sizeof *special->user, "the special tokens");
    int code = lengths_fill(special, arena, error);
    if (code == STILE_OK) code = vocab_table_create(&special->table, arena, special->n, error);
    if (code < 0) return code;
    for (size_t i = 0; i < vocab->n; i++) {
        const struct vocab_token *token = &vocab->tokens[i];
        if (!is_special(token)) continue;
        if (!vocab_table_add(&special->table, vocab, (int32_t)i))
            return error_set(error, STILE_ERROR_MALFORMED,
                             "%s: tokenizer.ggml.tokens[%zu] collides with too many other special tokens in the hash "
                             "table: a vocabulary made to be slow",
                             path, i);
        filter_add(special->trusted, token);
        if (token->type == TOKEN_USER_DEFINED) filter_add(special->user, token);
    }
    return STILE_OK;
}

/* Where in the text a special token may begin, and what was found there. */
struct candidate {
    size_t at;
    int32_t id; /* -1: nothing */
};

struct candidates {
    struct candidate *items;
    size_t n;
};

/* One pass that counts, one that fills. */
static int candidates_collect(const struct special_filter *filter, const char *text, size_t n,
                              struct candidates *candidates, struct stile_error *error)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        /* the last byte may begin (and be) a token of one byte, whatever would come after it */
        char last[2] = {text[n - 1], 0};
        count += filter_has(filter, pair_of(i + 1 < n ? text + i : last));
    }
    *candidates = (struct candidates){0};
    if (count == 0) return STILE_OK;
    candidates->items = malloc(count * sizeof *candidates->items);
    if (!candidates->items) return error_memory(error, count * sizeof *candidates->items, "special tokens");
    for (size_t i = 0; i < n; i++) {
        char last[2] = {text[n - 1], 0};
        if (filter_has(filter, pair_of(i + 1 < n ? text + i : last)))
            candidates->items[candidates->n++] = (struct candidate){i, -1};
    }
    return STILE_OK;
}

/* Longest first. A taken stretch is at least as long as the one tried, so one that overlaps covers its first or its
 * last byte. Returns how many were found. */
static size_t candidates_match(const struct special *special, const char *text, size_t n, bool trusted,
                               const bool *doubtful, bool *taken, struct candidates *candidates)
{
    size_t n_found = 0;
    for (size_t l = 0; l < special->n_lengths; l++) {
        size_t length = special->lengths[l];
        for (size_t i = 0; i < candidates->n; i++) {
            size_t at = candidates->items[i].at;
            if (length > n - at) break;
            if (taken[at] || taken[at + length - 1]) continue;
            int32_t id = vocab_table_find(&special->table, special->vocab, text + at, length);
            if (id < 0) continue;
            bool allowed = trusted && !(doubtful && memchr(doubtful + at, true, length));
            if (!allowed && special->vocab->tokens[id].type != TOKEN_USER_DEFINED) continue;
            candidates->items[i].id = id;
            memset(taken + at, true, length);
            n_found++;
        }
    }
    return n_found;
}

static void fragments_add(struct special_fragments *fragments, size_t begin, size_t end, int32_t id)
{
    if (begin < end) fragments->items[fragments->n++] = (struct special_fragment){begin, end, id};
}

static int fragments_fill(const struct special *special, size_t n, const struct candidates *candidates, size_t n_found,
                          struct special_fragments *fragments, struct stile_error *error)
{
    size_t n_most = 2 * n_found + 1, at = 0;
    *fragments = (struct special_fragments){.items = malloc(n_most * sizeof *fragments->items)};
    if (!fragments->items) return error_memory(error, n_most * sizeof *fragments->items, "special tokens");
    for (size_t i = 0; i < candidates->n; i++) {
        const struct candidate *candidate = &candidates->items[i];
        if (candidate->id < 0) continue;
        fragments_add(fragments, at, candidate->at, -1);
        at = candidate->at + special->vocab->tokens[candidate->id].n_text;
        fragments_add(fragments, candidate->at, at, candidate->id);
    }
    fragments_add(fragments, at, n, -1);
    return STILE_OK;
}

int special_split(const struct special *special, const char *text, size_t n, bool trusted, const bool *doubtful,
                  struct special_fragments *fragments, struct stile_error *error)
{
    *fragments = (struct special_fragments){0};
    if (n == 0) return STILE_OK;
    struct candidates candidates;
    int code = candidates_collect(trusted ? special->trusted : special->user, text, n, &candidates, error);
    if (code < 0) return code;
    size_t n_found = 0;
    if (candidates.n > 0) {
        bool *taken = calloc(n, sizeof *taken);
        if (!taken) {
            free(candidates.items);
            return error_memory(error, n, "special tokens");
        }
        n_found = candidates_match(special, text, n, trusted, doubtful, taken, &candidates);
        free(taken);
    }
    code = fragments_fill(special, n, &candidates, n_found, fragments, error);
    free(candidates.items);
    return code;
}

void special_fragments_free(struct special_fragments *fragments)
{
    free(fragments->items);
    *fragments = (struct special_fragments){0};
}
