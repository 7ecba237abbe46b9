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

/* Tokens that must be read at once to tell what one of many takes; those looked back on, and read before them. */
enum { BATCH_TOLD = 8, N_LOOKED = SPECULATION_ROWS_LEAST, N_BEFORE = 8 };
static const double look_share = 0.01;  /* of the time: for looking back where it does not seem worth it */
static const double first_look = 2;     /* and so many plain passes, once */
static const double more_likely = 0.25; /* of a step: what each token of many takes before that is known */

struct draft {
    struct guesser guesser; /* first: the one is the other */
    const struct stile_session *target;
    struct stile_session *session;
    struct stile_sampler *sampler;
    struct token_map map;
    float *row;    /* (n_vocab of the target) logits in its ids; NULL where ids are the same */
    size_t n_same; /* tokens of the session that are known to be the target's */
    struct stile_sampler *past;
    bool is_known;    /* it was looked back once */
    size_t n_past;    /* tokens there were when the target's sampler was as that is; 0: it was not kept */
    double credit_ns; /* for looking back */
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
    struct draft *d = (struct draft *)guesser;
    d->n_same = d->n_past = 0;
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

/* Reads n tokens of the target's, and learns how long that takes. `rows`, if not NULL, gets the logits of all. */
static int read_tokens(struct draft *d, const int32_t *tokens, size_t n, float *rows, struct stile_error *error)
{
    enum { CHUNK = 512 };
    int32_t ids[CHUNK];
    int failed = 0;
    for (size_t done = 0, n_ids; done < n && !failed; done += n_ids) {
        n_ids = n - done < CHUNK ? n - done : CHUNK;
        for (size_t i = 0; i < n_ids; i++)
            ids[i] = in_draft(d, tokens[done + i]);
        uint64_t begin_ns = clock_ns();
        failed = rows ? stile_eval_rows(d->session, ids, n_ids, n_ids, rows, error)
                      : session_read(d->session, ids, n_ids, error);
        uint64_t time_ns = clock_ns() - begin_ns;
        d->time_ns += time_ns;
        if (failed) break;
        if (n_ids == 1) time_learn(&d->step_ns, (double)time_ns);
        if (n_ids >= BATCH_TOLD && d->step_ns > 0 && (double)time_ns > d->step_ns)
            time_learn(&d->more_ns, ((double)time_ns - d->step_ns) / (double)(n_ids - 1));
    }
    return failed;
}

/* What the target's sampler would draw from the draft model's logits, or -1; and how sure that is. */
static int32_t draw(struct draft *d, const float *row, size_t *kind)
{
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

/* Compares what was drawn with what it would have drawn: `rows` are its logits before each of these tokens. */
static void compare(struct draft *d, const float *rows, const int32_t *tokens)
{
    size_t kind, n_right = 0;
    if (!sampler_copy(d->sampler, d->past)) return;
    for (size_t i = 0; i < N_LOOKED; i++) {
        int32_t token = draw(d, rows + i * d->session->model->model->hparams.n_vocab, &kind);
        if (token < 0) return;
        odds_learn(&d->odds[kind], 1, token == tokens[i]);
        n_right += token == tokens[i];
        if (token != tokens[i]) stile_sampler_accept(d->sampler, tokens[i]);
    }
    odds_learn(&d->odds_all, N_LOOKED, (double)n_right);
    d->is_known = true;
}

/* Reads the last tokens, after a few of those before them: how long does that take, and would it have guessed them? That
 * costs less than guesses that turn out wrong. What fails here fails again where it is told. */
static void look_back(struct draft *d, const struct question *question)
{
    size_t first = d->n_past - 1; /* whose logits the first one was drawn from */
    size_t begin = first > d->n_same + N_BEFORE ? first - N_BEFORE : d->n_same < first ? d->n_same : first;
    bool goes_on = begin <= d->n_same;
    float *rows = speculation_rows(d->session->speculation);
    const int32_t *tokens = question->tokens;
    const uint64_t begin_ns = d->time_ns;
    d->n_past = 0;
    goes_on =
        goes_on && stile_rewind(d->session, (uint32_t)begin, NULL) == 0; /* unless a sliding window has moved on */
    if (!goes_on && stile_rewind(d->session, 0, NULL) != 0) return;
    d->n_same = goes_on ? begin : 0;
    if (begin < first && read_tokens(d, tokens + begin, first - begin, NULL, NULL) != 0) return;
    if (read_tokens(d, tokens + first, 1, rows, NULL) != 0) return;
    rows += d->session->model->model->hparams.n_vocab;
    if (read_tokens(d, tokens + first + 1, N_LOOKED - 1, rows, NULL) != 0) return;
    if (goes_on) d->n_same = first + N_LOOKED;
    compare(d, speculation_rows(d->session->speculation), tokens + first + 1);
    d->credit_ns -= (double)(d->time_ns - begin_ns);
}

/* Before it is known: at most as long as reading its weights takes, against the target's. */
static double step_ns(const struct draft *d, const struct question *question)
{
    double share = (double)d->session->model->info.size_bytes / (double)d->target->model->info.size_bytes;
    return d->step_ns > 0 ? d->step_ns : share * question->times->time_ns[0];
}

static double more_ns(const struct draft *d, const struct question *question)
{
    return d->more_ns > 0 ? d->more_ns : more_likely * step_ns(d, question);
}

/* Looks back where it does not seem to be worth it, as far as there is credit for that. */
static bool looks_back(struct draft *d, const struct question *question)
{
    const double plain_ns = question->times->time_ns[0];
    double likely_ns = step_ns(d, question) + (N_BEFORE + N_LOOKED - 1) * more_ns(d, question);
    d->credit_ns += look_share * plain_ns;
    if (d->credit_ns + (d->is_known ? 0 : first_look * plain_ns) < likely_ns) return false;
    if (d->n_past == 0 && sampler_copy(d->past, question->sampler)) d->n_past = question->n_tokens;
    if (d->n_past == 0 || question->n_tokens < d->n_past + N_LOOKED) return false;
    look_back(d, question);
    return true;
}

static size_t most_guesses(const struct draft *d, const struct question *question)
{
    size_t room = stile_context_size(d->session) - question->n_tokens + 1; /* the last guess is not read */
    return question->n_max < room ? question->n_max : room;
}

static void weigh(const struct draft *d, const struct question *question, struct offer *offer)
{
    size_t n_behind = question->n_tokens - d->n_same - 1;
    offer->n_max = most_guesses(d, question);
    offer->chance = odds_chance(&d->odds_all);
    offer->step_ns = step_ns(d, question);
    offer->catch_up_ns = more_ns(d, question) * (double)n_behind;
}

static void offer(struct guesser *guesser, const struct question *question, struct offer *offer)
{
    struct draft *d = (struct draft *)guesser;
    double gain;
    *offer = (struct offer){0};
    if (question->n_tokens > stile_context_size(d->session)) return;
    find_same(d, question);
    weigh(d, question, offer);
    if (!d->is_known || offer_worth(offer, question->times, &gain) == 0) {
        if (looks_back(d, question)) {
            weigh(d, question, offer);
            offer_worth(offer, question->times, &gain);
            guesser->missed_ns = N_LOOKED * question->times->time_ns[0] * (1 - 1 / gain);
        }
        if (!d->is_known) offer->n_max = 0;
    }
}

static int follow(struct draft *d, const struct question *question, struct stile_error *error)
{
    int failed = 0;
    if (stile_rewind(d->session, (uint32_t)d->n_same, NULL) != 0) { /* a sliding window has moved on */
        failed = stile_rewind(d->session, 0, error);
        d->n_same = 0;
    }
    size_t n = question->n_tokens - d->n_same;
    if (!failed) failed = read_tokens(d, question->tokens + d->n_same, n, NULL, error);
    if (!failed) d->n_same = question->n_tokens;
    return failed;
}

static int guess(struct guesser *guesser, const struct question *question, size_t n_max, int32_t *tokens, size_t *n,
                 struct stile_error *error)
{
    struct draft *d = (struct draft *)guesser;
    double chances[GUESSES_MAX], gain;
    if (!sampler_copy(d->sampler, question->sampler)) return error_memory(error, 0, "the draft model's sampler");
    int failed = follow(d, question, error);
    (void)n_max; /* it followed from the average: where it is surer than that, it goes on */
    struct offer so_far = {
        .n_max = most_guesses(d, question),
        .chances = chances,
        .chance = odds_chance(&d->odds_all),
        .step_ns = step_ns(d, question),
    };
    while (!failed) {
        size_t kind;
        int32_t token = draw(d, stile_logits(d->session), &kind);
        if (token < 0) break;
        tokens[so_far.n_made] = token;
        d->made_kinds[so_far.n_made] = (uint8_t)kind;
        chances[so_far.n_made++] = odds_chance(&d->odds[kind]);
        so_far.n_chances = so_far.n_made;
        if (offer_worth(&so_far, question->times, &gain) <= so_far.n_made) break;
        failed = read_tokens(d, &token, 1, NULL, error);
    }
    so_far.n_max = so_far.n_made;
    *n = offer_worth(&so_far, question->times, &gain);
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
    stile_sampler_free(d->past);
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
    d->odds_all = odds_prior(prior_right);
    for (size_t i = 0; i < N_KINDS; i++)
        d->odds[i] = odds_prior(kinds[i].right);
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
    if (!failed) failed = stile_sampler_create(&d->past, NULL, error);
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
