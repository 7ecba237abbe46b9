/* Predictions, on made-up machines whose numbers can be worked out by hand. */
#include "plan/predict.h"
#include "plan/standin.h"
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

static struct plan_range exactly(double value)
{
    return (struct plan_range){value, value, value};
}

/* Reads 1000 bytes a second, half as fast what it multiplies with; everything else costs nothing. */
static struct plan_tier slow_memory(uint64_t capacity_bytes)
{
    struct plan_tier tier = {.name = "memory", .capacity_bytes = capacity_bytes, .computes = true};
    tier.read_bytes_per_s = exactly(1000);
    tier.processor.read_share[FORMAT_F32] = exactly(0.5);
    tier.processor.macs_per_s[FORMAT_F32] = exactly(2000);
    tier.processor.kv_bytes_per_s[FORMAT_F16] = tier.processor.kv_macs_per_s[FORMAT_F16] = exactly(1e30);
    tier.processor.attention_macs_per_s[FORMAT_F16] = tier.processor.elements_per_s = exactly(1e30);
    return tier;
}

static struct plan_request request_of(const struct stile_model *model)
{
    return (struct plan_request){
        .program = model->program, .n_batch = 16, .n_prompt = 10, .n_generated = 1, .kv_format = FORMAT_F16};
}

static void assert_near(double value, double expected)
{
    if (!(fabs(value - expected) <= 1e-9 * fabs(expected))) fail_msg("%.12g is not %.12g", value, expected);
}

/* Bytes of all matrices of the program's products. */
static double matrices(const struct program *program)
{
    double bytes = 0;
    for (size_t i = 0; i < program->n_ops; i++)
        if (program->ops[i].kind == OP_MATMUL)
            bytes += (double)(program->ops[i].weight->rows * program->ops[i].weight->row_bytes);
    return bytes;
}

static void everything_resident(void **state)
{
    (void)state;
    struct stile_model *model = open_model(NULL);
    struct plan_machine machine = {.tiers = {slow_memory(1 << 30)}, .n_tiers = 1};
    struct plan_request request = request_of(model);
    struct plan plan;
    double bytes = matrices(model->program);
    request.memory = (struct plan_memory){.kv_bytes = 100, .activations_bytes = 20, .other_bytes = 3};
    plan_predict(&plan, &request, &machine);
    assert_true(plan.possible && plan.fits);
    assert_near(plan.decode_tokens_per_s.range.value, 1000 * 0.5 / bytes);
    assert_int_equal(plan.decode_tokens_per_s.bound_by, PLAN_BOUND_MEMORY);
    assert_int_equal(plan.places[0].kv_bytes, 100);
    assert_int_equal(plan.places[0].other_bytes, 23);
    assert_int_equal(plan.places[0].dense_bytes, plan.memory.weights_bytes);

    /* ten tokens: a multiplication for each weight and token at 2000 a second takes longer than reading 4 bytes at 500;
     * of the operations after the selection, there is only one token, and they are read */
    double time_s = 0;
    for (size_t i = 0; i < model->program->n_ops; i++) {
        const struct op *op = &model->program->ops[i];
        double n = op->kind == OP_MATMUL ? (double)(op->weight->rows * op->weight->cols) : 0;
        time_s += op->selected ? 4 * n / 500 : fmax(4 * n / 500, 10 * n / 2000);
    }
    assert_near(plan.prefill_tokens_per_s.range.value, 10 / time_s);
    assert_near(plan.first_warm_s.range.value, time_s);
    assert_near(plan.first_cold_s.range.value, 0); /* nobody knows the disk */

    /* opening costs for each token of the vocabulary, mapping for each byte; a cold file is read meanwhile, and no faster */
    machine.open_s = 7;
    machine.open_token_s = 0.01;
    machine.map_byte_s = 0.001;
    machine.load_bytes_per_s = exactly(1e-3);
    plan_predict(&plan, &request, &machine);
    double open_s = 7 + 0.01 * TINY_VOCAB, weights = (double)plan.memory.weights_bytes;
    assert_near(plan.first_warm_s.range.value, open_s + 0.001 * weights + time_s);
    assert_near(plan.first_cold_s.range.value, open_s + weights / 1e-3);
    machine.load_bytes_per_s = exactly(1e30);
    plan_predict(&plan, &request, &machine);
    assert_near(plan.first_cold_s.range.value, open_s + 0.001 * weights + time_s);

    /* overheads add up: 2 s for each of 8 products and 1 attention, 5 s for a pass */
    machine.tiers[0].processor.op_s = exactly(2);
    machine.tiers[0].processor.pass_s = exactly(5);
    plan_predict(&plan, &request, &machine);
    assert_near(plan.decode_tokens_per_s.range.value, 1 / (bytes / 500 + 2 * 9 + 5));
    stile_model_close(model);
}

/* Few tokens cost less than their weights' unpacking; more of them do not hide all reading. */
static void few_tokens_and_some(void **state)
{
    (void)state;
    struct stile_model *model = open_model(NULL);
    struct plan_machine machine = {.tiers = {slow_memory(1 << 30)}, .n_tiers = 1};
    struct plan_request request = request_of(model);
    struct plan plan;
    struct plan_processor *processor = &machine.tiers[0].processor;
    double weights = matrices(model->program) / 4;
    request.n_guessed = 3; /* four tokens, of all operations */
    processor->weight_s[FORMAT_F32] = 1;
    processor->n_few = 8;
    processor->exposed_share[FORMAT_F32] = 0.25;
    plan_predict(&plan, &request, &machine);
    assert_near(plan.decode_tokens_per_s.range.value, 1 / (weights * (4.0 / 2000 + 0.5)));
    request.n_guessed = 15;
    plan_predict(&plan, &request, &machine);
    assert_near(plan.decode_tokens_per_s.range.value, 1 / (weights * (16.0 / 2000 + 1 + 0.25 * 4 / 500)));
    stile_model_close(model);
}

static void ranges(void **state)
{
    (void)state;
    struct stile_model *model = open_model(NULL);
    struct plan_machine machine = {.tiers = {slow_memory(1 << 30)}, .n_tiers = 1, .decode_error = 0.25};
    struct plan_request request = request_of(model);
    struct plan plan;
    double bytes = matrices(model->program);
    machine.tiers[0].read_bytes_per_s = (struct plan_range){1000, 800, 1200};
    machine.tiers[0].processor.pass_s = (struct plan_range){5, 4, 7};
    plan_predict(&plan, &request, &machine);
    assert_near(plan.decode_tokens_per_s.range.value, 1 / (bytes / 500 + 5));
    assert_near(plan.decode_tokens_per_s.range.low, 1 / (bytes / 400 + 7) / 1.25);
    assert_near(plan.decode_tokens_per_s.range.high, 1 / (bytes / 600 + 4) * 1.25);
    assert_true(plan.first_warm_s.range.low < plan.first_warm_s.range.value);
    assert_true(plan.first_warm_s.range.high > plan.first_warm_s.range.value);
    stile_model_close(model);
}

/* Half of the weights must be brought from a disk, meanwhile the processor works: the slower of both counts. */
static void streaming(void **state)
{
    (void)state;
    struct stile_model *model = open_model(NULL);
    struct plan_machine machine = {.tiers = {slow_memory(0), {.name = "disk", .capacity_bytes = UINT64_MAX}},
                                   .n_tiers = 2};
    struct plan_request request = request_of(model);
    struct plan plan;
    machine.tiers[1].read_bytes_per_s = exactly(100);
    machine.tiers[0].capacity_bytes = 1 << 30;
    plan_predict(&plan, &request, &machine);
    uint64_t weights_bytes = plan.memory.weights_bytes;
    double bytes = matrices(model->program);
    request.memory.kv_bytes = 10000;
    request.capacity_bytes = weights_bytes / 2 + 10000;
    plan_predict(&plan, &request, &machine);
    assert_true(plan.possible && !plan.fits);
    assert_int_equal(plan.places[1].dense_bytes, weights_bytes - weights_bytes / 2);
    assert_near(plan.decode_tokens_per_s.range.value, 1 / (bytes / 2 / 100));
    assert_int_equal(plan.decode_tokens_per_s.bound_by, PLAN_BOUND_LINK);
    assert_string_equal(plan_bound_name(&machine, &plan.decode_tokens_per_s), "disk");
    /* a disk that is faster than memory does not bind */
    machine.tiers[1].read_bytes_per_s = exactly(600);
    plan_predict(&plan, &request, &machine);
    assert_near(plan.decode_tokens_per_s.range.value, 1 / (bytes / 500));
    /* some of the arithmetic is not hidden by what is brought; 10 tokens: bringing is what takes longest */
    machine.tiers[1].read_bytes_per_s = exactly(100);
    machine.tiers[0].read_bytes_per_s = exactly(1e30);
    plan_predict(&plan, &request, &machine);
    double alone_s = 10 / plan.prefill_tokens_per_s.range.value;
    assert_near(alone_s, bytes / 2 / 100);
    machine.alone_arithmetic = 0.25;
    plan_predict(&plan, &request, &machine);
    double arithmetic_s = 0;
    for (size_t i = 0; i < model->program->n_ops; i++) {
        const struct op *op = &model->program->ops[i];
        if (op->kind == OP_MATMUL && !op->selected)
            arithmetic_s += 10.0 * (double)(op->weight->rows * op->weight->cols) / 2000;
    }
    assert_near(10 / plan.prefill_tokens_per_s.range.value, alone_s + 0.25 * arithmetic_s);
    /* no room for the KV cache */
    request.capacity_bytes = 9999;
    plan_predict(&plan, &request, &machine);
    assert_false(plan.possible);
    assert_near(plan.decode_tokens_per_s.range.value, 0);
    stile_model_close(model);
}

/* Two tiers that compute: what lies where is used there, one after the other. */
static void two_processors(void **state)
{
    (void)state;
    struct stile_model *model = open_model(NULL);
    struct plan_machine machine = {.tiers = {slow_memory(1 << 30), slow_memory(1 << 30)}, .n_tiers = 2};
    struct plan_request request = request_of(model);
    struct plan plan;
    plan_predict(&plan, &request, &machine);
    double bytes = matrices(model->program);
    request.capacity_bytes = plan.memory.weights_bytes / 4;
    machine.tiers[1].read_bytes_per_s = exactly(100);
    plan_predict(&plan, &request, &machine);
    double share = (double)request.capacity_bytes / (double)plan.memory.weights_bytes;
    assert_true(plan.fits);
    assert_near(plan.decode_tokens_per_s.range.value, 1 / (bytes * share / 500 + bytes * (1 - share) / 50));
    stile_model_close(model);
}

/* A rate that nobody measured makes a result unknown, not wrong. */
static void unknown(void **state)
{
    (void)state;
    struct stile_model *model = open_model(NULL);
    struct plan_machine machine = {.tiers = {slow_memory(1 << 30)}, .n_tiers = 1};
    struct plan_request request = request_of(model);
    struct plan plan;
    machine.tiers[0].processor.read_share[FORMAT_F32] = exactly(0);
    plan_predict(&plan, &request, &machine);
    assert_near(plan.decode_tokens_per_s.range.value, 0);
    assert_int_equal(plan.decode_tokens_per_s.bound_by, PLAN_BOUND_UNKNOWN);
    stile_model_close(model);
}

/* As if the model came in other formats: of 32-bit floats, 16-bit ones are half. */
static void other_formats(void **state)
{
    (void)state;
    struct stile_model *model = open_model(NULL);
    struct plan_machine machine = {.tiers = {slow_memory(1 << 30)}, .n_tiers = 1};
    struct plan_request request = request_of(model);
    struct plan plain, half;
    machine.tiers[0].processor.read_share[FORMAT_F16] = exactly(0.25);
    plan_predict(&plain, &request, &machine);
    request.mix = mix_find("f16");
    plan_predict(&half, &request, &machine);
    assert_int_equal(half.memory.weights_bytes, plain.memory.weights_bytes / 2);
    assert_near(half.decode_tokens_per_s.range.value, plain.decode_tokens_per_s.range.value);
    stile_model_close(model);
}

static void experts(void **state)
{
    (void)state;
    /* popularity of 128, as synthetic.h says */
    assert_true(fabs(plan_expert_hits(128, 8, 0.125, 1) - 0.43) < 0.03);
    assert_true(fabs(plan_expert_hits(128, 8, 0.25, 1) - 0.62) < 0.03);
    assert_true(fabs(plan_expert_hits(128, 8, 0.5, 1) - 0.81) < 0.03);
    /* many tokens read all of them */
    assert_true(fabs(plan_expert_hits(128, 8, 0.5, 100000) - 0.5) < 0.001);
    assert_true(plan_expert_hits(128, 8, 1, 1) >= 1 && plan_expert_hits(0, 0, 0, 1) >= 1);
    assert_true(plan_expert_hits(128, 8, 0, 1) <= 0);

    /* all choices fall on what is there or must be brought: 3 matrices of 2 of the experts */
    struct stile_model *model = open_model(gguf_write_tiny_mixture);
    struct plan_machine machine = {.tiers = {slow_memory(1 << 30), {.name = "disk", .capacity_bytes = UINT64_MAX}},
                                   .n_tiers = 2};
    struct plan_request request = request_of(model);
    struct plan plan;
    const double expert = 4.0 * TINY_WIDTH * TINY_WIDTH;
    machine.tiers[1].read_bytes_per_s = exactly(1e-3);
    plan_predict(&plan, &request, &machine);
    uint64_t experts_bytes = plan.places[0].expert_bytes;
    assert_int_equal(experts_bytes, (uint64_t)(3 * TINY_EXPERTS * expert));
    request.capacity_bytes = plan.memory.weights_bytes - experts_bytes / 2;
    plan_predict(&plan, &request, &machine);
    double hits = plan_expert_hits(TINY_EXPERTS, 2, 0.5, 1);
    assert_near(plan.expert_hit_share, hits);
    assert_near(plan.token_bytes[1], 3 * 2 * expert * (1 - hits));
    assert_near(plan.decode_tokens_per_s.range.value, 1e-3 / (3 * 2 * expert * (1 - hits)));

    /* less is there than could be, some is brought in vain, and what was not guessed is waited for, if anything is missing */
    machine.experts_missed = 0.25;
    machine.experts_vain = 0.5;
    machine.experts_late_s = 1e6;
    plan_predict(&plan, &request, &machine);
    double missed = 1.25 * (1 - hits), brought = 3 * 2 * expert * missed * 1.5;
    assert_near(plan.expert_hit_share, 1 - missed);
    assert_near(plan.token_bytes[1], brought);
    assert_near(1 / plan.decode_tokens_per_s.range.value, brought / 1e-3 + 1e6 * (1 - (1 - missed) * (1 - missed)));
    /* a batch that wants all of them does not guess (those of the only layer are one token's: the last one's) */
    request.n_prompt = request.n_batch = 64;
    machine.experts_late_s = 0;
    plan_predict(&plan, &request, &machine);
    missed = 1.25 * (1 - plan_expert_hits(TINY_EXPERTS, 2, 0.5, 64));
    assert_near(plan.prefill_tokens_per_s.range.value, 64e-3 / (3 * 2 * expert * missed));
    stile_model_close(model);
}

/* A prompt that takes thousands of batches is not priced batch by batch: it is as long as its halves. */
static void very_many_batches(void **state)
{
    (void)state;
    struct standin standin;
    assert_true(standin_create(&standin, shape_find("llama-3.2-1b"), FORMAT_F32, 32));
    struct plan_request request = {
        .program = &standin.program, .n_batch = 4, .n_prompt = 1024, .n_generated = 1, .kv_format = FORMAT_F16};
    struct plan_machine machine = {.n_tiers = 1, .tiers = {slow_memory(UINT64_MAX)}};
    struct plan plan;
    const struct weight *head = &standin.model.globals[ROLE_OUTPUT];
    double halves_s = -(double)(head->rows * head->row_bytes) / 500; /* once for each prompt, not for its halves */
    machine.tiers[0].processor.attention_macs_per_s[FORMAT_F16] = exactly(1000);
    for (request.n_depth = 0; request.n_depth <= 1024; request.n_depth += 1024) {
        plan_predict(&plan, &request, &machine);
        halves_s += 1024 / plan.prefill_tokens_per_s.range.value;
    }
    request.n_prompt = 2048;
    request.n_depth = 0;
    plan_predict(&plan, &request, &machine);
    assert_near(2048 / plan.prefill_tokens_per_s.range.value, halves_s);
    request.n_prompt = 1 << 24;
    request.n_batch = 1;
    plan_predict(&plan, &request, &machine);
    assert_true(plan.prefill_tokens_per_s.range.value > 0);
    standin_free(&standin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_resident),
        cmocka_unit_test(few_tokens_and_some),
        cmocka_unit_test(ranges),
        cmocka_unit_test(streaming),
        cmocka_unit_test(two_processors),
        cmocka_unit_test(unknown),
        cmocka_unit_test(other_formats),
        cmocka_unit_test(experts),
        cmocka_unit_test(very_many_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
