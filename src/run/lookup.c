#include "run/lookup.h"

#include <stdlib.h>
#include <string.h>

enum { MATCH_MAX = 32, CANDIDATES = 64, HASH_BITS = 14, NOWHERE = -1 };

/* How sure matches of a length are at first: from 2, 3, 4, 6, 10 tokens on. */
static const struct {
    size_t length;
    double right;
} kinds[] = {{2, 0.2}, {3, 0.35}, {4, 0.5}, {6, 0.7}, {10, 0.85}};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

struct lookup {
    struct guesser guesser;       /* first: the one is the other */
    int32_t *before;              /* (n_max) the place before that whose two tokens hash alike */
    size_t n, n_max;              /* tokens that were read */
    int32_t last[1 << HASH_BITS]; /* by the hash of two tokens: the latest place of the second */
    struct odds odds[N_KINDS];
    size_t at; /* of the last match, and its length's kind */
    size_t kind;
};

static void restart(struct guesser *guesser)
{
    struct lookup *l = (struct lookup *)guesser;
    l->n = 0;
    for (size_t i = 0; i < sizeof l->last / sizeof *l->last; i++)
        l->last[i] = NOWHERE;
}

/* Reads the tokens that are new. */
static void read_on(struct lookup *l, const int32_t *tokens, size_t n)
{
    if (n > l->n_max) n = l->n_max;
    for (size_t at = l->n; at < n; at++) {
        if (at == 0) continue;
        uint32_t pair = ((uint32_t)tokens[at - 1] * 0x9e3779b1u) ^ ((uint32_t)tokens[at] * 0x85ebca6bu);
        int32_t *last = &l->last[pair >> (32 - HASH_BITS)];
        l->before[at] = *last;
        *last = (int32_t)at;
    }
    l->n = n;
}

/* How many tokens up to `at` read like the end. */
static size_t match_length(const struct lookup *l, const int32_t *tokens, size_t at)
{
    size_t n = 0;
    while (n < MATCH_MAX && n <= at && tokens[at - n] == tokens[l->n - 1 - n])
        n++;
    return n;
}

/* The place of the longest match, the latest of several; NOWHERE. */
static int32_t find(const struct lookup *l, const int32_t *tokens, size_t *length)
{
    int32_t best = NOWHERE, at = l->n > 1 ? l->before[l->n - 1] : NOWHERE;
    *length = LOOKUP_MATCH_MIN - 1;
    for (int i = 0; i < CANDIDATES && at != NOWHERE && *length < MATCH_MAX; i++, at = l->before[at]) {
        size_t n = match_length(l, tokens, (size_t)at);
        if (n <= *length) continue;
        *length = n;
        best = at;
    }
    return best;
}

static void offer(struct guesser *guesser, const struct question *question, struct offer *offer)
{
    struct lookup *l = (struct lookup *)guesser;
    size_t length;
    *offer = (struct offer){0};
    read_on(l, question->tokens, question->n_tokens);
    if (l->n < question->n_tokens) return;
    int32_t at = find(l, question->tokens, &length);
    if (at == NOWHERE) return;
    l->at = (size_t)at;
    for (l->kind = N_KINDS - 1; kinds[l->kind].length > length;)
        l->kind--;
    offer->n_max = l->n - 1 - l->at;
    if (offer->n_max > question->n_max) offer->n_max = question->n_max;
    offer->chance = odds_chance(&l->odds[l->kind]);
}

static int guess(struct guesser *guesser, const struct question *question, size_t n_max, int32_t *tokens, size_t *n,
                 struct stile_error *error)
{
    const struct lookup *l = (const struct lookup *)guesser;
    (void)error;
    memcpy(tokens, question->tokens + l->at + 1, n_max * sizeof *tokens);
    *n = n_max;
    return 0;
}

static void learn(struct guesser *guesser, size_t n, size_t n_right)
{
    struct lookup *l = (struct lookup *)guesser;
    odds_learn(&l->odds[l->kind], (double)(n_right + (n_right < n)), (double)n_right);
}

static void destroy(struct guesser *guesser)
{
    struct lookup *l = (struct lookup *)guesser;
    free(l->before);
    free(l);
}

size_t lookup_memory_bytes(size_t n_tokens_max)
{
    return sizeof(struct lookup) + n_tokens_max * sizeof(int32_t);
}

struct guesser *lookup_create(size_t n_tokens_max)
{
    static const struct guesser_type type = {restart, offer, guess, learn, destroy};
    struct lookup *l = calloc(1, sizeof *l);
    if (!l) return NULL;
    l->guesser.type = &type;
    l->before = calloc(n_tokens_max, sizeof *l->before);
    if (!l->before) {
        free(l);
        return NULL;
    }
    l->n_max = n_tokens_max;
    for (size_t i = 0; i < N_KINDS; i++)
        l->odds[i].prior = kinds[i].right;
    restart(&l->guesser);
    return &l->guesser;
}
