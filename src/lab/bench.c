/* bench.c - the protocol: settings, warm-up, taking turns, when it is enough. */
#include "base/clock.h"
#include "base/error.h"
#include "lab/bench_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t seed = 0x5717e;

/* ---- what all tests share ------------------------------------------------------------------- */

void bench_fill_tokens(int32_t *tokens, size_t n, uint32_t n_vocab, uint64_t from)
{
    uint64_t state = from * 0x9e3779b97f4a7c15u + 1;
    for (size_t i = 0; i < n; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        tokens[i] = (int32_t)(state % n_vocab);
    }
}

static bool cancelled(const struct bench *bench, struct stile_error *error)
{
    if (!bench->plan->cancel || !*bench->plan->cancel) return false;
    error_set(error, STILE_ERROR_CANCELLED, "stopped");
    return true;
}

static void progress(const struct bench *bench, const struct bench_result *test, size_t i)
{
    char what[96];
    if (!bench->plan->on_progress) return;
    if (i == 0)
        snprintf(what, sizeof what, "%s: warming up", test->test);
    else
        snprintf(what, sizeof what, "%s: %zu of at most %u", test->test, i, bench->plan->n_repetitions);
    bench->plan->on_progress(bench->plan->user, what);
}

/* Is the plan satisfied with n repetitions, begun at begin_ns? */
static bool enough(const struct bench *bench, size_t n, uint64_t begin_ns)
{
    const struct bench_plan *plan = bench->plan;
    double spent_s = (double)(clock_ns() - begin_ns) / 1e9 / (double)plan->n_models;
    if (n >= plan->n_repetitions || n >= STATS_SAMPLES_MAX) return true;
    if (n >= 3 && spent_s > plan->time_s) return true;
    if (n < BENCH_REPETITIONS_MIN) return false;
    for (size_t m = 0; m < plan->n_models; m++) {
        struct stats stats;
        stats_of(bench->subjects[m].samples, n, &stats);
        if (stats_spread(&stats) > plan->spread) return false;
    }
    return true;
}

/* Adds what happened since `begin` to what the subject counts. */
static void count_tiers(struct bench_subject *subject, const struct stile_tiers *begin)
{
    struct stile_tiers now, sum = subject->tiers;
    if (!subject->session) return;
    subject->has_tiers = stile_session_tiers(subject->session, &now);
    subject->tiers = now;
    subject->tiers.n_passes = sum.n_passes + now.n_passes - begin->n_passes;
    subject->tiers.read_bytes = sum.read_bytes + now.read_bytes - begin->read_bytes;
    subject->tiers.reading_ns = sum.reading_ns + now.reading_ns - begin->reading_ns;
    subject->tiers.waiting_ns = sum.waiting_ns + now.waiting_ns - begin->waiting_ns;
    subject->tiers.wanted_bytes = sum.wanted_bytes + now.wanted_bytes - begin->wanted_bytes;
    subject->tiers.hit_bytes = sum.hit_bytes + now.hit_bytes - begin->hit_bytes;
    subject->tiers.guessed_bytes = sum.guessed_bytes + now.guessed_bytes - begin->guessed_bytes;
    subject->tiers.right_bytes = sum.right_bytes + now.right_bytes - begin->right_bytes;
}

int bench_repeat_all(struct bench *bench, struct bench_result *test, bench_repeat *repeat, size_t *n_samples,
                     struct stile_error *error)
{
    const struct bench_plan *plan = bench->plan;
    struct host_moment begin, end;
    uint64_t begin_ns = clock_ns();
    int failed = 0;
    size_t n = 0;
    host_look(&begin);
    double limit_cpu_begin_s = limit_cpu_s(bench->limit);
    test->has_pace = limit_pace(bench->limit, test->threads, &test->pace);
    for (size_t m = 0; m < plan->n_models; m++) {
        bench->subjects[m].n_limit_samples = 0;
        bench->subjects[m].has_tiers = false;
        bench->subjects[m].tiers = (struct stile_tiers){0};
    }
    while (!failed && (n == 0 || !enough(bench, n, begin_ns))) {
        for (size_t m = 0; m < plan->n_models && !failed; m++) {
            struct bench_subject *subject = &bench->subjects[m];
            double time_s;
            progress(bench, test, n + 1);
            double rate = limit_read_rate(bench->limit, test->threads);
            if (rate > 0) subject->limit_samples[subject->n_limit_samples++] = rate;
            struct stile_tiers tiers = {0};
            if (subject->session) stile_session_tiers(subject->session, &tiers);
            failed = cancelled(bench, error) ? STILE_ERROR_CANCELLED
                                             : repeat(bench, subject, test, (uint32_t)n + 1, &time_s, error);
            if (!failed) count_tiers(subject, &tiers);
            if (!failed) subject->samples[n] = test->metric == BENCH_SECONDS ? time_s : (double)test->n_tokens / time_s;
        }
        if (!failed) n++;
    }
    host_look(&end);
    end.own_s += limit_cpu_s(bench->limit) - limit_cpu_begin_s;
    host_noise_between(&begin, &end, plan->host->n_processors, test->threads, &test->noise);
    test->interrupted = failed != 0;
    *n_samples = n;
    return failed;
}

void bench_report(struct bench *bench, struct bench_result *test, size_t n_samples)
{
    for (size_t m = 0; m < bench->plan->n_models && n_samples > 0; m++) {
        struct bench_subject *subject = &bench->subjects[m];
        test->model = subject->model;
        test->i_model = m;
        test->samples = subject->samples;
        test->n_samples = n_samples;
        test->first_samples = m > 0 ? bench->subjects[0].samples : NULL;
        test->cost = subject->cost;
        test->limit_samples = subject->limit_samples;
        test->n_limit_samples = subject->n_limit_samples;
        test->matmul_macs = subject->matmul_macs;
        test->matmul_limit_s = subject->matmul_limit_s;
        test->tiers = subject->has_tiers ? &subject->tiers : NULL;
        test->n_tiers_tokens = test->n_tokens * (uint32_t)n_samples;
        test->profile = subject->profile;
        test->n_profile = subject->n_profile;
        test->profile_ns = subject->profile_ns;
        bench->on_result(bench->plan->user, test);
    }
}

/* ---- prefill and decode --------------------------------------------------------------------- */

/* Brings the context to `depth` tokens; which ones does not matter. */
static int go_to_depth(struct bench *bench, struct bench_subject *subject, uint32_t depth, struct stile_error *error)
{
    struct stile_session *session = subject->session;
    /* Where a sliding window has moved on, only the beginning is left to go back to. */
    if (stile_context_used(session) > depth && stile_rewind(session, depth, NULL) != 0) {
        int failed = stile_rewind(session, 0, error);
        if (failed) return failed;
    }
    uint32_t missing = depth - stile_context_used(session);
    if (missing == 0) return 0;
    bench_fill_tokens(bench->tokens, missing, stile_model_info(subject->model)->n_vocab, seed);
    return stile_eval(session, bench->tokens, missing, error);
}

static int repeat_eval(struct bench *bench, struct bench_subject *subject, struct bench_result *test, uint32_t i,
                       double *time_s, struct stile_error *error)
{
    int failed = go_to_depth(bench, subject, test->depth, error);
    if (failed) return failed;
    bench_fill_tokens(bench->tokens, test->n_tokens, stile_model_info(subject->model)->n_vocab, seed + 1 + i);
    uint64_t begin_ns = clock_ns();
    if (test->decode) {
        for (uint32_t t = 0; t < test->n_tokens && !failed; t++)
            failed = stile_eval(subject->session, bench->tokens + t, 1, error);
    } else {
        failed = stile_eval(subject->session, bench->tokens, test->n_tokens, error);
    }
    *time_s = (double)(clock_ns() - begin_ns) / 1e9;
    return failed;
}

/* One run with the profile on; keeps what it says. */
static int profiled_run(struct bench *bench, struct bench_subject *subject, struct bench_result *test, uint32_t i,
                        struct stile_error *error)
{
    double time_s;
    int failed = go_to_depth(bench, subject, test->depth, error);
    if (!failed) failed = stile_profile_start(subject->session, true, error);
    if (!failed) failed = repeat_eval(bench, subject, test, i, &time_s, error);
    if (failed) return failed;
    free(subject->profile);
    subject->n_profile = stile_profile(subject->session, NULL, 0);
    subject->profile = calloc(subject->n_profile + 1, sizeof *subject->profile);
    subject->profile_ns = (uint64_t)(time_s * 1e9);
    if (!subject->profile) return error_memory(error, subject->n_profile * sizeof *subject->profile, "a profile");
    stile_profile(subject->session, subject->profile, subject->n_profile);
    return stile_profile_start(subject->session, false, error);
}

static void drop_profile(struct bench_subject *subject)
{
    free(subject->profile);
    subject->profile = NULL;
    subject->n_profile = 0;
}

static void add_cost(struct stile_cost *sum, const struct stile_cost *cost)
{
    sum->weight_bytes += cost->weight_bytes;
    sum->kv_bytes += cost->kv_bytes;
    sum->macs += cost->macs;
}

/* Warms up, and finds what the test costs: of a prefill by counting what its batches do, of a decode token by token.
 */
static int warm_up(struct bench *bench, struct bench_subject *subject, struct bench_result *test,
                   struct stile_error *error)
{
    const struct bench_plan *plan = bench->plan;
    memset(&subject->cost, 0, sizeof subject->cost);
    subject->matmul_macs = subject->matmul_limit_s = 0;
    if (!test->decode) {
        int failed = profiled_run(bench, subject, test, 0, error);
        for (size_t i = 0; i < subject->n_profile && !failed; i++)
            add_cost(&subject->cost, &subject->profile[i].cost);
        limit_arithmetic(&plan->host->probe, test->threads, host_isa(plan->host, plan->isa), subject->profile,
                         subject->n_profile, &subject->matmul_macs, &subject->matmul_limit_s);
        if (subject->matmul_limit_s < 0) subject->matmul_limit_s = 0;
        drop_profile(subject);
        return failed;
    }
    for (uint32_t t = 0; t < test->n_tokens; t++) {
        struct stile_cost cost;
        stile_session_cost(subject->session, 1, test->depth + t, &cost);
        add_cost(&subject->cost, &cost);
    }
    struct bench_result little = *test;
    double time_s;
    if (little.n_tokens > 8) little.n_tokens = 8;
    return repeat_eval(bench, subject, &little, 0, &time_s, error);
}

static int run_test(struct bench *bench, struct bench_result *test, struct stile_error *error)
{
    const struct bench_plan *plan = bench->plan;
    int failed = 0, n = snprintf(test->test, sizeof test->test, "%s%u", test->decode ? "tg" : "pp", test->n_tokens);
    size_t n_samples = 0;
    if (test->depth) snprintf(test->test + n, sizeof test->test - (size_t)n, "@d%u", test->depth);
    for (size_t m = 0; m < plan->n_models && !failed; m++) {
        progress(bench, test, 0);
        failed = warm_up(bench, &bench->subjects[m], test, error);
    }
    if (!failed) failed = bench_repeat_all(bench, test, repeat_eval, &n_samples, error);
    for (size_t m = 0; m < plan->n_models && !failed && plan->profile; m++)
        failed = profiled_run(bench, &bench->subjects[m], test, 1, error);
    bench_report(bench, test, n_samples);
    for (size_t m = 0; m < plan->n_models; m++)
        drop_profile(&bench->subjects[m]);
    return failed;
}

static void free_sessions(struct bench *bench)
{
    for (size_t m = 0; m < bench->plan->n_models; m++) {
        stile_session_free(bench->subjects[m].session);
        bench->subjects[m].session = NULL;
    }
}

/* All depths and tests at one number of threads and one batch. */
static int run_setting(struct bench *bench, uint32_t threads, uint32_t batch, struct stile_error *error)
{
    const struct bench_plan *plan = bench->plan;
    const struct stile_session_options options = {.n_ctx = bench->n_ctx,
                                                  .n_batch = batch,
                                                  .n_threads = threads,
                                                  .kv_format = plan->kv_format,
                                                  .isa = plan->isa,
                                                  .memory_limit_bytes = plan->memory_limit_bytes,
                                                  .place = plan->place,
                                                  .cancel = plan->cancel};
    int failed = 0;
    for (size_t m = 0; m < plan->n_models && !failed; m++)
        failed = stile_session_create(&bench->subjects[m].session, bench->subjects[m].model, &options, error);
    for (size_t d = 0; d < plan->depths.n; d++) {
        for (size_t i = 0; i < plan->prompts.n + plan->generates.n && !failed; i++) {
            bool decode = i >= plan->prompts.n;
            struct bench_result test = {.metric = BENCH_TOKENS_PER_S,
                                        .depth = plan->depths.values[d],
                                        .threads = threads,
                                        .batch = batch,
                                        .n_ctx = bench->n_ctx,
                                        .decode = decode};
            test.n_tokens = decode ? plan->generates.values[i - plan->prompts.n] : plan->prompts.values[i];
            if (test.n_tokens > 0) failed = run_test(bench, &test, error);
        }
    }
    free_sessions(bench);
    return failed;
}

static uint32_t largest(struct bench_values list)
{
    uint32_t most = 0;
    for (size_t i = 0; i < list.n; i++)
        if (list.values[i] > most) most = list.values[i];
    return most;
}

static int open_models(struct bench *bench, struct stile_error *error)
{
    const struct bench_plan *plan = bench->plan;
    int failed = 0;
    for (size_t m = 0; m < plan->n_models && !failed; m++) {
        const struct bench_model *model = &plan->models[m];
        struct stile_model **open = &bench->subjects[m].model;
        char what[96];
        if (model->path) {
            failed = stile_model_open(open, model->path, error);
            continue;
        }
        snprintf(what, sizeof what, "making %.40s %.20s", model->shape, model->format);
        if (plan->on_progress) plan->on_progress(plan->user, what);
        failed = cancelled(bench, error) ? STILE_ERROR_CANCELLED
                                         : stile_model_synthesize(open, model->shape, model->format, error);
    }
    return failed;
}

static int run_all(struct bench *bench, struct stile_error *error)
{
    const struct bench_plan *plan = bench->plan;
    int failed = plan->start ? bench_start(bench, error) : 0;
    if (!failed) bench->limit = limit_start();
    if (!failed) failed = open_models(bench, error);
    for (size_t t = 0; t < plan->threads.n; t++)
        for (size_t b = 0; b < plan->batches.n && !failed; b++)
            failed = run_setting(bench, plan->threads.values[t], plan->batches.values[b], error);
    for (size_t m = 0; m < plan->n_models; m++)
        stile_model_close(bench->subjects[m].model);
    limit_stop(bench->limit);
    return failed;
}

int bench_run(const struct bench_plan *plan, void (*on_result)(void *user, const struct bench_result *result),
              struct stile_error *error)
{
    uint32_t prompt = largest(plan->prompts), generate = largest(plan->generates);
    struct bench bench = {.plan = plan, .on_result = on_result};
    /* start-up needs a few tokens too */
    bench.n_ctx = largest(plan->depths) + (prompt > generate ? prompt : generate) + 8;
    bench.subjects = calloc(plan->n_models, sizeof *bench.subjects);
    bench.tokens = calloc(bench.n_ctx, sizeof *bench.tokens);
    int failed = bench.subjects && bench.tokens ? run_all(&bench, error)
                                                : error_memory(error, bench.n_ctx * sizeof *bench.tokens, "a bench");
    free(bench.subjects);
    free(bench.tokens);
    return failed;
}
