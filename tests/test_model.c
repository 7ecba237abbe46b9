/* Hyperparameters and weights: what a file must have, and what is said when it does not. */
#include "base/error.h"
#include "model/model.h"
#include "tiny_model.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void expect_error(void (*change)(struct gguf_write *file), int code, const char *part)
{
    struct stile_model *model = NULL;
    struct stile_error error = {0};
    int got = tiny_open(&model, change, &error);
    if (got != code || !strstr(error.message, part))
        fail_msg("wanted %d \"%s\", got %d \"%s\"", code, part, got, error.message);
    assert_null(model);
}

static void no_architecture(struct gguf_write *f)
{
    gguf_write_drop_key(f, "general.architecture");
}
static void other_architecture(struct gguf_write *f)
{
    gguf_write_string(f, "general.architecture", "mamba");
}
static void dense_experts(struct gguf_write *f)
{
    tiny_gemma3(f);
    gguf_write_u32(f, "gemma3.expert_count", 8);
}
static void many_experts(struct gguf_write *f)
{
    gguf_write_tiny_mixture(f);
    gguf_write_u32(f, "llama.expert_count", 1025);
}
static void greedy_router(struct gguf_write *f)
{
    gguf_write_tiny_mixture(f);
    gguf_write_u32(f, "llama.expert_used_count", TINY_EXPERTS + 1);
}
static void unnormalised(struct gguf_write *f)
{
    gguf_write_tiny_mixture(f);
    gguf_write_bool(f, "llama.expert_weights_norm", false);
}
static void one_expert_less(struct gguf_write *f)
{
    gguf_write_tiny_mixture(f);
    gguf_write_floats(f, "blk.0.ffn_up_exps.weight", 3, (const uint64_t[]){TINY_WIDTH, TINY_WIDTH, TINY_EXPERTS - 1}, 0,
                      1);
}
/* NVFP4 with a scale for the tensor, not for each expert */
static void one_scale(struct gguf_write *f)
{
    gguf_write_tiny_mixture(f);
    gguf_write_u32(f, "llama.expert_feed_forward_length", 64);
    gguf_write_floats(f, "blk.0.ffn_gate_exps.weight", 3, (const uint64_t[]){TINY_WIDTH, 64, TINY_EXPERTS}, 0, 1);
    gguf_write_floats(f, "blk.0.ffn_up_exps.weight", 3, (const uint64_t[]){TINY_WIDTH, 64, TINY_EXPERTS}, 0, 1);
    gguf_write_tensor(f, "blk.0.ffn_down_exps.weight", FORMAT_NVFP4, 3,
                      (const uint64_t[]){64, TINY_WIDTH, TINY_EXPERTS});
    gguf_write_floats(f, "blk.0.ffn_down_exps.scale", 1, (const uint64_t[]){1}, 1, 0);
}
static void no_layers(struct gguf_write *f)
{
    gguf_write_u32(f, "llama.block_count", 0);
}
static void many_layers(struct gguf_write *f)
{
    gguf_write_u32(f, "llama.block_count", 513);
}
static void no_heads(struct gguf_write *f)
{
    gguf_write_u32(f, "llama.attention.head_count", 0);
}
static void odd_kv_heads(struct gguf_write *f)
{
    gguf_write_u32(f, "llama.attention.head_count", 3);
    gguf_write_u32(f, "llama.attention.head_count_kv", 2);
}
static void no_eps(struct gguf_write *f)
{
    gguf_write_drop_key(f, "llama.attention.layer_norm_rms_epsilon");
}
static void nan_eps(struct gguf_write *f)
{
    gguf_write_f32(f, "llama.attention.layer_norm_rms_epsilon", (float)(0.0 / 0.0));
}
static void odd_rotation(struct gguf_write *f)
{
    gguf_write_u32(f, "llama.rope.dimension_count", 7);
}
static void wide_rotation(struct gguf_write *f)
{
    gguf_write_u32(f, "llama.rope.dimension_count", TINY_HEAD + 2);
}
static void strange_scaling(struct gguf_write *f)
{
    gguf_write_string(f, "llama.rope.scaling.type", "bent");
}
static void zero_base(struct gguf_write *f)
{
    gguf_write_f32(f, "llama.rope.freq_base", 0);
}
static void layers_differ(struct gguf_write *f)
{
    struct gguf_write_kv *kv = gguf_write_array(f, "llama.feed_forward_length", GGUF_U32, 2);
    gguf_put_u32(&kv->value, 32);
    gguf_put_u32(&kv->value, 64);
}
static void no_embedding(struct gguf_write *f)
{
    gguf_write_drop_tensor(f, "token_embd.weight");
}
static void no_down(struct gguf_write *f)
{
    gguf_write_drop_tensor(f, "blk.0.ffn_down.weight");
}
static void small_q(struct gguf_write *f)
{
    gguf_write_floats(f, "blk.0.attn_q.weight", 2, (const uint64_t[]){TINY_WIDTH, TINY_WIDTH / 2}, 0, 1);
}
static void integer_weights(struct gguf_write *f)
{
    gguf_write_tensor(f, "blk.0.attn_q.weight", FORMAT_I32, 2, (const uint64_t[]){TINY_WIDTH, TINY_WIDTH});
}
static void long_embedding(struct gguf_write *f)
{
    gguf_write_floats(f, "token_embd.weight", 2, (const uint64_t[]){TINY_WIDTH, TINY_VOCAB + 1}, 0, 1);
}
static void zero_frequency(struct gguf_write *f)
{
    gguf_write_tensor(f, "rope_freqs.weight", FORMAT_F32, 1, (const uint64_t[]){TINY_HEAD / 2});
}

static void errors_name_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        void (*change)(struct gguf_write *file);
        int code;
        const char *part;
    } cases[] = {
        {no_architecture, STILE_ERROR_MALFORMED, "general.architecture"},
        {other_architecture, STILE_ERROR_UNSUPPORTED, "\"mamba\""},
        {dense_experts, STILE_ERROR_UNSUPPORTED, "8 experts is not supported in architecture \"gemma3\""},
        {many_experts, STILE_ERROR_MALFORMED, "llama.expert_count"},
        {greedy_router, STILE_ERROR_MALFORMED, "llama.expert_used_count"},
        {unnormalised, STILE_ERROR_UNSUPPORTED, "not normalised"},
        {one_expert_less, STILE_ERROR_MALFORMED, "ffn_up_exps.weight: shape 32 x 32 x 3"},
        {one_scale, STILE_ERROR_MALFORMED, "ffn_down_exps.scale: must be 4 F32"},
        {no_layers, STILE_ERROR_MALFORMED, "llama.block_count"},
        {many_layers, STILE_ERROR_MALFORMED, "llama.block_count"},
        {no_heads, STILE_ERROR_MALFORMED, "llama.attention.head_count"},
        {odd_kv_heads, STILE_ERROR_MALFORMED, "does not divide"},
        {no_eps, STILE_ERROR_MALFORMED, "layer_norm_rms_epsilon is missing"},
        {nan_eps, STILE_ERROR_MALFORMED, "layer_norm_rms_epsilon"},
        {odd_rotation, STILE_ERROR_MALFORMED, "rope.dimension_count"},
        {wide_rotation, STILE_ERROR_MALFORMED, "rope.dimension_count"},
        {strange_scaling, STILE_ERROR_UNSUPPORTED, "\"bent\""},
        {zero_base, STILE_ERROR_MALFORMED, "rope.freq_base"},
        {layers_differ, STILE_ERROR_UNSUPPORTED, "llama.feed_forward_length"},
        {no_embedding, STILE_ERROR_MALFORMED, "token_embd.weight is missing"},
        {no_down, STILE_ERROR_MALFORMED, "blk.0.ffn_down.weight is missing"},
        {small_q, STILE_ERROR_MALFORMED, "blk.0.attn_q.weight: shape 32 x 16"},
        {integer_weights, STILE_ERROR_UNSUPPORTED, "I32"},
        {long_embedding, STILE_ERROR_MALFORMED, "tokenizer.ggml.tokens"},
        {zero_frequency, STILE_ERROR_MALFORMED, "rope_freqs.weight"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_error(cases[i].change, cases[i].code, cases[i].part);
}

/* One value per layer is fine while all are equal. */
static void layers_agree(struct gguf_write *f)
{
    struct gguf_write_kv *kv = gguf_write_array(f, "llama.feed_forward_length", GGUF_U32, 1);
    gguf_put_u32(&kv->value, 32);
}

static void info_is_what_the_file_says(void **state)
{
    (void)state;
    struct stile_model *model;
    struct stile_error error = {0};
    if (tiny_open(&model, layers_agree, &error)) fail_msg("%s", error.message);
    const struct stile_model_info *info = stile_model_info(model);
    assert_string_equal(info->architecture, "llama");
    assert_string_equal(info->tokenizer, "gpt2");
    assert_int_equal(info->n_layers, 1);
    assert_int_equal(info->d_model, TINY_WIDTH);
    assert_int_equal(info->n_heads, 2);
    assert_int_equal(info->n_kv_heads, 1);
    assert_int_equal(info->head_dim, TINY_HEAD);
    assert_int_equal(info->n_vocab, TINY_VOCAB);
    struct stile_format_share share;
    assert_int_equal(stile_model_formats(model, &share, 1), 1);
    assert_string_equal(share.format, "F32");
    assert_int_equal(share.n_tensors, info->n_tensors);
    assert_true(share.n_parameters == info->n_parameters && share.size_bytes == 4 * info->n_parameters);
    struct stile_tensor_info tensor;
    assert_int_equal(stile_model_tensor(model, 0, &tensor), 0);
    assert_int_equal(stile_model_tensor(model, info->n_tensors, &tensor), STILE_ERROR_ARGUMENT);
    stile_model_close(model);
}

static void info_of_a_mixture(void **state)
{
    (void)state;
    struct stile_model *dense = NULL, *mixture = NULL;
    struct stile_error error = {0};
    if (tiny_open(&dense, NULL, &error) || tiny_open(&mixture, gguf_write_tiny_mixture, &error))
        fail_msg("%s", error.message);
    const struct stile_model_info *info = stile_model_info(mixture), *plain = stile_model_info(dense);
    const uint64_t expert = 3 * TINY_WIDTH * TINY_WIDTH, router = TINY_WIDTH * TINY_EXPERTS;
    assert_int_equal(plain->n_experts, 0);
    assert_int_equal(plain->n_parameters_active, plain->n_parameters); /* the embedding is the output head too */
    assert_int_equal(info->n_experts, TINY_EXPERTS);
    assert_int_equal(info->n_experts_used, 2);
    assert_int_equal(info->d_ff, TINY_WIDTH);
    assert_int_equal(info->n_parameters, plain->n_parameters + (TINY_EXPERTS - 1) * expert + router);
    assert_int_equal(info->n_parameters_active, plain->n_parameters + expert + router);
    stile_model_close(dense);
    stile_model_close(mixture);
}

static void names_and_paths(void **state)
{
    (void)state;
    char path[256];
    struct stile_error error = {0};
    assert_int_equal(stile_model_find("Makefile", path, sizeof path, &error), 0);
    assert_string_equal(path, "Makefile");
    assert_int_equal(stile_model_find("no-such-model", path, sizeof path, &error), STILE_ERROR_IO);
    assert_non_null(strstr(error.message, "no-such-model"));
    assert_int_equal(stile_model_find("Makefile", path, 4, &error), STILE_ERROR_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_name_what_is_wrong),
        cmocka_unit_test(info_is_what_the_file_says),
        cmocka_unit_test(info_of_a_mixture),
        cmocka_unit_test(names_and_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
