/* expert_use.h - how much the experts of a mixture are used: which are worth keeping in memory, and what is said of it.
 *
 * An expert is worth its recent uses: each counts one, and half as much after every EXPERT_HALF_LIFE tokens. One that the
 * pass before used is worth as much more as an average one has, for neighbouring tokens choose alike. Hit rates with room
 * for 37% of the experts, 128 of which 8 are used, popular by a flattened Zipf law, in traces in which each token chooses
 * for itself | neighbours choose alike | and the subject changes slowly | or quickly (best possible: 81 | 84 | 91 | 94%):
 *
 *   least recently used           55 | 64 | 78 | 86%      this without the pass before     67 | 68 | 79 | 86%
 *   the same, two segments        62 | 67 | 80 | 87%      this                             67 | 70 | 81 | 87%
 *   least often used              68 | 69 | 70 | 74%      this, each layer for itself      66 | 70 | 81 | 87%
 *
 * (each layer for itself is worse where there is little room: 25% instead of 34% hits with room for 10%).
 *
 * What was used in the long run is kept in a file for each model, so that the next start begins with its favourites.
 * The layers that a pass has come to already are no newer than those that it has not: each fades when it is counted. (In
 * batches of 512 tokens what is kept would otherwise be driven out by the layers before it, and never be used again.)
 *
 * Layers count from 0 over the whole model; those without experts stay empty. Not thread-safe.
 */
#ifndef STILE_RUN_EXPERT_USE_H
#define STILE_RUN_EXPERT_USE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define EXPERT_HALF_LIFE 64.0                        /* tokens */
#define EXPERT_LIFE      (EXPERT_HALF_LIFE * 1.4427) /* tokens: what one use by each is worth */

struct expert_use {
    uint32_t n_layers, n_experts, n_used; /* n_used: by a token */
    double *total;                        /* (n_layers, n_experts) uses in the long run, those of the file included */
    double n_tokens;                      /* of these */
    double n_tokens_new;                  /* since the file was read */
    struct expert_layer_use *layers;      /* (n_layers) since creation */
    /* private: */
    float *recent;    /* (n_layers, n_experts) uses, each multiplied by the weight it had then */
    uint32_t *latest; /* (n_layers, n_experts) the pass that used it last */
    float *counted;   /* (n_layers) the weight of a use when the layer was last counted */
    double weight;    /* of a use now */
    double lived;     /* what an expert would have in `recent` that all tokens used */
    uint32_t pass;
    int32_t layer; /* the last that was counted, of this pass */
};

/* Since creation. */
struct expert_layer_use {
    uint64_t n_uses;                  /* choices of tokens */
    uint64_t wanted_bytes, hit_bytes; /* of weights: wanted by passes; of these, that were in memory */
};

int expert_use_create(struct expert_use **use, uint32_t n_layers, uint32_t n_experts, uint32_t n_used,
                      struct stile_error *error);
void expert_use_free(struct expert_use *use);

/* A pass has chosen: expert e by begins[e + 1] - begins[e] tokens. Layers come in order; one that does not begins a new
 * pass. */
void expert_use_add(struct expert_use *use, uint32_t layer, const uint32_t *begins);

/* Comparable among all experts of the model at one time. */
static inline float expert_use_worth(const struct expert_use *use, uint32_t layer, uint32_t expert)
{
    size_t i = (size_t)layer * use->n_experts + expert;
    /* a layer that this pass has not come to was used by the pass before */
    bool fresh = use->latest[i] > 0 && use->latest[i] + 1 >= use->pass;
    float average = (float)(use->lived / use->weight * use->n_used / use->n_experts);
    return use->recent[i] / use->counted[layer] + (fresh ? average : 0);
}

/* All experts, layer * n_experts + expert: those most used in the long run first. order: (n_layers * n_experts) */
void expert_use_order(const struct expert_use *use, uint32_t *order);
/* The least number of experts of a layer that together have this share of its uses in the long run; 0: no uses. */
uint32_t expert_use_covering(const struct expert_use *use, uint32_t layer, double share);

/* Reads what an earlier session has stored in `path` and makes it the long run and the recent past. False, and nothing
 * happened: there is no such file, or it is not of this shape, or damaged. For a new `use`. */
bool expert_use_load(struct expert_use *use, const char *path);
/* Writes the long run, beside first, renamed when whole. `model` is for readers. */
int expert_use_store(const struct expert_use *use, const char *path, const char *model, struct stile_error *error);

#endif
