/* ops.h - what a caller of the attention kernel must know beside kernel.h. */
#ifndef STILE_KERNEL_OPS_H
#define STILE_KERNEL_OPS_H

#include "kernel/kernel.h"

/* The attention kernel takes queries and cache rows in groups of this many. */
enum { OPS_ATTENTION_QUERIES = 16, OPS_ATTENTION_ROWS = 16 };

/* Scratch of the attention kernel, aligned to KERNEL_ALIGNMENT: cache rows, queries and sums of values as floats with
 * head_dim padded to 8, and a tile of scores per query. */
static inline size_t ops_attention_scratch_bytes(size_t head_dim)
{
    size_t width = (head_dim + 7) / 8 * 8;
    return ((OPS_ATTENTION_ROWS + 2 * OPS_ATTENTION_QUERIES) * width + KERNEL_KV_TILE * OPS_ATTENTION_QUERIES) *
           sizeof(float);
}

#endif
