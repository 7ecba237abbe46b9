#include "model/model.h"
#include "base/bytes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Sizes a tensor may have, by name. */
enum size {
    SIZE_NONE,
    SIZE_D_MODEL,
    SIZE_D_FF,
    SIZE_D_FF_EXPERT,
    SIZE_EXPERTS,
    SIZE_Q,
    SIZE_KV,
    SIZE_HEAD,
    SIZE_ROT_HALF,
    SIZE_VOCAB,
};

enum {
    IN_ALL = 1 << FAMILY_LLAMA | 1 << FAMILY_QWEN2 | 1 << FAMILY_QWEN3 | 1 << FAMILY_GEMMA3,
    IN_QK_NORM = 1 << FAMILY_QWEN3 | 1 << FAMILY_GEMMA3,
    IN_POST_NORM = 1 << FAMILY_GEMMA3,
    IN_BIAS = 1 << FAMILY_LLAMA | 1 << FAMILY_QWEN2 | 1 << FAMILY_QWEN3,
    IN_FREQS = 1 << FAMILY_LLAMA,
    IN_EXPERTS = 1 << FAMILY_LLAMA | 1 << FAMILY_QWEN3,
};

/* Roles of the feed-forward block belong to dense models or to mixtures of experts. */
enum block { BLOCK_ANY, BLOCK_DENSE, BLOCK_ROUTER, BLOCK_EXPERTS /* one matrix for each */ };

/* What each role is called in a GGUF file, its shape, and the families that have it. */
static const struct role_spec {
    const char *name;
    enum size cols, rows; /* rows SIZE_NONE: a vector */
    unsigned families;
    bool optional;
    enum block block;
} specs[ROLE_COUNT] = {
    [ROLE_TOKEN_EMBD] = {"token_embd.weight", SIZE_D_MODEL, SIZE_VOCAB, IN_ALL, false, BLOCK_ANY},
    [ROLE_OUTPUT_NORM] = {"output_norm.weight", SIZE_D_MODEL, SIZE_NONE, IN_ALL, false, BLOCK_ANY},
    [ROLE_OUTPUT] = {"output.weight", SIZE_D_MODEL, SIZE_VOCAB, IN_ALL, true, BLOCK_ANY},
    [ROLE_ROPE_FREQS] = {"rope_freqs.weight", SIZE_ROT_HALF, SIZE_NONE, IN_FREQS, true, BLOCK_ANY},
    [ROLE_ATTN_NORM] = {"attn_norm.weight", SIZE_D_MODEL, SIZE_NONE, IN_ALL, false, BLOCK_ANY},
    [ROLE_ATTN_Q] = {"attn_q.weight", SIZE_D_MODEL, SIZE_Q, IN_ALL, false, BLOCK_ANY},
    [ROLE_ATTN_K] = {"attn_k.weight", SIZE_D_MODEL, SIZE_KV, IN_ALL, false, BLOCK_ANY},
    [ROLE_ATTN_V] = {"attn_v.weight", SIZE_D_MODEL, SIZE_KV, IN_ALL, false, BLOCK_ANY},
    [ROLE_ATTN_Q_BIAS] = {"attn_q.bias", SIZE_Q, SIZE_NONE, IN_BIAS, true, BLOCK_ANY},
    [ROLE_ATTN_K_BIAS] = {"attn_k.bias", SIZE_KV, SIZE_NONE, IN_BIAS, true, BLOCK_ANY},
    [ROLE_ATTN_V_BIAS] = {"attn_v.bias", SIZE_KV, SIZE_NONE, IN_BIAS, true, BLOCK_ANY},
    [ROLE_ATTN_Q_NORM] = {"attn_q_norm.weight", SIZE_HEAD, SIZE_NONE, IN_QK_NORM, false, BLOCK_ANY},
    [ROLE_ATTN_K_NORM] = {"attn_k_norm.weight", SIZE_HEAD, SIZE_NONE, IN_QK_NORM, false, BLOCK_ANY},
    [ROLE_ATTN_OUTPUT] = {"attn_output.weight", SIZE_Q, SIZE_D_MODEL, IN_ALL, false, BLOCK_ANY},
    [ROLE_ATTN_OUTPUT_BIAS] = {"attn_output.bias", SIZE_D_MODEL, SIZE_NONE, IN_BIAS, true, BLOCK_ANY},
    [ROLE_POST_ATTN_NORM] = {"post_attention_norm.weight", SIZE_D_MODEL, SIZE_NONE, IN_POST_NORM, false, BLOCK_ANY},
    [ROLE_FFN_NORM] = {"ffn_norm.weight", SIZE_D_MODEL, SIZE_NONE, IN_ALL, false, BLOCK_ANY},
    [ROLE_FFN_GATE] = {"ffn_gate.weight", SIZE_D_MODEL, SIZE_D_FF, IN_ALL, false, BLOCK_DENSE},
    [ROLE_FFN_UP] = {"ffn_up.weight", SIZE_D_MODEL, SIZE_D_FF, IN_ALL, false, BLOCK_DENSE},
    [ROLE_FFN_DOWN] = {"ffn_down.weight", SIZE_D_FF, SIZE_D_MODEL, IN_ALL, false, BLOCK_DENSE},
    [ROLE_FFN_ROUTER] = {"ffn_gate_inp.weight", SIZE_D_MODEL, SIZE_EXPERTS, IN_EXPERTS, false, BLOCK_ROUTER},
    [ROLE_FFN_GATE_EXPERTS] = {"ffn_gate_exps.weight", SIZE_D_MODEL, SIZE_D_FF_EXPERT, IN_EXPERTS, false,
                               BLOCK_EXPERTS},
    [ROLE_FFN_UP_EXPERTS] = {"ffn_up_exps.weight", SIZE_D_MODEL, SIZE_D_FF_EXPERT, IN_EXPERTS, false, BLOCK_EXPERTS},
    [ROLE_FFN_DOWN_EXPERTS] = {"ffn_down_exps.weight", SIZE_D_FF_EXPERT, SIZE_D_MODEL, IN_EXPERTS, false,
                               BLOCK_EXPERTS},
    [ROLE_POST_FFN_NORM] = {"post_ffw_norm.weight", SIZE_D_MODEL, SIZE_NONE, IN_POST_NORM, false, BLOCK_ANY},
};

static uint64_t size_of(const struct hparams *h, enum size size)
{
    switch (size) {
    case SIZE_NONE: return 1;
    case SIZE_D_MODEL: return h->d_model;
    case SIZE_D_FF: return h->d_ff;
    case SIZE_D_FF_EXPERT: return h->d_ff_expert;
    case SIZE_EXPERTS: return h->n_experts;
    case SIZE_Q: return (uint64_t)h->n_heads * h->head_dim;
    case SIZE_KV: return (uint64_t)h->n_kv_heads * h->head_dim;
    case SIZE_HEAD: return h->head_dim;
    case SIZE_ROT_HALF: return h->n_rot / 2;
    case SIZE_VOCAB: return h->n_vocab;
    }
    return 0;
}

static bool has_role(const struct hparams *h, const struct role_spec *spec)
{
    bool dense_only = spec->block == BLOCK_DENSE, any = spec->block == BLOCK_ANY;
    return (spec->families & 1u << h->family) && (any || dense_only == (h->n_experts == 0));
}

bool role_tensor(enum role role, const struct hparams *hparams, struct role_tensor *tensor)
{
    const struct role_spec *spec = &specs[role];
    if (!has_role(hparams, spec)) return false;
    *tensor = (struct role_tensor){.name = spec->name,
                                   .rows = size_of(hparams, spec->rows),
                                   .cols = size_of(hparams, spec->cols),
                                   .n_experts = spec->block == BLOCK_EXPERTS ? hparams->n_experts : 0,
                                   .optional = spec->optional};
    return true;
}

static int check_shape(const struct model *model, const struct gguf_tensor *tensor, const struct role_spec *spec,
                       struct stile_error *error)
{
    uint64_t cols = size_of(&model->hparams, spec->cols), rows = size_of(&model->hparams, spec->rows);
    uint64_t n = spec->block == BLOCK_EXPERTS ? model->hparams.n_experts : 1;
    if (tensor->dims[0] != cols || tensor->dims[1] != rows || tensor->dims[2] != n || tensor->dims[3] != 1)
        return error_set(
            error, STILE_ERROR_MALFORMED,
            "%s: tensor %s: shape %llu x %llu x %llu x %llu, but the model's sizes ask for %llu x %llu x %llu",
            model->gguf->path, tensor->name, (unsigned long long)tensor->dims[0], (unsigned long long)tensor->dims[1],
            (unsigned long long)tensor->dims[2], (unsigned long long)tensor->dims[3], (unsigned long long)cols,
            (unsigned long long)rows, (unsigned long long)n);
    if (!format_info(tensor->format)->decode)
        return error_set(error, STILE_ERROR_UNSUPPORTED, "%s: tensor %s: format %s does not hold weights",
                         model->gguf->path, tensor->name, format_info(tensor->format)->name);
    return 0;
}

/* The second-level scale of a NVFP4 weight "X.weight" is the tensor "X.scale", one float, or one for each expert;
 * absent: 1. */
static int read_scale(struct model *model, struct weight *weight, struct stile_error *error)
{
    char name[80];
    weight->scale = 1;
    size_t n = strlen(weight->tensor->name), suffix = strlen(".weight");
    if (weight->format != FORMAT_NVFP4 || n < suffix) return 0;
    snprintf(name, sizeof name, "%.*s.scale", (int)(n - suffix), weight->tensor->name);
    const struct gguf_tensor *scale = gguf_find_tensor(model->gguf, name);
    if (!scale) return 0;
    uint64_t n_scales = weight->n_experts > 0 ? weight->n_experts : 1;
    if (scale->format != FORMAT_F32 || scale->n_elements != n_scales)
        return error_set(error, STILE_ERROR_MALFORMED, "%s: tensor %s: must be %llu F32", model->gguf->path, name,
                         (unsigned long long)n_scales);
    float *scales = weight->n_experts > 0 ? arena_array(&model->arena, n_scales, sizeof *scales) : &weight->scale;
    if (!scales) return error_memory(error, n_scales * sizeof *scales, name);
    for (uint64_t i = 0; i < n_scales; i++) {
        scales[i] = scale->data ? f32_from_bits(load_u32((const char *)scale->data + i * sizeof *scales)) : 1;
        if (!isfinite(scales[i]))
            return error_set(error, STILE_ERROR_MALFORMED, "%s: tensor %s: scale %llu is not a finite number",
                             model->gguf->path, name, (unsigned long long)i);
    }
    if (weight->n_experts > 0) weight->expert_scales = scales;
    return 0;
}

static int find_weight(struct model *model, uint32_t layer, enum role role, struct weight *weight,
                       struct stile_error *error)
{
    const struct role_spec *spec = &specs[role];
    char name[80];
    if (!has_role(&model->hparams, spec)) return 0;
    if (role < ROLE_LAYER_FIRST)
        snprintf(name, sizeof name, "%s", spec->name);
    else
        snprintf(name, sizeof name, "blk.%u.%s", layer, spec->name);
    const struct gguf_tensor *tensor = gguf_find_tensor(model->gguf, name);
    if (!tensor && spec->optional) return 0;
    if (!tensor)
        return error_set(error, STILE_ERROR_MALFORMED, "%s: tensor %s is missing (not a complete model file)",
                         model->gguf->path, name);
    int failed = check_shape(model, tensor, spec, error);
    if (failed) return failed;
    *weight = (struct weight){.tensor = tensor,
                              .format = tensor->format,
                              .rows = tensor->dims[1],
                              .cols = tensor->dims[0],
                              .data = tensor->data};
    if (!format_row_bytes(weight->format, weight->cols, &weight->row_bytes))
        return error_set(error, STILE_ERROR_MALFORMED, "%s: tensor %s: rows of %llu do not fill blocks of %s",
                         model->gguf->path, name, (unsigned long long)weight->cols, format_info(weight->format)->name);
    if (spec->block == BLOCK_EXPERTS) {
        weight->n_experts = tensor->dims[2];
        weight->expert_bytes = weight->rows * weight->row_bytes;
    }
    failed = read_scale(model, weight, error);
    if (failed || spec->rows != SIZE_NONE) return failed;
    float *floats = arena_array(&model->arena, weight->cols, sizeof *floats);
    if (!floats) return error_memory(error, weight->cols * sizeof *floats, name);
    if (weight->data)
        format_decode(weight->format, weight->data, weight->cols, floats);
    else
        for (uint64_t i = 0; i < weight->cols; i++)
            floats[i] = 1;
    weight->floats = floats;
    return 0;
}

/* Angles are divided by these. */
static int check_frequencies(const struct model *model, struct stile_error *error)
{
    const struct weight *weight = &model->globals[ROLE_ROPE_FREQS];
    for (uint64_t i = 0; weight->floats && i < weight->cols; i++)
        if (!(weight->floats[i] > 0 && isfinite(weight->floats[i])))
            return error_set(error, STILE_ERROR_MALFORMED, "%s: tensor %s: element %llu is %g, not a positive number",
                             model->gguf->path, weight->tensor->name, (unsigned long long)i, (double)weight->floats[i]);
    return 0;
}

/* The embedding says how large the vocabulary is; the other tensors are held against that. */
static int read_vocabulary_size(struct model *model, struct stile_error *error)
{
    const struct gguf_tensor *embedding = gguf_find_tensor(model->gguf, specs[ROLE_TOKEN_EMBD].name);
    if (!embedding)
        return error_set(error, STILE_ERROR_MALFORMED, "%s: tensor %s is missing (not a complete model file)",
                         model->gguf->path, specs[ROLE_TOKEN_EMBD].name);
    if (embedding->dims[1] < 1 || embedding->dims[1] > INT32_MAX)
        return error_set(error, STILE_ERROR_MALFORMED, "%s: tensor %s: %llu rows cannot be a vocabulary",
                         model->gguf->path, embedding->name, (unsigned long long)embedding->dims[1]);
    model->hparams.n_vocab = (uint32_t)embedding->dims[1];
    return 0;
}

static int load(struct model *model, struct stile_error *error)
{
    int failed = hparams_read(&model->hparams, model->gguf, error);
    if (!failed) failed = read_vocabulary_size(model, error);
    if (failed) return failed;
    uint32_t n_layers = model->hparams.n_layers;
    model->layers = arena_array(&model->arena, n_layers, sizeof *model->layers);
    if (!model->layers) return error_memory(error, n_layers * sizeof *model->layers, "the table of weights");
    for (enum role role = 0; role < ROLE_LAYER_FIRST && !failed; role++)
        failed = find_weight(model, 0, role, &model->globals[role], error);
    if (!failed) failed = check_frequencies(model, error);
    for (uint32_t layer = 0; layer < n_layers && !failed; layer++)
        for (enum role role = ROLE_LAYER_FIRST; role < ROLE_COUNT && !failed; role++)
            failed = find_weight(model, layer, role, &model->layers[layer][role], error);
    return failed;
}

int model_create(struct model **model, struct gguf *gguf, struct stile_error *error)
{
    struct model *m = calloc(1, sizeof *m);
    if (!m) {
        gguf_close(gguf);
        return error_memory(error, sizeof *m, "a model");
    }
    m->gguf = gguf;
    int failed = load(m, error);
    if (failed) {
        model_free(m);
        return failed;
    }
    *model = m;
    return 0;
}

void model_free(struct model *model)
{
    if (!model) return;
    gguf_close(model->gguf);
    arena_free(&model->arena);
    free(model);
}

const struct weight *model_output(const struct model *model)
{
    return model->globals[ROLE_OUTPUT].tensor ? &model->globals[ROLE_OUTPUT] : &model->globals[ROLE_TOKEN_EMBD];
}
