#include "model/synthetic_private.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the shape ----------------------------------------------------------------------------------- */

static int check_shape(const struct shape *s, struct stile_error *error)
{
    if (!synthetic_family(s->arch))
        return error_set(
            error, STILE_ERROR_UNSUPPORTED,
            "shape %s: architecture \"%s\" cannot be made (llama, mistral, mixtral, qwen2, qwen3, qwen3moe, "
            "gemma3 can)",
            s->id, s->arch);
    bool mixture = s->n_experts > 0;
    const struct {
        const char *name;
        uint32_t is, min, max;
    } sizes[] = {
        {"layers", s->n_layers, 1, HPARAMS_LAYERS_MAX},
        {"model width", s->d_model, 1, HPARAMS_WIDTH_MAX},
        {"feed-forward width", s->d_ff, mixture ? 0 : 1, HPARAMS_WIDTH_MAX},
        {"experts", s->n_experts, 0, HPARAMS_EXPERTS_MAX},
        {"experts used", s->n_experts_used, mixture, s->n_experts},
        {"experts' width", s->d_ff_expert, mixture, mixture ? HPARAMS_WIDTH_MAX : 0},
        {"shared experts", s->n_shared_experts, 0, 0},
        {"heads", s->n_heads, 1, HPARAMS_HEADS_MAX},
        {"key-value heads", s->n_kv_heads, 1, s->n_heads},
        {"dimensions of a head", s->head_dim, 2, 4096},
        {"tokens of the vocabulary", s->n_vocab, SYNTHETIC_VOCAB_MIN, SYNTHETIC_VOCAB_MAX},
        {"context", s->n_ctx, 1, HPARAMS_CONTEXT_MAX},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].is < sizes[i].min || sizes[i].is > sizes[i].max)
            return error_set(error, STILE_ERROR_ARGUMENT, "shape %s: %s: %u is not between %u and %u", s->id,
                             sizes[i].name, sizes[i].is, sizes[i].min, sizes[i].max);
    if (s->n_heads % s->n_kv_heads != 0 || s->head_dim % 2 != 0)
        return error_set(error, STILE_ERROR_ARGUMENT,
                         "shape %s: %u heads of %u dimensions with %u key-value heads do not work out", s->id,
                         s->n_heads, s->head_dim, s->n_kv_heads);
    return 0;
}

static void fill_hparams(struct synthetic *synthetic)
{
    const struct shape *s = &synthetic->shape;
    const struct synthetic_family *family = synthetic->family;
    struct hparams *h = &synthetic->hparams;
    *h = (struct hparams){
        .family = family->family,
        .architecture = family->architecture,
        .n_layers = s->n_layers,
        .d_model = s->d_model,
        .d_ff = s->d_ff > 0 ? s->d_ff : s->d_ff_expert,
        .n_experts = s->n_experts,
        .n_experts_used = s->n_experts_used,
        .d_ff_expert = s->d_ff_expert,
        .n_heads = s->n_heads,
        .n_kv_heads = s->n_kv_heads,
        .head_dim = s->head_dim,
        .n_rot = s->head_dim,
        .n_ctx_trained = s->n_ctx,
        .n_vocab = s->n_vocab,
        .rms_eps = family->rms_eps,
        .rope = {.base = (double)family->rope_base, .factor = 1},
        .window = s->window,
        .window_pattern = s->window_period,
    };
    if (h->family == FAMILY_GEMMA3 && h->n_ctx_trained > 32768) {
        h->rope.scaling = ROPE_SCALING_LINEAR;
        h->rope.factor = 8;
    }
    /* Llama 3.1 and later, known by their vocabulary and context; the small ones, which have tied embeddings, stretch
     * four times as far */
    if (h->family == FAMILY_LLAMA && h->n_vocab == 128256 && h->n_ctx_trained == 131072)
        synthetic->rope_factor = s->tied_embeddings ? 32 : 8;
}

/* ---- the tensors --------------------------------------------------------------------------------- */

/* The deviation of a matrix: products of normalised inputs have about deviation 1, and each of the 2 n_layers branches
 * adds so little that the residual stream ends near 1 too. Gemma normalises its branches itself. */
static float deviation_of(const struct hparams *h, enum role role, uint64_t cols)
{
    bool post_norms = h->family == FAMILY_GEMMA3, qk_norm = post_norms || h->family == FAMILY_QWEN3;
    float fan_in = sqrtf((float)cols), branch = post_norms ? fan_in : fan_in * sqrtf((float)h->n_layers);
    switch (role) {
    case ROLE_ATTN_Q:
    case ROLE_ATTN_K: return (qk_norm ? 1.0f : 1.3f) / fan_in; /* attention looks somewhere, not everywhere */
    case ROLE_ATTN_OUTPUT: return 1 / branch;
    case ROLE_FFN_DOWN: return 1 / (0.6f * branch); /* what a gated unit leaves of two normal numbers */
    case ROLE_FFN_DOWN_EXPERTS:                     /* the weighted sum of several is smaller than each */
        return 0.8f * sqrtf((float)h->n_experts_used) / (0.6f * branch);
    default: return 1 / fan_in;
    }
}

/* False for a matrix. */
static bool vector_of(const struct hparams *h, enum role role, struct synthetic_vector *vector)
{
    bool post_norms = h->family == FAMILY_GEMMA3;
    switch (role) {
    case ROLE_ATTN_NORM:
    case ROLE_FFN_NORM: *vector = (struct synthetic_vector){.mean = 1, .spread = 0.2f, .outliers = true}; return true;
    case ROLE_OUTPUT_NORM: /* the deviation of the logits */
        *vector = (struct synthetic_vector){.mean = post_norms ? 1 : 2, .spread = 0.1f};
        return true;
    case ROLE_ATTN_Q_NORM:
    case ROLE_ATTN_K_NORM: *vector = (struct synthetic_vector){.mean = 1.3f, .spread = 0.1f}; return true;
    case ROLE_POST_ATTN_NORM:
    case ROLE_POST_FFN_NORM: /* so that all branches outweigh the token's own large embedding */
        *vector =
            (struct synthetic_vector){.mean = sqrtf((float)h->d_model / (float)(2 * h->n_layers)) / 8, .spread = 0.2f};
        return true;
    case ROLE_ATTN_Q_BIAS:
    case ROLE_ATTN_K_BIAS:
    case ROLE_ATTN_V_BIAS: *vector = (struct synthetic_vector){.offset_deviation = 0.3f}; return true;
    default: return false;
    }
}

static bool has_role(const struct synthetic *synthetic, enum role role, struct role_tensor *tensor)
{
    if (!role_tensor(role, &synthetic->hparams, tensor)) return false;
    switch (role) {
    case ROLE_OUTPUT: return !synthetic->shape.tied_embeddings;
    case ROLE_ROPE_FREQS: return synthetic->rope_factor > 0;
    case ROLE_ATTN_Q_BIAS:
    case ROLE_ATTN_K_BIAS:
    case ROLE_ATTN_V_BIAS: return synthetic->hparams.family == FAMILY_QWEN2;
    case ROLE_ATTN_OUTPUT_BIAS: return false;
    default: return true;
    }
}

static size_t pool_of(struct synthetic *synthetic, enum format format, float deviation)
{
    for (size_t i = 0; i < synthetic->n_pools; i++)
        if (synthetic->pools[i].format == format && synthetic->pools[i].deviation == deviation) return i;
    assert(synthetic->n_pools < SYNTHETIC_POOLS_MAX); /* formats of a mix x deviations of a model */
    synthetic->pools[synthetic->n_pools] = (struct synthetic_pool){.format = format, .deviation = deviation};
    return synthetic->n_pools++;
}

/* Appends a tensor whose name, format and size are set. */
static struct synthetic_tensor *add(struct synthetic *synthetic, const struct synthetic_tensor *tensor)
{
    struct synthetic_tensor *t = &synthetic->tensors[synthetic->n_tensors++];
    *t = *tensor;
    uint64_t row_bytes = 0;
    bool whole = format_row_bytes(t->format, t->cols, &row_bytes);
    assert(whole);
    (void)whole;
    t->size_bytes = row_bytes * (t->rows > 0 ? t->rows : 1) * (t->n_experts > 0 ? t->n_experts : 1);
    return t;
}

static void plan_role(struct synthetic *synthetic, uint32_t layer, enum role role)
{
    const struct hparams *h = &synthetic->hparams;
    struct role_tensor spec;
    if (!has_role(synthetic, role, &spec)) return;
    struct synthetic_tensor t = {.format = FORMAT_F32, .cols = spec.cols};
    if (role < ROLE_LAYER_FIRST)
        snprintf(t.name, sizeof t.name, "%s", spec.name);
    else
        snprintf(t.name, sizeof t.name, "blk.%u.%s", layer, spec.name);
    if (role == ROLE_ROPE_FREQS) {
        t.kind = SYNTHETIC_ROPE_DIVISORS;
    } else if (role == ROLE_FFN_ROUTER) { /* is never quantized */
        t.kind = SYNTHETIC_ROUTER;
        t.rows = spec.rows;
    } else if (vector_of(h, role, &t.vector)) {
        t.kind = SYNTHETIC_VECTOR;
    } else {
        t.rows = spec.rows;
        t.n_experts = spec.n_experts;
        t.format = mix_format(synthetic->mix, mix_class_of(role, synthetic->shape.tied_embeddings), h, layer, spec.cols,
                              false);
        t.pool = pool_of(synthetic, t.format, deviation_of(h, role, spec.cols));
        synthetic->pools[t.pool].n_used += spec.rows * spec.cols * (spec.n_experts > 0 ? spec.n_experts : 1);
    }
    const struct synthetic_tensor *added = add(synthetic, &t);
    if (added->format != FORMAT_NVFP4) return;
    struct synthetic_tensor scale = {.format = FORMAT_F32, .cols = 1, .kind = SYNTHETIC_SCALE, .pool = added->pool};
    if (spec.n_experts > 0) scale.cols = spec.n_experts;
    snprintf(scale.name, sizeof scale.name, "%.*s.scale", (int)(strlen(t.name) - strlen(".weight")), t.name);
    add(synthetic, &scale);
}

static void put_header(struct synthetic *synthetic)
{
    struct gguf_header header;
    gguf_header_init(&header, synthetic->family->architecture);
    synthetic_put_keys(&header, synthetic);
    for (size_t i = 0; i < synthetic->n_tensors; i++) {
        struct synthetic_tensor *t = &synthetic->tensors[i];
        uint32_t n_dims = t->n_experts > 0 ? 3 : t->rows > 0 ? 2 : 1;
        t->offset_bytes =
            gguf_header_tensor(&header, t->name, t->format, n_dims, (uint64_t[]){t->cols, t->rows, t->n_experts});
    }
    gguf_header_finish(&header, &synthetic->header);
    synthetic->size_bytes = synthetic->header.n + header.data_bytes;
    gguf_header_free(&header);
}

int synthetic_create(struct synthetic **synthetic, const struct shape *shape, const char *mix, uint64_t seed,
                     struct stile_error *error)
{
    char names[400];
    const struct mix *found = mix_find(mix);
    if (!found) {
        mix_names(names, sizeof names);
        return error_set(error, STILE_ERROR_ARGUMENT, "format \"%s\" is unknown (known: %s)", mix, names);
    }
    int failed = check_shape(shape, error);
    if (failed) return failed;
    struct synthetic *s = calloc(1, sizeof *s);
    size_t n_max = ROLE_LAYER_FIRST + 2 * (size_t)shape->n_layers * ROLE_COUNT;
    struct synthetic_tensor *tensors = calloc(n_max, sizeof *tensors);
    if (!s || !tensors) {
        free(s);
        free(tensors);
        return error_memory(error, n_max * sizeof *tensors, "the plan of a model");
    }
    *s = (struct synthetic){.shape = *shape, .mix = found, .seed = seed, .tensors = tensors};
    s->family = synthetic_family(shape->arch);
    fill_hparams(s);
    for (enum role role = 0; role < ROLE_LAYER_FIRST; role++)
        plan_role(s, 0, role);
    for (uint32_t layer = 0; layer < s->hparams.n_layers; layer++)
        for (enum role role = ROLE_LAYER_FIRST; role < ROLE_COUNT; role++)
            plan_role(s, layer, role);
    put_header(s);
    if (s->header.failed) {
        synthetic_free(s);
        return error_memory(error, 1 << 20, "the header of a model");
    }
    *synthetic = s;
    return 0;
}

void synthetic_free(struct synthetic *synthetic)
{
    if (!synthetic) return;
    buffer_free(&synthetic->header);
    free(synthetic->tensors);
    free(synthetic);
}

uint64_t synthetic_size_bytes(const struct synthetic *synthetic)
{
    return synthetic->size_bytes;
}
