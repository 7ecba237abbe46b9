/* share.h - what of a step is this thread's, and where values lie. Private to the CPU backend. */
#ifndef STILE_BACKEND_CPU_SHARE_H
#define STILE_BACKEND_CPU_SHARE_H

#include "backend/cpu/cpu_private.h"

/* Tokens that an operation works on. */
static inline size_t n_tokens_of(const struct context *c, const struct op *op)
{
    return op && op->selected ? c->batch->n_selected : c->batch->n_tokens;
}

static inline float *shared_value(const struct context *c, enum value value)
{
    if (value == VALUE_H && c->batch->stream) return c->batch->stream;
    return value == VALUE_LOGITS ? c->batch->logits : c->cpu->values[value];
}

/* Row `token` of a value; a private one exists only for a single token. */
static inline float *value_row(const struct context *c, enum value value, bool own, size_t token)
{
    if (own) return value == VALUE_X ? c->own->x : c->own->y;
    return shared_value(c, value) + token * c->cpu->program->widths[value];
}

enum { COLUMN_GRAIN = 16 }; /* floats of one cache line; rows of a kernel's tile */

static inline void my_tokens(const struct context *c, const struct step *step, size_t *begin, size_t *end)
{
    size_t n = n_tokens_of(c, step->op);
    if (step->split == SPLIT_PRIVATE) {
        *begin = 0;
        *end = n;
    } else {
        threads_split(n, 1, c->i_thread, c->n_threads, begin, end);
    }
}

static inline void my_columns(const struct context *c, const struct step *step, size_t *begin, size_t *end)
{
    threads_split(step->split_width, COLUMN_GRAIN, c->i_thread, c->n_threads, begin, end);
}

static inline void my_heads(const struct context *c, const struct step *step, size_t *begin, size_t *end)
{
    threads_split(n_tokens_of(c, step->op) * step->split_width, 1, c->i_thread, c->n_threads, begin, end);
}

#endif
