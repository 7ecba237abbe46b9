/* Several tokens in a pass, guessed from the context and by a draft model: nothing changes but the time. */
#include "tiny_model.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

enum { N_CTX = 256, N_PROMPT = 60, SAID_MAX = 4096 };

/* ---- models ---------------------------------------------------------------------------------------- */

static struct stile_model *open_model(void (*change)(struct gguf_write *file))
{
    struct stile_model *model;
    struct stile_error error = {0};
    if (tiny_open(&model, change, &error)) fail_msg("%s", error.message);
    return model;
}

/* Layers that add nothing: the same logits, but passes that take as long as those of a larger model. */
static void deep(struct gguf_write *file)
{
    enum { N_LAYERS = 12 };
    static const struct {
        const char *name;
        float centre, spread;
    } tensors[] = {{"attn_norm", 1, 0},   {"attn_q", 0, 0.2f},   {"attn_k", 0, 0.2f},
                   {"attn_v", 0, 0.2f},   {"attn_output", 0, 0}, {"ffn_norm", 1, 0},
                   {"ffn_gate", 0, 0.2f}, {"ffn_up", 0, 0.2f},   {"ffn_down", 0, 0}};
    char name[64];
    gguf_write_u32(file, "llama.block_count", N_LAYERS);
    for (int layer = 1; layer < N_LAYERS; layer++) {
        for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
            snprintf(name, sizeof name, "blk.0.%s.weight", tensors[i].name);
            const struct gguf_write_tensor *tensor = gguf_write_get_tensor(file, name);
            uint64_t dims[4] = {tensor->dims[0], tensor->dims[1], 1, 1};
            uint32_t n_dims = tensor->n_dims;
            snprintf(name, sizeof name, "blk.%d.%s.weight", layer, tensors[i].name);
            gguf_write_floats(file, name, n_dims, dims, tensors[i].centre, tensors[i].spread);
        }
    }
}

/* Other weights in the last product: another opinion about everything. */
static void stranger(struct gguf_write *file)
{
    const uint64_t dims[] = {TINY_WIDTH, TINY_VOCAB};
    gguf_write_floats(file, "output.weight", 2, dims, 0.1f, 0.7f);
}

/* A little different: often of the same opinion. */
static void relative(struct gguf_write *file)
{
    const uint64_t dims[] = {TINY_WIDTH, TINY_WIDTH};
    gguf_write_floats(file, "blk.0.attn_output.weight", 2, dims, 0.0f, 0.02f);
}

static void short_trained(struct gguf_write *file)
{
    gguf_write_u32(file, "llama.context_length", 100);
}

static void swap_tokens(struct gguf_write *file)
{
    struct tiny_vocab vocab;
    tiny_vocab(&vocab);
    const char *text = vocab.texts[50];
    vocab.texts[50] = vocab.texts[51];
    vocab.texts[51] = text;
    gguf_write_vocab(file, &vocab);
}

static void other_words(struct gguf_write *file)
{
    static char texts[32][8]; /* of control characters that no merge needs */
    struct tiny_vocab vocab;
    tiny_vocab(&vocab);
    for (int i = 0; i < 32; i++) {
        if (i == '\n') continue;
        snprintf(texts[i], sizeof texts[i], "w%d", i);
        vocab.texts[i] = texts[i];
    }
    gguf_write_vocab(file, &vocab);
}

/* ---- generating ------------------------------------------------------------------------------------ */

struct way {
    struct stile_model *draft;
    bool lookup;
    float temperature, repeat_penalty;
    int32_t repeat_last_n;
    uint32_t n_ctx, n_tokens;
    const char *stop;
    bool ends; /* at an end token */
};

struct outcome {
    char said[SAID_MAX];
    size_t n_said;
    struct stile_generation result;
    uint64_t hash;
    int32_t tokens[N_CTX];
    uint32_t n_tokens;
    volatile int cancel;
    long cancel_after_ns;
};

static int collect(void *user, const char *text, size_t n_bytes)
{
    struct outcome *outcome = user;
    assert_true(outcome->n_said + n_bytes < SAID_MAX);
    memcpy(outcome->said + outcome->n_said, text, n_bytes);
    outcome->n_said += n_bytes;
    return 0;
}

static void open_sampler(const struct way *way, struct stile_sampler **sampler)
{
    struct stile_sampler_options sampling = stile_sampler_defaults();
    sampling.temperature = way->temperature;
    sampling.top_k = 3;
    sampling.seed = 5;
    if (way->repeat_penalty > 0) sampling.repeat_penalty = way->repeat_penalty;
    if (way->repeat_last_n != 0) sampling.repeat_last_n = way->repeat_last_n;
    assert_int_equal(stile_sampler_create(sampler, &sampling, NULL), 0);
}

static void note(struct outcome *outcome, const struct stile_session *session)
{
    outcome->hash = stile_logits_hash(session);
    outcome->n_tokens = stile_context_used(session);
    memcpy(outcome->tokens, stile_context_tokens(session), outcome->n_tokens * sizeof(int32_t));
}

/* After a prompt that repeats itself. */
static void run(struct stile_session *session, struct stile_sampler *sampler, const struct way *way,
                struct outcome *outcome)
{
    int32_t prompt[N_PROMPT];
    for (int32_t i = 0; i < N_PROMPT; i++)
        prompt[i] = 40 + i % 7;
    struct stile_error error = {0};
    const struct stile_generate_options options = {
        .n_tokens_max = way->n_tokens,
        .ignore_end = !way->ends,
        .no_lookup = !way->lookup,
        .stop = &way->stop,
        .n_stop = way->stop != NULL,
        .on_text = collect,
        .user = outcome,
    };
    if (stile_generate(session, sampler, prompt, N_PROMPT, &options, &outcome->result, &error))
        fail_msg("%s", error.message);
    note(outcome, session);
}

static void generate(struct stile_model *model, const struct way *way, struct outcome *outcome)
{
    struct stile_session *session;
    struct stile_sampler *sampler;
    const struct stile_session_options options = {
        .n_ctx = way->n_ctx ? way->n_ctx : N_CTX, .n_batch = 32, .draft = way->draft};
    assert_int_equal(stile_session_create(&session, model, &options, NULL), 0);
    open_sampler(way, &sampler);
    run(session, sampler, way, outcome);
    stile_sampler_free(sampler);
    stile_session_free(session);
}

static void assert_same(const struct outcome *a, const struct outcome *b)
{
    assert_string_equal(a->said, b->said);
    assert_int_equal(a->result.finish, b->result.finish);
    assert_int_equal(a->result.n_tokens, b->result.n_tokens);
    assert_int_equal(a->n_tokens, b->n_tokens);
    assert_memory_equal(a->tokens, b->tokens, a->n_tokens * sizeof *a->tokens);
    assert_int_equal(a->hash, b->hash);
}

/* The same generation token by token, and with every source of guesses. Returns what became of the draft model's alone. */
static struct stile_guesses check(struct stile_model *model, struct stile_model *draft, struct way way)
{
    static struct outcome plain, guessed;
    struct stile_guesses drafted = {0};
    plain = (struct outcome){0};
    way.draft = NULL;
    way.lookup = false;
    generate(model, &way, &plain);
    assert_int_equal(plain.result.n_passes, plain.n_tokens - N_PROMPT);
    assert_int_equal(plain.result.lookup.n_drafted + plain.result.draft.n_drafted, 0);
    for (int i = 0; i < 3; i++) {
        way.lookup = i != 1;
        way.draft = i > 0 ? draft : NULL;
        guessed = (struct outcome){0};
        generate(model, &way, &guessed);
        assert_same(&guessed, &plain);
        const struct stile_generation *result = &guessed.result;
        assert_int_equal(result->n_passes + result->lookup.n_accepted + result->draft.n_accepted,
                         plain.result.n_passes);
        assert_true(result->lookup.n_accepted <= result->lookup.n_drafted);
        assert_true(result->draft.n_accepted <= result->draft.n_drafted);
        if (!way.lookup) assert_int_equal(result->lookup.n_drafted, 0);
        if (!way.draft) assert_int_equal(result->draft.n_drafted, 0);
        if (!way.lookup) drafted = result->draft;
    }
    return drafted;
}

/* Returns what the draft model's guesses came to. */
static struct stile_guesses same_output(void (*target_change)(struct gguf_write *),
                                        void (*draft_change)(struct gguf_write *))
{
    struct stile_guesses sum = {0};
    static const float temperatures[] = {0, 1, 8};
    struct stile_model *target = open_model(target_change), *draft = open_model(draft_change);
    for (size_t i = 0; i < sizeof temperatures / sizeof *temperatures; i++) {
        const struct way ways[] = {
            {.temperature = temperatures[i], .n_tokens = 150},
            {.temperature = temperatures[i], .repeat_penalty = 1.3f, .n_tokens = 60},
            {.temperature = temperatures[i], .repeat_penalty = 1.3f, .repeat_last_n = -1, .n_tokens = 60},
        };
        for (size_t k = 0; k < sizeof ways / sizeof *ways; k++) {
            struct stile_guesses guesses = check(target, draft, ways[k]);
            sum.n_drafted += guesses.n_drafted;
            sum.n_accepted += guesses.n_accepted;
        }
    }
    stile_model_close(draft);
    stile_model_close(target);
    return sum;
}

/* The same model in short: every guess is right, whatever the sampler does. */
static void same_output_twin(void **state)
{
    (void)state;
    struct stile_guesses guesses = same_output(deep, NULL);
    assert_true(guesses.n_accepted > 0); /* how many depends on how the machine is used meanwhile */
    assert_int_equal(guesses.n_accepted, guesses.n_drafted);
}

static void same_output_relative(void **state)
{
    (void)state;
    struct stile_guesses guesses = same_output(deep, relative);
    assert_true(guesses.n_accepted > 0);
}

/* A model that knows nothing of the target is hardly ever asked: looking back says so. */
static void same_output_stranger(void **state)
{
    (void)state;
    struct stile_guesses guesses = same_output(deep, stranger);
    assert_true(guesses.n_drafted < 40);
}

/* Rings that forget: of the target, of the draft model, of both. */
static void same_output_sliding(void **state)
{
    (void)state;
    same_output(tiny_gemma3, NULL);
    same_output(deep, tiny_gemma3);
    same_output(tiny_gemma3, tiny_gemma3);
}

static void same_output_moved_ids(void **state)
{
    (void)state;
    struct stile_guesses guesses = same_output(deep, swap_tokens);
    assert_true(guesses.n_accepted > 0);
}

static void same_output_short_draft(void **state)
{
    (void)state;
    struct stile_guesses guesses = same_output(deep, short_trained);
    assert_in_range(guesses.n_accepted, 1, 9 * 40);
}

/* ---- ends ------------------------------------------------------------------------------------------ */

/* Wherever a generation ends, it ends there with guesses too. */
static void same_ends(void **state)
{
    (void)state;
    struct stile_model *model = open_model(deep), *draft = open_model(relative);
    static struct outcome plain;
    for (uint32_t n = 1; n <= 24; n++) {
        check(model, draft, (struct way){.n_tokens = n});
        check(model, draft, (struct way){.n_ctx = N_PROMPT + n - 1});
    }
    plain = (struct outcome){0};
    generate(model, &(struct way){.temperature = 1, .n_tokens = 100}, &plain);
    for (size_t at = 3; at + 3 < plain.n_said; at += 16) {
        char stop[4] = {0};
        memcpy(stop, plain.said + at, 3);
        check(model, draft, (struct way){.temperature = 1, .n_tokens = 100, .stop = stop});
    }
    for (int i = 0; i < 4; i++) /* hot enough to draw an end token */
        check(model, draft, (struct way){.temperature = 10 + (float)i, .n_tokens = 180, .ends = true});
    stile_model_close(draft);
    stile_model_close(model);
}

static void *cancel_later(void *argument)
{
    struct outcome *outcome = argument;
    nanosleep(&(struct timespec){.tv_nsec = outcome->cancel_after_ns}, NULL);
    outcome->cancel = 1;
    return NULL;
}

/* At any time, while drafting too: what was said is the beginning of what would have been said, and the session can be
 * used again. */
static void cancelled(void **state)
{
    (void)state;
    static struct outcome plain, stopped;
    const struct way way = {.temperature = 1, .n_tokens = 100, .lookup = true};
    struct stile_model *model = open_model(deep), *draft = open_model(relative);
    struct stile_session *session;
    struct stile_sampler *sampler;
    int n_cancelled = 0;
    plain = (struct outcome){0};
    generate(model, &way, &plain);
    const struct stile_session_options options = {
        .n_ctx = N_CTX, .n_batch = 32, .draft = draft, .cancel = &stopped.cancel};
    assert_int_equal(stile_session_create(&session, model, &options, NULL), 0);
    open_sampler(&way, &sampler);
    for (int i = 0; i <= 40; i++) {
        pthread_t thread;
        stopped = (struct outcome){.cancel_after_ns = i * 100000};
        assert_int_equal(stile_rewind(session, 0, NULL), 0);
        stile_sampler_reset(sampler);
        if (i < 40) assert_int_equal(pthread_create(&thread, NULL, cancel_later, &stopped), 0);
        run(session, sampler, &way, &stopped);
        if (i < 40) pthread_join(thread, NULL);
        n_cancelled += stopped.result.finish == STILE_FINISH_CANCELLED;
        assert_true(stopped.n_said <= plain.n_said);
        assert_memory_equal(stopped.said, plain.said, stopped.n_said);
        assert_memory_equal(stopped.tokens, plain.tokens, stopped.n_tokens * sizeof *stopped.tokens);
    }
    assert_true(n_cancelled > 5);
    assert_same(&stopped, &plain);
    stile_sampler_free(sampler);
    stile_session_free(session);
    stile_model_close(draft);
    stile_model_close(model);
}

/* A conversation: the context is cut, another prompt follows, and again. */
static void turns(struct stile_model *model, struct stile_model *draft, bool lookup, struct outcome *outcomes)
{
    static const uint32_t kept[] = {0, 50, 20, 0};
    const struct way way = {.temperature = 1};
    const struct stile_session_options options = {.n_ctx = N_CTX, .n_batch = 32, .draft = draft};
    const struct stile_generate_options generate = {.n_tokens_max = 40, .ignore_end = true, .no_lookup = !lookup};
    struct stile_session *session;
    struct stile_sampler *sampler;
    struct stile_error error = {0};
    assert_int_equal(stile_session_create(&session, model, &options, &error), 0);
    open_sampler(&way, &sampler);
    for (int32_t i = 0; i < 4; i++) {
        int32_t prompt[30];
        for (int32_t k = 0; k < 30; k++)
            prompt[k] = 40 + i + k % 5;
        assert_int_equal(stile_rewind(session, kept[i], &error), 0);
        assert_int_equal(stile_generate(session, sampler, prompt, 30, &generate, &outcomes[i].result, &error), 0);
        note(&outcomes[i], session);
    }
    stile_sampler_free(sampler);
    stile_session_free(session);
}

static void same_turns(void **state)
{
    (void)state;
    static struct outcome plain[4], guessed[4];
    struct stile_model *model = open_model(deep), *draft = open_model(relative);
    turns(model, NULL, false, plain);
    for (int lookup = 0; lookup < 2; lookup++) {
        turns(model, draft, lookup, guessed);
        for (int i = 0; i < 4; i++)
            assert_same(&guessed[i], &plain[i]);
    }
    stile_model_close(draft);
    stile_model_close(model);
}

/* ---- vocabularies and memory ------------------------------------------------------------------------ */

static void vocabularies(void **state)
{
    (void)state;
    struct stile_model *model = open_model(NULL), *other = open_model(other_words);
    struct stile_session *session;
    struct stile_error error = {0};
    assert_int_equal(
        stile_session_create(&session, model, &(struct stile_session_options){.n_ctx = 64, .draft = other}, &error),
        STILE_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "token 0 is \"w0\" there"));
    assert_non_null(strstr(error.message, "269 of 300 are the same"));
    stile_model_close(other);
    stile_model_close(model);
}

static void memory(void **state)
{
    (void)state;
    struct stile_model *model = open_model(NULL);
    struct stile_session_options options = {.n_ctx = 128};
    struct stile_memory alone, both;
    assert_int_equal(stile_model_memory(model, &options, &alone, NULL), 0);
    assert_int_equal(alone.draft_bytes, 0);
    options.draft = model;
    assert_int_equal(stile_model_memory(model, &options, &both, NULL), 0);
    assert_int_equal(both.draft_bytes,
                     alone.weights_bytes + alone.kv_bytes + alone.activations_bytes + alone.other_bytes);
    assert_int_equal(both.kv_bytes, alone.kv_bytes);
    stile_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_output_twin),
        cmocka_unit_test(same_output_relative),
        cmocka_unit_test(same_output_stranger),
        cmocka_unit_test(same_output_sliding),
        cmocka_unit_test(same_output_moved_ids),
        cmocka_unit_test(same_output_short_draft),
        cmocka_unit_test(same_ends),
        cmocka_unit_test(cancelled),
        cmocka_unit_test(same_turns),
        cmocka_unit_test(vocabularies),
        cmocka_unit_test(memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
