/* op.h - a forward step as data: the operations of a model in order.
 *
 * An architecture becomes an array of `struct op`; nothing to the right of this room knows what a "Llama" is.
 * Values are named intermediate results of the step, (n_tokens, width) floats each; between steps only the KV cache
 * lives. The array is the same for one token and for many.
 */
#ifndef STILE_PROGRAM_OP_H
#define STILE_PROGRAM_OP_H

#include "model/model.h"

enum value {
    VALUE_H, /* residual stream (d_model) */
    VALUE_X, /* normalised input of a block (d_model) */
    VALUE_Q, /* (n_heads * head_dim) */
    VALUE_K, /* (n_kv_heads * head_dim) */
    VALUE_V,
    VALUE_A,    /* attention's result (n_heads * head_dim) */
    VALUE_GATE, /* (d_ff); of a mixture (n_experts_used, d_ff_expert) */
    VALUE_UP,
    VALUE_ROUTER,  /* what the router says of each expert (n_experts) */
    VALUE_ROUTE,   /* the chosen experts, best first: their numbers, then their weights (2, n_experts_used) */
    VALUE_EXPERTS, /* results of the chosen experts (n_experts_used, d_model) */
    VALUE_Y,       /* a block's result, added to the residual (d_model) */
    VALUE_LOGITS,  /* (n_vocab) */
    VALUE_COUNT,
};

enum op_kind {
    OP_EMBED,     /* out = rows of weight by token id */
    OP_NORM,      /* out = rms norm of in by weight; of each of n_heads heads where that is not 0 */
    OP_MATMUL,    /* out = weight * in + bias */
    OP_ROPE,      /* out = in, n_heads heads rotated by the angles of the token's position */
    OP_KV_WRITE,  /* appends in (keys) and in2 (values) to the layer's cache */
    OP_ATTENTION, /* out = attention of in (queries) over the layer's cache */
    OP_GLU,       /* out = act(in) * in2 */
    OP_ADD,       /* out = in + in2, out being in */
    OP_SCALE,     /* out = in * factor, out being in */
    OP_SOFTCAP,   /* out = factor * tanh(in / factor), out being in */
    OP_ROUTE,   /* out = the experts with the n_experts_used largest of in (of equal ones those with the lower number),
                     and the softmax over these */
    OP_EXPERTS, /* out = weight of the expert * in, for each of the experts in in2 */
    OP_COMBINE, /* out = weighted sum of in, one for each of the experts in in2, best first */
    OP_SELECT,  /* from here on in (= out) holds only the tokens whose logits are wanted */
    OP_KIND_COUNT,
};

extern const char *const op_kind_names[OP_KIND_COUNT];

enum op_act { ACT_SILU, ACT_GELU };

struct op {
    enum op_kind kind;
    enum value out, in, in2;
    int32_t layer; /* -1: outside of the layers */
    bool selected; /* works on the selected tokens only (after OP_SELECT of its input) */
    const struct weight *weight;
    const float *bias; /* (weight->rows) or NULL */
    uint32_t width;    /* elements per token of out */
    uint32_t n_heads;  /* ROPE: heads of in; ATTENTION: query heads; NORM: heads, 0: none */
    float factor;      /* SCALE, SOFTCAP; ATTENTION: of q . k; NORM: eps */
    uint32_t window;   /* KV_WRITE, ATTENTION: tokens seen; 0: all */
    bool local;        /* ROPE: angles of sliding layers */
    enum op_act act;   /* GLU */
    bool per_expert;   /* EXPERTS: in has a row for each chosen expert, not one for all of them */
};

struct program {
    const struct model *model;
    const struct op *ops;
    size_t n_ops;
    uint32_t widths[VALUE_COUNT];
    bool rope_neox; /* pairs (i, i + n_rot/2); else (2i, 2i + 1) */
    /* ROPE finds the pairs (i, i + n_rot/2) and leaves them as (2i, 2i + 1), rotated: so what follows computes with what a
     * file in pair order would have given, bit for bit. */
    bool rope_weaves;
    struct arena arena;
};

/* Builds the program of a model, which must outlive it. */
int program_create(struct program **program, const struct model *model, struct stile_error *error);
void program_free(struct program *program);
/* The operations from begin to end as a program of their own, which shares all with the whole one and is not freed. */
struct program program_part(const struct program *program, size_t begin, size_t end);

#endif
