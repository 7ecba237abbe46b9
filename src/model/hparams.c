#include "model/hparams.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* May a file of this architecture have experts, must it? */
enum experts { EXPERTS_NEVER, EXPERTS_MAYBE, EXPERTS_ALWAYS };

static const struct architecture {
    const char *name;
    enum family family;
    enum experts experts;
} architectures[] = {
    {"llama", FAMILY_LLAMA, EXPERTS_MAYBE}, /* with experts: Mixtral */
    {"qwen2", FAMILY_QWEN2, EXPERTS_NEVER},     {"qwen3", FAMILY_QWEN3, EXPERTS_NEVER},
    {"qwen3moe", FAMILY_QWEN3, EXPERTS_ALWAYS}, {"gemma3", FAMILY_GEMMA3, EXPERTS_NEVER},
};

/* One file's keys "<architecture>.<suffix>", read until the first error. */
struct reader {
    const struct gguf *gguf;
    const char *architecture;
    struct stile_error *error;
    int failed; /* a stile_code, 0 while all is well */
};

enum { KEY_BYTES = 160 };

static const char *key_of(const struct reader *reader, const char *suffix, char key[KEY_BYTES])
{
    snprintf(key, KEY_BYTES, "%s.%s", reader->architecture, suffix);
    return key;
}

static bool has(const struct reader *reader, const char *suffix)
{
    char key[KEY_BYTES];
    return gguf_find(reader->gguf, key_of(reader, suffix, key)) != NULL;
}

/* Integer; some files give one value per layer, which here must all be equal. */
static void get_u32(struct reader *reader, const char *suffix, uint32_t min, uint32_t max, uint32_t *value)
{
    char key[KEY_BYTES];
    if (reader->failed) return;
    const struct gguf_kv *kv = gguf_find(reader->gguf, key_of(reader, suffix, key));
    if (kv && kv->type == GGUF_ARRAY) {
        int64_t first = 0, other;
        for (uint64_t i = 0; i < kv->n; i++) {
            if (!gguf_element_i64(kv, i, &other)) break;
            if (i == 0) first = other;
            if (other != first) {
                reader->failed =
                    error_set(reader->error, STILE_ERROR_UNSUPPORTED,
                              "%s: %s: layers of different sizes are not supported", reader->gguf->path, key);
                return;
            }
        }
        if (kv->n == 0 || !gguf_element_i64(kv, 0, &first) || first < min || first > max) {
            reader->failed = error_set(reader->error, STILE_ERROR_MALFORMED, "%s: %s: must be integers from %u to %u",
                                       reader->gguf->path, key, min, max);
            return;
        }
        *value = (uint32_t)first;
        return;
    }
    uint64_t wide = *value;
    reader->failed = gguf_get_u64(reader->gguf, key, min, max, &wide, reader->error);
    if (!reader->failed) *value = (uint32_t)wide;
}

static void need_u32(struct reader *reader, const char *suffix, uint32_t min, uint32_t max, uint32_t *value)
{
    if (reader->failed) return;
    if (!has(reader, suffix)) {
        reader->failed =
            error_set(reader->error, STILE_ERROR_MALFORMED, "%s: key %s.%s is missing (not a complete model file)",
                      reader->gguf->path, reader->architecture, suffix);
        return;
    }
    get_u32(reader, suffix, min, max, value);
}

/* A float in [min, max]. */
static void get_float(struct reader *reader, const char *suffix, double min, double max, double *value)
{
    char key[KEY_BYTES];
    float narrow = (float)*value;
    if (reader->failed || !has(reader, suffix)) return;
    reader->failed = gguf_get_f32(reader->gguf, key_of(reader, suffix, key), &narrow, reader->error);
    if (reader->failed) return;
    if (!(narrow >= min && narrow <= max)) {
        reader->failed = error_set(reader->error, STILE_ERROR_MALFORMED, "%s: %s: %g is not between %g and %g",
                                   reader->gguf->path, key, (double)narrow, min, max);
        return;
    }
    *value = (double)narrow;
}

static void read_rope_scaling(struct reader *reader, struct rope *rope, uint32_t n_ctx_trained)
{
    char key[KEY_BYTES];
    const char *type = "none";
    if (reader->failed) return;
    rope->factor = 1;
    rope->attention_factor = 1;
    rope->beta_fast = 32;
    rope->beta_slow = 1;
    rope->n_ctx_original = n_ctx_trained;
    reader->failed = gguf_get_string(reader->gguf, key_of(reader, "rope.scaling.type", key), &type, reader->error);
    if (reader->failed) return;
    if (strcmp(type, "linear") == 0)
        rope->scaling = ROPE_SCALING_LINEAR;
    else if (strcmp(type, "yarn") == 0)
        rope->scaling = ROPE_SCALING_YARN;
    else if (strcmp(type, "none") != 0) {
        reader->failed = error_set(reader->error, STILE_ERROR_UNSUPPORTED,
                                   "%s: %s: rope scaling \"%s\" is not supported (none, linear, yarn are)",
                                   reader->gguf->path, key, type);
        return;
    }
    get_float(reader, "rope.scaling.factor", 0, 1e6, &rope->factor);
    if (!has(reader, "rope.scaling.type") && has(reader, "rope.scale_linear")) { /* older files */
        rope->scaling = ROPE_SCALING_LINEAR;
        get_float(reader, "rope.scale_linear", 0, 1e6, &rope->factor);
    }
    get_float(reader, "rope.scaling.attn_factor", 0, 1e6, &rope->attention_factor);
    get_float(reader, "rope.scaling.yarn_beta_fast", 0, 1e6, &rope->beta_fast);
    get_float(reader, "rope.scaling.yarn_beta_slow", 0, 1e6, &rope->beta_slow);
    get_u32(reader, "rope.scaling.original_context_length", 1, HPARAMS_CONTEXT_MAX, &rope->n_ctx_original);
    if (rope->factor <= 0) rope->factor = 1; /* some writers say 0 for "none" */
}

/* How many experts there are, and that they are chosen as build_experts does it: softmax, the weights of the chosen
 * summing to 1, no expert for all tokens. */
static void read_experts(struct reader *reader, struct hparams *h, enum experts experts)
{
    uint32_t gating = 0, n_shared = 0;
    bool normalised = true;
    double scale = 1;
    char key[KEY_BYTES];
    if (experts == EXPERTS_ALWAYS)
        need_u32(reader, "expert_count", 1, HPARAMS_EXPERTS_MAX, &h->n_experts);
    else
        get_u32(reader, "expert_count", 0, HPARAMS_EXPERTS_MAX, &h->n_experts);
    if (reader->failed || h->n_experts == 0) return;
    if (experts == EXPERTS_NEVER) {
        reader->failed = error_set(reader->error, STILE_ERROR_UNSUPPORTED,
                                   "%s: a mixture of %u experts is not supported in architecture \"%s\" (in llama and "
                                   "qwen3moe it is)",
                                   reader->gguf->path, h->n_experts, reader->architecture);
        return;
    }
    need_u32(reader, "expert_used_count", 1, h->n_experts, &h->n_experts_used);
    get_u32(reader, "expert_gating_func", 0, UINT32_MAX, &gating);
    get_u32(reader, "expert_shared_count", 0, UINT32_MAX, &n_shared);
    get_float(reader, "expert_weights_scale", -1e6, 1e6, &scale);
    if (!reader->failed)
        reader->failed =
            gguf_get_bool(reader->gguf, key_of(reader, "expert_weights_norm", key), &normalised, reader->error);
    /* softmax over all or over the chosen is the same once the chosen sum to 1; a scale of 0 is written for none */
    if (!reader->failed && ((gating > 1 && gating != 3) || n_shared > 0 || !normalised || (scale != 1 && scale != 0)))
        reader->failed =
            error_set(reader->error, STILE_ERROR_UNSUPPORTED,
                      "%s: experts are chosen in a way that is not supported (gating function %u, %u shared experts, "
                      "weights %snormalised, scale %g)",
                      reader->gguf->path, gating, n_shared, normalised ? "" : "not ", scale);
}

/* The width of a feed-forward block, dense or of one expert. */
static void read_d_ff(struct reader *reader, struct hparams *h)
{
    if (h->n_experts == 0) {
        need_u32(reader, "feed_forward_length", 1, HPARAMS_WIDTH_MAX, &h->d_ff);
        return;
    }
    get_u32(reader, "feed_forward_length", 0, HPARAMS_WIDTH_MAX, &h->d_ff);
    if (reader->failed) return;
    /* what files that do not say it mean */
    h->d_ff_expert = h->family == FAMILY_LLAMA ? h->d_ff : h->d_ff / h->n_experts_used;
    if (h->d_ff_expert == 0)
        need_u32(reader, "expert_feed_forward_length", 1, HPARAMS_WIDTH_MAX, &h->d_ff_expert);
    else
        get_u32(reader, "expert_feed_forward_length", 1, HPARAMS_WIDTH_MAX, &h->d_ff_expert);
}

static void read_sizes(struct reader *reader, struct hparams *h)
{
    need_u32(reader, "block_count", 1, HPARAMS_LAYERS_MAX, &h->n_layers);
    need_u32(reader, "embedding_length", 1, HPARAMS_WIDTH_MAX, &h->d_model);
    need_u32(reader, "context_length", 1, HPARAMS_CONTEXT_MAX, &h->n_ctx_trained);
    read_d_ff(reader, h);
    need_u32(reader, "attention.head_count", 1, HPARAMS_HEADS_MAX, &h->n_heads);
    if (reader->failed) return;
    h->n_kv_heads = h->n_heads;
    get_u32(reader, "attention.head_count_kv", 1, HPARAMS_HEADS_MAX, &h->n_kv_heads);
    if (reader->failed) return;
    if (h->n_heads % h->n_kv_heads != 0) {
        reader->failed = error_set(reader->error, STILE_ERROR_MALFORMED,
                                   "%s: %s.attention.head_count_kv: %u does not divide the %u heads",
                                   reader->gguf->path, reader->architecture, h->n_kv_heads, h->n_heads);
        return;
    }
    h->head_dim = h->d_model / h->n_heads;
    get_u32(reader, "attention.key_length", 1, HPARAMS_HEAD_DIM_MAX, &h->head_dim);
    uint32_t value_length = h->head_dim;
    get_u32(reader, "attention.value_length", 1, HPARAMS_HEAD_DIM_MAX, &value_length);
    h->n_rot = h->head_dim;
    get_u32(reader, "rope.dimension_count", 1, HPARAMS_HEAD_DIM_MAX, &h->n_rot);
    if (reader->failed) return;
    if (h->head_dim == 0 || h->head_dim > HPARAMS_HEAD_DIM_MAX || value_length != h->head_dim)
        reader->failed = error_set(reader->error, STILE_ERROR_UNSUPPORTED,
                                   "%s: heads of %u key and %u value dimensions are not supported", reader->gguf->path,
                                   h->head_dim, value_length);
    else if (h->n_rot > h->head_dim || h->n_rot % 2 != 0)
        reader->failed =
            error_set(reader->error, STILE_ERROR_MALFORMED,
                      "%s: %s.rope.dimension_count: %u is not an even number up to the head's %u dimensions",
                      reader->gguf->path, reader->architecture, h->n_rot, h->head_dim);
}

static void read_window(struct reader *reader, struct hparams *h)
{
    if (h->family != FAMILY_GEMMA3) return; /* others that state a window were trained to see everything */
    h->window_pattern = 6;
    get_u32(reader, "attention.sliding_window", 0, HPARAMS_CONTEXT_MAX, &h->window);
    get_u32(reader, "attention.sliding_window_pattern", 1, HPARAMS_LAYERS_MAX, &h->window_pattern);
}

bool hparams_layer_slides(const struct hparams *hparams, uint32_t layer)
{
    return hparams->window > 0 && layer % hparams->window_pattern != hparams->window_pattern - 1;
}

static int unknown_architecture(const struct gguf *gguf, const char *architecture, struct stile_error *error)
{
    return error_set(error, STILE_ERROR_UNSUPPORTED,
                     "%s: architecture \"%s\" is not supported (llama, qwen2, qwen3, qwen3moe, gemma3 are)", gguf->path,
                     architecture);
}

int hparams_read(struct hparams *hparams, const struct gguf *gguf, struct stile_error *error)
{
    struct hparams h = {0};
    const char *architecture = NULL;
    int failed = gguf_get_string(gguf, "general.architecture", &architecture, error);
    if (failed) return failed;
    if (!architecture)
        return error_set(error, STILE_ERROR_MALFORMED, "%s: key general.architecture is missing (not a model file)",
                         gguf->path);
    size_t i = 0, n = sizeof architectures / sizeof *architectures;
    while (i < n && strcmp(architectures[i].name, architecture) != 0)
        i++;
    if (i == n) return unknown_architecture(gguf, architecture, error);
    h.family = architectures[i].family;
    h.architecture = architecture;

    struct reader reader = {.gguf = gguf, .architecture = architecture, .error = error};
    read_experts(&reader, &h, architectures[i].experts);
    read_sizes(&reader, &h);
    double eps = 0, softcap = 0;
    if (!reader.failed && !has(&reader, "attention.layer_norm_rms_epsilon"))
        return error_set(error, STILE_ERROR_MALFORMED, "%s: key %s.attention.layer_norm_rms_epsilon is missing",
                         gguf->path, architecture);
    get_float(&reader, "attention.layer_norm_rms_epsilon", 0, 1, &eps);
    get_float(&reader, "final_logit_softcapping", 0, 1e6, &softcap);
    h.rms_eps = (float)eps;
    h.final_softcap = (float)softcap;
    h.rope.base = 10000;
    get_float(&reader, "rope.freq_base", 1e-3, 1e12, &h.rope.base);
    read_rope_scaling(&reader, &h.rope, h.n_ctx_trained);
    h.rope_local = (struct rope){.base = 10000, .factor = 1, .attention_factor = 1};
    get_float(&reader, "rope.freq_base_swa", 1e-3, 1e12, &h.rope_local.base);
    read_window(&reader, &h);
    if (reader.failed) return reader.failed;
    *hparams = h;
    return 0;
}
