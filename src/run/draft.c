#include "run/draft.h"

#include "base/clock.h"
#include "run/sampler.h"
#include "run/session.h"
#include "run/token_map.h"

#include <math.h>
#include <stdlib.h>

/* How sure guesses are at first, by how far their logit is above that of the best other token. */
static const struct {
    float margin;
    double right;
} kinds[] = {{-INFINITY, 0.2}, {0.25f, 0.4}, {0.75f, 0.5}, {1.5f, 0.65}, {3, 0.8}, {6, 0.95}};
enum { N_KINDS = sizeof kinds / sizeof *kinds };
static const double prior_right = 0.7;

/* Tokens that must be read at once to tell what one of many takes; those read to tell how long reading takes. */
enum { BATCH_TOLD = 8, N_TRIED = 20 };
static const double more_likely = 0.25; /* of a step: what each takes before that */

struct draft {
    struct guesser guesser; /* first: the one is the other */
    const struct stile_session *target;
    struct stile_session *session;
    struct stile_sampler *sampler;
    struct token_map map;
    float *row;    /* (n_vocab of the target) logits in its ids; NULL where ids are the same */
    size_t n_same; /* tokens of the session that are known to be the target's */
    struct odds odds[N_KINDS], odds_all;
    double step_ns, more_ns; /* evaluating one token; each further one of a batch. 0: not known */
    uint8_t made_kinds[GUESSES_MAX];
    uint64_t time_ns;
};

static int32_t in_draft(const struct draft *d, int32_t token)
{
    int32_t there = d->map.to_draft[token];
    return there < 0 ? d->map.filler : there;
}

static void restart(struct guesser *guesser)
{
    ((struct draft *)guesser)->n_same = 0;
}

/* How much of the session is the target's context. Its last token is read again if need be: what follows it is what is
 * asked for. */
static void find_same(struct draft *d, const struct question *question)
{
    const int32_t *tokens = stile_context_tokens(d->session);
    size_t n = stile_context_used(d->session), n_all = question->n_tokens - 1;
    while (d->n_same < n && d->n_same < n_all && tokens[d->n_same] == in_draft(d, question->tokens[d->n_same]))
        d->n_same++;
}

/* Reads n tokens of the target's, and learns how long that takes. */
static int read_tokens(struct draft *d, const int32_t *tokens, size_t n, struct stile_error *error)
{
    enum { CHUNK = 512 };
    int32_t ids[CHUNK];
    int failed = 0;
    for (size_t done = 0, n_ids; done < n && !failed; done += n_ids) {
        n_ids = n - done < CHUNK ? n - done : CHUNK;
        for (size_t i = 0; i < n_ids; i++)
            ids[i] = in_draft(d, tokens[done + i]);
        uint64_t begin_ns = clock_ns();
        failed = session_read(d->session, ids, n_ids, error);
        uint64_t time_ns = clock_ns() - begin_ns;
        d->time_ns += time_ns;
        if (failed) break;
        if (n_ids == 1) time_learn(&d->step_ns, (double)time_ns);
        if (n_ids >= BATCH_TOLD && (double)time_ns > d->step_ns)
            time_learn(&d->more_ns, ((double)time_ns - d->step_ns) / (double)(n_ids - 1));
    }
    return failed;
}

/* Reads some tokens to see how long that takes. What fails here fails again where it is told. */
static void try_out(struct draft *d, const int32_t *tokens)
{
    static const size_t parts[] = {1, 1, 1, 1, N_TRIED - 4};
    if (stile_rewind(d->session, 0, NULL) != 0) return;
    d->n_same = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (read_tokens(d, tokens + d->n_same, parts[i], NULL) != 0) return;
        d->n_same += parts[i];
        if (i == 0) d->step_ns = 0; /* it may have had to load the weights */
    }
}

/* Before it is known: at most as long as reading its weights takes, against the target's. */
static double step_ns(const struct draft *d, const struct question *question)
{
    double share = (double)d->session->model->info.size_bytes / (double)d->target->model->info.size_bytes;
    return d->step_ns > 0 ? d->step_ns : share * question->times->time_ns[0];
}

static size_t most_guesses(const struct draft *d, const struct question *question)
{
    size_t room = stile_context_size(d->session) - question->n_tokens + 1; /* the last guess is not read */
    return question->n_max < room ? question->n_max : room;
}

static void offer(struct guesser *guesser, const struct question *question, struct offer *offer)
{
    struct draft *d = (struct draft *)guesser;
    double gain;
    *offer = (struct offer){0};
    if (question->n_tokens > stile_context_size(d->session)) return;
    find_same(d, question);
    size_t n_behind = question->n_tokens - d->n_same - 1;
    offer->n_max = most_guesses(d, question);
    offer->chance = odds_chance(&d->odds_all);
    offer->step_ns = step_ns(d, question);
    if (d->step_ns == 0 && offer_worth(offer, question->times, &gain) > 0 && n_behind > N_TRIED) {
        try_out(d, question->tokens);
        offer->step_ns = d->step_ns;
        n_behind = question->n_tokens - d->n_same - 1;
    }
    offer->catch_up_ns = (d->more_ns > 0 ? d->more_ns : more_likely * offer->step_ns) * (double)n_behind;
}

static int follow(struct draft *d, const struct question *question, struct stile_error *error)
{
    int failed = 0;
    if (stile_rewind(d->session, (uint32_t)d->n_same, NULL) != 0) { /* a sliding window has moved on */
        failed = stile_rewind(d->session, 0, error);
        d->n_same = 0;
    }
    size_t n = question->n_tokens - d->n_same;
    if (!failed) failed = read_tokens(d, question->tokens + d->n_same, n, error);
    if (!failed) d->n_same = question->n_tokens;
    return failed;
}

/* What the target's sampler would draw from the draft model's logits, or -1; and how sure that is. */
static int32_t draw(struct draft *d, size_t *kind)
{
    const float *row = stile_logits(d->session);
    if (d->row) {
        for (size_t i = 0; i < d->map.n_target; i++)
            d->row[i] = d->map.to_draft[i] < 0 ? -INFINITY : row[d->map.to_draft[i]];
        row = d->row;
    }
    int32_t token = stile_sample(d->sampler, row, d->map.n_target);
    if (token < 0) return -1;
    float other = -INFINITY;
    for (size_t i = 0; i < d->map.n_target; i++)
        if (row[i] > other && i != (size_t)token) other = row[i];
    *kind = N_KINDS - 1;
    while (*kind > 0 && row[token] - other < kinds[*kind].margin)
        --*kind;
    return token;
}

static int guess(struct guesser *guesser, const struct question *question, size_t n_max, int32_t *tokens, size_t *n,
                 struct stile_error *error)
{
    struct draft *d = (struct draft *)guesser;
    double chances[GUESSES_MAX], gain;
    if (!sampler_copy(d->sampler, question->sampler)) return error_memory(error, 0, "the draft model's sampler");
    int failed = follow(d, question, error);
    /* not n_max, which followed from the average: where it is surer than that, it goes on */
    struct offer so_far = {
        .n_max = question->trial ? n_max : most_guesses(d, question),
        .chances = chances,
        .chance = odds_chance(&d->odds_all),
        .step_ns = step_ns(d, question),
    };
    while (!failed) {
        size_t kind;
        int32_t token = draw(d, &kind);
        if (token < 0) break;
        tokens[so_far.n_made] = token;
        d->made_kinds[so_far.n_made] = (uint8_t)kind;
        chances[so_far.n_made++] = odds_chance(&d->odds[kind]);
        if (offer_worth(&so_far, question->times, &gain) <= so_far.n_made) break;
        failed = read_tokens(d, &token, 1, error);
    }
    so_far.n_max = so_far.n_made;
    *n = question->trial ? so_far.n_made : offer_worth(&so_far, question->times, &gain);
    /* not worth it after all: that it will be so again is worth knowing */
    if (*n == 0 && so_far.n_made > 0) odds_learn(&d->odds_all, 1, chances[0]);
    return failed;
}

static void learn(struct guesser *guesser, size_t n, size_t n_right)
{
    struct draft *d = (struct draft *)guesser;
    for (size_t i = 0; i < n && i <= n_right; i++)
        odds_learn(&d->odds[d->made_kinds[i]], 1, i < n_right);
    odds_learn(&d->odds_all, (double)(n_right + (n_right < n)), (double)n_right);
}

static void destroy(struct guesser *guesser)
{
    struct draft *d = (struct draft *)guesser;
    stile_session_free(d->session);
    stile_sampler_free(d->sampler);
    token_map_free(&d->map);
    free(d->row);
    free(d);
}

/* Of the draft model's session. */
static struct stile_session_options session_options(const struct stile_session_options *target)
{
    struct stile_session_options options = *target;
    uint32_t n_ctx_trained = target->draft->model->hparams.n_ctx_trained;
    if (n_ctx_trained > 0 && n_ctx_trained < options.n_ctx) options.n_ctx = n_ctx_trained;
    options.draft = NULL;
    options.memory_limit_bytes = 0; /* of the target's memory it is a part already */
    options.place = NULL;
    return options;
}

static struct draft *allocate(const struct stile_session *target)
{
    static const struct guesser_type type = {restart, offer, guess, learn, destroy};
    struct draft *d = calloc(1, sizeof *d);
    if (!d) return NULL;
    d->guesser.type = &type;
    d->target = target;
    d->odds_all.prior = prior_right;
    for (size_t i = 0; i < N_KINDS; i++)
        d->odds[i].prior = kinds[i].right;
    return d;
}

int draft_create(struct guesser **guesser, const struct stile_session *target, struct stile_error *error)
{
    struct stile_model *model = target->options.draft;
    const struct stile_session_options options = session_options(&target->options);
    size_t row_bytes = target->model->model->hparams.n_vocab * sizeof(float);
    struct draft *d = allocate(target);
    if (!d) return error_memory(error, sizeof *d, "a draft model");
    int failed = token_map_create(&d->map, target->model, model, error);
    if (!failed) failed = stile_session_create(&d->session, model, &options, error);
    if (!failed) failed = stile_sampler_create(&d->sampler, NULL, error);
    if (!failed && !d->map.same && !(d->row = malloc(row_bytes)))
        failed = error_memory(error, row_bytes, "a draft model");
    if (failed) {
        destroy(&d->guesser);
        return failed;
    }
    *guesser = &d->guesser;
    return 0;
}

int draft_memory(const struct stile_session_options *target, uint64_t *memory_bytes, struct stile_error *error)
{
    const struct stile_session_options options = session_options(target);
    struct stile_memory memory;
    int failed = stile_model_memory(target->draft, &options, &memory, error);
    if (failed) return failed;
    *memory_bytes = memory.weights_bytes + memory.kv_bytes + memory.activations_bytes + memory.other_bytes;
    return 0;
}

void draft_touch(struct guesser *guesser)
{
    kv_touch(&((struct draft *)guesser)->session->kv);
}

uint64_t draft_read_bytes(const struct guesser *guesser)
{
    return ((const struct draft *)guesser)->session->read_bytes;
}

uint64_t draft_time_ns(const struct guesser *guesser)
{
    return ((const struct draft *)guesser)->time_ns;
}
