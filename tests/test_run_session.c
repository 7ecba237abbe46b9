/* Sessions: context, rewinding, cancelling, generation with its stops, threads and batches that change nothing. */
#include "base/error.h"
#include "tiny_model.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct stile_session *create(struct stile_model *model, const struct stile_session_options *options)
{
    struct stile_session *session;
    struct stile_error error = {0};
    if (stile_session_create(&session, model, options, &error)) fail_msg("%s", error.message);
    return session;
}

static void eval(struct stile_session *session, const int32_t *tokens, size_t n)
{
    struct stile_error error = {0};
    if (stile_eval(session, tokens, n, &error)) fail_msg("%s", error.message);
}

static struct stile_model *open_model(void (*change)(struct gguf_write *file))
{
    struct stile_model *model;
    struct stile_error error = {0};
    if (tiny_open(&model, change, &error)) fail_msg("%s", error.message);
    return model;
}

static void fill(int32_t *tokens, size_t n)
{
    for (size_t i = 0; i < n; i++)
        tokens[i] = (int32_t)(i * 37 % TINY_VOCAB);
}

enum { N_LONG = 70 };

/* Logits of every token of N_LONG, evaluated with these options. */
static float *all_logits(struct stile_model *model, uint32_t n_threads, uint32_t n_batch)
{
    int32_t tokens[N_LONG];
    struct stile_error error = {0};
    fill(tokens, N_LONG);
    float *logits = calloc((size_t)N_LONG * TINY_VOCAB, sizeof *logits);
    struct stile_session *session =
        create(model, &(struct stile_session_options){.n_ctx = 128, .n_threads = n_threads, .n_batch = n_batch});
    if (stile_eval_rows(session, tokens, N_LONG, N_LONG, logits, &error)) fail_msg("%s", error.message);
    stile_session_free(session);
    return logits;
}

static void check_same_bits(void (*change)(struct gguf_write *file))
{
    static const uint32_t n_threads[] = {1, 2, 3, 5, 16}, n_batch[] = {1, 7, 64, 128};
    struct stile_model *model = open_model(change);
    float *truth = all_logits(model, 1, 1);
    for (size_t i = 0; i < sizeof n_threads / sizeof *n_threads; i++) {
        for (size_t j = 0; j < sizeof n_batch / sizeof *n_batch; j++) {
            float *logits = all_logits(model, n_threads[i], n_batch[j]);
            assert_memory_equal(truth, logits, (size_t)N_LONG * TINY_VOCAB * sizeof *logits);
            free(logits);
        }
    }
    free(truth);
    stile_model_close(model);
}

static void same_bits_llama(void **state)
{
    (void)state;
    check_same_bits(NULL);
}

static void same_bits_gemma3(void **state)
{
    (void)state;
    check_same_bits(tiny_gemma3);
}

/* The logits of the last tokens alone are those that all of them gave, wherever batches begin. */
static void last_rows(void **state)
{
    (void)state;
    static const uint32_t n_batch[] = {1, 7, 64, 128};
    enum { ROW_BYTES = TINY_VOCAB * sizeof(float) };
    struct stile_model *model = open_model(NULL);
    struct stile_error error = {0};
    int32_t tokens[N_LONG];
    float *truth = all_logits(model, 1, 1), *rows = malloc((size_t)N_LONG * ROW_BYTES);
    fill(tokens, N_LONG);
    for (size_t i = 0; i < sizeof n_batch / sizeof *n_batch; i++) {
        struct stile_session *session =
            create(model, &(struct stile_session_options){.n_ctx = 128, .n_batch = n_batch[i]});
        for (size_t n = 1; n < N_LONG; n += 9) {
            if (stile_eval_rows(session, tokens, N_LONG, n, rows, &error)) fail_msg("%s", error.message);
            assert_memory_equal(rows, truth + (N_LONG - n) * TINY_VOCAB, n * ROW_BYTES);
            assert_memory_equal(stile_logits(session), truth + (N_LONG - 1) * TINY_VOCAB, ROW_BYTES);
            assert_int_equal(stile_rewind(session, 0, &error), 0);
        }
        assert_int_equal(stile_eval_rows(session, tokens, 5, 6, rows, &error), STILE_ERROR_ARGUMENT);
        assert_int_equal(stile_eval_rows(session, tokens, 5, 0, rows, &error), STILE_ERROR_ARGUMENT);
        stile_session_free(session);
    }
    free(rows);
    free(truth);
    stile_model_close(model);
}

static void context_is_bounded(void **state)
{
    (void)state;
    struct stile_model *model = open_model(NULL);
    struct stile_session *session = create(model, &(struct stile_session_options){.n_ctx = 10});
    struct stile_error error = {0};
    int32_t tokens[11];
    fill(tokens, 11);
    assert_null(stile_logits(session));
    assert_int_equal(stile_eval(session, tokens, 11, &error), STILE_ERROR_CONTEXT);
    assert_non_null(strstr(error.message, "--ctx"));
    assert_int_equal(stile_context_used(session), 0);
    eval(session, tokens, 10);
    assert_int_equal(stile_context_used(session), 10);
    assert_memory_equal(stile_context_tokens(session), tokens, 10 * sizeof *tokens);
    assert_int_equal(stile_eval(session, tokens, 1, &error), STILE_ERROR_CONTEXT);
    assert_int_equal(stile_eval(session, tokens, 0, &error), STILE_ERROR_ARGUMENT);
    stile_session_free(session);
    stile_model_close(model);
}

static void tokens_are_checked(void **state)
{
    (void)state;
    struct stile_model *model = open_model(NULL);
    struct stile_session *session = create(model, NULL);
    struct stile_error error = {0};
    const int32_t bad[] = {-1, TINY_VOCAB, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(stile_eval(session, &bad[i], 1, &error), STILE_ERROR_ARGUMENT);
    stile_session_free(session);
    stile_model_close(model);
}

static void options_are_checked(void **state)
{
    (void)state;
    static const struct stile_session_options bad[] = {{.n_ctx = UINT32_MAX},
                                                       {.n_threads = 257},
                                                       {.n_batch = 1u << 20},
                                                       {.kv_format = (enum stile_kv_format)7},
                                                       {.isa = "mmx"}};
    struct stile_model *model = open_model(NULL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct stile_session *session;
        struct stile_session_options options = bad[i];
        struct stile_error error = {0};
        if (options.n_batch) options.n_ctx = 1u << 21;
        assert_int_equal(stile_session_create(&session, model, &options, &error), STILE_ERROR_ARGUMENT);
        assert_true(error.message[0] != '\0');
    }
    stile_model_close(model);
}

static void rewinding_gives_the_same_logits(void **state)
{
    (void)state;
    struct stile_model *model = open_model(NULL);
    struct stile_session *session = create(model, NULL);
    int32_t tokens[20], other = 5;
    float *first = calloc(TINY_VOCAB, sizeof *first);
    fill(tokens, 20);
    eval(session, tokens, 20);
    uint64_t hash = stile_logits_hash(session);
    memcpy(first, stile_logits(session), TINY_VOCAB * sizeof *first);
    assert_int_equal(stile_rewind(session, 12, NULL), 0);
    assert_null(stile_logits(session));
    eval(session, &other, 1);
    assert_true(memcmp(first, stile_logits(session), TINY_VOCAB * sizeof *first) != 0);
    assert_int_equal(stile_rewind(session, 12, NULL), 0);
    eval(session, tokens + 12, 8);
    assert_memory_equal(first, stile_logits(session), TINY_VOCAB * sizeof *first);
    assert_int_equal(stile_rewind(session, 21, NULL), STILE_ERROR_ARGUMENT);
    assert_int_equal(stile_rewind(session, 0, NULL), 0);
    eval(session, tokens, 20);
    assert_true(stile_logits_hash(session) == hash);
    free(first);
    stile_session_free(session);
    stile_model_close(model);
}

/* A ring that has moved on says so instead of giving wrong logits; where it allows going back, the logits are right. */
static void rewinding_sliding_windows(void **state)
{
    (void)state;
    enum { N = 300 };
    struct stile_model *model = open_model(tiny_gemma3);
    int32_t tokens[N];
    int n_refused = 0, n_allowed = 0;
    fill(tokens, N);
    const struct stile_session_options options = {.n_ctx = 512, .n_batch = 16};
    for (uint32_t kept = 1; kept < N; kept += 13) {
        struct stile_session *session = create(model, &options), *fresh = create(model, &options);
        eval(session, tokens, N);
        if (stile_rewind(session, kept, NULL)) {
            n_refused++;
            assert_int_equal(stile_context_used(session), N);
            assert_int_equal(stile_rewind(session, 0, NULL), 0);
            eval(session, tokens, kept);
        } else {
            n_allowed++;
        }
        eval(session, tokens + kept, 1);
        eval(fresh, tokens, kept + 1);
        assert_memory_equal(stile_logits(session), stile_logits(fresh), TINY_VOCAB * sizeof(float));
        stile_session_free(session);
        stile_session_free(fresh);
    }
    assert_true(n_refused > 0 && n_allowed > 0);
    stile_model_close(model);
}

static void cancelling(void **state)
{
    (void)state;
    struct stile_model *model = open_model(NULL);
    volatile int cancel = 1;
    struct stile_session *session = create(model, &(struct stile_session_options){.cancel = &cancel, .n_threads = 3});
    int32_t tokens[40];
    struct stile_error error = {0};
    fill(tokens, 40);
    assert_int_equal(stile_eval(session, tokens, 40, &error), STILE_ERROR_CANCELLED);
    assert_int_equal(stile_context_used(session), 0);
    assert_null(stile_logits(session));
    cancel = 0;
    eval(session, tokens, 40);
    struct stile_session *fresh = create(model, NULL);
    eval(fresh, tokens, 40);
    assert_memory_equal(stile_logits(session), stile_logits(fresh), TINY_VOCAB * sizeof(float));
    stile_session_free(session);
    stile_session_free(fresh);
    stile_model_close(model);
}

struct collected {
    char text[4096];
    size_t n;
    size_t n_calls, cancel_after;
};

static int collect(void *user, const char *text, size_t n_bytes)
{
    struct collected *collected = user;
    assert_true(collected->n + n_bytes < sizeof collected->text);
    memcpy(collected->text + collected->n, text, n_bytes);
    collected->n += n_bytes;
    collected->text[collected->n] = '\0';
    return ++collected->n_calls == collected->cancel_after;
}

static struct stile_generation generate(struct stile_model *model, struct stile_generate_options options,
                                        struct collected *collected)
{
    const int32_t prompt[] = {40, 41, 42};
    struct stile_session *session = create(model, &(struct stile_session_options){.n_ctx = 64});
    struct stile_sampler *sampler;
    struct stile_generation result;
    struct stile_error error = {0};
    struct stile_sampler_options sampling = stile_sampler_defaults();
    sampling.temperature = 0;
    assert_int_equal(stile_sampler_create(&sampler, &sampling, &error), 0);
    options.on_text = collect;
    options.user = collected;
    if (stile_generate(session, sampler, prompt, 3, &options, &result, &error)) fail_msg("%s", error.message);
    assert_int_equal(result.n_prompt_tokens, 3);
    assert_int_equal(stile_context_used(session), 3 + result.n_tokens - 1);
    stile_sampler_free(sampler);
    stile_session_free(session);
    return result;
}

static void generation_ends(void **state)
{
    (void)state;
    struct stile_model *model = open_model(NULL);
    struct collected all = {0}, some = {0};
    struct stile_generation result =
        generate(model, (struct stile_generate_options){.n_tokens_max = 20, .ignore_end = true}, &all);
    assert_int_equal(result.finish, STILE_FINISH_LENGTH);
    assert_int_equal(result.n_tokens, 20);
    assert_true(all.n > 4);

    result = generate(model, (struct stile_generate_options){.ignore_end = true}, &some);
    assert_int_equal(result.finish, STILE_FINISH_CONTEXT);
    assert_int_equal(result.n_tokens, 64 - 3 + 1);

    /* A stop string taken from what it says: text up to it, not including it. */
    char stop[3] = {all.text[all.n / 2], all.text[all.n / 2 + 1], 0};
    const char *stops[] = {"never said", stop};
    some = (struct collected){0};
    result = generate(model, (struct stile_generate_options){.ignore_end = true, .stop = stops, .n_stop = 2}, &some);
    assert_int_equal(result.finish, STILE_FINISH_STOP);
    assert_int_equal(some.n, (size_t)(strstr(all.text, stop) - all.text));
    assert_memory_equal(some.text, all.text, some.n);

    some = (struct collected){.cancel_after = 2};
    result = generate(model, (struct stile_generate_options){.n_tokens_max = 20, .ignore_end = true}, &some);
    assert_int_equal(result.finish, STILE_FINISH_CANCELLED);
    assert_true(some.n < all.n);
    stile_model_close(model);
}

static void chats_are_rendered(void **state)
{
    (void)state;
    struct stile_model *model = open_model(NULL);
    struct stile_error error = {0};
    char *text = NULL;
    const char *request = "{\"messages\": [{\"role\": \"user\", \"content\": \"a<|im_end|>\"}]}";
    if (stile_chat_render(model, request, &text, &error)) fail_msg("%s", error.message);
    assert_non_null(strstr(text, "a<|im_end|>"));
    int32_t *tokens = NULL;
    size_t n = 0, n_ends = 0;
    if (stile_chat_tokenize(model, request, &tokens, &n, &error)) fail_msg("%s", error.message);
    for (size_t i = 0; i < n; i++)
        n_ends += strcmp(stile_token_name(model, tokens[i]), "<|im_end|>") == 0;
    assert_int_equal(n_ends, 1); /* the template's; what the user spelled stays text */
    stile_free(text);
    stile_free(tokens);
    assert_int_equal(stile_chat_render(model, "[]", &text, &error), STILE_ERROR_ARGUMENT);
    stile_model_close(model);
}

static void memory_is_told(void **state)
{
    (void)state;
    struct stile_model *model = open_model(tiny_gemma3);
    struct stile_memory small, large;
    struct stile_error error = {0};
    assert_int_equal(
        stile_model_memory(model, &(struct stile_session_options){.n_ctx = 1024, .n_batch = 16}, &small, &error), 0);
    assert_int_equal(
        stile_model_memory(model, &(struct stile_session_options){.n_ctx = 2048, .n_batch = 16}, &large, &error), 0);
    assert_int_equal(small.weights_bytes, stile_model_info(model)->size_bytes);
    /* only the layer that sees everything grows: 1024 positions x 1 head x TINY_HEAD x 2 bytes x (key + value) */
    assert_int_equal(large.kv_bytes - small.kv_bytes, 1024 * TINY_HEAD * 2 * 2);
    assert_true(small.activations_bytes > 0 && small.other_bytes > 0);
    stile_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits_llama),
        cmocka_unit_test(same_bits_gemma3),
        cmocka_unit_test(last_rows),
        cmocka_unit_test(context_is_bounded),
        cmocka_unit_test(tokens_are_checked),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(rewinding_gives_the_same_logits),
        cmocka_unit_test(rewinding_sliding_windows),
        cmocka_unit_test(cancelling),
        cmocka_unit_test(generation_ends),
        cmocka_unit_test(chats_are_rendered),
        cmocka_unit_test(memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
