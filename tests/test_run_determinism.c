/* The same bits of logits at any number of threads, any width of batch, any instruction set. */
#include "sanitized.h"
#include "stile.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MODELS_MAX = 64, PATH_BYTES = 4096, TOKENS_MAX = 640 };

static const char *golden_dir = "build/golden";
static const char *const isas[] = {"scalar", "avx2", "avx512", "neon", "dotprod", "i8mm"};
enum { N_ISAS = sizeof isas / sizeof *isas };

static void must(int code, const struct stile_error *error)
{
    if (code != 0) fail_msg("%s", error->message);
}

/* Tokens that mean nothing, but are the same every time. */
static void fill_tokens(int32_t *tokens, size_t n, uint32_t n_vocab)
{
    uint64_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        tokens[i] = (int32_t)((state >> 33) % n_vocab);
    }
}

/* Hash of the logits of a prompt of n - 3 tokens, then of three single tokens; 0 where this machine has no such
 * instruction set. */
static uint64_t hash_of(struct stile_model *model, enum stile_kv_format kv, size_t n, const char *isa,
                        uint32_t n_threads, uint32_t n_batch)
{
    struct stile_session_options options = {
        .n_ctx = TOKENS_MAX, .isa = isa, .n_threads = n_threads, .n_batch = n_batch, .kv_format = kv};
    struct stile_session *session;
    struct stile_error error;
    int32_t tokens[TOKENS_MAX];
    fill_tokens(tokens, n, stile_model_info(model)->n_vocab);
    int code = stile_session_create(&session, model, &options, &error);
    if (isa && (code == STILE_ERROR_UNSUPPORTED || code == STILE_ERROR_ARGUMENT)) return 0;
    must(code, &error);
    must(stile_eval(session, tokens, n - 3, &error), &error);
    for (size_t i = n - 3; i < n; i++)
        must(stile_eval(session, tokens + i, 1, &error), &error);
    uint64_t hash = stile_logits_hash(session);
    stile_session_free(session);
    return hash;
}

static void check_hash(uint64_t hash, uint64_t expected, const char *isa, uint32_t n_threads, uint32_t n_batch)
{
    if (hash != expected)
        fail_msg("%s, %u threads, batches of %u: hash %016llx, not %016llx", isa, n_threads, n_batch,
                 (unsigned long long)hash, (unsigned long long)expected);
}

/* Scalar code sees n_scalar tokens only. */
static void check_model(const char *path, enum stile_kv_format kv, size_t n, size_t n_scalar)
{
    static const struct {
        uint32_t n_threads, n_batch;
    } ways[] = {{1, 64}, {2, 64}, {5, 64}, {2, 7}, {5, 1}};
    struct stile_model *model;
    struct stile_error error;
    int n_isas = 0;
    must(stile_model_open(&model, path, &error), &error);
    uint64_t expected = hash_of(model, kv, n, NULL, 1, 1), few = hash_of(model, kv, n_scalar, NULL, 1, 1);
    assert_int_not_equal(expected, few);
    for (size_t i = 0; i < N_ISAS; i++) {
        bool scalar = strcmp(isas[i], "scalar") == 0;
        if (hash_of(model, kv, n_scalar, isas[i], 1, 64) == 0) continue;
        n_isas++;
        for (size_t w = 0; w < sizeof ways / sizeof *ways; w++)
            check_hash(hash_of(model, kv, scalar ? n_scalar : n, isas[i], ways[w].n_threads, ways[w].n_batch),
                       scalar ? few : expected, isas[i], ways[w].n_threads, ways[w].n_batch);
    }
    assert_true(n_isas > 0);
    printf("%s: %016llx with %d instruction sets, 1, 2, 5 threads, batches of 1, 7, 64\n", strrchr(path, '/') + 1,
           (unsigned long long)expected, n_isas);
    stile_model_close(model);
}

static int is_of_a_format(const struct dirent *entry)
{
    bool wanted = strncmp(entry->d_name, "format_", 7) == 0 || strncmp(entry->d_name, "moe_", 4) == 0;
    return wanted && strstr(entry->d_name, ".gguf") != NULL;
}

/* 70 tokens: batches of 64 leave a rest. */
static void test_every_format_and_experts(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    struct dirent **entries;
    snprintf(path, sizeof path, "%s/models", golden_dir);
    int n = scandir(path, &entries, is_of_a_format, alphasort);
    assert_in_range(n, 1, MODELS_MAX);
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/models/%s", golden_dir, entries[i]->d_name);
        check_model(path, STILE_KV_F16, 73, 11);
        free(entries[i]);
    }
    free(entries);
}

/* A cache of three tiles, in every format. */
static void test_long_context(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/models/format_q8_0.gguf", golden_dir);
    for (int kv = STILE_KV_F16; kv <= STILE_KV_Q8_0; kv++)
        check_model(path, (enum stile_kv_format)kv, SANITIZED ? 270 : TOKENS_MAX - 20, SANITIZED ? 30 : 270);
}

static void test_smollm2(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    struct stile_error error;
    if (stile_model_find("smollm2", path, sizeof path, &error) != 0) {
        printf("skipped: %s\n", error.message);
        skip();
    }
    check_model(path, STILE_KV_F16, SANITIZED ? 12 : 73, 4);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_format_and_experts),
                                       cmocka_unit_test(test_long_context), cmocka_unit_test(test_smollm2)};
    if (argc > 1) golden_dir = argv[1];
    return cmocka_run_group_tests_name("run determinism", tests, NULL, NULL);
}
