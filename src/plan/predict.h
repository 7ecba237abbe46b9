/* predict.h - how fast a model runs on a machine, and in how much memory, without running it.
 *
 * A machine is a row of tiers, fastest first: device memory, memory, disk. A tier that computes has a processor, and
 * what lies there is used there; what lies on one that does not is brought to the first tier with every pass. Each
 * operation of the program takes as long as the slowest of reading its weights (or the KV cache) and its arithmetic,
 * and operations follow one another, so what tiers compute adds up; what is brought from a tier goes on meanwhile:
 *
 *     t = max(sum over operations, bytes brought / rate, ...)
 *
 * Where things lie: KV cache and activations first, then what every token needs, then experts; the first tier is
 * filled first. Experts that do not fit are kept by use: the popular ones stay (plan_expert_hits).
 *
 * Bytes and multiplications are those of program/cost.h. Every rate comes with a range, and so does every result.
 */
#ifndef STILE_PLAN_PREDICT_H
#define STILE_PLAN_PREDICT_H

#include "model/mix.h"
#include "plan/machine.h"
#include "plan/placement.h"
#include "program/cost.h"

/* A number and where it may really lie: low <= value <= high. All 0: not known. */
struct plan_range {
    double value, low, high;
};

enum { PLAN_TIERS_MAX = 4 };

/* What computes. Rates are of all its threads together. */
struct plan_processor {
    /* One token: products are made at this share of the tier's read rate, by the format of the weights. */
    struct plan_range read_share[FORMAT_COUNT];
    /* Many tokens: a product takes macs / macs_per_s, and weight_s for each of its weights (unpacking it, for however many
     * tokens) and output_s for each of its results; by the format of the weights. */
    struct plan_range macs_per_s[FORMAT_COUNT];
    double weight_s[FORMAT_COUNT], output_s[FORMAT_COUNT];
    /* Up to n_few tokens, weight_s is that much less. With more, this share of the shorter of reading and arithmetic does
     * not go on beside the longer. */
    uint32_t n_few;
    double exposed_share[FORMAT_COUNT];
    /* Attention of one token takes kv_bytes / kv_bytes_per_s + macs / kv_macs_per_s, and kv_pair_s for each pair of a
     * query and a position it sees (an exponential, whatever the width of heads); of many tokens macs /
     * attention_macs_per_s, and attention_pair_s, or kv_bytes / kv_bytes_per_s where that is longer. By the format of the
     * KV cache. */
    struct plan_range kv_bytes_per_s[FORMAT_COUNT], kv_macs_per_s[FORMAT_COUNT];
    struct plan_range attention_macs_per_s[FORMAT_COUNT];
    double kv_pair_s[FORMAT_COUNT], attention_pair_s[FORMAT_COUNT];
    /* Everything else (norms, activations, sums, quantizing): elements read or written per second. */
    struct plan_range elements_per_s;
    struct plan_range op_s;   /* for each product and attention, beyond the above: handing over between threads */
    struct plan_range pass_s; /* for each evaluation, and ... */
    double logit_s;           /* ... for each logit */
};

struct plan_tier {
    char name[48];           /* "memory", "disk" */
    uint64_t capacity_bytes; /* that a model may have; UINT64_MAX: as much as it wants */
    bool computes;
    struct plan_processor processor; /* where it computes */
    /* Of the processor; or, where nothing computes, of bringing to the first tier. */
    struct plan_range read_bytes_per_s;
};

struct plan_machine {
    char name[96];
    struct plan_tier tiers[PLAN_TIERS_MAX];
    int n_tiers;
    struct plan_range load_bytes_per_s; /* from where model files are, into memory; 0: not known */
    /* Shares of the time for reading memory and for arithmetic, where there is something to bring meanwhile, that are
     * not hidden by it, nor it by them. */
    double alone_memory, alone_arithmetic;
    /* Experts that are brought: so much more is missing, as a share, as if the most popular ones were there, for what is
     * popular is known from use alone. Those of few tokens are begun to be brought on a guess: so much in vain, as a share
     * of what is missing; and a layer with some missing takes longer for what nobody guessed. */
    double experts_missed, experts_vain, experts_late_s;
    double open_s;       /* to open a file, and ... */
    double open_token_s; /* ... for each token of its vocabulary */
    double map_byte_s;   /* to make a byte of it usable that is in memory already */
    /* What the formula leaves out, as a share: added to either side of decode, prefill and first token. */
    double decode_error, prefill_error, first_error;
    double probed_read_bytes_per_s; /* of memory, when it was probed; 0: it was not */
};

enum plan_bound {
    PLAN_BOUND_UNKNOWN, /* a rate that is needed is not known: the result is 0 */
    PLAN_BOUND_MEMORY,
    PLAN_BOUND_ARITHMETIC,
    PLAN_BOUND_OVERHEAD,
    PLAN_BOUND_LINK, /* bringing weights from a tier: see `tier` */
};

struct plan_estimate {
    struct plan_range range;
    enum plan_bound bound_by;
    int tier; /* the one whose rate binds */
};
/* "memory", "arithmetic", "overhead", or the name of the tier that things are brought from. */
const char *plan_bound_name(const struct plan_machine *machine, const struct plan_estimate *estimate);

struct plan_memory {
    uint64_t weights_bytes; /* filled in by plan_predict */
    uint64_t kv_bytes, activations_bytes, other_bytes;
};

/* What is asked. */
struct plan_request {
    const struct program *program;
    struct plan_memory memory;
    uint32_t n_batch;        /* tokens evaluated together */
    uint32_t n_prompt;       /* of prefill and first token */
    uint32_t n_depth;        /* tokens in the context before either */
    uint32_t n_generated;    /* decode is the mean over so many tokens; at least 1 */
    enum format kv_format;   /* F16, F32 or Q8_0 */
    const struct mix *mix;   /* as if the model came in these formats; NULL: as it is */
    double tokens_per_pass;  /* of decode, by speculation; 0: 1 */
    uint32_t n_guessed;      /* tokens that are evaluated in vain or not beside each, for these */
    uint64_t capacity_bytes; /* of the first tier, where that is less; 0: no limit */
    /* How weights of a machine with two tiers, memory and disk, are placed; NULL: as said above. */
    const struct placement *placement;
};

/* Bytes of each kind on a tier. */
struct plan_place {
    uint64_t dense_bytes; /* weights that every token needs, and the embedding */
    uint64_t expert_bytes;
    uint64_t kv_bytes, other_bytes;
};

struct plan {
    bool possible; /* KV cache, activations and everything else can be had */
    bool fits;     /* and all weights lie where they are computed with */
    struct plan_memory memory;
    struct plan_place places[PLAN_TIERS_MAX];
    double token_bytes[PLAN_TIERS_MAX]; /* read of each tier for a token of decode */
    double expert_hit_share;            /* of the experts' bytes; 1 where none are brought from a tier */
    struct plan_estimate decode_tokens_per_s, prefill_tokens_per_s;
    struct plan_estimate first_cold_s, first_warm_s; /* from nothing to the first token's logits */
};

/* A result for any program and machine: what is not possible or not known is 0. */
void plan_predict(struct plan *plan, const struct plan_request *request, const struct plan_machine *machine);

/* This machine, as it was measured (machine->probe): memory that a model may have, and the disk. What the probe does not
 * know is 0. n_threads: that will work. pace: of now; NULL: as it was when it was probed. */
void plan_machine_here(struct plan_machine *plan_machine, const struct machine *machine, int n_threads,
                       const struct stile_pace *pace);

/* Of the bytes of experts that n_tokens tokens read together, the share that lies in the most popular `share` of
 * n_experts: by the popularity that synthetic models have (model/synthetic.h), a flattened Zipf law. */
double plan_expert_hits(uint32_t n_experts, uint32_t n_used, double share, uint64_t n_tokens);

#endif
