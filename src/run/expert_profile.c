/* expert_profile.c - a session's statistics of experts: where they are kept, and what is said of them. */
#include "base/paths.h"
#include "run/session.h"

#include <limits.h>
#include <stdio.h>

enum { SAMPLE_BYTES = 4096 };

/* FNV-1a. */
static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t n)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ at[i]) * 0x100000001b3u;
    return hash;
}

/* Experts are what their router makes of them: the same model in another number format shares its statistics, another
 * model of the same shape does not. */
static uint64_t identity(const struct model *model)
{
    const struct hparams *h = &model->hparams;
    const uint32_t numbers[] = {h->n_layers, h->d_model, h->n_experts, h->n_experts_used};
    uint64_t hash = hash_bytes(0xcbf29ce484222325u, numbers, sizeof numbers);
    for (uint32_t layer = 0; layer < h->n_layers; layer++) {
        const struct weight *router = model_weight(model, layer, ROLE_FFN_ROUTER);
        uint64_t n = router->rows * router->row_bytes;
        if (router->tensor && n > 0) return hash_bytes(hash, router->data, n < SAMPLE_BYTES ? (size_t)n : SAMPLE_BYTES);
    }
    return hash;
}

static int statistics_path(char path[PATH_MAX], const struct stile_model *model, struct stile_error *error)
{
    char below[64];
    snprintf(below, sizeof below, "experts/%016llx.json", (unsigned long long)identity(model->model));
    return path_cache(path, PATH_MAX, below, error);
}

int session_use_create(struct expert_use **use, const struct stile_model *model, struct stile_error *error)
{
    const struct hparams *h = &model->model->hparams;
    char path[PATH_MAX];
    int failed = expert_use_create(use, h->n_layers, h->n_experts, h->n_experts_used, error);
    if (!failed && statistics_path(path, model, NULL) == 0) expert_use_load(*use, path);
    return failed;
}

void session_use_store(const struct stile_session *session)
{
    char path[PATH_MAX];
    if (!session->use || session->use->n_tokens_new == 0) return;
    if (statistics_path(path, session->model, NULL) == 0)
        expert_use_store(session->use, path, session->model->path, NULL);
}

size_t stile_session_experts(const struct stile_session *session, struct stile_expert_layer *layers, size_t capacity)
{
    const struct expert_use *use = session->use;
    if (!use) return 0;
    for (uint32_t i = 0; i < use->n_layers && i < capacity; i++) {
        const struct expert_layer_use *layer = &use->layers[i];
        layers[i] = (struct stile_expert_layer){
            .n_uses = layer->n_uses,
            .wanted_bytes = layer->wanted_bytes,
            .hit_bytes = layer->hit_bytes,
            .n_half = expert_use_covering(use, i, 0.5),
            .n_80 = expert_use_covering(use, i, 0.8),
            .n_95 = expert_use_covering(use, i, 0.95),
        };
    }
    return use->n_layers;
}
