/* Guessing from the context: what is guessed, when it is not worth it, and that it changes nothing but the time. */
#include "run/lookup.h"
#include "tiny_model.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct lookup *lookup_of(const char *text)
{
    struct lookup *lookup = lookup_create(4096);
    assert_non_null(lookup);
    for (; *text; text++)
        lookup_add(lookup, *text);
    int32_t none;
    assert_int_equal(lookup_draft(lookup, 1, &none), 0); /* not before it is known how long a plain pass takes */
    lookup_learn(lookup, 0, 0, 1000);
    return lookup;
}

/* What is guessed after a text, a letter being a token. */
static void expect(const char *text, size_t capacity, const char *guess)
{
    struct lookup *lookup = lookup_of(text);
    int32_t tokens[LOOKUP_DRAFT_MAX];
    char guessed[LOOKUP_DRAFT_MAX + 1] = "";
    size_t n = lookup_draft(lookup, capacity, tokens);
    for (size_t i = 0; i < n; i++)
        guessed[i] = (char)tokens[i];
    assert_int_equal(strncmp(guessed, guess, n), 0);
    assert_int_equal(n == 0, *guess == '\0');
    assert_true(n <= capacity);
    lookup_free(lookup);
}

static void guesses(void **state)
{
    (void)state;
    expect("", 8, "");
    expect("a", 8, "");
    expect("abcdefghij", 8, "");
    expect("the quick brown fox. the quick brown", 8, " fox. th");
    expect("the quick brown fox. the quick brown", 1, " ");
    expect("the quick brown fox. the quick brown", 0, "");
    /* the longer match counts, then the later one */
    expect("1 xxabcdef-, 2 yyabcdef+, 1 xxabcdef", 8, "-, 2 yya");
    expect("abcdefgh-, abcdefgh+, abcdefgh", 8, "+, abcde");
    /* what overlaps itself */
    expect("abababababab", 8, "ababab");
    expect("aaaaaaaaaaaa", 8, "a");
}

static void full(void **state)
{
    (void)state;
    struct lookup *lookup = lookup_create(4);
    int32_t tokens[LOOKUP_DRAFT_MAX];
    for (int i = 0; i < 10; i++)
        lookup_add(lookup, 1);
    assert_true(lookup_draft(lookup, LOOKUP_DRAFT_MAX, tokens) <= 4);
    lookup_free(lookup);
}

/* n rounds of a text that repeats, with guesses that turn out right or wrong; returns how many were evaluated. */
static size_t rounds(struct lookup *lookup, int n, bool right, uint64_t slope_ns)
{
    int32_t tokens[LOOKUP_DRAFT_MAX];
    size_t total = 0;
    for (int i = 0; i < n; i++) {
        size_t drafted = lookup_draft(lookup, LOOKUP_DRAFT_MAX, tokens);
        lookup_learn(lookup, drafted, right ? drafted : 0, 1000 + slope_ns * drafted);
        total += drafted;
    }
    return total;
}

static void only_where_it_pays(void **state)
{
    (void)state;
    const char *text = "the quick brown fox jumps over the lazy dog. the quick brown fox";
    struct lookup *lookup = lookup_of(text);
    assert_true(rounds(lookup, 20, true, 100) > 100); /* right and cheap: nearly all there is */
    lookup_free(lookup);
    lookup = lookup_of(text);
    rounds(lookup, 50, false, 100);
    assert_true(rounds(lookup, 100, false, 100) < 15); /* wrong: hardly any, but not never again */
    assert_true(rounds(lookup, 1000, true, 100) > 1000);
    lookup_free(lookup);
    lookup = lookup_of(text);
    rounds(lookup, 20, true, 1200);
    assert_true(rounds(lookup, 100, true, 1200) < 100); /* right, but each costs more than a pass of its own */
    lookup_free(lookup);
}

struct said {
    char text[4096];
    size_t n;
};

static int collect(void *user, const char *text, size_t n_bytes)
{
    struct said *said = user;
    assert_true(said->n + n_bytes < sizeof said->text);
    memcpy(said->text + said->n, text, n_bytes);
    said->n += n_bytes;
    return 0;
}

struct outcome {
    struct said said;
    struct stile_generation result;
    uint64_t hash;
    int32_t tokens[256];
    uint32_t n_tokens;
};

static void generate(struct stile_model *model, float temperature, bool no_lookup, struct outcome *outcome)
{
    /* a prompt that repeats itself */
    int32_t prompt[60];
    for (int32_t i = 0; i < 60; i++)
        prompt[i] = 40 + i % 7;
    struct stile_session *session;
    struct stile_sampler *sampler;
    struct stile_error error = {0};
    struct stile_sampler_options sampling = stile_sampler_defaults();
    sampling.temperature = temperature;
    sampling.top_k = 2;
    sampling.seed = 5;
    const struct stile_session_options options = {.n_ctx = 256, .n_batch = 32};
    const struct stile_generate_options generate = {
        .n_tokens_max = 150, .ignore_end = true, .no_lookup = no_lookup, .on_text = collect, .user = &outcome->said};
    *outcome = (struct outcome){0};
    assert_int_equal(stile_session_create(&session, model, &options, &error), 0);
    assert_int_equal(stile_sampler_create(&sampler, &sampling, &error), 0);
    if (stile_generate(session, sampler, prompt, 60, &generate, &outcome->result, &error))
        fail_msg("%s", error.message);
    outcome->hash = stile_logits_hash(session);
    outcome->n_tokens = stile_context_used(session);
    memcpy(outcome->tokens, stile_context_tokens(session), outcome->n_tokens * sizeof(int32_t));
    stile_sampler_free(sampler);
    stile_session_free(session);
}

static void same_output(void (*change)(struct gguf_write *file))
{
    static const float temperatures[] = {0, 1, 8};
    struct stile_model *model;
    struct stile_error error = {0};
    uint32_t n_accepted = 0, n_wrong = 0;
    if (tiny_open(&model, change, &error)) fail_msg("%s", error.message);
    for (size_t i = 0; i < sizeof temperatures / sizeof *temperatures; i++) {
        static struct outcome plain, guessed;
        generate(model, temperatures[i], true, &plain);
        generate(model, temperatures[i], false, &guessed);
        assert_int_equal(plain.result.n_passes, 149);
        assert_int_equal(plain.result.n_drafted, 0);
        assert_int_equal(guessed.result.n_passes + guessed.result.n_accepted, 149);
        assert_int_equal(guessed.hash, plain.hash);
        assert_int_equal(guessed.n_tokens, plain.n_tokens);
        assert_memory_equal(guessed.tokens, plain.tokens, plain.n_tokens * sizeof(int32_t));
        assert_string_equal(guessed.said.text, plain.said.text);
        n_accepted += guessed.result.n_accepted;
        n_wrong += guessed.result.n_drafted - guessed.result.n_accepted;
    }
    assert_true(n_accepted > 0);
    assert_true(n_wrong > 0); /* so what was evaluated in vain was forgotten well */
    stile_model_close(model);
}

static void same_output_llama(void **state)
{
    (void)state;
    same_output(NULL);
}

static void same_output_sliding(void **state)
{
    (void)state;
    same_output(tiny_gemma3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guesses),
        cmocka_unit_test(full),
        cmocka_unit_test(only_where_it_pays),
        cmocka_unit_test(same_output_llama),
        cmocka_unit_test(same_output_sliding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
