/* bench.h - measures how fast models work here: prefill, decode, start-up.
 *
 * Each test is warmed up, then repeated until the interval of the median is narrow enough or a limit is reached.
 * Several models take turns, one repetition each, so that what drifts hits all alike; sample i of one belongs to sample
 * i of the others. Tokens are pseudo-random from a fixed seed; nothing is sampled, no token ends anything.
 */
#ifndef STILE_LAB_BENCH_H
#define STILE_LAB_BENCH_H

#include "lab/host.h"
#include "lab/stats.h"
#include "stile.h"

enum { BENCH_MODELS_MAX = 16, BENCH_REPETITIONS_MIN = 5 };

/* A file, by path or short name, or (path NULL) a synthetic model of a shape in a format. */
struct bench_model {
    const char *path;
    const char *shape, *format;
};

struct bench_values {
    const uint32_t *values;
    size_t n;
};

struct bench_plan {
    const struct bench_model *models;
    size_t n_models; /* 1 to BENCH_MODELS_MAX */
    /* Every combination is measured. */
    struct bench_values prompts;   /* tokens of a prefill test */
    struct bench_values generates; /* tokens of a decode test */
    struct bench_values depths;    /* tokens in the context before the test */
    struct bench_values batches;   /* 0: the session's default */
    struct bench_values threads;   /* 1 or more */
    bool start;                    /* also measure opening (files only), and the time to the first token */
    bool cold;                     /* that with the file dropped from the page cache before each */
    bool profile;                  /* one run more of each test, operation by operation */
    enum stile_kv_format kv_format;
    const char *isa;             /* NULL: the best here */
    uint64_t memory_limit_bytes; /* as in stile_session_options, like the next */
    const char *place;
    uint32_t n_repetitions;     /* at most, up to STATS_SAMPLES_MAX; at least min(this, BENCH_REPETITIONS_MIN) ... */
    double spread;              /* ... until stats_spread is this small */
    double time_s;              /* ... or this long was spent on a test, per model (3 repetitions are made anyway) */
    const volatile int *cancel; /* as in stile_session_options */
    const struct host *host;
    void (*on_progress)(void *user, const char *what); /* between repetitions; may be NULL */
    void *user;
};

extern const char *const bench_kv_names[]; /* by enum stile_kv_format */

enum bench_metric { BENCH_TOKENS_PER_S, BENCH_SECONDS };

/* One test of one model. Pointers are good during on_result only. */
struct bench_result {
    const struct stile_model *model;
    size_t i_model;
    char test[40]; /* "pp512", "tg128@d4096", "load", "first-token", "load-cold" */
    enum bench_metric metric;
    uint32_t n_tokens, depth, threads, batch;
    uint32_t n_ctx; /* of the session */
    bool decode;
    const double *samples; /* in the order of measuring */
    size_t n_samples;
    const double *first_samples; /* of the plan's first model, (n_samples); NULL for itself */
    struct stile_cost cost;      /* of the whole test; all 0 for start-up */
    const double *limit_samples; /* bytes per second that memory was read with, between the repetitions */
    size_t n_limit_samples;
    struct stile_pace pace; /* of the machine, before the first repetition; but for the disk */
    bool has_pace;
    double matmul_macs;    /* of cost.macs, those with weights; prefill only */
    double matmul_limit_s; /* the kernels alone need this for them; 0: not known */
    bool interrupted;      /* fewer repetitions than the plan asked for */
    bool not_cold;         /* the file could not be dropped from the page cache */
    struct host_noise noise;
    const struct stile_tiers *tiers; /* where the weights were; what it counts, during the repetitions; NULL: mapped */
    uint32_t n_tiers_tokens;         /* of these repetitions */
    const struct stile_profile_entry *profile; /* NULL: none */
    size_t n_profile;
    uint64_t profile_ns; /* of the run that was profiled */
};

/* Runs the plan; on_result gets each test as soon as it is measured, those of several models together. CANCELLED after
 * the results so far when plan->cancel became non-zero. */
int bench_run(const struct bench_plan *plan, void (*on_result)(void *user, const struct bench_result *result),
              struct stile_error *error);

#endif
