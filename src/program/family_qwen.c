/* Qwen 2 and 2.5: llama with biases on q, k, v (the builders add a bias where the file has one) and half-split
 * rotation. Qwen 3, dense or a mixture of experts: no biases, q and k normalised per head. */
#include "program/build.h"

#include <math.h>

struct recipe recipe_qwen2(const struct hparams *hparams)
{
    return (struct recipe){
        .rope_neox = true, .act = ACT_SILU, .embedding_scale = 1, .query_scale = (float)(1 / sqrt(hparams->head_dim))};
}

struct recipe recipe_qwen3(const struct hparams *hparams)
{
    struct recipe recipe = recipe_qwen2(hparams);
    recipe.qk_norm = true;
    return recipe;
}
