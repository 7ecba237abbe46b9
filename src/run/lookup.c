#include "run/lookup.h"

#include <stdlib.h>
#include <string.h>

enum { MATCH_MAX = 32, CANDIDATES = 64, HASH_BITS = 14, NOWHERE = -1 };

/* How sure matches of a length are at first: from so many tokens on. */
static const struct {
    size_t length;
    double right;
} kinds[] = {{1, 0.08}, {2, 0.2}, {3, 0.35}, {4, 0.5}, {6, 0.7}, {10, 0.85}, {20, 0.93}};
enum { N_KINDS = sizeof kinds / sizeof *kinds, LENGTH_KINDS_END = 20 };

struct lookup {
    struct guesser guesser;       /* first: the one is the other */
    int32_t *before;              /* (n_max) the place before that whose two tokens hash alike */
    size_t n, n_max;              /* tokens that were read */
    int32_t last[1 << HASH_BITS]; /* by the hash of two tokens: the latest place of the second */
    int32_t last_single[1 << HASH_BITS];
    int32_t same; /* the last place before the end whose token hashes as the end's does */
    struct odds odds[N_KINDS];
    double chances[LENGTH_KINDS_END];
    size_t at, length; /* of the last match */
    size_t n_offered;  /* tokens there were when it was offered; 0: it was evaluated */
};

static struct odds *odds_of(struct lookup *l, size_t length)
{
    size_t kind = N_KINDS - 1;
    while (kinds[kind].length > length)
        kind--;
    return &l->odds[kind];
}

static void restart(struct guesser *guesser)
{
    struct lookup *l = (struct lookup *)guesser;
    l->n = l->n_offered = 0;
    for (size_t i = 0; i < sizeof l->last / sizeof *l->last; i++)
        l->last[i] = l->last_single[i] = NOWHERE;
}

/* Reads the tokens that are new. */
static void read_on(struct lookup *l, const int32_t *tokens, size_t n)
{
    if (n > l->n_max) n = l->n_max;
    for (size_t at = l->n; at < n; at++) {
        uint32_t single = (uint32_t)tokens[at] * 0x85ebca6bu;
        int32_t *last = &l->last_single[single >> (32 - HASH_BITS)];
        l->same = *last;
        *last = (int32_t)at;
        if (at == 0) continue;
        uint32_t pair = ((uint32_t)tokens[at - 1] * 0x9e3779b1u) ^ single;
        last = &l->last[pair >> (32 - HASH_BITS)];
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
    *length = 1;
    for (int i = 0; i < CANDIDATES && at != NOWHERE && *length < MATCH_MAX; i++, at = l->before[at]) {
        size_t n = match_length(l, tokens, (size_t)at);
        if (n <= *length) continue;
        *length = n;
        best = at;
    }
    if (best == NOWHERE && l->n > 0 && l->same != NOWHERE && tokens[l->same] == tokens[l->n - 1]) best = l->same;
    return best;
}

static void offer(struct guesser *guesser, const struct question *question, struct offer *offer)
{
    struct lookup *l = (struct lookup *)guesser;
    *offer = (struct offer){0};
    if (l->n_offered > 0 && l->n_offered < question->n_tokens)
        odds_learn(odds_of(l, l->length), 1, question->tokens[l->n_offered] == question->tokens[l->at + 1]);
    l->n_offered = 0;
    read_on(l, question->tokens, question->n_tokens);
    if (l->n < question->n_tokens) return;
    int32_t at = find(l, question->tokens, &l->length);
    if (at == NOWHERE) return;
    l->at = (size_t)at;
    l->n_offered = l->n;
    offer->n_max = l->n - 1 - l->at;
    if (offer->n_max > question->n_max) offer->n_max = question->n_max;
    /* if a guess is right, the next one follows a match that is longer by one */
    for (size_t length = l->length; length < LENGTH_KINDS_END; length++)
        l->chances[offer->n_chances++] = odds_chance(odds_of(l, length));
    offer->chances = l->chances;
    offer->chance = odds_chance(odds_of(l, LENGTH_KINDS_END));
}

static int guess(struct guesser *guesser, const struct question *question, size_t n_max, int32_t *tokens, size_t *n,
                 struct stile_error *error)
{
    struct lookup *l = (struct lookup *)guesser;
    (void)error;
    l->n_offered = 0;
    memcpy(tokens, question->tokens + l->at + 1, n_max * sizeof *tokens);
    *n = n_max;
    return 0;
}

static void learn(struct guesser *guesser, size_t n, size_t n_right)
{
    struct lookup *l = (struct lookup *)guesser;
    for (size_t i = 0; i < n && i <= n_right; i++)
        odds_learn(odds_of(l, l->length + i), 1, i < n_right);
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
        l->odds[i] = odds_prior(kinds[i].right);
    restart(&l->guesser);
    return &l->guesser;
}
