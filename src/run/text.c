/* Text to tokens and back, and chat templates, as the public interface offers them. */
#include "run/loaded.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

_Static_assert((int)STILE_ADD_SPECIAL == TOKENIZER_ADD_SPECIAL && (int)STILE_PARSE_SPECIAL == TOKENIZER_PARSE_SPECIAL,
               "same flags");

void stile_free(void *memory)
{
    free(memory);
}

size_t stile_utf8_complete(const char *bytes, size_t n_bytes)
{
    return utf8_complete(bytes, n_bytes);
}

const char *stile_token_bytes(const struct stile_model *model, int32_t token, bool special, size_t *n_bytes)
{
    return tokenizer_bytes(model->tokenizer, token, special, n_bytes);
}

const char *stile_token_name(const struct stile_model *model, int32_t token)
{
    return tokenizer_name(model->tokenizer, token);
}

bool stile_token_is_end(const struct stile_model *model, int32_t token)
{
    return tokenizer_is_end(model->tokenizer, token);
}

int stile_tokenize(const struct stile_model *model, const char *text, size_t n_bytes, unsigned flags, int32_t **tokens,
                   size_t *n_tokens, struct stile_error *error)
{
    struct tokens result = {0};
    int failed = tokenizer_encode(model->tokenizer, text, n_bytes, flags, &result, error);
    if (failed) {
        tokens_free(&result);
        return failed;
    }
    *tokens = result.ids;
    *n_tokens = result.n;
    return 0;
}

static const char *spelling(const struct stile_model *model, int32_t token)
{
    return token < 0 ? "" : tokenizer_name(model->tokenizer, token);
}

/* The variables that every template may count on. */
static json_t *read_request(const struct stile_model *model, const char *request, struct stile_error *error)
{
    json_error_t where;
    json_t *variables = json_loads(request, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(variables)) {
        if (variables)
            error_set(error, STILE_ERROR_ARGUMENT, "chat request: must be a JSON object");
        else
            error_set(error, STILE_ERROR_ARGUMENT, "chat request: line %d, column %d: %s", where.line, where.column,
                      where.text);
        json_decref(variables);
        return NULL;
    }
    const struct {
        const char *name;
        json_t *value;
    } defaults[] = {
        {"bos_token", json_string(spelling(model, tokenizer_bos(model->tokenizer)))},
        {"eos_token", json_string(spelling(model, tokenizer_eos(model->tokenizer)))},
        {"tools", json_null()},
        {"documents", json_null()},
        {"add_generation_prompt", json_false()},
    };
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++) {
        if (json_object_get(variables, defaults[i].name))
            json_decref(defaults[i].value);
        else
            json_object_set_new(variables, defaults[i].name, defaults[i].value);
    }
    return variables;
}

/* The model is shared between threads and otherwise immutable: compiling on first use is the one exception. */
static int compiled_template(const struct stile_model *model, const struct chat_template **tpl,
                             struct stile_error *error)
{
    struct stile_model *m = (struct stile_model *)(uintptr_t)model;
    int failed = 0;
    if (!m->info.chat_template)
        return error_set(error, STILE_ERROR_TEMPLATE,
                         "%s: the file has no chat template (use the text as it is: --raw)", m->path);
    pthread_mutex_lock(&m->chat_lock);
    if (!m->chat)
        failed = chat_template_compile(&m->chat, "chat template", m->info.chat_template, strlen(m->info.chat_template),
                                       error);
    *tpl = m->chat;
    pthread_mutex_unlock(&m->chat_lock);
    return failed;
}

static int render(const struct stile_model *model, const char *request, struct chat_text *text,
                  struct stile_error *error)
{
    static const char *const trusted[] = {"bos_token", "eos_token", NULL};
    const struct chat_template *tpl = NULL;
    int failed = compiled_template(model, &tpl, error);
    if (failed) return failed;
    json_t *variables = read_request(model, request, error);
    if (!variables) return STILE_ERROR_ARGUMENT;
    failed = chat_template_render(tpl, variables, trusted, NULL, text, error);
    json_decref(variables);
    return failed;
}

int stile_chat_render(const struct stile_model *model, const char *request, char **text, struct stile_error *error)
{
    struct chat_text rendered = {0};
    int failed = render(model, request, &rendered, error);
    if (failed) return failed;
    *text = rendered.text;
    rendered.text = NULL;
    chat_text_free(&rendered);
    return 0;
}

/* Text from the request is tokenized together with the template's own, but cannot spell control tokens. */
static int encode_chat(const struct stile_model *model, const struct chat_text *text, struct tokens *tokens,
                       struct stile_error *error)
{
    bool *doubtful = calloc(text->n + 1, sizeof *doubtful);
    if (!doubtful) return error_memory(error, text->n, "a chat");
    for (size_t i = 0; i < text->n_segments; i++)
        for (size_t j = text->segments[i].begin; j < text->segments[i].end; j++)
            doubtful[j] = text->segments[i].from_variables;
    int failed = tokenizer_encode_marked(model->tokenizer, text->text, text->n, doubtful,
                                         TOKENIZER_PARSE_SPECIAL | TOKENIZER_ADD_BOS, tokens, error);
    free(doubtful);
    return failed;
}

int stile_chat_tokenize(const struct stile_model *model, const char *request, int32_t **tokens, size_t *n_tokens,
                        struct stile_error *error)
{
    struct chat_text rendered = {0};
    struct tokens result = {0};
    int failed = render(model, request, &rendered, error);
    if (failed) return failed;
    failed = encode_chat(model, &rendered, &result, error);
    chat_text_free(&rendered);
    if (failed) {
        tokens_free(&result);
        return failed;
    }
    *tokens = result.ids;
    *n_tokens = result.n;
    return 0;
}
