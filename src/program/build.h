/* build.h - builders of the blocks that families are made of. Private to this room.
 *
 * A family's file describes what sets it apart in a `struct recipe`; the blocks are written once.
 */
#ifndef STILE_PROGRAM_BUILD_H
#define STILE_PROGRAM_BUILD_H

#include "program/op.h"

struct recipe {
    bool rope_neox;
    bool qk_norm;    /* q and k are normalised per head before they are rotated */
    bool post_norms; /* a block's result is normalised before it is added */
    enum op_act act;
    float embedding_scale; /* 1: none */
    float query_scale;     /* of q . k */
};

struct recipe recipe_llama(const struct hparams *hparams);
struct recipe recipe_qwen2(const struct hparams *hparams);
struct recipe recipe_qwen3(const struct hparams *hparams);
struct recipe recipe_gemma3(const struct hparams *hparams);

struct build {
    const struct model *model;
    const struct recipe *recipe;
    struct op *ops;
    size_t n_ops;
    size_t capacity;
    bool selected; /* the tokens were selected: later ops work on those only */
};

void build_embedding(struct build *build);
/* `last`: no later layer needs the other tokens, so drop them as early as possible. */
void build_attention(struct build *build, uint32_t layer, bool last);
/* The feed-forward block: dense, or a mixture of experts where the model has them. */
void build_ffn(struct build *build, uint32_t layer);
void build_logits(struct build *build);

#endif
