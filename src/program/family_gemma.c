/* Gemma 3 (text): norms around both blocks, gelu, scaled embeddings, sliding windows on five of six layers (hparams).
 */
#include "program/build.h"

#include <math.h>

struct recipe recipe_gemma3(const struct hparams *hparams)
{
    /* The 27B model, known by its 62 layers, scales queries by the model's width per head; the file does not say. */
    uint32_t per_head = hparams->n_layers == 62 ? hparams->d_model / hparams->n_heads : hparams->head_dim;
    return (struct recipe){.rope_neox = true,
                           .qk_norm = true,
                           .post_norms = true,
                           .act = ACT_GELU,
                           .embedding_scale = (float)sqrt(hparams->d_model),
                           .query_scale = (float)(1 / sqrt(per_head))};
}
