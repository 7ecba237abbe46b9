/* model.h - a model: hyperparameters and weights, each weight found by its role and checked for shape.
 *
 * Immutable once opened; weights point into the mapped file. Owns its gguf. Where only the metadata is there
 * (gguf_open_source), matrices have no data, and vectors and scales are ones: all but computing works.
 */
#ifndef STILE_MODEL_MODEL_H
#define STILE_MODEL_MODEL_H

#include "base/arena.h"
#include "model/hparams.h"

/* Roles of tensors. Matrices are (rows, cols) = (outputs, inputs). */
enum role {
    /* of the model */
    ROLE_TOKEN_EMBD,                   /* (n_vocab, d_model) */
    ROLE_OUTPUT_NORM,                  /* (d_model) */
    ROLE_OUTPUT,                       /* (n_vocab, d_model); absent: the embedding is used */
    ROLE_ROPE_FREQS,                   /* (n_rot / 2) divisors of the angles; optional */
    ROLE_LAYER_FIRST,                  /* of each layer: */
    ROLE_ATTN_NORM = ROLE_LAYER_FIRST, /* (d_model) */
    ROLE_ATTN_Q,                       /* (n_heads * head_dim, d_model) */
    ROLE_ATTN_K,                       /* (n_kv_heads * head_dim, d_model) */
    ROLE_ATTN_V,                       /* as k */
    ROLE_ATTN_Q_BIAS,                  /* (n_heads * head_dim); optional, as the next two */
    ROLE_ATTN_K_BIAS,
    ROLE_ATTN_V_BIAS,
    ROLE_ATTN_Q_NORM, /* (head_dim), qwen3 and gemma3 */
    ROLE_ATTN_K_NORM,
    ROLE_ATTN_OUTPUT,      /* (d_model, n_heads * head_dim) */
    ROLE_ATTN_OUTPUT_BIAS, /* (d_model); optional */
    ROLE_POST_ATTN_NORM,   /* (d_model), gemma3 */
    ROLE_FFN_NORM,         /* (d_model) */
    ROLE_FFN_GATE,         /* (d_ff, d_model); this and the next two in dense models only */
    ROLE_FFN_UP,           /* (d_ff, d_model) */
    ROLE_FFN_DOWN,         /* (d_model, d_ff) */
    ROLE_FFN_ROUTER,       /* (n_experts, d_model); this and the next three in mixtures of experts only */
    ROLE_FFN_GATE_EXPERTS, /* (n_experts, d_ff_expert, d_model) */
    ROLE_FFN_UP_EXPERTS,   /* (n_experts, d_ff_expert, d_model) */
    ROLE_FFN_DOWN_EXPERTS, /* (n_experts, d_model, d_ff_expert) */
    ROLE_POST_FFN_NORM,    /* (d_model), gemma3 */
    ROLE_COUNT,
};

/* What a role's tensor is called in a GGUF file, and its size. */
struct role_tensor {
    const char *name; /* "attn_q.weight"; within a layer, "blk.N." goes before */
    uint64_t rows;    /* 1 for vectors */
    uint64_t cols;
    uint64_t n_experts; /* so many matrices one after the other; 0: one */
    bool optional;
};
/* For a model with these hyperparameters; false when its family has no such weight. */
bool role_tensor(enum role role, const struct hparams *hparams, struct role_tensor *tensor);

struct weight {
    const struct gguf_tensor *tensor; /* NULL: the model has none for this role */
    enum format format;
    uint64_t rows; /* 1 for vectors */
    uint64_t cols;
    uint64_t row_bytes;
    const void *data; /* of an expert's matrix: see expert_bytes; NULL: only the metadata is there */
    float scale;      /* multiplies all elements (NVFP4's second level); 1 otherwise */
    /* Of experts' matrices; 0 and NULL otherwise. Where expert i's is: gguf_tensor_part(tensor, i). */
    uint64_t n_experts;
    uint64_t expert_bytes;
    const float *expert_scales; /* (n_experts), instead of `scale`; may be NULL all the same */
    /* Vectors (norms, biases) as floats, decoded at open: (cols). NULL for matrices. */
    const float *floats;
};

struct model {
    struct gguf *gguf;
    struct hparams hparams;
    struct weight globals[ROLE_LAYER_FIRST];
    struct weight (*layers)[ROLE_COUNT]; /* n_layers; entries below ROLE_LAYER_FIRST unused */
    struct arena arena;
};

/* Takes over the gguf, also on failure. */
int model_create(struct model **model, struct gguf *gguf, struct stile_error *error);
void model_free(struct model *model);

static inline const struct weight *model_weight(const struct model *model, uint32_t layer, enum role role)
{
    return role < ROLE_LAYER_FIRST ? &model->globals[role] : &model->layers[layer][role];
}

/* The weight of the output head: ROLE_OUTPUT or the embedding. */
const struct weight *model_output(const struct model *model);

#endif
