/* reply.h - a model at work: one prompt in, one reply out, and what it cost. */
#ifndef STILE_CLI_REPLY_H
#define STILE_CLI_REPLY_H

#include "base/buffer.h"
#include "cli/options.h"
#include "cli/output.h"

struct engine {
    struct stile_model *model;
    struct stile_model *draft; /* NULL: none */
    struct stile_session *session;
    struct stile_sampler *sampler;
    struct stile_memory memory;
    /* the last reply */
    struct stile_generation result;
    struct buffer text;
    uint64_t free_bytes;    /* of memory, when the session began */
    uint64_t first_text_ns; /* from the start of the program to its first text; 0: there was none */
};

/* Opens model, session and sampler. Ctrl-C stops work on the session from here on. Returns an exit code. */
int engine_open(struct engine *engine, const struct options *options);
void engine_close(struct engine *engine);

/* A conversation as the chat templates take it: {"messages": [{"role": ..., "content": ...}, ...]}. */
json_t *conversation_create(const char *system);
int conversation_add(json_t *conversation, const char *role, const char *text, size_t n_bytes);
void conversation_drop(json_t *conversation); /* the last message */

/* Renders the conversation for the model's next turn and makes the reply: streamed to stdout if `stream`, kept in
 * engine->text. What the context holds already is not evaluated again. Returns an exit code: EXIT_INTERRUPTED when
 * Ctrl-C stopped it. */
int reply_conversation(struct engine *engine, const struct options *options, const json_t *conversation, bool stream);
/* The same for a text given to the model as it is. */
int reply_raw(struct engine *engine, const struct options *options, const char *text, size_t n_bytes, bool stream);

/* What to expect of the session, on stderr. */
void reply_show_plan(const struct engine *engine, const struct options *options);
/* Keeps what was expected of the last reply, and what came of it. */
void reply_grade(const struct engine *engine, const struct options *options);

/* The line about the last reply, on stderr. */
void stats_line(const struct engine *engine);
/* The last reply as one JSON object, with everything stats_line tells. */
json_t *stats_json(const struct engine *engine, const struct options *options);

/* How the experts were used, on stderr and as JSON: an array of layers, empty where experts are not cached. */
void experts_show(const struct engine *engine);
json_t *experts_json(const struct engine *engine);

#endif
