/* The records of predictions: nothing is lost or mixed when several processes write, and the file stays small. */
#include "stile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/stile-test-XXXXXX";
static char path[64];

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/stile/plans.jsonl", folder);
    return setenv("XDG_CACHE_HOME", folder, 1);
}

static int tear_down(void **state)
{
    (void)state;
    char inner[64];
    unlink(path);
    snprintf(inner, sizeof inner, "%s/stile", folder);
    return rmdir(inner) | rmdir(folder); /* nothing else may be left there */
}

static void keep(uint32_t i)
{
    struct stile_error error;
    struct stile_outcome outcome = {.time = 1800000000,
                                    .kind = "decode",
                                    .model = "a \"model\"\n of many words, so that the line is long",
                                    .format = "Q4_K",
                                    .n_ctx = i,
                                    .n_depth = 1,
                                    .streamed = true,
                                    .memory_limit_bytes = UINT64_C(5) << 40,
                                    .predicted = {10.5, 9, 12, "memory"},
                                    .measured = 11,
                                    .commit = "abc"};
    if (stile_outcome_keep(&outcome, &error) != STILE_OK) fail_msg("%s", error.message);
}

static size_t read_back(struct stile_outcome **outcomes)
{
    size_t n;
    assert_int_equal(stile_outcomes(outcomes, &n, NULL), STILE_OK);
    return n;
}

static void one(void **state)
{
    (void)state;
    struct stile_outcome *o;
    assert_int_equal(read_back(&o), 0);
    stile_free(o);
    keep(7);
    assert_int_equal(read_back(&o), 1);
    assert_string_equal(o->kind, "decode");
    assert_string_equal(o->predicted.bound_by, "memory");
    assert_true(o->predicted.value == 10.5 && o->predicted.low == 9 && o->predicted.high == 12 && o->measured == 11);
    assert_true(o->n_ctx == 7 && o->n_depth == 1 && o->streamed && o->memory_limit_bytes == UINT64_C(5) << 40);
    stile_free(o);
}

static void what_makes_no_sense_is_skipped(void **state)
{
    (void)state;
    struct stile_outcome *o;
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    fputs("\n[]\n{\"kind\": \"decode\", \"predicted\": 1e400, \"measured\": 1}\n{\"kind\": \"dec", file);
    fclose(file);
    keep(8); /* on a line of its own */
    assert_int_equal(read_back(&o), 2);
    assert_int_equal(o[1].n_ctx, 8);
    stile_free(o);
    struct stile_outcome wrong = {.kind = "decode", .measured = 1};
    wrong.predicted.value = strtod("nan", NULL);
    assert_int_equal(stile_outcome_keep(&wrong, NULL), STILE_ERROR_ARGUMENT);
}

static void many_processes(void **state)
{
    (void)state;
    enum { PROCESSES = 4, EACH = 250 };
    struct stile_outcome *o;
    for (int p = 0; p < PROCESSES; p++) {
        if (fork() != 0) continue;
        for (uint32_t i = 0; i < EACH; i++)
            keep(i);
        _exit(0);
    }
    for (int p = 0, status; p < PROCESSES; p++) {
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    assert_int_equal(read_back(&o), 2 + PROCESSES * EACH);
    stile_free(o);
}

static void the_oldest_go(void **state)
{
    (void)state;
    enum { MANY = 3000 };
    struct stile_outcome *o;
    struct stat status;
    for (uint32_t i = 1; i <= MANY; i++)
        keep(i);
    assert_int_equal(stat(path, &status), 0);
    assert_true(status.st_size < 600 << 10);
    size_t n = read_back(&o);
    assert_true(n > 300 && n < MANY);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(o[i].n_ctx, MANY - n + 1 + i);
    stile_free(o);
}

static void what_cannot_be_read_is_an_error(void **state)
{
    (void)state;
    struct stile_outcome *o;
    struct stile_error error;
    size_t n;
    assert_true(unlink(path) == 0 && mkfifo(path, 0600) == 0); /* nor is it waited for */
    assert_int_equal(stile_outcomes(&o, &n, &error), STILE_ERROR_IO);
    assert_non_null(strstr(error.message, path));
    assert_true(unlink(path) == 0);
    assert_int_equal(read_back(&o), 0);
    stile_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one),
        cmocka_unit_test(what_makes_no_sense_is_skipped),
        cmocka_unit_test(many_processes),
        cmocka_unit_test(the_oldest_go),
        cmocka_unit_test(what_cannot_be_read_is_an_error),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
