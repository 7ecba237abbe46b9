#include "model/folder_private.h"

#include "base/bytes.h"
#include "model/model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the tensor of a role is called, within "model.layers.N." for those of layers. */
static const char *const names[ROLE_COUNT] = {
    [ROLE_TOKEN_EMBD] = "embed_tokens.weight",
    [ROLE_OUTPUT_NORM] = "norm.weight",
    [ROLE_OUTPUT] = "lm_head.weight",
    [ROLE_ATTN_NORM] = "input_layernorm.weight",
    [ROLE_ATTN_Q] = "self_attn.q_proj.weight",
    [ROLE_ATTN_K] = "self_attn.k_proj.weight",
    [ROLE_ATTN_V] = "self_attn.v_proj.weight",
    [ROLE_ATTN_Q_BIAS] = "self_attn.q_proj.bias",
    [ROLE_ATTN_K_BIAS] = "self_attn.k_proj.bias",
    [ROLE_ATTN_V_BIAS] = "self_attn.v_proj.bias",
    [ROLE_ATTN_Q_NORM] = "self_attn.q_norm.weight",
    [ROLE_ATTN_K_NORM] = "self_attn.k_norm.weight",
    [ROLE_ATTN_OUTPUT] = "self_attn.o_proj.weight",
    [ROLE_ATTN_OUTPUT_BIAS] = "self_attn.o_proj.bias",
    [ROLE_FFN_NORM] = "post_attention_layernorm.weight",
    [ROLE_FFN_GATE] = "mlp.gate_proj.weight",
    [ROLE_FFN_UP] = "mlp.up_proj.weight",
    [ROLE_FFN_DOWN] = "mlp.down_proj.weight",
    [ROLE_FFN_ROUTER] = "mlp.gate.weight",
    [ROLE_FFN_GATE_EXPERTS] = "mlp.experts.%u.gate_proj.weight",
    [ROLE_FFN_UP_EXPERTS] = "mlp.experts.%u.up_proj.weight",
    [ROLE_FFN_DOWN_EXPERTS] = "mlp.experts.%u.down_proj.weight",
};

/* Where families call them differently. */
static const struct {
    const char *model_type;
    enum role role;
    const char *name;
} others[] = {
    {"mixtral", ROLE_FFN_ROUTER, "block_sparse_moe.gate.weight"},
    {"mixtral", ROLE_FFN_GATE_EXPERTS, "block_sparse_moe.experts.%u.w1.weight"},
    {"mixtral", ROLE_FFN_UP_EXPERTS, "block_sparse_moe.experts.%u.w3.weight"},
    {"mixtral", ROLE_FFN_DOWN_EXPERTS, "block_sparse_moe.experts.%u.w2.weight"},
    {"gemma3_text", ROLE_POST_ATTN_NORM, "post_attention_layernorm.weight"},
    {"gemma3_text", ROLE_FFN_NORM, "pre_feedforward_layernorm.weight"},
    {"gemma3_text", ROLE_POST_FFN_NORM, "post_feedforward_layernorm.weight"},
};

/* What language models are inside of models that also see. */
static const char *const prefixes[] = {"model.", "language_model.model.", "model.language_model."};

struct search {
    struct folder *folder;
    const char *prefix;
    struct hparams kind; /* as far as role_tensor needs it to know which roles there are */
    bool *used;          /* (weights->n_tensors) */
};

static const char *name_of(const struct folder *folder, enum role role)
{
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i].role == role && strcmp(others[i].model_type, folder->family->model_type) == 0)
            return others[i].name;
    return names[role];
}

enum { NAME_BYTES = 160 };

/* `expert` is used where the name has a place for it. */
static void name_whole(const struct search *search, enum role role, uint32_t layer, uint32_t expert,
                       char name[NAME_BYTES])
{
    const char *own = name_of(search->folder, role), *place = strstr(own, "%u");
    int n = 0;
    if (role >= ROLE_LAYER_FIRST)
        n = snprintf(name, NAME_BYTES, "%slayers.%u.", search->prefix, layer);
    else if (role == ROLE_OUTPUT) /* beside the model, not in it */
        n = snprintf(name, NAME_BYTES, "%.*s", strncmp(search->prefix, "language_model.", 15) == 0 ? 15 : 0,
                     "language_model.");
    else
        n = snprintf(name, NAME_BYTES, "%s", search->prefix);
    if (place)
        snprintf(name + n, (size_t)(NAME_BYTES - n), "%.*s%u%s", (int)(place - own), own, expert, place + 2);
    else
        snprintf(name + n, (size_t)(NAME_BYTES - n), "%s", own);
}

static int missing(const struct search *search, const char *name)
{
    return error_set(search->folder->error, STILE_ERROR_MALFORMED,
                     "%s: tensor %s is missing (not all of a model is here: download the rest)", search->folder->path,
                     name);
}

/* NULL in *tensor when it is missing. */
static int find(struct search *search, const char *name, const struct safetensors_tensor **tensor)
{
    const struct safetensors *weights = search->folder->weights;
    *tensor = safetensors_find(weights, name);
    if (!*tensor) return 0;
    search->used[*tensor - weights->tensors] = true;
    if ((*tensor)->size_bytes == 0) return missing(search, name);
    if ((*tensor)->format != FORMAT_COUNT && (*tensor)->n_dims >= 1 && (*tensor)->n_dims <= 2) return 0;
    return error_set(search->folder->error, STILE_ERROR_UNSUPPORTED,
                     "%s: tensor %s: %s of %u dimensions; F32, F16 and BF16 of 1 or 2 are read", search->folder->path,
                     name, (*tensor)->dtype, (*tensor)->n_dims);
}

static bool is_norm(enum role role)
{
    switch (role) {
    case ROLE_OUTPUT_NORM:
    case ROLE_ATTN_NORM:
    case ROLE_ATTN_Q_NORM:
    case ROLE_ATTN_K_NORM:
    case ROLE_POST_ATTN_NORM:
    case ROLE_FFN_NORM:
    case ROLE_POST_FFN_NORM: return true;
    default: return false;
    }
}

static int add(struct folder *folder, const char *name, enum format format, uint32_t n_dims, const uint64_t *dims,
               struct gguf_outside_tensor tensor)
{
    gguf_header_tensor(&folder->header, name, format, n_dims, dims);
    folder->tensors[folder->n_tensors++] = tensor;
    return 0;
}

static int add_floats(struct folder *folder, const char *name, const float *floats, uint64_t n)
{
    struct gguf_place *place = arena_array(&folder->arena, 1, sizeof *place);
    if (!place) return error_memory(folder->error, sizeof *place, "a tensor");
    *place = (struct gguf_place){.shard = GGUF_IN_MEMORY, .data = floats};
    return add(folder, name, FORMAT_F32, 1, &n, (struct gguf_outside_tensor){.places = place, .n_places = 1});
}

/* Gemma's norms multiply by 1 + w; GGUF files hold the sum. */
static int add_plus_one(struct folder *folder, const char *name, const struct safetensors_tensor *tensor)
{
    uint64_t n = tensor->dims[0];
    float *floats = arena_array(&folder->arena, (size_t)n, sizeof *floats);
    if (!floats) return error_memory(folder->error, (size_t)n * sizeof *floats, name);
    format_decode(tensor->format, tensor->data, n, floats);
    for (uint64_t i = 0; i < n; i++)
        floats[i] += 1.0f;
    return add_floats(folder, name, floats, n);
}

static int add_tensor(struct search *search, enum role role, const char *name, const struct safetensors_tensor *tensor)
{
    struct folder *folder = search->folder;
    bool rotated = role == ROLE_ATTN_Q || role == ROLE_ATTN_K || role == ROLE_ATTN_Q_BIAS || role == ROLE_ATTN_K_BIAS;
    if (folder->family->family == FAMILY_GEMMA3 && is_norm(role) && tensor->n_dims == 1)
        return add_plus_one(folder, name, tensor);
    struct gguf_place *place = arena_array(&folder->arena, 1, sizeof *place);
    if (!place) return error_memory(folder->error, sizeof *place, "a tensor");
    *place = (struct gguf_place){tensor->shard, tensor->offset_bytes, tensor->data};
    const uint64_t dims[2] = {tensor->dims[tensor->n_dims - 1], tensor->dims[0]};
    return add(folder, name, tensor->format, tensor->n_dims, dims,
               (struct gguf_outside_tensor){.places = place,
                                            .n_places = 1,
                                            .head_rows = rotated && folder->family->by_halves ? folder->head_dim : 0});
}

/* The matrices of all experts, wherever they are, as one tensor. */
static int add_experts(struct search *search, enum role role, uint32_t layer, const char *name)
{
    struct folder *folder = search->folder;
    const struct safetensors_tensor *first = NULL, *tensor;
    struct gguf_place *places = arena_array(&folder->arena, folder->n_experts, sizeof *places);
    if (!places) return error_memory(folder->error, folder->n_experts * sizeof *places, "experts");
    for (uint32_t e = 0; e < folder->n_experts; e++) {
        char theirs[NAME_BYTES];
        name_whole(search, role, layer, e, theirs);
        int failed = find(search, theirs, &tensor);
        if (failed) return failed;
        if (!tensor) return missing(search, theirs);
        if (e == 0) first = tensor;
        if (tensor->n_dims != 2 || tensor->format != first->format || tensor->dims[0] != first->dims[0] ||
            tensor->dims[1] != first->dims[1])
            return error_set(folder->error, STILE_ERROR_UNSUPPORTED,
                             "%s: tensor %s: not of the same shape and dtype as that of the layer's other experts",
                             folder->path, theirs);
        places[e] = (struct gguf_place){tensor->shard, tensor->offset_bytes, tensor->data};
    }
    const uint64_t dims[3] = {first->dims[1], first->dims[0], folder->n_experts};
    return add(folder, name, first->format, 3, dims,
               (struct gguf_outside_tensor){.places = places, .n_places = folder->n_experts});
}

static int add_role(struct search *search, enum role role, uint32_t layer)
{
    struct folder *folder = search->folder;
    struct role_tensor gguf;
    char name[NAME_BYTES], theirs[NAME_BYTES];
    const struct safetensors_tensor *tensor;
    if (!role_tensor(role, &search->kind, &gguf) || role == ROLE_ROPE_FREQS) return 0;
    if (role == ROLE_OUTPUT && folder->is_tied) return 0;
    if (role < ROLE_LAYER_FIRST)
        snprintf(name, sizeof name, "%s", gguf.name);
    else
        snprintf(name, sizeof name, "blk.%u.%s", layer, gguf.name);
    if (gguf.n_experts > 0) return add_experts(search, role, layer, name);
    name_whole(search, role, layer, 0, theirs);
    int failed = find(search, theirs, &tensor);
    if (failed) return failed;
    if (tensor) return add_tensor(search, role, name, tensor);
    return gguf.optional && role != ROLE_OUTPUT ? 0 : missing(search, theirs);
}

/* Parts that a model computes text without. */
static bool is_ignored(const struct search *search, const char *name)
{
    static const char *const beginnings[] = {"vision_tower.", "multi_modal_projector.", "model.vision_tower.",
                                             "model.multi_modal_projector."};
    static const char *const ends[] = {".rotary_emb.inv_freq", ".masked_bias", "lm_head.weight"};
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++)
        if (strncmp(name, beginnings[i], strlen(beginnings[i])) == 0) return true;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (n >= strlen(ends[i]) && strcmp(name + n - strlen(ends[i]), ends[i]) == 0)
            return search->folder->is_tied || i < 2;
    return false;
}

/* A tensor that is not used may be what sets a model apart: it is not guessed at. */
static int check_used(const struct search *search)
{
    const struct safetensors *weights = search->folder->weights;
    for (size_t i = 0; i < weights->n_tensors; i++)
        if (!search->used[i] && !is_ignored(search, weights->tensors[i].name))
            return error_set(search->folder->error, STILE_ERROR_UNSUPPORTED,
                             "%s: tensor %.100s does not belong to a model of type \"%s\" as stile knows it",
                             search->folder->path, weights->tensors[i].name, search->folder->family->model_type);
    return 0;
}

static int find_prefix(struct search *search)
{
    char name[NAME_BYTES];
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        search->prefix = prefixes[i];
        name_whole(search, ROLE_TOKEN_EMBD, 0, 0, name);
        const struct safetensors_tensor *embedding = safetensors_find(search->folder->weights, name);
        if (!embedding) continue;
        if (embedding->n_dims != 2 || embedding->dims[0] == 0 || embedding->dims[0] > INT32_MAX ||
            embedding->dims[1] != search->folder->d_model)
            return error_set(search->folder->error, STILE_ERROR_MALFORMED,
                             "%s: tensor %s: its shape is not that of a vocabulary and hidden_size",
                             search->folder->path, name);
        search->folder->n_vocab = embedding->dims[0];
        gguf_header_u32(&search->folder->header, ".vocab_size", (uint32_t)embedding->dims[0]);
        return 0;
    }
    search->prefix = prefixes[0];
    name_whole(search, ROLE_TOKEN_EMBD, 0, 0, name);
    return missing(search, name);
}

static int add_all(struct search *search)
{
    struct folder *folder = search->folder;
    int failed = 0;
    for (enum role role = 0; role < ROLE_LAYER_FIRST && !failed; role++)
        failed = add_role(search, role, 0);
    if (!failed && folder->rope_divisors)
        failed = add_floats(folder, "rope_freqs.weight", folder->rope_divisors, folder->head_dim / 2);
    for (uint32_t layer = 0; layer < folder->n_layers && !failed; layer++)
        for (enum role role = ROLE_LAYER_FIRST; role < ROLE_COUNT && !failed; role++)
            failed = add_role(search, role, layer);
    return failed ? failed : check_used(search);
}

int folder_tensors(struct folder *folder)
{
    struct search search = {.folder = folder,
                            .kind = {.family = folder->family->family, .n_experts = folder->n_experts}};
    size_t n = ROLE_LAYER_FIRST + (size_t)folder->n_layers * ROLE_COUNT;
    int failed = find_prefix(&search);
    if (failed) return failed;
    search.used = calloc(folder->weights->n_tensors, sizeof *search.used);
    folder->tensors = arena_array(&folder->arena, n, sizeof *folder->tensors);
    if (search.used && folder->tensors)
        failed = add_all(&search);
    else
        failed = error_memory(folder->error, n * sizeof *folder->tensors, "the table of tensors");
    free(search.used);
    return failed;
}
