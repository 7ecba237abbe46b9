/* session.h - a model and a context: evaluates tokens, keeps the KV cache, hashes the logits.
 * The functions are those of stile.h (stile_session_*, stile_eval*, stile_rewind, ...). */
#ifndef STILE_RUN_SESSION_H
#define STILE_RUN_SESSION_H

#include "file/ahead.h"
#include "program/cost.h"
#include "run/kv.h"
#include "run/loaded.h"
#include "run/speculate.h"
#include "run/tiers.h"

enum { SESSION_CTX_DEFAULT = 4096, SESSION_BATCH_DEFAULT = 512, SESSION_BATCH_MAX = 8192 };

struct stile_session {
    struct stile_model *model;
    struct stile_session_options options; /* with defaults filled in */
    struct ahead *ahead;                  /* NULL: the weights are in memory, or do not fit */
    struct tiers *tiers;                  /* NULL: they fit, and are mapped */
    struct expert_use *use;               /* with tiers for experts */
    bool has_generated;                   /* text, whose use of experts is typical; measurements are not */
    uint64_t looked_ns;                   /* when memory was last looked at, with tiers */
    uint32_t n_looks;
    struct cpu *cpu;
    struct kv kv;
    int32_t *tokens; /* (n_ctx) */
    uint32_t n_used;
    uint32_t n_written; /* highest position ever written since the last rewind to 0 */
    float *logits;      /* (n_vocab) */
    bool has_logits;
    uint64_t hash;
    struct speculation *speculation;
    uint64_t read_bytes; /* weights and KV that evaluating has read so far, by the program's cost */
};

/* Fills in defaults and checks. */
int session_resolve_options(const struct stile_model *model, const struct stile_session_options *given,
                            struct stile_session_options *resolved, struct stile_error *error);

/* As stile_eval, for a session whose hash nobody asks for. */
int session_read(struct stile_session *session, const int32_t *tokens, size_t n_tokens, struct stile_error *error);

/* Of the KV cache. */
enum format session_kv_format(enum stile_kv_format kv_format);

/* Statistics of the model's experts, with what earlier sessions have found. */
int session_use_create(struct expert_use **use, const struct stile_model *model, struct stile_error *error);
/* Keeps them for later sessions. Failing to is no failure of the session. */
void session_use_store(const struct stile_session *session);

/* Evaluates a token and guesses of those after it, (n_tokens) together; n_tokens at most n_batch. Appends only the
 * token; `rows` gets the logits of all, (n_tokens, n_vocab). */
int session_look_ahead(struct stile_session *session, const int32_t *tokens, size_t n_tokens, float *rows,
                       struct stile_error *error);
/* The next guess was right: appends it; `row` are its logits. */
void session_accept(struct stile_session *session, const float *row);

#endif
