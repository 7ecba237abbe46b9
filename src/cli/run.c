/* run.c - `stile run`: finds the prompt, then one answer or a chat. */
#include "cli/chat.h"
#include "cli/commands.h"
#include "cli/input.h"

#include <string.h>
#include <unistd.h>

/* The prompt from wherever it is given. *chat: there is none, and somebody sits at a terminal. */
static int find_prompt(const struct options *options, struct buffer *prompt, bool *is_chat)
{
    *is_chat = false;
    if (options->prompt && options->file) return cli_usage("run: -p and -f are two prompts: give one");
    if (options->raw && options->system) return cli_usage("run: --system has no place in a --raw prompt");
    if (options->prompt) {
        buffer_string(prompt, options->prompt);
    } else if (options->file || !isatty(STDIN_FILENO)) {
        int status = input_read(options->file ? options->file : "-", prompt);
        if (status != EXIT_OK) return status;
    } else if (options->raw || options->json || options->logits_hash || !isatty(STDOUT_FILENO)) {
        return cli_usage("run: no prompt: give -p TEXT, -f FILE or a pipe (a chat has no --raw, --json, "
                         "--logits-hash, and needs a terminal)");
    } else {
        *is_chat = true;
        return EXIT_OK;
    }
    return prompt->n > 0 ? EXIT_OK : cli_usage("run: the prompt is empty");
}

static int require_template(const struct engine *engine, const struct options *options)
{
    if (options->raw || stile_model_info(engine->model)->chat_template) return EXIT_OK;
    return cli_fail("%s has no chat template: --raw gives it the prompt as it is", options->arguments[0]);
}

static int answer(struct engine *engine, const struct options *options, const struct buffer *prompt)
{
    int status = EXIT_FAILED;
    if (options->raw) {
        status = reply_raw(engine, options, prompt->data, prompt->n, !options->json);
    } else {
        json_t *conversation = conversation_create(options->system);
        if (conversation && conversation_add(conversation, "user", prompt->data, prompt->n) == 0)
            status = reply_conversation(engine, options, conversation, !options->json);
        else
            cli_fail("out of memory");
        json_decref(conversation);
    }
    /* A stopped reply has its figures too, one that failed has none. */
    if (status == EXIT_FAILED) return status;
    reply_grade(engine, options);
    if (options->json) {
        json_show(stats_json(engine, options));
    } else {
        stats_line(engine);
        if (options->expert_profile) experts_show(engine);
        if (options->logits_hash)
            fprintf(stderr, "logits hash %016llx\n", (unsigned long long)stile_logits_hash(engine->session));
    }
    return status;
}

int command_run(const struct options *options)
{
    struct buffer prompt = {0};
    struct engine engine;
    bool is_chat;
    int status = find_prompt(options, &prompt, &is_chat);
    if (status == EXIT_OK) status = engine_open(&engine, options);
    if (status == EXIT_OK) {
        status = require_template(&engine, options);
        if (status == EXIT_OK) status = is_chat ? chat(&engine, options) : answer(&engine, options, &prompt);
        engine_close(&engine);
    }
    buffer_free(&prompt);
    return status;
}
