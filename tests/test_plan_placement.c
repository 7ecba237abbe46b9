/* Placements: pieces that cover the weights, budgets kept, streamed bytes spread evenly, overrides. */
#include "base/error.h"
#include "file/reader.h"
#include "plan/placement.h"
#include "run/loaded.h"
#include "tiny_model.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { SMALL_PIECE = 64 << 10 };

static struct stile_model *dense, *mixture;

static int open_models(void **state)
{
    (void)state;
    struct stile_error error = {0};
    if (stile_model_synthesize(&dense, "smollm2-135m", "q4_k_m", &error)) return -1;
    return tiny_open(&mixture, gguf_write_tiny_mixture, &error);
}

static int close_models(void **state)
{
    (void)state;
    stile_model_close(dense);
    stile_model_close(mixture);
    return 0;
}

static struct placement *place(const struct stile_model *model, uint64_t budget_bytes, const char *rules)
{
    struct placement *placement;
    struct stile_error error = {0};
    uint64_t least_bytes;
    struct placement_request request = {budget_bytes, rules, SMALL_PIECE};
    if (placement_create(&placement, model->program, &request, &least_bytes, &error)) fail_msg("%s", error.message);
    return placement;
}

static uint64_t matrix_bytes(const struct stile_model *model)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < model->program->n_ops; i++) {
        const struct op *op = &model->program->ops[i];
        if (op->kind == OP_MATMUL || op->kind == OP_EXPERTS) bytes += op->weight->tensor->size_bytes;
    }
    return bytes;
}

static uint64_t memory_bytes(const struct placement *p)
{
    return p->resident_bytes + p->n_slots * p->slot_bytes + p->cache_bytes;
}

/* Every row of every matrix is in one piece, in order, and lies where the file has it. */
static void check_pieces(const struct stile_model *model, const struct placement *p)
{
    for (size_t i = 0; i < model->program->n_ops; i++) {
        const struct op *op = &model->program->ops[i];
        const struct piece *piece = p->pieces + p->first[i], *end = p->pieces + p->first[i + 1];
        if (op->kind != OP_MATMUL && op->kind != OP_EXPERTS) {
            assert_ptr_equal(piece, end);
            continue;
        }
        uint64_t offset = op->weight->tensor->offset_bytes;
        for (uint32_t expert = 0; expert < (op->kind == OP_EXPERTS ? op->weight->n_experts : 1); expert++) {
            for (uint32_t row = 0; row < op->weight->rows; row = piece++->row_end) {
                assert_true(piece < end);
                assert_int_equal(piece->op, i);
                assert_int_equal(piece->expert, expert);
                assert_int_equal(piece->row_begin, row);
                assert_true(piece->row_end > row && piece->row_end <= op->weight->rows);
                assert_int_equal(piece->size_bytes, (piece->row_end - row) * op->weight->row_bytes);
                assert_int_equal(piece->offset_bytes, offset);
                assert_true(piece->size_bytes <= SMALL_PIECE || piece->row_end - row <= PIECE_ROWS);
                offset += piece->size_bytes;
            }
        }
        assert_ptr_equal(piece, end);
    }
}

static void budgets_are_kept(void **state)
{
    (void)state;
    uint64_t all = matrix_bytes(dense), streamed = UINT64_MAX;
    for (uint64_t budget = 1 << 20; budget < 2 * all; budget += budget / 2) {
        struct placement *p = place(dense, budget, NULL);
        check_pieces(dense, p);
        assert_int_equal(p->tier_bytes[TIER_RESIDENT] + p->tier_bytes[TIER_STREAMED], all);
        assert_true(memory_bytes(p) <= budget);
        assert_true(p->tier_bytes[TIER_STREAMED] < streamed || p->tier_bytes[TIER_STREAMED] == 0);
        if (p->n_slots > 0) assert_true(memory_bytes(p) + 2 * p->slot_bytes > budget); /* and used */
        streamed = p->tier_bytes[TIER_STREAMED];
        placement_free(p);
    }
    assert_int_equal(streamed, 0);
}

/* From the first layer to the last, what is streamed so far is nearly the same share of what was passed. */
static void streams_evenly(void **state)
{
    (void)state;
    struct placement *p = place(dense, matrix_bytes(dense) * 6 / 10, NULL);
    double passed = 0, streamed = 0, all = 0, all_streamed = (double)p->tier_bytes[TIER_STREAMED];
    size_t head = dense->program->n_ops - 1;
    for (size_t i = 0; i < p->first[head]; i++)
        all += (double)p->pieces[i].size_bytes;
    for (size_t i = 0; i < p->first[head]; i++) {
        passed += (double)p->pieces[i].size_bytes;
        streamed += p->pieces[i].tier == TIER_STREAMED ? (double)p->pieces[i].size_bytes : 0;
        double off = streamed - passed / all * all_streamed;
        assert_true(off > -2.0 * SMALL_PIECE && off < 2.0 * SMALL_PIECE);
    }
    for (size_t i = p->first[head]; i < p->n_pieces; i++)
        assert_int_equal(p->pieces[i].tier, TIER_RESIDENT); /* the output head */
    placement_free(p);
}

static void too_little_is_an_error(void **state)
{
    (void)state;
    const struct stile_model *models[] = {dense, mixture};
    for (int i = 0; i < 2; i++) {
        struct placement *p;
        struct stile_error error = {0};
        struct placement_request request = {0, NULL, SMALL_PIECE};
        uint64_t least, again;
        assert_int_equal(placement_create(&p, models[i]->program, &request, &least, &error), STILE_ERROR_MEMORY);
        assert_true(least > 0 && least < 200u << 20);
        if (models[i] == dense) assert_true(least < 10 * SMALL_PIECE);
        request.budget_bytes = least - 1;
        assert_int_equal(placement_create(&p, models[i]->program, &request, &again, &error), STILE_ERROR_MEMORY);
        assert_int_equal(again, least);
        placement_free(place(models[i], least, NULL));
    }
}

static void experts_get_what_is_left(void **state)
{
    (void)state;
    uint64_t least = 0;
    struct stile_error error = {0};
    struct placement *p;
    struct placement_request request = {0, NULL, SMALL_PIECE};
    placement_create(&p, mixture->program, &request, &least, &error);
    uint64_t pages = 8 * matrix_bytes(mixture); /* small matrices, whole pages */
    for (uint64_t budget = least; budget < pages; budget += READER_ALIGNMENT) {
        p = place(mixture, budget, NULL);
        check_pieces(mixture, p);
        assert_true(memory_bytes(p) <= budget);
        if (p->tier_bytes[TIER_CACHED] > 0) assert_true(p->cache_bytes > 0);
        if (p->tier_bytes[TIER_CACHED] > 0 && p->cache_bytes > 24 * (size_t)READER_ALIGNMENT)
            assert_int_equal(p->tier_bytes[TIER_STREAMED], 0); /* dense ones come first */
        placement_free(p);
    }
    p = place(mixture, 100 * pages, NULL);
    assert_int_equal(p->tier_bytes[TIER_RESIDENT], matrix_bytes(mixture));
    placement_free(p);
}

static void rules_override(void **state)
{
    (void)state;
    struct placement *p = place(dense, 1 << 30, "blk.3.*=resident,blk.*.ffn_down.weight=streamed");
    for (size_t i = 0; i < p->n_pieces; i++) {
        const struct op *op = &dense->program->ops[p->pieces[i].op];
        bool streamed = strstr(op->weight->tensor->name, "ffn_down") && op->layer != 3;
        assert_int_equal(p->pieces[i].tier, streamed ? TIER_STREAMED : TIER_RESIDENT);
    }
    assert_true(p->n_slots >= 2);
    placement_free(p);
    p = place(mixture, 1 << 30, "*_exps.weight=cached");
    assert_true(p->tier_bytes[TIER_CACHED] > 0 && p->cache_bytes > 0);
    placement_free(p);
    static const char *const wrong[] = {"",  "=resident", "blk.0.*",           "blk.0.*=fast", "nothing=resident",
                                        ",", "*=cached",  "blk.0.*=resident,,"};
    for (size_t i = 1; i < sizeof wrong / sizeof *wrong; i++) {
        struct stile_error error = {0};
        struct placement_request request = {1 << 30, wrong[i], 0};
        uint64_t least;
        assert_int_equal(placement_create(&p, dense->program, &request, &least, &error), STILE_ERROR_ARGUMENT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(budgets_are_kept),       cmocka_unit_test(streams_evenly),
        cmocka_unit_test(too_little_is_an_error), cmocka_unit_test(experts_get_what_is_left),
        cmocka_unit_test(rules_override),
    };
    return cmocka_run_group_tests(tests, open_models, close_models);
}
