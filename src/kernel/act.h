/* act.h - where the parts of an activation row lie (see kernel.h), and how much scratch a matrix product needs. */
#ifndef STILE_KERNEL_ACT_H
#define STILE_KERNEL_ACT_H

#include "kernel/kernel.h"

/* matmul_tile.inc.h: a tile of unpacked rows with its sums; for each 32 elements where their residuals begin. */
enum { MATMUL_TILE_BYTES = 336 * 1024, MATMUL_BYTES_PER_32 = sizeof(uint32_t) };

static inline size_t act_align(size_t size_bytes)
{
    return (size_bytes + KERNEL_ALIGNMENT - 1) & ~(size_t)(KERNEL_ALIGNMENT - 1);
}

static inline size_t act_offset_d(size_t k)
{
    return act_align(k);
}

static inline size_t act_offset_s(size_t k)
{
    return act_offset_d(k) + act_align(k / 32 * sizeof(float));
}

static inline size_t act_offset_sums(enum kernel_act act, size_t k)
{
    size_t n_scales = k / (act == ACT_Q8_32 ? 32 : 256), offset = act_offset_d(k) + act_align(n_scales * sizeof(float));
    return act == ACT_Q8_32 ? offset + act_align(n_scales * sizeof(float)) : offset;
}

/* Unused ones have a block number that no row reaches, and zeros. */
struct act_residual {
    int8_t q[32];
    int16_t sums[2];
    float d, s;
    uint32_t block;
};

static inline size_t act_offset_residuals(size_t k)
{
    return act_offset_sums(ACT_Q8_32, k) + act_align(k / 16 * sizeof(int16_t));
}

struct act_row {
    const int8_t *q;
    const float *d;
    const float *s; /* ACT_Q8_32 only */
    const int16_t *sums;
    const struct act_residual *residuals; /* ACT_Q8_32 only: ACT_RESIDUALS of them */
};

static inline struct act_row act_row_at(enum kernel_act act, size_t k, const void *row)
{
    const uint8_t *p = row;
    return (struct act_row){
        (const int8_t *)p,
        (const float *)(const void *)(p + act_offset_d(k)),
        act == ACT_Q8_32 ? (const float *)(const void *)(p + act_offset_s(k)) : NULL,
        (const int16_t *)(const void *)(p + act_offset_sums(act, k)),
        act == ACT_Q8_32 ? (const struct act_residual *)(const void *)(p + act_offset_residuals(k)) : NULL,
    };
}

/* The row that begins skip_bytes after this one, without its residuals. */
static inline struct act_row act_row_after(const struct act_row *row, size_t skip_bytes)
{
    return (struct act_row){
        .q = row->q + skip_bytes,
        .d = (const float *)(const void *)((const uint8_t *)row->d + skip_bytes),
        .s = row->s ? (const float *)(const void *)((const uint8_t *)row->s + skip_bytes) : NULL,
        .sums = (const int16_t *)(const void *)((const uint8_t *)row->sums + skip_bytes),
    };
}

#endif
