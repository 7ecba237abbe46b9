/* Llama 2 and 3, Mistral, Mixtral, SmolLM: GGUF architecture "llama". Its files hold q and k rows in pair order. */
#include "program/build.h"

#include <math.h>

struct recipe recipe_llama(const struct hparams *hparams)
{
    return (struct recipe){.act = ACT_SILU, .embedding_scale = 1, .query_scale = (float)(1 / sqrt(hparams->head_dim))};
}
