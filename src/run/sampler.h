/* sampler.h - what the functions of stile.h do not tell of a sampler. */
#ifndef STILE_RUN_SAMPLER_H
#define STILE_RUN_SAMPLER_H

#include "stile.h"

/* From here on `copy` draws what `sampler` will from the same logits: options, random numbers, remembered tokens. False
 * when memory is out. */
bool sampler_copy(struct stile_sampler *copy, const struct stile_sampler *sampler);

#endif
