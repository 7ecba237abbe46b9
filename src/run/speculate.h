/* speculate.h - several tokens in one pass over the weights.
 *
 * A pass evaluates a token, and guesses of what follows it. As long as the sampler draws what was guessed, its logits are
 * there already. Guesses come from the context (lookup.h) and from a draft model (draft.h), whichever promises more; where
 * neither pays, tokens are evaluated one by one, and guesses that were not evaluated are compared with what came.
 */
#ifndef STILE_RUN_SPECULATE_H
#define STILE_RUN_SPECULATE_H

#include "run/guess.h"

struct speculation;

enum { SPECULATION_ROWS_LEAST = 16 };

/* For a session that has its model and options; options.draft may be NULL. */
int speculation_create(struct speculation **speculation, struct stile_session *session, struct stile_error *error);
void speculation_free(struct speculation *speculation);
/* Takes its memory now. */
void speculation_touch(struct speculation *speculation);
/* Bytes of it for a session with these options (defaults filled in), without the draft model. */
uint64_t speculation_memory_bytes(const struct stile_model *model, const struct stile_session_options *options);

/* Room for the logits of SPECULATION_ROWS_LEAST tokens, where nothing is being generated with this session. */
float *speculation_rows(const struct speculation *speculation);

/* Before the first token of a generation. */
void speculation_begin(struct speculation *speculation, const struct stile_generate_options *options,
                       const struct stile_sampler *sampler);
/* Appends a token to the context: evaluates it, unless it was guessed right. n_more: tokens that may follow. */
int speculation_append(struct speculation *speculation, int32_t token, size_t n_more, struct stile_error *error);
/* After the last: what it came to. */
void speculation_end(struct speculation *speculation, struct stile_generation *result);

#endif
