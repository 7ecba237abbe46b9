#include "run/expert_use.h"

#include "model/hparams.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>

int expert_use_create(struct expert_use **use, uint32_t n_layers, uint32_t n_experts, uint32_t n_used,
                      struct stile_error *error)
{
    assert(n_layers > 0 && n_experts > 0 && n_used > 0 && n_used <= n_experts);
    size_t n = (size_t)n_layers * n_experts;
    struct expert_use *u = calloc(1, sizeof *u);
    if (!u) return error_memory(error, sizeof *u, "statistics of experts");
    *u = (struct expert_use){
        .n_layers = n_layers, .n_experts = n_experts, .n_used = n_used, .weight = 1, .pass = 1, .layer = -1};
    u->total = calloc(n, sizeof *u->total);
    u->recent = calloc(n, sizeof *u->recent);
    u->latest = calloc(n, sizeof *u->latest);
    u->counted = calloc(n_layers, sizeof *u->counted);
    u->layers = calloc(n_layers, sizeof *u->layers);
    if (!u->total || !u->recent || !u->latest || !u->counted || !u->layers) {
        expert_use_free(u);
        return error_memory(error, n * sizeof *u->total, "statistics of experts");
    }
    for (uint32_t i = 0; i < n_layers; i++)
        u->counted[i] = 1;
    *use = u;
    return 0;
}

void expert_use_free(struct expert_use *use)
{
    if (!use) return;
    free(use->total);
    free(use->recent);
    free(use->latest);
    free(use->counted);
    free(use->layers);
    free(use);
}

/* Instead of fading all that was, what comes weighs more; now and then all is brought back to where 1 is a use now. */
static void fade(struct expert_use *use, double n_tokens)
{
    use->weight *= exp2(n_tokens / EXPERT_HALF_LIFE);
    use->lived += n_tokens * use->weight;
    if (use->weight < 1e12) return;
    for (size_t i = 0; i < (size_t)use->n_layers * use->n_experts; i++)
        use->recent[i] = (float)(use->recent[i] / use->weight);
    for (size_t i = 0; i < use->n_layers; i++)
        use->counted[i] = fmaxf((float)(use->counted[i] / use->weight), FLT_MIN);
    use->lived /= use->weight;
    use->weight = 1;
}

void expert_use_add(struct expert_use *use, uint32_t layer, const uint32_t *begins)
{
    assert(layer < use->n_layers);
    double n_tokens = (double)(begins[use->n_experts] - begins[0]) / use->n_used;
    if ((int32_t)layer <= use->layer || use->layer < 0) {
        use->pass++;
        use->n_tokens += n_tokens;
        use->n_tokens_new += n_tokens;
        fade(use, n_tokens);
    }
    use->layer = (int32_t)layer;
    use->counted[layer] = (float)use->weight;
    use->layers[layer].n_uses += begins[use->n_experts] - begins[0];
    for (size_t e = 0; e < use->n_experts; e++) {
        uint32_t n = begins[e + 1] - begins[e];
        size_t i = (size_t)layer * use->n_experts + e;
        if (n == 0) continue;
        use->total[i] += n;
        use->recent[i] += (float)(n * use->weight);
        use->latest[i] = use->pass;
    }
}

struct ranked {
    double total;
    uint32_t i;
};

static int by_total(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->total != y->total) return x->total < y->total ? 1 : -1;
    return x->i < y->i ? -1 : 1;
}

void expert_use_order(const struct expert_use *use, uint32_t *order)
{
    size_t n = (size_t)use->n_layers * use->n_experts;
    struct ranked *ranked = malloc(n * sizeof *ranked);
    for (uint32_t i = 0; ranked && i < n; i++)
        ranked[i] = (struct ranked){use->total[i], i};
    if (ranked) qsort(ranked, n, sizeof *ranked, by_total);
    for (uint32_t i = 0; i < n; i++)
        order[i] = ranked ? ranked[i].i : i; /* out of memory: some order */
    free(ranked);
}

static int descending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

uint32_t expert_use_covering(const struct expert_use *use, uint32_t layer, double share)
{
    double sorted[HPARAMS_EXPERTS_MAX], sum = 0, covered = 0;
    uint32_t n = 0;
    assert(layer < use->n_layers && use->n_experts <= HPARAMS_EXPERTS_MAX);
    for (uint32_t e = 0; e < use->n_experts; e++)
        sum += sorted[e] = use->total[(size_t)layer * use->n_experts + e];
    qsort(sorted, use->n_experts, sizeof *sorted, descending);
    while (sum > 0 && n < use->n_experts && covered < share * sum)
        covered += sorted[n++];
    return n;
}
