/* sampler.c - from logits to a token.
 *
 * Each filter keeps a prefix of the candidates in order of likelihood (ties: the lower id first), so none needs a full
 * sort: top-k selects with a heap of k while it scans the logits; min-p drops candidates as soon as they are weighed;
 * what is left becomes a heap from which top-p and the draw take the most likely ones until they have enough.
 * A weight is exp((logit - largest) / temperature) in double: a probability not yet divided by the sum.
 */
#include "run/sampler.h"
#include "base/error.h"
#include "run/random.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    REPEAT_LAST_N_MAX = 1 << 20,
    TOKEN_MAX = 1 << 24, /* no vocabulary is larger: other ids are not remembered */
};

struct candidate {
    float logit; /* after the repeat penalty */
    int32_t token;
    double weight;
};

struct stile_sampler {
    struct stile_sampler_options options;
    struct random random;

    /* What the repeat penalty remembers: the last n tokens in a ring, or, for "all", one bit per token. */
    int32_t *ring; /* (repeat_last_n) */
    size_t n_ring;
    size_t n_accepted;
    uint64_t *seen; /* (n_seen_words) */
    size_t n_seen_words;

    float *penalised; /* (n_penalised) a copy of the logits */
    size_t n_penalised;

    struct candidate *candidates; /* (capacity) */
    size_t capacity;
    size_t n;      /* candidates in the heap, [0, n) */
    size_t n_kept; /* taken from it, most likely first, at the end of the array: see kept() */
    double total;  /* weight of what is kept or may yet be kept */
};

struct stile_sampler_options stile_sampler_defaults(void)
{
    return (struct stile_sampler_options){
        .temperature = 0.8f,
        .top_k = 40,
        .top_p = 0.95f,
        .min_p = 0.05f,
        .repeat_penalty = 1,
        .repeat_last_n = 64,
    };
}

static int check_options(const struct stile_sampler_options *o, struct stile_error *error)
{
    const int code = STILE_ERROR_ARGUMENT;
    if (!(o->temperature >= 0 && o->temperature <= FLT_MAX))
        return error_set(error, code, "temperature is %g: must be 0 (greedy) or more", (double)o->temperature);
    if (o->top_k < 0) return error_set(error, code, "top-k is %d: must be 0 (all) or more", (int)o->top_k);
    if (!(o->top_p > 0 && o->top_p <= 1))
        return error_set(error, code, "top-p is %g: must be above 0, and at most 1 (all)", (double)o->top_p);
    if (!(o->min_p >= 0 && o->min_p <= 1))
        return error_set(error, code, "min-p is %g: must be between 0 (none) and 1", (double)o->min_p);
    if (!(o->repeat_penalty > 0 && o->repeat_penalty <= FLT_MAX))
        return error_set(error, code, "repeat penalty is %g: must be above 0; 1 is off", (double)o->repeat_penalty);
    if (o->repeat_last_n < -1 || o->repeat_last_n > REPEAT_LAST_N_MAX)
        return error_set(error, code, "repeat-last-n is %d: must be -1 (all) to %d", (int)o->repeat_last_n,
                         (int)REPEAT_LAST_N_MAX);
    return STILE_OK;
}

static bool remembers(const struct stile_sampler *sampler)
{
    return sampler->options.repeat_penalty != 1 && sampler->options.repeat_last_n != 0;
}

static bool has_ring(const struct stile_sampler *sampler)
{
    return sampler->options.repeat_last_n > 0;
}

static size_t n_in_ring(const struct stile_sampler *sampler)
{
    size_t n = (size_t)sampler->options.repeat_last_n;
    return sampler->n_accepted < n ? sampler->n_accepted : n;
}

/* Room for n elements, contents kept; false when memory is out (then nothing has changed). */
static bool reserve(void **array, size_t *capacity, size_t n, size_t size_bytes)
{
    if (n <= *capacity) return true;
    if (n > SIZE_MAX / size_bytes) return false;
    void *grown = realloc(*array, n * size_bytes);
    if (!grown) return false;
    *array = grown;
    *capacity = n;
    return true;
}

static bool reserve_ring(struct stile_sampler *sampler)
{
    if (!remembers(sampler) || !has_ring(sampler)) return true;
    void *ring = sampler->ring;
    if (!reserve(&ring, &sampler->n_ring, (size_t)sampler->options.repeat_last_n, sizeof *sampler->ring)) return false;
    sampler->ring = ring;
    return true;
}

int stile_sampler_create(struct stile_sampler **sampler, const struct stile_sampler_options *options,
                         struct stile_error *error)
{
    struct stile_sampler_options defaults = stile_sampler_defaults();
    if (!options) options = &defaults;
    int code = check_options(options, error);
    if (code != STILE_OK) return code;
    struct stile_sampler *created = calloc(1, sizeof *created);
    if (!created) return error_memory(error, sizeof *created, "a sampler");
    created->options = *options;
    if (!reserve_ring(created)) {
        free(created);
        return error_memory(error, (size_t)options->repeat_last_n * sizeof *created->ring,
                            "the tokens of the repeat penalty");
    }
    stile_sampler_reset(created);
    *sampler = created;
    return STILE_OK;
}

void stile_sampler_free(struct stile_sampler *sampler)
{
    if (!sampler) return;
    free(sampler->ring);
    free(sampler->seen);
    free(sampler->penalised);
    free(sampler->candidates);
    free(sampler);
}

void stile_sampler_reset(struct stile_sampler *sampler)
{
    random_seed(&sampler->random, sampler->options.seed);
    sampler->n_accepted = 0;
    if (sampler->seen) memset(sampler->seen, 0, sampler->n_seen_words * sizeof *sampler->seen);
}

/* ---- repeat penalty ---- */

static bool reserve_seen(struct stile_sampler *sampler, size_t n_tokens)
{
    size_t before = sampler->n_seen_words;
    void *seen = sampler->seen;
    if (!reserve(&seen, &sampler->n_seen_words, (n_tokens + 63) / 64, sizeof *sampler->seen)) return false;
    sampler->seen = seen;
    if (sampler->n_seen_words > before)
        memset(sampler->seen + before, 0, (sampler->n_seen_words - before) * sizeof *sampler->seen);
    return true;
}

bool sampler_copy(struct stile_sampler *copy, const struct stile_sampler *sampler)
{
    copy->options = sampler->options;
    copy->random = sampler->random;
    copy->n_accepted = sampler->n_accepted;
    if (!reserve_ring(copy) || !reserve_seen(copy, 64 * sampler->n_seen_words)) return false;
    if (remembers(sampler) && has_ring(sampler))
        memcpy(copy->ring, sampler->ring, n_in_ring(sampler) * sizeof *copy->ring);
    if (copy->seen) memset(copy->seen, 0, copy->n_seen_words * sizeof *copy->seen);
    if (sampler->seen) memcpy(copy->seen, sampler->seen, sampler->n_seen_words * sizeof *copy->seen);
    return true;
}

void stile_sampler_accept(struct stile_sampler *sampler, int32_t token)
{
    if (!remembers(sampler) || token < 0 || token >= TOKEN_MAX) return;
    if (has_ring(sampler)) {
        sampler->ring[sampler->n_accepted++ % (size_t)sampler->options.repeat_last_n] = token;
    } else if (reserve_seen(sampler, (size_t)token + 1)) {
        sampler->seen[token / 64] |= UINT64_C(1) << token % 64;
    }
}

static void penalise(const struct stile_sampler *sampler, const float *logits, size_t n_vocab, size_t token)
{
    if (token >= n_vocab || !isfinite(logits[token])) return;
    float penalty = sampler->options.repeat_penalty;
    float logit = logits[token] > 0 ? logits[token] / penalty : logits[token] * penalty;
    sampler->penalised[token] = fmaxf(-FLT_MAX, fminf(FLT_MAX, logit));
}

/* The logits after the repeat penalty: themselves, or a changed copy; NULL when memory is out. */
static const float *after_penalty(struct stile_sampler *sampler, const float *logits, size_t n_vocab)
{
    if (!remembers(sampler)) return logits;
    void *copy = sampler->penalised;
    if (!reserve(&copy, &sampler->n_penalised, n_vocab, sizeof *sampler->penalised)) return NULL;
    sampler->penalised = copy;
    memcpy(copy, logits, n_vocab * sizeof *logits);
    if (has_ring(sampler)) {
        for (size_t i = 0; i < n_in_ring(sampler); i++)
            penalise(sampler, logits, n_vocab, (size_t)sampler->ring[i]);
        return copy;
    }
    if (!reserve_seen(sampler, n_vocab)) return NULL;
    for (size_t w = 0; w < sampler->n_seen_words; w++)
        for (uint64_t bits = sampler->seen[w]; bits; bits &= bits - 1)
            penalise(sampler, logits, n_vocab, 64 * w + (size_t)__builtin_ctzll(bits));
    return copy;
}

/* ---- candidates ---- */

static bool better(const struct candidate *a, const struct candidate *b)
{
    return a->logit > b->logit || (a->logit == b->logit && a->token < b->token);
}

/* Moves candidate i of a heap down to its place. On top is the best, or the worst. */
static void sift_down(struct candidate *heap, size_t n, size_t i, bool best_on_top)
{
    struct candidate moved = heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n) break;
        if (child + 1 < n && better(&heap[child + 1], &heap[child]) == best_on_top) child++;
        if (better(&heap[child], &moved) != best_on_top) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = moved;
}

static void make_heap(struct candidate *heap, size_t n, bool best_on_top)
{
    for (size_t i = n / 2; i-- > 0;)
        sift_down(heap, n, i, best_on_top);
}

/* All finite logits, or the k largest of them, in no order. */
static size_t collect(struct candidate *candidates, const float *logits, size_t n_vocab, size_t k)
{
    size_t n = 0, i = 0;
    for (; i < n_vocab && n < k; i++)
        if (isfinite(logits[i])) candidates[n++] = (struct candidate){.logit = logits[i], .token = (int32_t)i};
    if (i == n_vocab) return n;
    make_heap(candidates, n, false);
    for (; i < n_vocab; i++) {
        if (!(logits[i] > candidates[0].logit) || !isfinite(logits[i])) continue;
        candidates[0] = (struct candidate){.logit = logits[i], .token = (int32_t)i};
        sift_down(candidates, n, 0, false);
    }
    return n;
}

/* Weighs the candidates and drops those below min-p. Returns the weight of all, of the dropped too. */
static double weigh(struct stile_sampler *sampler)
{
    struct candidate *candidates = sampler->candidates;
    double largest = -INFINITY, all = 0, temperature = (double)sampler->options.temperature;
    size_t n = sampler->n;
    for (size_t i = 0; i < n; i++)
        if ((double)candidates[i].logit > largest) largest = (double)candidates[i].logit;
    sampler->n = 0;
    sampler->total = 0;
    for (size_t i = 0; i < n; i++) {
        struct candidate candidate = candidates[i];
        candidate.weight = exp(((double)candidate.logit - largest) / temperature);
        all += candidate.weight;
        if (candidate.weight == 0 || candidate.weight < (double)sampler->options.min_p) continue;
        sampler->total += candidate.weight;
        candidates[sampler->n++] = candidate;
    }
    return all;
}

/* The candidate that was the i-th most likely: [0, n_kept). */
static const struct candidate *kept(const struct stile_sampler *sampler, size_t i)
{
    return &sampler->candidates[sampler->n + sampler->n_kept - 1 - i];
}

/* Takes the most likely candidate from the heap, which must not be empty. */
static const struct candidate *keep_next(struct stile_sampler *sampler)
{
    struct candidate best = sampler->candidates[0];
    sampler->n--;
    sampler->candidates[0] = sampler->candidates[sampler->n];
    if (sampler->n > 0) sift_down(sampler->candidates, sampler->n, 0, true);
    sampler->candidates[sampler->n] = best;
    sampler->n_kept++;
    return kept(sampler, sampler->n_kept - 1);
}

/* All filters but greedy: afterwards the kept ones, and without top-p all in the heap too, are the distribution. False
 * when nothing can be drawn. */
static bool prepare(struct stile_sampler *sampler, const float *logits, size_t n_vocab)
{
    size_t k = sampler->options.top_k > 0 ? (size_t)sampler->options.top_k : n_vocab;
    if (k > n_vocab) k = n_vocab;
    void *candidates = sampler->candidates;
    if (!reserve(&candidates, &sampler->capacity, k, sizeof *sampler->candidates)) return false;
    sampler->candidates = candidates;
    sampler->n_kept = 0;
    sampler->n = collect(sampler->candidates, logits, n_vocab, k);
    double all = weigh(sampler);
    make_heap(sampler->candidates, sampler->n, true);
    if (sampler->options.top_p < 1) {
        double wanted = (double)sampler->options.top_p * all, reached = 0;
        while (sampler->n > 0 && reached < wanted)
            reached += keep_next(sampler)->weight;
        sampler->total = reached;
        /* what is left in the heap is dropped; the kept ones move to where kept() expects them */
        memmove(sampler->candidates, sampler->candidates + sampler->n, sampler->n_kept * sizeof *sampler->candidates);
        sampler->n = 0;
    }
    return sampler->n + sampler->n_kept > 0;
}

static int32_t greedy(const float *logits, size_t n_vocab)
{
    int32_t best = -1;
    float largest = -INFINITY;
    for (size_t i = 0; i < n_vocab; i++) {
        if (!(logits[i] > largest) || !isfinite(logits[i])) continue;
        largest = logits[i];
        best = (int32_t)i;
    }
    return best;
}

static int32_t draw(struct stile_sampler *sampler)
{
    double target = random_uniform(&sampler->random) * sampler->total, reached = 0;
    int32_t token = -1;
    for (size_t i = 0; reached <= target; i++) {
        if (i == sampler->n_kept && sampler->n == 0) break; /* rounding: the last one */
        const struct candidate *candidate = i < sampler->n_kept ? kept(sampler, i) : keep_next(sampler);
        reached += candidate->weight;
        token = candidate->token;
    }
    return token;
}

int32_t stile_sample(struct stile_sampler *sampler, const float *logits, size_t n_vocab)
{
    int32_t token = -1;
    if (n_vocab > TOKEN_MAX) n_vocab = TOKEN_MAX;
    logits = after_penalty(sampler, logits, n_vocab);
    if (!logits) return -1;
    if (sampler->options.temperature == 0)
        token = greedy(logits, n_vocab);
    else if (prepare(sampler, logits, n_vocab))
        token = draw(sampler);
    stile_sampler_accept(sampler, token);
    return token;
}

size_t stile_sampler_distribution(struct stile_sampler *sampler, const float *logits, size_t n_vocab, int32_t *tokens,
                                  float *probabilities, size_t capacity)
{
    if (n_vocab > TOKEN_MAX) n_vocab = TOKEN_MAX;
    logits = after_penalty(sampler, logits, n_vocab);
    if (!logits) return 0;
    if (sampler->options.temperature == 0) {
        int32_t token = greedy(logits, n_vocab);
        if (token >= 0 && capacity > 0) {
            tokens[0] = token;
            probabilities[0] = 1;
        }
        return token >= 0;
    }
    if (!prepare(sampler, logits, n_vocab)) return 0;
    size_t n = sampler->n + sampler->n_kept;
    for (size_t i = 0; i < n && i < capacity; i++) {
        const struct candidate *candidate = i < sampler->n_kept ? kept(sampler, i) : keep_next(sampler);
        tokens[i] = candidate->token;
        probabilities[i] = (float)(candidate->weight / sampler->total);
    }
    return n;
}
