/* checked.h - arithmetic on sizes that come from files or requests: false on overflow, result untouched. */
#ifndef STILE_BASE_CHECKED_H
#define STILE_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool checked_add(uint64_t a, uint64_t b, uint64_t *sum)
{
    uint64_t r;
    if (__builtin_add_overflow(a, b, &r)) return false;
    *sum = r;
    return true;
}

static inline bool checked_mul(uint64_t a, uint64_t b, uint64_t *product)
{
    uint64_t r;
    if (__builtin_mul_overflow(a, b, &r)) return false;
    *product = r;
    return true;
}

/* Rounds up to a multiple of `alignment`, a power of two. */
static inline bool checked_align(uint64_t x, uint64_t alignment, uint64_t *aligned)
{
    uint64_t r;
    if (!checked_add(x, alignment - 1, &r)) return false;
    *aligned = r & ~(alignment - 1);
    return true;
}

#endif
