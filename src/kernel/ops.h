/* ops.h - what a caller of the attention kernel must know beside kernel.h. */
#ifndef STILE_KERNEL_OPS_H
#define STILE_KERNEL_OPS_H

#include "kernel/kernel.h"

/* The attention kernel takes queries in groups of at most this many. */
enum { OPS_ATTENTION_QUERIES = 16 };

/* Scratch of the attention kernel, aligned to KERNEL_ALIGNMENT: with head_dim padded to 8, a tile of rows, queries, and
 * sums of values, as floats; and a tile of scores per query. */
static inline size_t ops_attention_scratch_bytes(size_t head_dim)
{
    size_t width = (head_dim + 7) / 8 * 8;
    return ((KERNEL_KV_TILE + 2 * OPS_ATTENTION_QUERIES) * width + KERNEL_KV_TILE * OPS_ATTENTION_QUERIES) *
           sizeof(float);
}

#endif
