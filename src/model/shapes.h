/* shapes.h - the shapes of published models: what a benchmark or a plan needs to know of a model that is not here.
 *
 * The data is data/models.csv, which names the source of each row; shapes_data.c is written from it by
 * tools/make-shapes.py. 0 where a model has no such thing, or the number is not known.
 */
#ifndef STILE_MODEL_SHAPES_H
#define STILE_MODEL_SHAPES_H

#include <stddef.h>
#include <stdint.h>

struct shape {
    const char *id;                         /* "llama-3.1-8b" */
    const char *name;                       /* as published: "Llama-3.1-8B" */
    const char *arch;                       /* "llama", "qwen3moe", ... */
    uint32_t n_params_m, n_params_active_m; /* millions: all, and those a decoded token needs */
    uint32_t n_layers;
    uint32_t d_model;
    uint32_t d_ff; /* of dense layers */
    uint32_t n_heads;
    uint32_t n_kv_heads;
    uint32_t head_dim;
    uint32_t n_vocab;
    uint32_t n_experts;
    uint32_t n_experts_used;
    uint32_t d_ff_expert;
    uint32_t n_shared_experts;
    const char *pattern; /* which layers are of another kind, as in the data: "512:5of6", "linear:3of4", "" */
    uint32_t window, window_period; /* sliding window; every window_period-th layer sees everything. 0: none slides */
    uint32_t n_ctx;                 /* trained context */
    int tied_embeddings;            /* -1: not known */
    const char *notes;
    const char *source;
};

extern const struct shape shapes[];
extern const size_t n_shapes;

/* By id, case ignored; NULL when there is none. */
const struct shape *shape_find(const char *id);

#endif
