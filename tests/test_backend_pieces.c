/* Weights that come piece by piece: the same bits as mapped ones, each piece acquired and released as cpu.h says. */
#include "backend/cpu.h"
#include "base/error.h"
#include "run/kv.h"
#include "run/loaded.h"
#include "tiny_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>

#include <cmocka.h>

enum { N_TOKENS = 24, SMALL_PIECE = 64 << 10 };

/* Hands out the mapped rows. */
struct source {
    const struct stile_model *model;
    const struct placement *placement;
    atomic_int *held, *acquired; /* (n_pieces) */
    atomic_int n_refused, n_wanted;
    size_t broken; /* this piece never comes */
};

static const void *acquire(void *user, size_t i, bool wait)
{
    struct source *source = user;
    const struct piece *piece = &source->placement->pieces[i];
    const struct weight *weight = source->model->program->ops[piece->op].weight;
    if (i == source->broken) return NULL;
    if (!wait) { /* an expert is late */
        atomic_fetch_add(&source->n_refused, 1);
        return NULL;
    }
    atomic_fetch_add(&source->acquired[i], 1);
    atomic_fetch_add(&source->held[i], 1);
    return (const char *)weight->data + piece->expert * weight->expert_bytes + piece->row_begin * weight->row_bytes;
}

static void release(void *user, size_t i)
{
    struct source *source = user;
    assert_true(source->placement->pieces[i].tier != TIER_RESIDENT);
    atomic_fetch_sub(&source->held[i], 1);
}

static void want(void *user, int32_t layer, const uint32_t *begins)
{
    struct source *source = user;
    assert_true(layer >= 0 && begins[source->model->model->hparams.n_experts] > 0);
    atomic_fetch_add(&source->n_wanted, 1);
}

static void expect(void *user, int32_t layer, const uint32_t *experts, size_t n)
{
    struct source *source = user;
    const struct hparams *h = &source->model->model->hparams;
    assert_true(layer > 0 && layer < (int32_t)h->n_layers && n > 0);
    for (size_t i = 0; i < n; i++)
        assert_true(experts[i] < h->n_experts);
}

struct outcome {
    int code;
    float *logits; /* (n_vocab) of the last token; to be freed */
};

/* A prompt in batches of n_batch, then a token. all: logits are wanted of every token. */
static struct outcome run(const struct stile_model *model, const struct cpu_weights *weights, int n_threads,
                          uint32_t n_batch, bool all)
{
    const struct hparams *h = &model->model->hparams;
    struct cpu_options options = {.kernels = kernel_select(NULL),
                                  .n_threads = n_threads,
                                  .n_batch = n_batch,
                                  .n_ctx = N_TOKENS + 1,
                                  .kv_format = FORMAT_F16,
                                  .weights = weights};
    struct cpu *cpu;
    struct kv kv;
    struct stile_error error = {0};
    struct outcome outcome = {.logits = calloc((size_t)n_batch * h->n_vocab, sizeof(float))};
    if (kv_create(&kv, h, options.n_ctx, n_batch, FORMAT_F16, &error)) fail_msg("%s", error.message);
    if (cpu_create(&cpu, model->program, &options, &error)) fail_msg("%s", error.message);
    for (uint32_t at = 0, n; at <= N_TOKENS && !outcome.code; at += n) {
        int32_t tokens[N_TOKENS + 1];
        n = at == N_TOKENS ? 1 : N_TOKENS - at < n_batch ? N_TOKENS - at : n_batch;
        for (uint32_t i = 0; i < n; i++)
            tokens[i] = (int32_t)((at + i) * 37 % h->n_vocab);
        struct cpu_batch batch = {.tokens = tokens,
                                  .n_tokens = n,
                                  .position = at,
                                  .n_selected = all ? n : at == N_TOKENS,
                                  .logits = outcome.logits,
                                  .kv = kv.layers};
        outcome.code = cpu_run(cpu, &batch, &error);
    }
    cpu_free(cpu);
    kv_free(&kv);
    return outcome;
}

static void start_source(struct source *source, const struct stile_model *model, const struct placement *placement)
{
    *source = (struct source){.model = model, .placement = placement, .broken = SIZE_MAX};
    source->held = calloc(placement->n_pieces, sizeof *source->held);
    source->acquired = calloc(placement->n_pieces, sizeof *source->acquired);
}

static void end_source(struct source *source)
{
    free(source->held);
    free(source->acquired);
}

static void check(const struct stile_model *model, const char *place, uint64_t budget_bytes)
{
    static const struct {
        int n_threads;
        uint32_t n_batch;
    } ways[] = {{1, 1}, {1, 24}, {3, 1}, {2, 7}, {3, 24}};
    struct placement *placement;
    struct stile_error error = {0};
    uint64_t least;
    struct placement_request request = {budget_bytes, place, SMALL_PIECE};
    if (placement_create(&placement, model->program, &request, &least, &error)) fail_msg("%s", error.message);
    struct outcome expected = run(model, NULL, 1, 24, false);
    size_t n_vocab = model->model->hparams.n_vocab;
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        struct source source;
        start_source(&source, model, placement);
        struct cpu_weights weights = {placement, &source, acquire, release, want, expect};
        struct outcome outcome = run(model, &weights, ways[w].n_threads, ways[w].n_batch, false);
        assert_int_equal(outcome.code, 0);
        assert_memory_equal(outcome.logits, expected.logits, n_vocab * sizeof(float));
        int n_runs = (int)((N_TOKENS + ways[w].n_batch - 1) / ways[w].n_batch) + 1;
        for (size_t i = 0; i < placement->n_pieces; i++) {
            enum tier tier = placement->pieces[i].tier;
            if (tier != TIER_RESIDENT) assert_int_equal(source.held[i], 0);
            if (tier == TIER_STREAMED) assert_int_equal(source.acquired[i], n_runs * ways[w].n_threads);
            if (tier == TIER_CACHED) assert_true(source.acquired[i] % ways[w].n_threads == 0);
        }
        if (placement->tier_bytes[TIER_CACHED] > 0) {
            assert_true(source.n_wanted > 0 && source.n_wanted <= n_runs * (int)model->model->hparams.n_layers);
            assert_true(source.n_refused > 0);
        }
        free(outcome.logits);
        end_source(&source);
    }
    free(expected.logits);
    placement_free(placement);
}

static void dense_model(void **state)
{
    (void)state;
    struct stile_model *model;
    struct stile_error error = {0};
    if (stile_model_synthesize(&model, "smollm2-135m", "q4_0", &error)) fail_msg("%s", error.message);
    check(model, NULL, 40 << 20);
    check(model, "*=streamed", 8 << 20); /* also the output head, which most batches do not use */
    stile_model_close(model);
}

static void mixture(void **state)
{
    (void)state;
    struct stile_model *model;
    struct stile_error error = {0};
    if (tiny_open(&model, gguf_write_tiny_mixture, &error)) fail_msg("%s", error.message);
    check(model, "*_exps.weight=cached", 1 << 20);
    check(model, "*_exps.weight=cached,*=streamed", 1 << 20);
    stile_model_close(model);
}

/* A piece that never comes ends the run, whoever needs it, and wherever it is. */
static void broken_piece(void **state)
{
    (void)state;
    struct stile_model *model;
    struct stile_error error = {0};
    struct placement *placement;
    uint64_t least;
    struct placement_request request = {1 << 20, "*_exps.weight=cached,*=streamed", SMALL_PIECE};
    if (tiny_open(&model, gguf_write_tiny_mixture, &error)) fail_msg("%s", error.message);
    if (placement_create(&placement, model->program, &request, &least, &error)) fail_msg("%s", error.message);
    for (size_t i = 0; i < placement->n_pieces; i++) {
        struct source source;
        start_source(&source, model, placement);
        source.broken = i;
        struct cpu_weights weights = {placement, &source, acquire, release, want, expect};
        struct outcome outcome = run(model, &weights, 3, 24, true);
        assert_int_equal(outcome.code, STILE_ERROR_IO); /* 24 tokens use every expert */
        free(outcome.logits);
        end_source(&source);
    }
    placement_free(placement);
    stile_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_model),
        cmocka_unit_test(mixture),
        cmocka_unit_test(broken_piece),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
