/* hparams.h - what a model is, apart from its weights: the hyperparameters of a GGUF file, checked.
 *
 * Sources: the key names of the GGUF specification; the defaults that published files rely on.
 */
#ifndef STILE_MODEL_HPARAMS_H
#define STILE_MODEL_HPARAMS_H

#include "file/gguf.h"

enum family { FAMILY_LLAMA, FAMILY_QWEN2, FAMILY_QWEN3, FAMILY_GEMMA3 };

enum {
    HPARAMS_LAYERS_MAX = 512,
    HPARAMS_HEADS_MAX = 1024,
    HPARAMS_HEAD_DIM_MAX = 4096,
    HPARAMS_WIDTH_MAX = 1 << 20,
    HPARAMS_CONTEXT_MAX = 1 << 27,
    HPARAMS_EXPERTS_MAX = 1024,
};

enum rope_scaling { ROPE_SCALING_NONE, ROPE_SCALING_LINEAR, ROPE_SCALING_YARN };

/* How positions turn into angles (formulas in rope.c). */
struct rope {
    double base;
    enum rope_scaling scaling;
    double factor;           /* linear and yarn: the context is stretched by this */
    double attention_factor; /* yarn: further factor of cos and sin */
    double beta_fast, beta_slow;
    uint32_t n_ctx_original; /* yarn */
};

struct hparams {
    enum family family;
    const char *architecture; /* as in the file */
    uint32_t n_layers;
    uint32_t d_model;
    uint32_t d_ff;           /* of a dense feed-forward block */
    uint32_t n_experts;      /* of each layer; 0: the feed-forward blocks are dense */
    uint32_t n_experts_used; /* by each token, 1 to n_experts */
    uint32_t d_ff_expert;
    uint32_t n_heads;
    uint32_t n_kv_heads; /* divides n_heads */
    uint32_t head_dim;   /* of q, k and v */
    uint32_t n_rot;      /* rotated dimensions of a head; even, <= head_dim */
    uint32_t n_ctx_trained;
    uint32_t n_vocab; /* rows of the embedding */
    float rms_eps;
    struct rope rope;        /* of layers that see everything */
    struct rope rope_local;  /* of layers with a sliding window */
    uint32_t window;         /* tokens that a sliding layer sees; 0: no layer slides */
    uint32_t window_pattern; /* every window_pattern-th layer sees everything */
    float final_softcap;     /* 0: none */
};

/* Does this layer see only the last `window` tokens? */
bool hparams_layer_slides(const struct hparams *hparams, uint32_t layer);

/* Reads and checks; n_vocab is left to the embedding tensor. */
int hparams_read(struct hparams *hparams, const struct gguf *gguf, struct stile_error *error);

#endif
