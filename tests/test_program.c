/* Programs: their operations, and what these cost. */
#include "base/error.h"
#include "program/cost.h"
#include "program/rope.h"
#include "run/loaded.h"
#include "tiny_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct stile_model *open_model(void (*change)(struct gguf_write *file))
{
    struct stile_model *model;
    struct stile_error error = {0};
    if (tiny_open(&model, change, &error)) fail_msg("%s", error.message);
    return model;
}

static void llama_in_order(void **state)
{
    (void)state;
    static const enum op_kind expected[] = {OP_EMBED, OP_NORM,     OP_MATMUL, OP_MATMUL, OP_MATMUL,    OP_ROPE,
                                            OP_ROPE,  OP_KV_WRITE, OP_SELECT, OP_SELECT, OP_ATTENTION, OP_MATMUL,
                                            OP_ADD,   OP_NORM,     OP_MATMUL, OP_MATMUL, OP_GLU,       OP_MATMUL,
                                            OP_ADD,   OP_NORM,     OP_MATMUL};
    struct stile_model *model = open_model(NULL);
    const struct program *program = model->program;
    assert_int_equal(program->n_ops, sizeof expected / sizeof *expected);
    for (size_t i = 0; i < program->n_ops; i++) {
        assert_int_equal(program->ops[i].kind, expected[i]);
        assert_int_equal(program->ops[i].selected, i >= 10);
    }
    stile_model_close(model);
}

static void mixture_in_order(void **state)
{
    (void)state;
    static const enum op_kind expected[] = {OP_NORM,    OP_MATMUL,  OP_ROUTE, OP_EXPERTS, OP_EXPERTS, OP_GLU,
                                            OP_EXPERTS, OP_COMBINE, OP_ADD,   OP_NORM,    OP_MATMUL};
    struct stile_model *model = open_model(gguf_write_tiny_mixture);
    const struct program *program = model->program;
    size_t n = sizeof expected / sizeof *expected, first = program->n_ops - n;
    for (size_t i = 0; i < n; i++)
        assert_int_equal(program->ops[first + i].kind, expected[i]);
    stile_model_close(model);
}

/* Of the experts, one token reads those it uses; many tokens read as many as they are expected to choose together. */
static void cost_of_experts(void **state)
{
    (void)state;
    struct stile_model *dense = open_model(NULL), *mixture = open_model(gguf_write_tiny_mixture);
    const uint64_t expert = 3 * TINY_WIDTH * TINY_WIDTH, router = TINY_WIDTH * TINY_EXPERTS;
    for (uint64_t n = 1; n < 40; n++) {
        struct step_shape shape = {.n_tokens = n, .n_selected = n, .kv_format = FORMAT_F16};
        struct cost plain = program_cost(dense->program, &shape), cost = program_cost(mixture->program, &shape);
        double chosen = n == 1 ? 2 : TINY_EXPERTS * (1 - pow(0.5, (double)n)); /* each token misses half of them */
        double bytes = (double)(plain.weight_bytes - 4 * expert + 4 * router) + 4 * chosen * (double)expert;
        assert_true(fabs((double)cost.weight_bytes - bytes) < 3);
        assert_int_equal(cost.macs, plain.macs + n * (expert + router));
        assert_int_equal(cost.kv_bytes, plain.kv_bytes);
    }
    stile_model_close(dense);
    stile_model_close(mixture);
}

/* A decoded token reads every matrix once, one row of the embedding, and the cache. */
static void cost_of_a_token(void **state)
{
    (void)state;
    struct stile_model *model = open_model(NULL);
    const struct hparams *h = &model->model->hparams;
    uint64_t matrices = 0, vectors = 0;
    for (size_t i = 0; i < model->model->gguf->n_tensors; i++) {
        const struct gguf_tensor *tensor = &model->model->gguf->tensors[i];
        *(tensor->n_dims == 2 ? &matrices : &vectors) += tensor->size_bytes;
    }
    struct step_shape shape = {.n_tokens = 1, .n_past = 9, .n_selected = 1, .kv_format = FORMAT_F16};
    struct cost cost = program_cost(model->program, &shape);
    assert_int_equal(cost.weight_bytes, matrices + vectors + h->d_model * sizeof(float));
    /* ten positions read, one written, keys and values */
    assert_int_equal(cost.kv_bytes, 2 * (10 + 1) * h->n_kv_heads * h->head_dim * 2);
    assert_int_equal(cost.macs, matrices / sizeof(float) + 2 * 10 * h->n_heads * h->head_dim);

    /* Many tokens read the matrices once, too; the cache's visible part once; every query meets every position it sees.
     */
    shape = (struct step_shape){.n_tokens = 4, .n_past = 0, .n_selected = 4, .kv_format = FORMAT_F32};
    cost = program_cost(model->program, &shape);
    assert_int_equal(cost.weight_bytes, matrices + vectors + 4 * h->d_model * sizeof(float));
    assert_int_equal(cost.kv_bytes, 2 * (4 + 4) * h->n_kv_heads * h->head_dim * 4);
    shape.kv_format = FORMAT_Q8_0;
    cost = program_cost(model->program, &shape);
    assert_int_equal(cost.kv_bytes, 2 * (4 + 4) * h->n_kv_heads * h->head_dim * 34 / 32);
    assert_int_equal(cost.macs, 4 * matrices / sizeof(float) + 2 * (1 + 2 + 3 + 4) * h->n_heads * h->head_dim);
    stile_model_close(model);
}

/* Pairs of query and position, counted one by one. */
static void cost_of_windows(void **state)
{
    (void)state;
    struct stile_model *model = open_model(tiny_gemma3);
    const struct hparams *h = &model->model->hparams;
    const struct op *sliding = NULL;
    for (size_t i = 0; i < model->program->n_ops; i++)
        if (model->program->ops[i].kind == OP_ATTENTION && model->program->ops[i].window > 0)
            sliding = &model->program->ops[i];
    assert_non_null(sliding);
    for (uint64_t n_past = 0; n_past < 3 * TINY_WINDOW; n_past++) {
        for (uint64_t n = 1; n < 3 * TINY_WINDOW; n++) {
            uint64_t pairs = 0, oldest = n_past + n;
            for (uint64_t p = n_past; p < n_past + n; p++) {
                uint64_t begin = p + 1 > TINY_WINDOW ? p + 1 - TINY_WINDOW : 0;
                pairs += p + 1 - begin;
                if (begin < oldest) oldest = begin;
            }
            struct step_shape shape = {.n_tokens = n, .n_past = n_past, .n_selected = n, .kv_format = FORMAT_F16};
            struct cost cost = op_cost(model->program, sliding, &shape);
            assert_int_equal(cost.macs, 2 * pairs * h->n_heads * h->head_dim);
            assert_int_equal(cost.kv_bytes, 2 * (n_past + n - oldest) * h->n_kv_heads * h->head_dim * 2);
        }
    }
    stile_model_close(model);
}

static void rope_stretching(void **state)
{
    (void)state;
    enum { N_ROT = 64 };
    double plain[N_ROT / 2], stretched[N_ROT / 2], magnitude;
    struct rope rope = {
        .base = 150000, .factor = 32, .attention_factor = 1, .beta_fast = 32, .beta_slow = 1, .n_ctx_original = 4096};
    rope_frequencies(&rope, N_ROT, NULL, plain, &magnitude);
    assert_true(magnitude == 1 && plain[0] == 1);
    assert_true(fabs(plain[1] - pow(150000, -2.0 / N_ROT)) < 1e-15);
    rope.scaling = ROPE_SCALING_LINEAR;
    rope_frequencies(&rope, N_ROT, NULL, stretched, &magnitude);
    for (int i = 0; i < N_ROT / 2; i++)
        assert_true(fabs(stretched[i] * 32 - plain[i]) < 1e-15);
    /* YaRN: pairs up to 8 keep their frequency, from 18 on they are divided; the magnitude is 1.3466 */
    rope.scaling = ROPE_SCALING_YARN;
    rope_frequencies(&rope, N_ROT, NULL, stretched, &magnitude);
    assert_true(fabs(magnitude - 1.3466) < 5e-5);
    for (int i = 0; i < N_ROT / 2; i++) {
        double ratio = plain[i] / stretched[i];
        assert_true(i <= 8 ? ratio == 1 : i >= 18 ? fabs(ratio - 32) < 1e-9 : ratio > 1 && ratio < 32);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_in_order),  cmocka_unit_test(mixture_in_order), cmocka_unit_test(cost_of_a_token),
        cmocka_unit_test(cost_of_windows), cmocka_unit_test(cost_of_experts),  cmocka_unit_test(rope_stretching),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
