/* inputs.h - which products of a program have the same input, and sums of squares over these inputs.
 *
 * The sums are in double, over the tokens in order, each column by one thread: the same bits at any number of threads.
 */
#ifndef STILE_QUANTIZE_INPUTS_H
#define STILE_QUANTIZE_INPUTS_H

#include "backend/cpu.h"

/* The first product with the same input as this one, which is one: its own index where it is the first. */
size_t inputs_first(const struct program *program, size_t op);

struct inputs {
    const struct program *program;
    const struct op *part; /* of the part that runs, which may be a copy: */
    size_t begin;          /* its first operation is this one of the program */
    struct inputs_of {
        uint64_t cols, n_experts;
        double *sums;     /* (n_experts, cols) */
        uint64_t *counts; /* (n_experts) */
    } * of;               /* (n_ops); of products that are the first with their input */
    struct arena arena;
};

static inline bool inputs_is_product(const struct op *op)
{
    return op->kind == OP_MATMUL || op->kind == OP_EXPERTS;
}

int inputs_create(struct inputs *inputs, const struct program *program, struct stile_error *error);
void inputs_free(struct inputs *inputs);
/* For struct cpu_observer; `user` is the inputs. */
void inputs_see(void *user, const struct op *op, size_t expert, const float *values, const uint32_t *rows,
                size_t n_rows, int i_thread, int n_threads);

#endif
