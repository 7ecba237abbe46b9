/* Counts of use, what they say an expert is worth, and their file. */
#include "run/expert_use.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { LAYERS = 3, EXPERTS = 8, USED = 2 };

static struct expert_use *create(void)
{
    struct expert_use *use;
    assert_int_equal(expert_use_create(&use, LAYERS, EXPERTS, USED, NULL), 0);
    return use;
}

/* One token chooses two experts of a layer. */
static void choose(struct expert_use *use, uint32_t layer, uint32_t a, uint32_t b)
{
    uint32_t begins[EXPERTS + 1] = {0};
    for (uint32_t e = 0; e < EXPERTS; e++)
        begins[e + 1] = begins[e] + (e == a) + (e == b);
    expert_use_add(use, layer, begins);
}

static float worth(const struct expert_use *use, uint32_t layer, uint32_t expert)
{
    return expert_use_worth(use, layer, expert);
}

static void test_worth_of_use(void **state)
{
    (void)state;
    struct expert_use *use = create();
    for (int t = 0; t < 30; t++)
        for (uint32_t layer = 0; layer < LAYERS; layer++)
            choose(use, layer, 0, t % 3 == 0 ? 1 : 2);
    assert_true(worth(use, 1, 0) > worth(use, 1, 2));
    assert_true(worth(use, 1, 2) > worth(use, 1, 1));
    assert_true(worth(use, 1, 1) > worth(use, 1, 3));
    assert_true(worth(use, 1, 3) == 0);
    assert_int_equal(use->layers[1].n_uses, 60);
    assert_true(use->n_tokens == 30);
    expert_use_free(use);
}

/* Old favourites give way: 200 uses a long time ago are less than 100 just now. */
static void test_worth_fades(void **state)
{
    (void)state;
    struct expert_use *use = create();
    for (int t = 0; t < 200; t++)
        choose(use, 0, 0, 1);
    for (int t = 0; t < 100; t++)
        choose(use, 0, 2, 3);
    assert_true(worth(use, 0, 2) > worth(use, 0, 0));
    assert_true(use->total[0] > use->total[2]);
    /* over many more tokens than a weight can grow without being brought back */
    for (int t = 0; t < 20000; t++)
        choose(use, 0, 4, 5);
    assert_true(worth(use, 0, 4) > worth(use, 0, 2));
    assert_true(worth(use, 0, 4) > EXPERT_LIFE * 0.9);
    assert_true(worth(use, 0, 4) < EXPERT_LIFE * 1.5);
    expert_use_free(use);
}

/* What the pass before used is kept before what was used as often but longer ago; in all layers, also those that the pass
 * has not come to. */
static void test_worth_of_the_pass_before(void **state)
{
    (void)state;
    struct expert_use *use = create();
    for (uint32_t layer = 0; layer < LAYERS; layer++)
        choose(use, layer, 0, 1);
    for (uint32_t layer = 0; layer < LAYERS; layer++)
        choose(use, layer, 2, 3);
    choose(use, 0, 4, 5);
    for (uint32_t layer = 0; layer < LAYERS; layer++)
        assert_true(worth(use, layer, 2) > 1.4f * worth(use, layer, 0));
    for (uint32_t layer = 1; layer < LAYERS; layer++)
        choose(use, layer, 4, 5);
    choose(use, 0, 6, 7);
    assert_true(worth(use, 0, 2) < 1.1f * worth(use, 0, 0));
    assert_true(worth(use, 1, 2) < 1.1f * worth(use, 1, 0));
    assert_true(worth(use, 1, 4) > 1.4f * worth(use, 1, 2));
    expert_use_free(use);
}

static void test_batches_count_tokens(void **state)
{
    (void)state;
    struct expert_use *use = create();
    const uint32_t begins[EXPERTS + 1] = {0, 5, 5, 5, 5, 5, 5, 5, 10}; /* 5 tokens */
    expert_use_add(use, 0, begins);
    expert_use_add(use, 1, begins);
    assert_true(use->n_tokens == 5);
    assert_true(use->total[0] == 5 && use->total[7] == 5 && use->total[1] == 0);
    expert_use_free(use);
}

static void test_order_and_covering(void **state)
{
    (void)state;
    uint32_t order[LAYERS * EXPERTS];
    struct expert_use *use = create();
    assert_int_equal(expert_use_covering(use, 0, 0.5), 0);
    for (int t = 0; t < 10; t++) {
        choose(use, 1, 6, 7);
        choose(use, 2, (uint32_t)t % 8, 3);
    }
    for (int t = 0; t < 5; t++)
        choose(use, 1, 6, 5);
    expert_use_order(use, order);
    assert_int_equal(order[0], 1 * EXPERTS + 6);
    assert_int_equal(order[1], 2 * EXPERTS + 3);
    assert_int_equal(order[2], 1 * EXPERTS + 7);
    bool seen[LAYERS * EXPERTS] = {false};
    for (size_t i = 0; i < LAYERS * EXPERTS; i++)
        seen[order[i]] = true;
    for (size_t i = 0; i < LAYERS * EXPERTS; i++)
        assert_true(seen[i]);
    /* 15, 10, 5 of 30 */
    assert_int_equal(expert_use_covering(use, 1, 0.5), 1);
    assert_int_equal(expert_use_covering(use, 1, 0.8), 2);
    assert_int_equal(expert_use_covering(use, 1, 0.95), 3);
    expert_use_free(use);
}

static void folder_path(char path[PATH_MAX], const char *name)
{
    const char *folder = getenv("TMPDIR");
    snprintf(path, PATH_MAX, "%s/stile-expert-use-%d%s", folder ? folder : "/tmp", (int)getpid(), name);
}

static void test_file(void **state)
{
    (void)state;
    char path[PATH_MAX], folder[PATH_MAX];
    folder_path(folder, "");
    folder_path(path, "/experts/x.json");
    struct stile_error error;
    struct expert_use *use = create(), *again = create();
    assert_false(expert_use_load(again, path));
    for (int t = 0; t < 20; t++)
        for (uint32_t layer = 0; layer < LAYERS; layer++)
            choose(use, layer, layer, t % 2 ? 5 : 6);
    assert_int_equal(expert_use_store(use, path, "a model \"quoted\"", &error), 0);
    assert_true(expert_use_load(again, path));
    assert_true(again->n_tokens == 20 && again->n_tokens_new == 0);
    assert_memory_equal(again->total, use->total, LAYERS * EXPERTS * sizeof *use->total);
    assert_int_equal(again->layers[0].n_uses, 0);
    assert_true(worth(again, 2, 2) > worth(again, 2, 5) && worth(again, 2, 5) > worth(again, 2, 0));
    /* it goes on from there */
    choose(again, 0, 0, 1);
    assert_true(again->n_tokens == 21 && again->n_tokens_new == 1 && again->total[0] == 21);
    expert_use_free(use);
    expert_use_free(again);
    unlink(path);
    folder_path(path, "/experts");
    rmdir(path);
    assert_int_equal(rmdir(folder), 0); /* and nothing was left beside it */
}

/* Whatever does not fit exactly is as good as not there, and changes nothing. */
static void test_hostile_files(void **state)
{
    (void)state;
    static const char row[] = "[1,2,3,4,5,6,7,8]";
    static const struct {
        const char *head, *rows[LAYERS + 1], *tail;
        bool good;
    } files[] = {
        {"{\"version\":1,\"experts_used\":2,\"tokens\":9,\"uses\":[", {row, row, row}, "]}", true},
        {"{\"version\":1,\"experts_used\":2,\"tokens\":1e9,\"uses\":[", {row, row, row}, "]}", true},
        {"{\"version\":2,\"experts_used\":2,\"tokens\":9,\"uses\":[", {row, row, row}, "]}", false},
        {"{\"version\":1,\"experts_used\":3,\"tokens\":9,\"uses\":[", {row, row, row}, "]}", false},
        {"{\"version\":1,\"experts_used\":2,\"tokens\":0,\"uses\":[", {row, row, row}, "]}", false},
        {"{\"version\":1,\"experts_used\":2,\"tokens\":-4,\"uses\":[", {row, row, row}, "]}", false},
        {"{\"version\":1,\"experts_used\":2,\"tokens\":\"9\",\"uses\":[", {row, row, row}, "]}", false},
        {"{\"version\":1,\"experts_used\":2,\"tokens\":9,\"uses\":[", {row, row}, "]}", false},
        {"{\"version\":1,\"experts_used\":2,\"tokens\":9,\"uses\":[", {row, row, row, row}, "]}", false},
        {"{\"version\":1,\"experts_used\":2,\"tokens\":9,\"uses\":[", {row, row, "[1,2,3,4,5,6,7]"}, "]}", false},
        {"{\"version\":1,\"experts_used\":2,\"tokens\":9,\"uses\":[", {row, row, "[1,2,3,4,5,6,7,-8]"}, "]}", false},
        {"{\"version\":1,\"experts_used\":2,\"tokens\":9,\"uses\":[", {row, row, "[1,2,3,4,5,6,7,1e300]"}, "]}", false},
        {"{\"version\":1,\"experts_used\":2,\"tokens\":9,\"uses\":[", {row, row, "[1,2,3,4,5,6,7,null]"}, "]}", false},
        {"{\"version\":1,\"experts_used\":2,\"tokens\":9,\"uses\":[", {row, row, row}, "]", false},
        {"[1,2", {NULL}, "]", false},
        {"{\"version\":1,\"experts_used\":2,\"tokens\":9,\"uses\":\"", {row}, "\"}", false},
        {"", {NULL}, "", false},
    };
    char path[PATH_MAX];
    folder_path(path, ".json");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct expert_use *use = create();
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fputs(files[i].head, file);
        for (size_t r = 0; r <= LAYERS && files[i].rows[r]; r++)
            fprintf(file, "%s%s", r ? "," : "", files[i].rows[r]);
        fputs(files[i].tail, file);
        fclose(file);
        if (expert_use_load(use, path) != files[i].good) fail_msg("file %zu", i);
        for (size_t e = 0; e < LAYERS * EXPERTS && !files[i].good; e++)
            assert_true(use->total[e] == 0 && expert_use_worth(use, (uint32_t)e / EXPERTS, (uint32_t)e % EXPERTS) == 0);
        if (files[i].good) assert_true(worth(use, 0, 7) > worth(use, 0, 0));
        assert_true(use->n_tokens < 1e6);
        expert_use_free(use);
    }
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worth_of_use),
        cmocka_unit_test(test_worth_fades),
        cmocka_unit_test(test_worth_of_the_pass_before),
        cmocka_unit_test(test_batches_count_tokens),
        cmocka_unit_test(test_order_and_covering),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_hostile_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
