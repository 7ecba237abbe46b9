/* cache.h - where the numbers of a KV cache lie, and how large the parts of an attention are.
 *
 * Positions come in groups of KERNEL_KV_GROUP. Keys lie so that a lane is a position: one load gives the same dimension
 * (Q8_0: the same four) of neighbouring positions, scores need no sums across lanes, and a key that was converted serves
 * any number of queries. With width = head_dim padded with zeros to a multiple of 16 (Q8_0: 32):
 *
 *   keys of a group      F32, F16   (width, 16 positions)
 *                        Q8_0       int8_t (width / 4, 16 positions, 4)
 *   values of a group    F32, F16, Q8_0's int8_t   (16 positions, width)
 *   Q8_0's scales        F16, after the codes of all groups: per group (width / 32, 16 positions)
 */
#ifndef STILE_KERNEL_CACHE_H
#define STILE_KERNEL_CACHE_H

#include "kernel/kernel.h"

enum { KERNEL_KV_GROUP = 16 };

static inline size_t cache_width(enum format format, size_t head_dim)
{
    size_t multiple = format == FORMAT_Q8_0 ? 32 : 16;
    return (head_dim + multiple - 1) / multiple * multiple;
}

static inline size_t cache_element_bytes(enum format format)
{
    return format == FORMAT_F32 ? 4 : format == FORMAT_F16 ? 2 : 1;
}

/* Index of dimension d of the key in `slot`. */
static inline size_t cache_key_at(enum format format, size_t width, size_t slot, size_t d)
{
    size_t group = slot / KERNEL_KV_GROUP * KERNEL_KV_GROUP * width, lane = slot % KERNEL_KV_GROUP;
    return group + (format == FORMAT_Q8_0 ? d / 4 * 64 + lane * 4 + d % 4 : d * KERNEL_KV_GROUP + lane);
}

static inline size_t cache_value_at(size_t width, size_t slot, size_t d)
{
    return slot * width + d;
}

/* Index of the scale of 32 dimensions, the block-th, of `slot`. */
static inline size_t cache_scale_at(size_t width, size_t slot, size_t block)
{
    return (slot / KERNEL_KV_GROUP * (width / 32) + block) * KERNEL_KV_GROUP + slot % KERNEL_KV_GROUP;
}

/* Scales of the keys, or values, at `side` (Q8_0). */
static inline uint16_t *cache_scales(const struct kernel_kv *kv, void *side)
{
    return (uint16_t *)(void *)((char *)side + kv->capacity * cache_width(kv->format, kv->head_dim));
}

/* A part of an attention: its largest score, the sum of its weights, and from PART_VALUES on the weighted sum of values
 * (width floats). */
enum { PART_TOP, PART_SUM, PART_VALUES = 16 };

/* The most queries that an instruction set takes at once (KV_QUERIES). */
enum { CACHE_BLOCK_MAX = 6 };

/* What query `row` of a job sees, [begin, end); rows count the heads of a token, then the next token. */
static inline void cache_visible(const struct kernel_attention *job, size_t row, size_t *begin, size_t *end)
{
    *end = job->position + row / job->n_heads + 1;
    *begin = job->window > 0 && *end > job->window ? *end - job->window : 0;
}

/* Positions of [*begin, *end) that lie in a tile; none where *begin >= *end afterwards. */
static inline void cache_clip(size_t tile, size_t *begin, size_t *end)
{
    if (*begin < tile * KERNEL_KV_TILE) *begin = tile * KERNEL_KV_TILE;
    if (*end > (tile + 1) * KERNEL_KV_TILE) *end = (tile + 1) * KERNEL_KV_TILE;
}

#endif
