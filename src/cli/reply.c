/* reply.c - opening a model for work, conversations, and one reply. */
#include "cli/reply.h"
#include "base/clock.h"
#include "base/progress.h"
#include "cli/interrupt.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int engine_open(struct engine *engine, const struct options *options)
{
    struct stile_error error;
    *engine = (struct engine){0};
    progress_start("opening the model", NULL, NULL);
    int code = stile_model_open(&engine->model, options->arguments[0], &error);
    if (code == STILE_OK && options->draft) code = stile_model_open(&engine->draft, options->draft, &error);
    progress_stop();
    if (code != STILE_OK) {
        engine_close(engine);
        return cli_error(&error);
    }

    const struct stile_session_options session = {
        .n_ctx = (uint32_t)options->n_ctx,
        .n_threads = (uint32_t)options->n_threads,
        .kv_format = options_kv_format(options),
        .isa = options->isa,
        .cancel = interrupt_flag(),
        .memory_limit_bytes = (uint64_t)options->memory_limit,
        .place = options->place,
        .draft = engine->draft,
    };
    const struct stile_sampler_options sampler = {
        .temperature = (float)options->temperature,
        .top_k = (int32_t)options->top_k,
        .top_p = (float)options->top_p,
        .min_p = (float)options->min_p,
        .repeat_penalty = (float)options->repeat_penalty,
        .repeat_last_n = stile_sampler_defaults().repeat_last_n,
        .seed = (uint64_t)options->seed,
    };
    engine->free_bytes = stile_memory_free();
    if (options->show_plan) reply_show_plan(engine, options);
    if (stile_model_memory(engine->model, &session, &engine->memory, &error) != STILE_OK ||
        stile_session_create(&engine->session, engine->model, &session, &error) != STILE_OK ||
        stile_sampler_create(&engine->sampler, &sampler, &error) != STILE_OK) {
        engine_close(engine);
        return cli_error(&error);
    }
    interrupt_install();
    return EXIT_OK;
}

void engine_close(struct engine *engine)
{
    stile_sampler_free(engine->sampler);
    stile_session_free(engine->session);
    stile_model_close(engine->draft);
    stile_model_close(engine->model);
    buffer_free(&engine->text);
    *engine = (struct engine){0};
}

/* ---- conversations -------------------------------------------------------------------------- */

json_t *conversation_create(const char *system)
{
    json_t *conversation = json_pack("{s:[], s:b}", "messages", "add_generation_prompt", 1);
    if (conversation && system && conversation_add(conversation, "system", system, strlen(system)) != 0) {
        json_decref(conversation);
        return NULL;
    }
    return conversation;
}

int conversation_add(json_t *conversation, const char *role, const char *text, size_t n_bytes)
{
    json_t *message = json_pack("{s:s, s:o}", "role", role, "content", json_text(text, n_bytes));
    return json_array_append_new(json_object_get(conversation, "messages"), message);
}

void conversation_drop(json_t *conversation)
{
    json_t *messages = json_object_get(conversation, "messages");
    json_array_remove(messages, json_array_size(messages) - 1);
}

/* ---- one reply ------------------------------------------------------------------------------ */

struct listener {
    struct engine *engine;
    uint64_t start_ns;
    bool stream;
    bool safe;   /* stdout is a terminal */
    bool failed; /* stdout cannot be written */
};

static int on_text(void *user, const char *text, size_t n_bytes)
{
    struct listener *listener = user;
    struct engine *engine = listener->engine;
    progress_stop();
    if (!engine->first_text_ns) engine->first_text_ns = clock_ns() - listener->start_ns;
    buffer_add(&engine->text, text, n_bytes);
    if (!listener->stream) return 0;
    text_write(stdout, text, n_bytes, listener->safe);
    listener->failed = fflush(stdout) != 0;
    return listener->failed;
}

/* Keeps what the context has in common with the prompt; the rest is evaluated. */
static int rewind_to(struct engine *engine, const int32_t *tokens, size_t n_tokens, size_t *n_kept,
                     struct stile_error *error)
{
    const int32_t *context = stile_context_tokens(engine->session);
    uint32_t n = 0, n_used = stile_context_used(engine->session);
    while (n < n_used && n + 1 < n_tokens && context[n] == tokens[n])
        n++;
    *n_kept = n;
    if (stile_rewind(engine->session, n, NULL) == STILE_OK) return STILE_OK;
    *n_kept = 0; /* a sliding window has dropped what would be needed */
    return stile_rewind(engine->session, 0, error);
}

/* How much of what stays in memory has been read. */
static void say_loaded(void *user, char *text, size_t capacity)
{
    struct stile_tiers tiers;
    text[0] = '\0';
    if (stile_session_tiers(user, &tiers) && tiers.absent_bytes > 0)
        snprintf(text, capacity, ", %.1f of %.1f GB of weights are in memory",
                 (double)(tiers.resident_bytes - tiers.absent_bytes) / 1e9, (double)tiers.resident_bytes / 1e9);
}

static int reply(struct engine *engine, const struct options *options, const int32_t *tokens, size_t n_tokens,
                 bool stream)
{
    struct stile_error error;
    struct listener listener = {
        .engine = engine,
        .start_ns = options->start_ns,
        .stream = stream,
        .safe = isatty(STDOUT_FILENO),
    };
    const struct stile_generate_options generate = {
        .n_tokens_max = (uint32_t)options->n_tokens,
        .stop = options->stop,
        .n_stop = options->n_stop,
        .no_lookup = options->no_lookup,
        .on_text = on_text,
        .user = &listener,
    };
    engine->text.n = 0;
    engine->first_text_ns = 0;
    engine->result = (struct stile_generation){0};
    size_t n_kept;
    int code = rewind_to(engine, tokens, n_tokens, &n_kept, &error);
    if (code == STILE_OK) {
        progress_start("reading the prompt", say_loaded, engine->session);
        code = stile_generate(engine->session, engine->sampler, tokens + n_kept, n_tokens - n_kept, &generate,
                              &engine->result, &error);
        progress_stop();
    }
    if (listener.failed) return EXIT_FAILED; /* main says why */
    if (stream && engine->text.n > 0 && engine->text.data[engine->text.n - 1] != '\n') putchar('\n');
    fflush(stdout);
    if (code != STILE_OK) return cli_error(&error);
    if (engine->result.finish == STILE_FINISH_CANCELLED) return EXIT_INTERRUPTED;
    if (engine->result.finish == STILE_FINISH_CONTEXT)
        cli_fail("the reply was cut: the context of %u tokens is full; --ctx sets its size",
                 stile_context_size(engine->session));
    return EXIT_OK;
}

int reply_conversation(struct engine *engine, const struct options *options, const json_t *conversation, bool stream)
{
    struct stile_error error;
    int32_t *tokens;
    size_t n_tokens;
    char *request = json_dumps(conversation, JSON_COMPACT);
    if (!request) return cli_fail("out of memory");
    int code = stile_chat_tokenize(engine->model, request, &tokens, &n_tokens, &error);
    free(request);
    if (code != STILE_OK) return cli_error(&error);
    int status = reply(engine, options, tokens, n_tokens, stream);
    stile_free(tokens);
    return status;
}

int reply_raw(struct engine *engine, const struct options *options, const char *text, size_t n_bytes, bool stream)
{
    struct stile_error error;
    int32_t *tokens;
    size_t n_tokens;
    if (stile_tokenize(engine->model, text, n_bytes, STILE_ADD_SPECIAL | STILE_PARSE_SPECIAL, &tokens, &n_tokens,
                       &error) != STILE_OK)
        return cli_error(&error);
    int status = reply(engine, options, tokens, n_tokens, stream);
    stile_free(tokens);
    return status;
}
