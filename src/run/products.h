/* products.h - products of matrices like a model's, for measuring how fast kernels are. */
#ifndef STILE_RUN_PRODUCTS_H
#define STILE_RUN_PRODUCTS_H

#include "format/format.h"
#include "kernel/kernel.h"

#include <stdbool.h>

struct threads;

enum { PRODUCTS_K_MAX = 2048 };

/* Some matrices, one after the other, by some tokens. */
struct products {
    const struct kernel_table *table;
    struct threads *threads;
    enum kernel_act act;
    struct kernel_matmul job; /* of the first matrix */
    size_t n_rows, n_matrices;
    bool one_matrix; /* the first one every time, and nobody waits between */
    float x[PRODUCTS_K_MAX];
    size_t scratch_bytes;
    char *acts, *scratch; /* scratch_bytes for each thread; one token: and as much for its activations */
    float *out;
};

/* One matrix of n_rows x k; k: multiples of 256, up to PRODUCTS_K_MAX. False when memory is out; products_free is due either way. */
bool products_create(struct products *p, struct threads *threads, enum format format, size_t k, size_t n_rows,
                     size_t n_tokens);
void products_free(struct products *p);
/* Fills n rows at `weights`, all alike: those of the first matrix, and of the others behind it. */
void products_fill(struct products *p, char *weights, size_t n);
/* Multiplications per second, over about time_ns; of one token, the bytes of its weights. */
double products_pass(struct products *p, uint64_t time_ns);

/* Numbers like those of a model: the time of some instructions depends on them. */
void products_numbers(float *x, size_t n, uint64_t state);

static inline size_t products_align(size_t n)
{
    return (n + KERNEL_ALIGNMENT - 1) / KERNEL_ALIGNMENT * KERNEL_ALIGNMENT;
}

#endif
