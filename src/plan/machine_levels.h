/* machine_levels.h - what is usual of each rate of a probe, and how sure that is.
 *
 * A probe goes through its measurements several times. A machine that others share is faster in one round than in
 * another, and for some hundredths of a second now and then: with medians of their own, some of the rates would be those
 * of fast moments and others of slow ones. So what was measured in one go is taken as
 *
 *     sample = level of the measurement * pace of the round * what is left
 *
 * and fitted by medians, in turn of both (Tukey's median polish); the median pace is 1.
 */
#ifndef STILE_PLAN_MACHINE_LEVELS_H
#define STILE_PLAN_MACHINE_LEVELS_H

#include "stile.h"

enum machine_group {
    GROUP_PRODUCTS, /* of many tokens */
    GROUP_SINGLE,   /* the same with one thread */
    GROUP_REST,     /* attention, element by element */
    GROUP_WEIGHTS,  /* products of one token, from memory */
    GROUP_CACHED,   /* from caches */
    GROUP_COUNT
};

struct machine_levels {
    double level[STILE_PROBE_MAX]; /* of each of the probe's measurements; of those of no group the median */
    uint32_t n_threads;            /* that kernels were measured with; 0: none was */
    /* Half the distance between the quartiles, as a share: of paces, and of what is left of a single sample. */
    double pace_spread[GROUP_COUNT], rest_spread[GROUP_COUNT];
};

void machine_levels_find(struct machine_levels *levels, const struct stile_probe *probe);

/* 0 when that was not measured; `format` may be NULL. */
double machine_level(const struct machine_levels *levels, const struct stile_probe *probe, enum stile_quantity quantity,
                     uint32_t n_threads, uint64_t size_bytes, const char *format);

#endif
