#include "run/lookup.h"

#include <stdlib.h>

enum { MATCH_MAX = 32, CANDIDATES = 64, HASH_BITS = 14, NOWHERE = -1 };

/* How sure matches of a length are at first: from 2, 3, 4, 6, 10 tokens on. */
static const struct {
    size_t length;
    double right;
} kinds[] = {{2, 0.2}, {3, 0.35}, {4, 0.5}, {6, 0.7}, {10, 0.85}};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

static const double prior_weight = 3; /* in guesses */
static const double forget = 0.995;   /* per match that was not worth a guess: so one is tried again some day */
static const double memory = 40;      /* in guesses */
/* Times are disturbed upwards only: a shorter one counts at once, a longer one little. */
static const double share_shorter = 0.7, share_longer = 0.25;
static const double cost_of_unknown = 0.15; /* each further guess, in passes */
static const double least_gain = 1.03;

struct lookup {
    int32_t *tokens; /* (n) */
    int32_t *before; /* (n) the place before that whose two tokens hash alike */
    size_t n, n_max;
    int32_t last[1 << HASH_BITS]; /* by the hash of two tokens: the latest place of the second */
    double n_guessed[N_KINDS], n_right[N_KINDS];
    double time_ns[LOOKUP_DRAFT_MAX + 1]; /* of a pass with so many guesses; 0: not known */
    int kind;                             /* of the last match */
};

struct lookup *lookup_create(size_t n_tokens_max)
{
    struct lookup *l = calloc(1, sizeof *l);
    if (!l) return NULL;
    l->tokens = calloc(n_tokens_max, sizeof *l->tokens);
    l->before = calloc(n_tokens_max, sizeof *l->before);
    if (!l->tokens || !l->before) {
        lookup_free(l);
        return NULL;
    }
    l->n_max = n_tokens_max;
    for (size_t i = 0; i < sizeof l->last / sizeof *l->last; i++)
        l->last[i] = NOWHERE;
    return l;
}

void lookup_free(struct lookup *lookup)
{
    if (!lookup) return;
    free(lookup->tokens);
    free(lookup->before);
    free(lookup);
}

void lookup_add(struct lookup *lookup, int32_t token)
{
    size_t at = lookup->n;
    if (at == lookup->n_max) return;
    lookup->tokens[at] = token;
    lookup->n++;
    if (at == 0) return;
    uint32_t pair = ((uint32_t)lookup->tokens[at - 1] * 0x9e3779b1u) ^ ((uint32_t)token * 0x85ebca6bu);
    int32_t *last = &lookup->last[pair >> (32 - HASH_BITS)];
    lookup->before[at] = *last;
    *last = (int32_t)at;
}

/* How many tokens up to `at` read like the end. */
static size_t match_length(const struct lookup *l, size_t at)
{
    size_t n = 0;
    while (n < MATCH_MAX && n <= at && l->tokens[at - n] == l->tokens[l->n - 1 - n])
        n++;
    return n;
}

/* The place of the longest match, the latest of several; NOWHERE. */
static int32_t find(const struct lookup *l, size_t *length)
{
    int32_t best = NOWHERE, at = l->n > 1 ? l->before[l->n - 1] : NOWHERE;
    *length = LOOKUP_MATCH_MIN - 1;
    for (int i = 0; i < CANDIDATES && at != NOWHERE && *length < MATCH_MAX; i++, at = l->before[at]) {
        size_t n = match_length(l, (size_t)at);
        if (n <= *length) continue;
        *length = n;
        best = at;
    }
    return best;
}

static double chance(const struct lookup *l, int kind)
{
    return (l->n_right[kind] + prior_weight * kinds[kind].right) / (l->n_guessed[kind] + prior_weight);
}

/* Time of a pass with n guesses against one without: measured, or between the nearest that were, or a little more than
 * the nearest. */
static double cost(const struct lookup *l, size_t n)
{
    size_t low = n, high = n;
    while (low > 0 && l->time_ns[low] == 0)
        low--;
    while (high <= LOOKUP_DRAFT_MAX && l->time_ns[high] == 0)
        high++;
    double at_low = l->time_ns[low] / l->time_ns[0], slope = cost_of_unknown;
    if (high > low && high <= LOOKUP_DRAFT_MAX)
        slope = (l->time_ns[high] / l->time_ns[0] - at_low) / (double)(high - low);
    return at_low + slope * (double)(n - low);
}

/* How many of n guesses to evaluate, when each is right with this chance. */
static size_t worth(const struct lookup *l, size_t n, double right)
{
    size_t best = 0;
    double best_gain = least_gain, expected = 1, all_right = 1;
    for (size_t k = 1; k <= n; k++) {
        all_right *= right;
        expected += all_right;
        double gain = expected / cost(l, k);
        if (gain <= best_gain) continue;
        best_gain = gain;
        best = k;
    }
    return best;
}

size_t lookup_draft(struct lookup *lookup, size_t capacity, int32_t *tokens)
{
    struct lookup *l = lookup;
    size_t length;
    int32_t at = find(l, &length);
    l->kind = NOWHERE;
    if (at == NOWHERE || l->time_ns[0] == 0) return 0;
    for (l->kind = N_KINDS - 1; kinds[l->kind].length > length;)
        l->kind--;
    size_t n = l->n - 1 - (size_t)at;
    if (n > capacity) n = capacity;
    if (n > LOOKUP_DRAFT_MAX) n = LOOKUP_DRAFT_MAX;
    size_t n_worth = worth(l, n, chance(l, l->kind));
    for (size_t i = 0; i < n_worth; i++)
        tokens[i] = l->tokens[(size_t)at + 1 + i];
    return n_worth;
}

void lookup_learn(struct lookup *lookup, size_t n_drafted, size_t n_accepted, uint64_t time_ns)
{
    struct lookup *l = lookup;
    double *time = &l->time_ns[n_drafted], longer = (double)time_ns - *time;
    *time += *time == 0 ? longer : longer < 0 ? share_shorter * longer : share_longer * longer;
    if (l->kind == NOWHERE) return;
    double *n_guessed = &l->n_guessed[l->kind], *n_right = &l->n_right[l->kind];
    double keep = n_drafted == 0 ? forget : *n_guessed > memory ? memory / *n_guessed : 1;
    *n_guessed = keep * *n_guessed + (double)(n_accepted + (n_accepted < n_drafted));
    *n_right = keep * *n_right + (double)n_accepted;
    for (size_t i = 1; n_drafted == 0 && i <= LOOKUP_DRAFT_MAX; i++)
        if (l->time_ns[i] > l->time_ns[0]) l->time_ns[i] -= (1 - forget) * (l->time_ns[i] - l->time_ns[0]);
}
