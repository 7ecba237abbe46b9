/* Hugging Face folders of every family beside GGUF files of the same weights (tests/golden/make_folders.py): the same
 * logits, bit for bit, wherever the weights are; the same tokens. */
#include "run/session.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { FOLDERS_MAX = 64, PATH_BYTES = 512, N_TOKENS = 60, STREAMING_BYTES = 200 << 20 };

static const char *golden_dir = "build/golden";

static const char *const texts[] = {
    "",
    "The andes, in the other theatre:  of 1234567 things\n\n\tand 89%",
    "<|im_start|>the<|im_end|> <s>in</s> <unk> <|endoftext|>x",
    "\xE2\x96\x81the h\xC3\xA9r\xC3\xA9 \xE4\xB8\xAD\xE6\x96\x87 \xF0\x9F\x98\x80 \xFF\xFE <0x41> e\xCC\x81",
};

static void must(int code, const struct stile_error *error)
{
    if (code != 0) fail_msg("%s", error->message);
}

static struct stile_model *open_one(const char *name, const char *suffix)
{
    char path[PATH_BYTES];
    struct stile_model *model;
    struct stile_error error;
    snprintf(path, sizeof path, "%s/folders/%s%s", golden_dir, name, suffix);
    must(stile_model_open(&model, path, &error), &error);
    return model;
}

/* All logits of some tokens: those of a prompt, or one by one. */
static float *logits_of(struct stile_model *model, const struct stile_session_options *options, bool single)
{
    struct stile_session *session;
    struct stile_error error;
    int32_t tokens[N_TOKENS];
    uint32_t n_vocab = stile_model_info(model)->n_vocab;
    float *logits = malloc((size_t)N_TOKENS * n_vocab * sizeof *logits);
    for (uint32_t i = 0; i < N_TOKENS; i++)
        tokens[i] = (int32_t)(i * 7919 % n_vocab);
    must(stile_session_create(&session, model, options, &error), &error);
    uint32_t n = single ? 1 : N_TOKENS;
    for (uint32_t i = 0; i < N_TOKENS; i += n)
        must(stile_eval_rows(session, tokens + i, n, n, logits + (size_t)i * n_vocab, &error), &error);
    stile_session_free(session);
    return logits;
}

static void same_logits(struct stile_model *folder, struct stile_model *file)
{
    static const enum stile_kv_format formats[] = {STILE_KV_F32, STILE_KV_F16, STILE_KV_Q8_0};
    size_t size_bytes = (size_t)N_TOKENS * stile_model_info(file)->n_vocab * sizeof(float);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        struct stile_session_options options = {.n_ctx = N_TOKENS, .n_threads = 2, .kv_format = formats[i]};
        float *expected = logits_of(file, &options, false), *logits = logits_of(folder, &options, false);
        assert_memory_equal(logits, expected, size_bytes);
        free(logits);
        logits = logits_of(folder, &options, true);
        assert_memory_equal(logits, expected, size_bytes);
        free(logits);
        if (i == 0) {
            options.memory_limit_bytes = STREAMING_BYTES;
            options.place = "blk.*=streamed";
            logits = logits_of(folder, &options, false);
            assert_memory_equal(logits, expected, size_bytes);
            free(logits);
        }
        free(expected);
    }
}

static void same_tokens(const struct stile_model *folder, const struct stile_model *file)
{
    static const unsigned flags[] = {0, STILE_ADD_SPECIAL, STILE_ADD_SPECIAL | STILE_PARSE_SPECIAL};
    struct stile_error error;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        for (size_t f = 0; f < sizeof flags / sizeof *flags; f++) {
            int32_t *a, *b;
            size_t n_a, n_b;
            must(stile_tokenize(folder, texts[i], strlen(texts[i]), flags[f], &a, &n_a, &error), &error);
            must(stile_tokenize(file, texts[i], strlen(texts[i]), flags[f], &b, &n_b, &error), &error);
            assert_int_equal(n_a, n_b);
            if (n_a > 0) assert_memory_equal(a, b, n_a * sizeof *a);
            free(a);
            free(b);
        }
    }
    for (int32_t i = 0; i < (int32_t)stile_model_info(file)->n_vocab; i++) {
        size_t n_a, n_b;
        const char *a = stile_token_bytes(folder, i, false, &n_a), *b = stile_token_bytes(file, i, false, &n_b);
        assert_string_equal(stile_token_name(folder, i), stile_token_name(file, i));
        assert_int_equal(n_a, n_b);
        assert_memory_equal(a, b, n_a);
        assert_int_equal(stile_token_is_end(folder, i), stile_token_is_end(file, i));
    }
}

static void same_info(const struct stile_model *folder, const struct stile_model *file)
{
    const struct stile_model_info *a = stile_model_info(folder), *b = stile_model_info(file);
    assert_string_equal(a->architecture, b->architecture);
    assert_string_equal(a->tokenizer, b->tokenizer);
    assert_string_equal(a->pretokenizer, b->pretokenizer);
    assert_int_equal(a->n_tensors, b->n_tensors);
    assert_int_equal(a->n_parameters, b->n_parameters);
    assert_int_equal(a->n_parameters_active, b->n_parameters_active);
    assert_int_equal(a->n_ctx_trained, b->n_ctx_trained);
    assert_int_equal(a->sliding_window, b->sliding_window);
}

static void test_folder(void **state)
{
    const char *name = *state;
    struct stile_model *folder = open_one(name, ""), *file = open_one(name, ".gguf");
    same_info(folder, file);
    same_tokens(folder, file);
    same_logits(folder, file);
    stile_model_close(folder);
    stile_model_close(file);
}

static struct CMUnitTest tests[FOLDERS_MAX];

static int is_file(const struct dirent *entry)
{
    size_t n = strlen(entry->d_name);
    return n > 5 && strcmp(entry->d_name + n - 5, ".gguf") == 0;
}

int main(int argc, char **argv)
{
    char path[PATH_BYTES];
    struct dirent **entries;
    if (argc > 1) golden_dir = argv[1];
    snprintf(path, sizeof path, "%s/folders", golden_dir);
    int n = scandir(path, &entries, is_file, alphasort);
    if (n <= 0 || n > FOLDERS_MAX) {
        fprintf(stderr, "%s: %d folders where tests/golden/make_folders.py puts them\n", path, n);
        return 1;
    }
    for (int i = 0; i < n; i++) {
        char *name = strndup(entries[i]->d_name, strlen(entries[i]->d_name) - 5);
        tests[i] = (struct CMUnitTest){name, test_folder, NULL, NULL, name};
        free(entries[i]);
    }
    free(entries);
    int failed = cmocka_run_group_tests_name("run folders", tests, NULL, NULL);
    for (int i = 0; i < n; i++)
        free(tests[i].initial_state);
    return failed;
}
