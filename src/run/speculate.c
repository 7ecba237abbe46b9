#include "run/speculate.h"

#include "base/clock.h"
#include "run/draft.h"
#include "run/lookup.h"
#include "run/session.h"

#include <stdlib.h>
#include <string.h>

/* Logits of every guess in a pass must be kept. They get this share of the weights' size: the larger the model, the
 * longer its passes, the more guesses are worth one. */
static const double rows_share = 1.0 / 32;
enum { GUESSES_LEAST = SPECULATION_ROWS_LEAST - 1 };

/* Where guesses pay a little only, every so many passes one without says whether that is still so. */
enum { PLAIN_PASS_EVERY = 64 };
static const double clear_gain = 2;

enum { LOOKUP, DRAFT, N_GUESSERS };

struct speculation {
    struct stile_session *session;
    struct guesser *guessers[N_GUESSERS]; /* NULL: there is none */
    bool used[N_GUESSERS];                /* in this generation */
    bool ends;                            /* an end token ends it */
    const struct stile_sampler *sampler;
    struct pass_times times;
    size_t n_max; /* guesses in a pass */
    float *rows;  /* (1 + n_max, n_vocab), at least SPECULATION_ROWS_LEAST */
    size_t rows_bytes;

    /* the last pass: its tokens, those that are certain, and whose guesses they are */
    int32_t tokens[1 + GUESSES_MAX];
    size_t n, n_right;
    struct guesser *by; /* NULL: nobody's */
    uint64_t time_ns;
    uint32_t n_passes, n_since_plain;
    uint64_t draft_ns, draft_bytes; /* when the generation began */
};

static size_t most_guesses(const struct stile_model *model, const struct stile_session_options *options)
{
    double row_bytes = (double)model->model->hparams.n_vocab * sizeof(float);
    double n = rows_share * (double)model->info.size_bytes / row_bytes;
    size_t n_max = n > GUESSES_MAX ? GUESSES_MAX : n < GUESSES_LEAST ? GUESSES_LEAST : (size_t)n;
    return n_max < options->n_batch ? n_max : options->n_batch - 1;
}

static size_t rows_size_bytes(const struct stile_model *model, size_t n_guesses)
{
    size_t n_rows = 1 + (n_guesses > GUESSES_LEAST ? n_guesses : GUESSES_LEAST);
    return n_rows * model->model->hparams.n_vocab * sizeof(float);
}

uint64_t speculation_memory_bytes(const struct stile_model *model, const struct stile_session_options *options)
{
    return sizeof(struct speculation) + rows_size_bytes(model, most_guesses(model, options)) +
           lookup_memory_bytes(options->n_ctx);
}

int speculation_create(struct speculation **speculation, struct stile_session *session, struct stile_error *error)
{
    uint64_t size_bytes = speculation_memory_bytes(session->model, &session->options);
    struct speculation *s = calloc(1, sizeof *s);
    if (!s) return error_memory(error, size_bytes, "evaluating several tokens at once");
    s->session = session;
    s->n_max = most_guesses(session->model, &session->options);
    s->rows_bytes = rows_size_bytes(session->model, s->n_max);
    s->rows = malloc(s->rows_bytes);
    s->guessers[LOOKUP] = lookup_create(session->options.n_ctx);
    int failed = 0;
    if (!s->rows || !s->guessers[LOOKUP])
        failed = error_memory(error, size_bytes, "evaluating several tokens at once");
    else if (session->options.draft)
        failed = draft_create(&s->guessers[DRAFT], session, error);
    if (failed) {
        speculation_free(s);
        return failed;
    }
    *speculation = s;
    return 0;
}

void speculation_free(struct speculation *speculation)
{
    if (!speculation) return;
    for (int i = 0; i < N_GUESSERS; i++)
        if (speculation->guessers[i]) speculation->guessers[i]->type->free(speculation->guessers[i]);
    free(speculation->rows);
    free(speculation);
}

void speculation_touch(struct speculation *speculation)
{
    memset(speculation->rows, 0, speculation->rows_bytes);
    if (speculation->guessers[DRAFT]) draft_touch(speculation->guessers[DRAFT]);
}

float *speculation_rows(const struct speculation *speculation)
{
    return speculation->rows;
}

void speculation_begin(struct speculation *speculation, const struct stile_generate_options *options,
                       const struct stile_sampler *sampler)
{
    struct speculation *s = speculation;
    s->used[LOOKUP] = !options->no_lookup;
    s->used[DRAFT] = s->guessers[DRAFT] != NULL;
    s->ends = !options->ignore_end;
    s->sampler = sampler;
    s->n = s->n_passes = 0;
    s->by = NULL;
    for (int i = 0; i < N_GUESSERS; i++) {
        if (!s->used[i]) continue;
        s->guessers[i]->type->restart(s->guessers[i]);
        s->guessers[i]->counts = (struct stile_guesses){0};
    }
    if (!s->used[DRAFT]) return;
    s->draft_ns = draft_time_ns(s->guessers[DRAFT]);
    s->draft_bytes = draft_read_bytes(s->guessers[DRAFT]);
}

/* What became of the last pass. */
static void learn(struct speculation *s)
{
    if (s->n == 0) return;
    pass_times_learn(&s->times, s->n - 1, s->time_ns);
    if (s->by) {
        s->by->type->learn(s->by, s->n - 1, s->n_right - 1);
        s->by->counts.n_drafted += (uint32_t)s->n - 1;
        s->by->counts.n_accepted += (uint32_t)s->n_right - 1;
    }
    s->n_since_plain = s->n == 1 ? 0 : s->n_since_plain + 1;
    s->n_passes++;
    s->n = 0;
}

/* Whose guesses to evaluate, and how many; NULL: nobody's. */
static struct guesser *choose(struct speculation *s, const struct question *question, size_t *n)
{
    struct guesser *best = NULL;
    const double plain_ns = s->times.time_ns[0];
    double best_gain = 1, gain;
    for (int i = 0; i < N_GUESSERS; i++) {
        struct guesser *guesser = s->guessers[i];
        struct offer offer;
        if (!s->used[i]) continue;
        guesser->type->offer(guesser, question, &offer);
        if (offer.n_max == 0) continue;
        size_t n_worth = offer_worth(&offer, &s->times, &gain);
        if (n_worth == 0 || gain <= best_gain) continue;
        /* Catching up is like buying what can be rented too: when renting has cost as much, it is time. */
        if (guesser->missed_ns < offer.catch_up_ns) guesser->missed_ns += plain_ns * (1 - best_gain / gain);
        if (guesser->missed_ns < offer.catch_up_ns) continue;
        best = guesser;
        best_gain = gain;
        *n = n_worth;
    }
    if (best && best_gain < clear_gain && s->n_since_plain >= PLAIN_PASS_EVERY) return NULL;
    if (best) best->missed_ns = 0;
    return best;
}

/* Writes guesses of what follows tokens[0], which is the context's next. */
static int guess(struct speculation *s, size_t n_max, size_t *n, struct stile_error *error)
{
    const struct tokenizer *tokenizer = s->session->model->tokenizer;
    struct question question = {
        .tokens = s->session->tokens,
        .n_tokens = s->session->n_used + 1,
        .n_max = n_max,
        .times = &s->times,
        .sampler = s->sampler,
    };
    s->session->tokens[s->session->n_used] = s->tokens[0];
    s->by = n_max > 0 && s->times.time_ns[0] > 0 ? choose(s, &question, n) : NULL;
    if (!s->by) {
        *n = 0;
        return 0;
    }
    int failed = s->by->type->guess(s->by, &question, *n, s->tokens + 1, n, error);
    for (size_t i = 0; i < *n && s->ends; i++)
        if (tokenizer_is_end(tokenizer, s->tokens[1 + i])) *n = i; /* nobody asks what follows it */
    if (*n == 0) s->by = NULL;
    return failed;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

int speculation_append(struct speculation *speculation, int32_t token, size_t n_more, struct stile_error *error)
{
    struct speculation *s = speculation;
    struct stile_session *session = s->session;
    if (s->n_right < s->n && s->tokens[s->n_right] == token) {
        session_accept(session, s->rows + s->n_right++ * session->model->model->hparams.n_vocab);
        return 0;
    }
    learn(s);
    s->tokens[0] = token;
    size_t n_free = session->options.n_ctx - session->n_used - 1, n;
    int failed = guess(s, least(least(n_more, s->n_max), n_free), &n, error);
    if (failed) return failed;
    uint64_t begin_ns = clock_ns();
    failed = n == 0 ? stile_eval(session, s->tokens, 1, error)
                    : session_look_ahead(session, s->tokens, 1 + n, s->rows, error);
    s->time_ns = clock_ns() - begin_ns;
    s->n_right = 1;
    s->n = failed ? 0 : 1 + n;
    return failed;
}

void speculation_end(struct speculation *speculation, struct stile_generation *result)
{
    struct speculation *s = speculation;
    learn(s);
    result->n_passes = s->n_passes;
    if (s->used[LOOKUP]) result->lookup = s->guessers[LOOKUP]->counts;
    if (!s->used[DRAFT]) return;
    result->draft = s->guessers[DRAFT]->counts;
    result->draft_ns = draft_time_ns(s->guessers[DRAFT]) - s->draft_ns;
    result->generate_bytes += draft_read_bytes(s->guessers[DRAFT]) - s->draft_bytes;
}
