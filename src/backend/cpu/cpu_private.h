/* cpu_private.h - the CPU backend's state, and what a thread sees of it during a run. Private to the CPU backend. */
#ifndef STILE_BACKEND_CPU_PRIVATE_H
#define STILE_BACKEND_CPU_PRIVATE_H

#include "backend/cpu.h"
#include "backend/cpu/lower.h"
#include "base/threads.h"

#include <stdatomic.h>

/* Who goes to which expert, in the layer at hand (experts.h). Every thread works it out for itself. */
struct cpu_routing {
    float *route;     /* (2, n_experts_used): VALUE_ROUTE of a single token */
    uint32_t *begins; /* (n_experts + 1): expert e has the slots from begins[e] to begins[e + 1] */
    uint32_t *slots;  /* (n_batch, n_experts_used): of a token's choices, best first */
    uint32_t *tokens; /* (n_batch * n_experts_used): of a slot */
    uint32_t *late;   /* (pieces of an operation) that were not there at first */
};

enum { CPU_GUESS_TOKENS = 16 /* that the router is asked about, at most */ };

/* What guessing the next layer's choices needs (experts_guess). */
struct cpu_guess {
    float *x; /* (d_model) normalised */
    void *act;
    float *scores;     /* (n_experts) */
    float *route;      /* (2, n_experts_used) */
    uint32_t *experts; /* (n_experts_used, CPU_GUESS_TOKENS): surest first; or (n_experts) */
};

/* What one thread has for itself. */
struct cpu_thread {
    float *x, *y;          /* VALUE_X and VALUE_Y of a single token (d_model) */
    void *acts[ACT_COUNT]; /* one activation row each */
    void *scratch;
    struct cpu_routing routing;
    void *gathered; /* n_batch activation rows: inputs of one expert */
};

struct cpu_op_time {
    uint64_t busy_ns, wait_ns;
};

struct cpu {
    const struct program *program;
    struct cpu_options options;
    struct threads *threads;
    struct lowered single, many;
    float *values[VALUE_COUNT]; /* (n_batch, width); VALUE_LOGITS is the batch's own, VALUE_H may be */
    void *acts[ACT_COUNT];      /* n_batch rows */
    size_t act_stride_bytes[ACT_COUNT];
    void *expert_acts; /* n_batch * n_experts_used rows, by slot (experts.h) */
    size_t expert_act_stride_bytes;
    double *frequencies, *frequencies_local; /* (n_rot / 2) */
    double magnitude, magnitude_local;
    float *cosines[2], *sines[2]; /* [local], (n_batch, n_rot / 2) */
    float *parts; /* of one token's attention: (n_kv_heads, tiles, queries of a KV head), kernel_part_floats each */
    atomic_size_t *tiles_done; /* (n_kv_heads), 0 between operations */
    struct cpu_thread *per_thread;
    struct cpu_guess guess; /* of thread 0 */
    struct arena arena;
    struct cpu_profile *profile;   /* (n_ops), or NULL: not profiling */
    struct cpu_op_time *times;     /* (n_threads, n_ops), of the run in progress */
    const struct cpu_batch *batch; /* of the run in progress */
    atomic_size_t stop_at;         /* the step at whose barrier all threads leave */
    atomic_bool weights_failed;    /* in the run in progress */
};

/* One thread's view of a run. */
struct context {
    struct cpu *cpu;
    const struct cpu_batch *batch;
    struct cpu_thread *own;
    int i_thread, n_threads;
};

/* Does this thread's share of a step. */
void cpu_step_run(const struct context *context, const struct step *step);
void cpu_run_kv_write(const struct context *context, const struct step *step);
void cpu_run_attention(const struct context *context, const struct step *step);
/* Of cpu->parts, for the longest context. */
size_t cpu_parts_floats(const struct program *program, const struct cpu_options *options);

#endif
