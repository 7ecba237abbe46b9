/* lower.h - from operations to steps: who does what, and where everybody must wait. Private to the CPU backend.
 *
 * Every step splits its work over the threads in a known way. A thread may go on to the next step without waiting as
 * long as it reads only what it wrote itself, and overwrites nothing that others may still read; lowering follows
 * reads and writes through the program and puts a barrier where that would be broken.
 *
 * With one token, norms and quantized activations are so small that every thread makes its own copy ("private") and
 * saves the barriers round them.
 */
#ifndef STILE_BACKEND_CPU_LOWER_H
#define STILE_BACKEND_CPU_LOWER_H

#include "kernel/kernel.h"
#include "program/op.h"

enum { ACT_COUNT = ACT_Q8_256 + 1 };

enum split {
    SPLIT_TOKENS,    /* each thread takes some tokens, whole */
    SPLIT_COLUMNS,   /* each thread takes some of `width` elements, of all tokens */
    SPLIT_HEADS,     /* each thread takes some (token, head) pairs of `width` per token */
    SPLIT_EXPERTS,   /* each thread takes some experts, or rows of experts, of equal work */
    SPLIT_PIECES,    /* each thread takes some rows of each piece of the weights; `width`: the operation */
    SPLIT_ATTENTION, /* dealt out one by one */
    SPLIT_PRIVATE,   /* every thread does everything, into its own copy */
};

enum step_kind {
    STEP_ANGLES,
    STEP_QUANTIZE,
    STEP_GROUP,   /* tokens by expert, after ROUTE */
    STEP_OBSERVE, /* the input of the product that follows is looked at */
    STEP_OP,
};

struct step {
    enum step_kind kind;
    enum split split;
    uint32_t split_width;         /* SPLIT_COLUMNS: elements; SPLIT_HEADS: heads; PIECES: the operation's number */
    bool barrier;                 /* wait for all threads before this step */
    bool in_private, in2_private; /* inputs are the thread's own copies */
    enum kernel_act act;          /* QUANTIZE: to what; MATMUL, EXPERTS: what it reads */
    const struct op *op; /* QUANTIZE: the first product that needs it; GROUP: the ROUTE; OBSERVE: the product */
};

struct lowered {
    struct step *steps;
    size_t n_steps;
};

/* Most steps that lowering a program of n_ops can give. */
size_t lower_steps_max(size_t n_ops);
struct lower_options {
    bool single;   /* for steps of one token */
    bool pieces;   /* weights come in pieces */
    bool observed; /* somebody looks at the inputs of products */
};
/* Fills `steps`, which has room for lower_steps_max. */
void lower(const struct program *program, const struct lower_options *options, struct lowered *lowered);

#endif
