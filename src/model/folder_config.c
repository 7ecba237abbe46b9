#include "model/folder_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_NAME "config.json"
#define PI        3.14159265358979323846

/* The defaults are those of the published configuration classes. */
static const struct folder_family families[] = {
    {"llama", "llama", FAMILY_LLAMA, false, true, "silu",
     "{\"hidden_act\": \"silu\", \"rms_norm_eps\": 1e-6, \"rope_theta\": 10000.0, \"tie_word_embeddings\": false}"},
    {"mistral", "llama", FAMILY_LLAMA, false, true, "silu",
     "{\"hidden_act\": \"silu\", \"rms_norm_eps\": 1e-6, \"rope_theta\": 10000.0, \"num_key_value_heads\": 8,"
     " \"tie_word_embeddings\": false}"},
    {"mixtral", "llama", FAMILY_LLAMA, true, true, "silu",
     "{\"hidden_act\": \"silu\", \"rms_norm_eps\": 1e-5, \"rope_theta\": 1e6, \"num_key_value_heads\": 8,"
     " \"num_local_experts\": 8, \"num_experts_per_tok\": 2, \"tie_word_embeddings\": false}"},
    {"qwen2", "qwen2", FAMILY_QWEN2, false, false, "silu",
     "{\"hidden_act\": \"silu\", \"rms_norm_eps\": 1e-6, \"rope_theta\": 10000.0, \"num_key_value_heads\": 32,"
     " \"tie_word_embeddings\": false}"},
    {"qwen3", "qwen3", FAMILY_QWEN3, false, false, "silu",
     "{\"hidden_act\": \"silu\", \"rms_norm_eps\": 1e-6, \"rope_theta\": 10000.0, \"head_dim\": 128,"
     " \"num_key_value_heads\": 32, \"tie_word_embeddings\": false}"},
    {"qwen3_moe", "qwen3moe", FAMILY_QWEN3, true, false, "silu",
     "{\"hidden_act\": \"silu\", \"rms_norm_eps\": 1e-6, \"rope_theta\": 10000.0, \"num_key_value_heads\": 4,"
     " \"num_experts_per_tok\": 8, \"moe_intermediate_size\": 768, \"norm_topk_prob\": false,"
     " \"tie_word_embeddings\": false}"},
    {"gemma3_text", "gemma3", FAMILY_GEMMA3, false, false, "gelu_pytorch_tanh",
     "{\"hidden_activation\": \"gelu_pytorch_tanh\", \"hidden_size\": 2304, \"intermediate_size\": 9216,"
     " \"num_hidden_layers\": 26, \"num_attention_heads\": 8, \"num_key_value_heads\": 4, \"head_dim\": 256,"
     " \"max_position_embeddings\": 131072, \"rms_norm_eps\": 1e-6, \"rope_theta\": 1e6,"
     " \"rope_local_base_freq\": 10000.0, \"query_pre_attn_scalar\": 256, \"sliding_window\": 4096,"
     " \"tie_word_embeddings\": true}"},
};

static int fail_unsupported(struct folder *folder, const char *what)
{
    return folder_fail(folder, STILE_ERROR_UNSUPPORTED, FILE_NAME, "%s is not supported", what);
}

static int config_u32(struct folder *folder, const char *key, uint32_t min, uint32_t max, uint32_t *value)
{
    return folder_u32(folder, FILE_NAME, folder->config, key, min, max, value);
}

static int find_family(struct folder *folder)
{
    const char *type = folder_string(folder->config, "model_type");
    char known[160] = "";
    if (!type)
        return folder_fail(folder, STILE_ERROR_MALFORMED, FILE_NAME, "no model_type: not a model's configuration");
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if (strcmp(families[i].model_type, type) == 0) folder->family = &families[i];
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "", families[i].model_type);
    }
    if (folder->family) return 0;
    return folder_fail(folder, STILE_ERROR_UNSUPPORTED, FILE_NAME, "model_type \"%.40s\" is not supported (%s are)",
                       type, known);
}

/* The language part of a model that also sees stands in text_config. */
static int complete(struct folder *folder)
{
    json_t *text = json_object_get(folder->config, "text_config");
    if (json_is_object(text)) {
        json_incref(text);
        int failed = json_object_update_missing(text, folder->config);
        json_decref(folder->config);
        folder->config = text;
        if (failed) return error_memory(folder->error, 0, "a configuration");
    }
    int failed = find_family(folder);
    if (failed) return failed;
    json_t *defaults = json_loads(folder->family->defaults, 0, NULL);
    failed = !defaults || json_object_update_missing(folder->config, defaults);
    json_decref(defaults);
    return failed ? error_memory(folder->error, 0, "a configuration") : 0;
}

/* ---- what is not computed as the configuration asks is refused ---------------------------------- */

static bool is_true(const struct folder *folder, const char *key)
{
    return json_is_true(json_object_get(folder->config, key));
}

static bool is_set(const struct folder *folder, const char *key)
{
    const json_t *value = json_object_get(folder->config, key);
    return value && !json_is_null(value);
}

static int check_activation(struct folder *folder)
{
    const char *key = folder->family->family == FAMILY_GEMMA3 ? "hidden_activation" : "hidden_act";
    const char *activation = folder_string(folder->config, key);
    if (activation && strcmp(activation, folder->family->activation) == 0) return 0;
    return folder_fail(folder, STILE_ERROR_UNSUPPORTED, FILE_NAME, "%s \"%.40s\" is not supported (%s is)", key,
                       activation ? activation : "", folder->family->activation);
}

static int check_kind(struct folder *folder)
{
    const char *kind = json_string_value(json_array_get(json_object_get(folder->config, "architectures"), 0));
    if (!kind || strstr(kind, "ForCausalLM") || strstr(kind, "ForConditionalGeneration")) return 0;
    return folder_fail(folder, STILE_ERROR_UNSUPPORTED, FILE_NAME, "\"%.60s\" is no model that generates text", kind);
}

static int check_mixture(struct folder *folder)
{
    uint32_t step = 1;
    int failed = config_u32(folder, "decoder_sparse_step", 0, UINT32_MAX, &step);
    if (failed) return failed;
    if (step != 1 || json_array_size(json_object_get(folder->config, "mlp_only_layers")) > 0)
        return fail_unsupported(folder, "a mixture of experts in some layers only");
    return 0;
}

static int check_features(struct folder *folder)
{
    double partial = 1;
    int failed = folder_double(folder, FILE_NAME, folder->config, "partial_rotary_factor", 0, 1, &partial);
    if (!failed) failed = check_kind(folder);
    if (!failed) failed = check_activation(folder);
    if (!failed) failed = check_mixture(folder);
    if (failed) return failed;
    if (is_set(folder, "quantization_config"))
        return fail_unsupported(folder,
                                "quantization_config (a folder of quantized weights: take the original, or a GGUF "
                                "file)");
    if (is_true(folder, "mlp_bias")) return fail_unsupported(folder, "mlp_bias");
    if (is_true(folder, "use_sliding_window") && is_set(folder, "sliding_window"))
        return fail_unsupported(folder, "use_sliding_window");
    if (is_set(folder, "attn_logit_softcapping")) return fail_unsupported(folder, "attn_logit_softcapping");
    if (is_true(folder, "use_bidirectional_attention")) return fail_unsupported(folder, "use_bidirectional_attention");
    if (partial != 1) return fail_unsupported(folder, "partial_rotary_factor");
    return 0;
}

/* ---- sizes ------------------------------------------------------------------------------------- */

/* Reads a size that must be there and writes it as a key. */
static int size(struct folder *folder, const char *name, const char *key, uint32_t max, uint32_t *value)
{
    *value = 0;
    int failed = config_u32(folder, name, 1, max, value);
    if (failed) return failed;
    if (*value == 0) return folder_fail(folder, STILE_ERROR_MALFORMED, FILE_NAME, "%s is missing", name);
    gguf_header_u32(&folder->header, key, *value);
    return 0;
}

static int sizes_of_heads(struct folder *folder)
{
    uint32_t n_heads, n_kv_heads = 0;
    int failed = size(folder, "num_attention_heads", ".attention.head_count", HPARAMS_HEADS_MAX, &n_heads);
    if (failed) return failed;
    n_kv_heads = n_heads;
    folder->head_dim = folder->d_model / n_heads;
    failed = config_u32(folder, "num_key_value_heads", 1, HPARAMS_HEADS_MAX, &n_kv_heads);
    if (!failed) failed = config_u32(folder, "head_dim", 1, HPARAMS_HEAD_DIM_MAX, &folder->head_dim);
    if (failed) return failed;
    if (folder->head_dim % 2 != 0 || folder->head_dim == 0 || folder->head_dim > HPARAMS_HEAD_DIM_MAX)
        return folder_fail(folder, STILE_ERROR_MALFORMED, FILE_NAME,
                           "heads of %u dimensions: not an even number up to %d", folder->head_dim,
                           HPARAMS_HEAD_DIM_MAX);
    gguf_header_u32(&folder->header, ".attention.head_count_kv", n_kv_heads);
    gguf_header_u32(&folder->header, ".attention.key_length", folder->head_dim);
    gguf_header_u32(&folder->header, ".attention.value_length", folder->head_dim);
    gguf_header_u32(&folder->header, ".rope.dimension_count", folder->head_dim);
    return 0;
}

static int sizes_of_experts(struct folder *folder)
{
    bool qwen = folder->family->family == FAMILY_QWEN3, normalises = true;
    uint32_t n_used, d_ff;
    const char *name = json_object_get(folder->config, "num_experts") ? "num_experts" : "num_local_experts";
    int failed = size(folder, name, ".expert_count", HPARAMS_EXPERTS_MAX, &folder->n_experts);
    if (!failed) failed = size(folder, "num_experts_per_tok", ".expert_used_count", HPARAMS_EXPERTS_MAX, &n_used);
    if (!failed && qwen)
        failed = size(folder, "moe_intermediate_size", ".expert_feed_forward_length", HPARAMS_WIDTH_MAX, &d_ff);
    if (!failed) failed = folder_bool(folder, FILE_NAME, folder->config, "norm_topk_prob", &normalises);
    if (!failed && !normalises)
        failed = fail_unsupported(folder, "norm_topk_prob false, which it is where it is missing,");
    return failed;
}

static int sizes(struct folder *folder)
{
    uint32_t n_ctx, d_ff;
    double eps = -1;
    int failed = size(folder, "num_hidden_layers", ".block_count", HPARAMS_LAYERS_MAX, &folder->n_layers);
    if (!failed) failed = size(folder, "hidden_size", ".embedding_length", HPARAMS_WIDTH_MAX, &folder->d_model);
    if (!failed) failed = size(folder, "intermediate_size", ".feed_forward_length", HPARAMS_WIDTH_MAX, &d_ff);
    if (!failed) failed = size(folder, "max_position_embeddings", ".context_length", HPARAMS_CONTEXT_MAX, &n_ctx);
    if (!failed) failed = sizes_of_heads(folder);
    if (!failed && folder->family->has_experts) failed = sizes_of_experts(folder);
    if (!failed) failed = folder_double(folder, FILE_NAME, folder->config, "rms_norm_eps", 0, 1, &eps);
    if (!failed) failed = folder_bool(folder, FILE_NAME, folder->config, "tie_word_embeddings", &folder->is_tied);
    if (failed) return failed;
    gguf_header_f32(&folder->header, ".attention.layer_norm_rms_epsilon", (float)eps);
    return 0;
}

/* ---- rotation ---------------------------------------------------------------------------------- */

/* Llama 3 stretches long waves only: the divisors of the angles, which GGUF files keep as a tensor. */
static int llama3_divisors(struct folder *folder, const json_t *rope, double theta)
{
    double factor = 0, low = 0, high = 0;
    uint32_t n_ctx = 0, half = folder->head_dim / 2;
    int failed = folder_double(folder, FILE_NAME, rope, "factor", 1e-3, 1e6, &factor);
    if (!failed) failed = folder_double(folder, FILE_NAME, rope, "low_freq_factor", 1e-3, 1e6, &low);
    if (!failed) failed = folder_double(folder, FILE_NAME, rope, "high_freq_factor", 1e-3, 1e6, &high);
    if (!failed)
        failed =
            folder_u32(folder, FILE_NAME, rope, "original_max_position_embeddings", 1, HPARAMS_CONTEXT_MAX, &n_ctx);
    if (failed) return failed;
    if (factor <= 0 || low <= 0 || high <= low || n_ctx == 0)
        return folder_fail(folder, STILE_ERROR_MALFORMED, FILE_NAME,
                           "rope scaling \"llama3\" needs factor, low_freq_factor below high_freq_factor, and "
                           "original_max_position_embeddings");
    float *divisors = arena_array(&folder->arena, half, sizeof *divisors);
    if (!divisors) return error_memory(folder->error, half * sizeof *divisors, "frequencies");
    for (uint32_t i = 0; i < half; i++) {
        double wave = 2 * PI * pow(theta, 2.0 * i / folder->head_dim), s = (n_ctx / wave - low) / (high - low);
        double divisor = wave < n_ctx / high ? 1 : wave > n_ctx / low ? factor : 1 / ((1 - s) / factor + s);
        divisors[i] = (float)divisor;
    }
    folder->rope_divisors = divisors;
    return 0;
}

static int yarn(struct folder *folder, const json_t *rope, double factor)
{
    double fast = 32, slow = 1, attention = 0, scale = factor > 1 ? 1 + 0.1 * log(factor) : 1;
    uint32_t n_ctx = 0;
    bool truncates = true;
    int failed = folder_double(folder, FILE_NAME, rope, "beta_fast", 0, 1e6, &fast);
    if (!failed) failed = folder_double(folder, FILE_NAME, rope, "beta_slow", 0, 1e6, &slow);
    if (!failed) failed = folder_double(folder, FILE_NAME, rope, "attention_factor", 1e-3, 1e6, &attention);
    if (!failed) failed = folder_bool(folder, FILE_NAME, rope, "truncate", &truncates);
    if (!failed) failed = config_u32(folder, "max_position_embeddings", 1, HPARAMS_CONTEXT_MAX, &n_ctx);
    if (!failed)
        failed =
            folder_u32(folder, FILE_NAME, rope, "original_max_position_embeddings", 1, HPARAMS_CONTEXT_MAX, &n_ctx);
    if (failed) return failed;
    if (!truncates || json_object_get(rope, "mscale") || json_object_get(rope, "mscale_all_dim"))
        return fail_unsupported(folder, "rope scaling \"yarn\" with truncate false or mscale");
    gguf_header_u32(&folder->header, ".rope.scaling.original_context_length", n_ctx);
    gguf_header_f32(&folder->header, ".rope.scaling.yarn_beta_fast", (float)fast);
    gguf_header_f32(&folder->header, ".rope.scaling.yarn_beta_slow", (float)slow);
    /* what the key means is a further factor */
    if (attention > 0) gguf_header_f32(&folder->header, ".rope.scaling.attn_factor", (float)(attention / scale));
    return 0;
}

static int scaling(struct folder *folder, const json_t *rope, double theta)
{
    double factor = 0;
    const char *type = folder_string(rope, "rope_type");
    if (!type) type = folder_string(rope, "type");
    if (!type || strcmp(type, "default") == 0) return 0;
    if (strcmp(type, "llama3") == 0 && folder->family->family == FAMILY_LLAMA)
        return llama3_divisors(folder, rope, theta);
    if (strcmp(type, "linear") != 0 && strcmp(type, "yarn") != 0)
        return folder_fail(folder, STILE_ERROR_UNSUPPORTED, FILE_NAME,
                           "rope scaling \"%.40s\" is not supported (linear, yarn and for Llama llama3 are)", type);
    int failed = folder_double(folder, FILE_NAME, rope, "factor", 1e-3, 1e6, &factor);
    if (failed) return failed;
    if (factor <= 0) return folder_fail(folder, STILE_ERROR_MALFORMED, FILE_NAME, "rope scaling has no factor");
    gguf_header_string(&folder->header, ".rope.scaling.type", type);
    gguf_header_f32(&folder->header, ".rope.scaling.factor", (float)factor);
    return strcmp(type, "yarn") == 0 ? yarn(folder, rope, factor) : 0;
}

/* Older files say rope_theta and rope_scaling, newer ones rope_parameters, for kinds of layers where those differ. */
static int rotation(struct folder *folder)
{
    const json_t *config = folder->config, *rope = json_object_get(config, "rope_parameters");
    const json_t *local = json_object_get(rope, "sliding_attention"), *full = json_object_get(rope, "full_attention");
    double theta = 10000, theta_local = 10000;
    if (full) rope = full;
    if (!json_is_object(rope)) rope = json_object_get(config, "rope_scaling");
    int failed = folder_double(folder, FILE_NAME, config, "rope_theta", 1e-3, 1e12, &theta);
    if (!failed) failed = folder_double(folder, FILE_NAME, rope, "rope_theta", 1e-3, 1e12, &theta);
    if (!failed) failed = folder_double(folder, FILE_NAME, config, "rope_local_base_freq", 1e-3, 1e12, &theta_local);
    if (!failed) failed = folder_double(folder, FILE_NAME, local, "rope_theta", 1e-3, 1e12, &theta_local);
    if (failed) return failed;
    gguf_header_f32(&folder->header, ".rope.freq_base", (float)theta);
    if (folder->family->family == FAMILY_GEMMA3)
        gguf_header_f32(&folder->header, ".rope.freq_base_swa", (float)theta_local);
    return scaling(folder, rope, theta);
}

/* ---- Gemma ------------------------------------------------------------------------------------- */

/* Every which layer sees everything, from a list that says it of each layer. */
static int pattern_of(struct folder *folder, const json_t *types, uint32_t *pattern)
{
    uint32_t n = (uint32_t)json_array_size(types);
    if (n != folder->n_layers)
        return folder_fail(folder, STILE_ERROR_MALFORMED, FILE_NAME, "layer_types names %u of %u layers", n,
                           folder->n_layers);
    *pattern = n + 1; /* never */
    for (uint32_t i = 0; i < n; i++) {
        const char *type = json_string_value(json_array_get(types, i));
        bool full = type && strcmp(type, "full_attention") == 0;
        if (full && *pattern > n) *pattern = i + 1;
        if ((full || (type && strcmp(type, "sliding_attention") == 0)) && full == (i % *pattern == *pattern - 1))
            continue;
        return fail_unsupported(folder,
                                "layer_types in which full_attention does not come regularly, or others occur,");
    }
    return 0;
}

static int gemma(struct folder *folder)
{
    uint32_t window = 0, pattern = 6, n_heads = 0;
    double scalar = folder->head_dim, softcap = 0;
    const json_t *types = json_object_get(folder->config, "layer_types");
    int failed = config_u32(folder, "sliding_window", 0, HPARAMS_CONTEXT_MAX, &window);
    if (!failed) failed = config_u32(folder, "sliding_window_pattern", 1, HPARAMS_LAYERS_MAX, &pattern);
    if (!failed) failed = config_u32(folder, "num_attention_heads", 1, HPARAMS_HEADS_MAX, &n_heads);
    if (!failed) failed = folder_double(folder, FILE_NAME, folder->config, "query_pre_attn_scalar", 0, 1e6, &scalar);
    if (!failed) failed = folder_double(folder, FILE_NAME, folder->config, "final_logit_softcapping", 0, 1e6, &softcap);
    if (!failed && json_is_array(types)) failed = pattern_of(folder, types, &pattern);
    if (failed) return failed;
    /* GGUF files do not say it: see recipe_gemma3 */
    uint32_t known = folder->n_layers == 62 ? folder->d_model / n_heads : folder->head_dim;
    if (scalar != known)
        return folder_fail(folder, STILE_ERROR_UNSUPPORTED, FILE_NAME,
                           "query_pre_attn_scalar %g is not supported (%u is)", scalar, known);
    gguf_header_u32(&folder->header, ".attention.sliding_window", window);
    if (pattern != 6) /* what files that do not say it mean */
        gguf_header_u32(&folder->header, ".attention.sliding_window_pattern",
                        pattern < HPARAMS_LAYERS_MAX ? pattern : HPARAMS_LAYERS_MAX);
    if (softcap > 0) gguf_header_f32(&folder->header, ".final_logit_softcapping", (float)softcap);
    return 0;
}

/* What the folder is called. */
static void name_key(struct folder *folder)
{
    char *whole = realpath(folder->path, NULL);
    const char *slash = whole ? strrchr(whole, '/') : NULL;
    if (slash && slash[1]) gguf_header_string(&folder->header, "general.name", slash + 1);
    free(whole);
}

int folder_config(struct folder *folder)
{
    int failed = complete(folder);
    if (failed) return failed;
    folder->header.architecture = folder->family->architecture;
    gguf_header_string(&folder->header, "general.architecture", folder->family->architecture);
    name_key(folder);
    failed = check_features(folder);
    if (!failed) failed = sizes(folder);
    if (!failed) failed = rotation(folder);
    if (!failed && folder->family->family == FAMILY_GEMMA3) failed = gemma(folder);
    return failed;
}
