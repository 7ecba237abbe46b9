/* walk.h - takes a text through a model part by part: all of its windows through one layer, then through the next.
 *
 * So the weights of a layer are needed once, however long the text and however small the memory, and a layer may be
 * changed before the text goes on. What lies between parts is the residual stream of every token; the KV cache holds
 * one layer of one window. The numbers are those of a session that evaluates the windows one by one.
 */
#ifndef STILE_QUANTIZE_WALK_H
#define STILE_QUANTIZE_WALK_H

#include "backend/cpu.h"
#include "run/loaded.h"

struct walk_options {
    int n_threads;
    const struct kernel_table *kernels;
    const volatile int *cancel; /* may be NULL */
    /* Called for every n_tokens that have gone through a part; may be NULL. */
    void (*on_progress)(void *user, uint32_t n_tokens);
    void *user;
};

/* From what the public interface gives; no progress. ARGUMENT. */
int walk_options_of(struct walk_options *options, const struct stile_model *model, uint32_t n_threads, const char *isa,
                    const volatile int *cancel, struct stile_error *error);

struct walk;

/* `tokens` is (n_windows, window_tokens), and like the program must outlive it. */
int walk_create(struct walk **walk, const struct program *program, const int32_t *tokens, uint32_t n_windows,
                uint32_t window_tokens, const struct walk_options *options, struct stile_error *error);
void walk_free(struct walk *walk);

/* Runs a part of the program (program_part), or such a part with other weights, over all windows. `keep`: the residual
 * stream goes on from there; else it stays as it was. The observer may be NULL. No part may need logits of more than
 * one row. CANCELLED: with `keep`, the stream is worth nothing any more. */
int walk_run(struct walk *walk, const struct program *part, const struct cpu_observer *observer, bool keep,
             struct stile_error *error);

/* Bytes that the residual stream of one token takes. */
uint64_t walk_token_bytes(const struct program *program);

#endif
