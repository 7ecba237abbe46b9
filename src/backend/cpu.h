/* cpu.h - runs programs on the processor.
 *
 * A program is lowered once into steps with the few barriers its data needs, for one token and for many; cpu_run
 * crosses them with all threads. Weights are used where they are mapped, or, where they are not all in memory, asked for
 * piece by piece; the KV cache belongs to the caller. One cpu_run at a time.
 */
#ifndef STILE_BACKEND_CPU_H
#define STILE_BACKEND_CPU_H

#include "kernel/kernel.h"
#include "plan/placement.h"
#include "program/cost.h"

/* One layer's cache: keys and values are one kernel_kv_bytes after the other, for each KV head; zeros at first. A layer
 * with a window needs room for window + n_batch positions, any other for the whole context. */
struct cpu_kv {
    void *keys, *values;
    size_t capacity; /* a multiple of KERNEL_KV_TILE */
};

/* Where weights come from that are not all in memory. In each run every thread goes through the pieces (placement.h) in
 * the order of the program (experts that are not there yet come after those of the same operation that are): it acquires
 * and releases each STREAMED piece, and each CACHED one of the experts wanted, once, also where it has no work on it; and
 * acquires the RESIDENT ones it has work on. A run that fails or is cancelled leaves out what is left, also releasing.
 * All functions are called by many threads at once. */
struct cpu_weights {
    const struct placement *placement;
    void *user;
    /* The rows of a piece, readable until this thread releases it (RESIDENT: to the end of the run). If they are not there:
     * waits for them, or without `wait` returns NULL at once. NULL with `wait`: they will never come, or the run is
     * cancelled; it ends with the error IO, or CANCELLED. */
    const void *(*acquire)(void *user, size_t piece, bool wait);
    /* Not of RESIDENT pieces. */
    void (*release)(void *user, size_t piece);
    /* Experts that the operations of this layer will ask for: e, where begins[e + 1] > begins[e], by so many tokens.
     * Called by one thread; others may ask for their pieces before. Valid during the call. */
    void (*want)(void *user, int32_t layer, const uint32_t *begins);
    /* Experts that a layer to come will probably want, surest first; some more than once. */
    void (*expect)(void *user, int32_t layer, const uint32_t *experts, size_t n);
};

/* Sees the inputs of products before they are quantized: of MATMUL once for each run, of EXPERTS once for each expert
 * chosen. All threads call it with the same arguments but i_thread, to share what it does. */
struct cpu_observer {
    void *user;
    /* Row i of n_rows is at values + rows[i] * op->weight->cols, without `rows` at values + i * op->weight->cols, in the
     * order of tokens; expert: 0 for MATMUL. */
    void (*see)(void *user, const struct op *op, size_t expert, const float *values, const uint32_t *rows,
                size_t n_rows, int i_thread, int n_threads);
};

struct cpu_options {
    const struct kernel_table *kernels;
    int n_threads;
    uint32_t n_batch;                    /* most tokens of one run */
    uint32_t n_ctx;                      /* positions at most */
    enum format kv_format;               /* F16, F32 or Q8_0 */
    const struct cpu_weights *weights;   /* NULL: all are mapped */
    const struct cpu_observer *observer; /* NULL: nobody looks; must outlive the cpu */
};

struct cpu_batch {
    const int32_t *tokens; /* (n_tokens), every id inside the vocabulary */
    uint32_t n_tokens;     /* 1 to n_batch */
    uint32_t position;     /* of the first token */
    uint32_t n_selected;   /* logits are wanted for the last n_selected tokens (at most n_tokens) */
    float *logits;         /* (n_selected, n_vocab) */
    /* (n_tokens, d_model), or NULL: the residual stream (VALUE_H), for a part of a program: before the run its input, after
     * it what became of it. */
    float *stream;
    const struct cpu_kv *kv;    /* (n_layers) */
    const volatile int *cancel; /* may be NULL */
};

struct cpu;

/* The program, and the weights' source, must outlive it. */
int cpu_create(struct cpu **cpu, const struct program *program, const struct cpu_options *options,
               struct stile_error *error);
void cpu_free(struct cpu *cpu);
/* 0, or CANCELLED, or IO where weights did not come; then the batch's part of the KV cache is in an unknown state. */
int cpu_run(struct cpu *cpu, const struct cpu_batch *batch, struct stile_error *error);

/* Where the time of runs goes, operation by operation. */
struct cpu_profile {
    uint64_t busy_ns; /* sum over the threads: working on this operation */
    uint64_t wait_ns; /* sum over the threads: waiting at the barrier before it, for slower threads */
    struct cost cost;
};
/* Begins counting anew (on), or stops; while on, a run takes a little longer. MEMORY on failure. */
int cpu_profile_start(struct cpu *cpu, bool on, struct stile_error *error);
/* What was counted since, (program->n_ops); NULL when off. Quantizing counts to the product that needs it. */
const struct cpu_profile *cpu_profile(const struct cpu *cpu);

/* Bytes that cpu_create would allocate for activations and scratch. */
uint64_t cpu_memory_bytes(const struct program *program, const struct cpu_options *options);

#endif
