/* bench_private.h - what bench.c and bench_start.c share: models that take turns. */
#ifndef STILE_LAB_BENCH_PRIVATE_H
#define STILE_LAB_BENCH_PRIVATE_H

#include "lab/bench.h"
#include "lab/limit.h"

/* One model at one setting. */
struct bench_subject {
    struct stile_model *model;
    struct stile_session *session;
    struct stile_cost cost;
    struct stile_profile_entry *profile;
    size_t n_profile;
    uint64_t profile_ns;
    double samples[STATS_SAMPLES_MAX];
    double limit_samples[STATS_SAMPLES_MAX];
    size_t n_limit_samples;
    double matmul_macs, matmul_limit_s;
    struct stile_tiers tiers; /* counts of the repetitions so far */
    bool has_tiers;
};

struct bench {
    const struct bench_plan *plan;
    void (*on_result)(void *user, const struct bench_result *result);
    struct bench_subject *subjects; /* (plan->n_models) */
    struct limit *limit;            /* NULL while start-up is measured, which wants the memory */
    int32_t *tokens;                /* (n_ctx) scratch for the tokens of a test */
    uint32_t n_ctx;
};

/* A repetition of what is measured: its seconds. `i` is the number of the repetition. */
typedef int bench_repeat(struct bench *bench, struct bench_subject *subject, struct bench_result *test, uint32_t i,
                         double *time_s, struct stile_error *error);

/* Has the subjects take turns until the plan is satisfied. `test` says what is measured and gets the noise; sample i of
 * each subject is test->n_tokens / seconds, or seconds. *n_samples: of each, also when it fails. */
int bench_repeat_all(struct bench *bench, struct bench_result *test, bench_repeat *repeat, size_t *n_samples,
                     struct stile_error *error);
/* Hands the samples of all subjects, whose models are open, to on_result. Nothing when there are none. */
void bench_report(struct bench *bench, struct bench_result *test, size_t n_samples);
void bench_fill_tokens(int32_t *tokens, size_t n, uint32_t n_vocab, uint64_t seed);

/* bench_start.c: opening, and the time to the first token, model after model. No model may be open. */
int bench_start(struct bench *bench, struct stile_error *error);

#endif
