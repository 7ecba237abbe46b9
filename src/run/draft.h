/* draft.h - guesses the next tokens with a second, smaller model.
 *
 * It draws as the target's sampler will, with the same random numbers, from its own logits; so the closer the models, the
 * more often both draw the same. It goes on while the guesses made so far seem likely enough: how clearly it prefers a
 * token says how likely the target agrees, learned as it goes. Its session follows the target's context when a guess is
 * asked for: it goes back to where both agree and reads what is missing in batches.
 */
#ifndef STILE_RUN_DRAFT_H
#define STILE_RUN_DRAFT_H

#include "run/guess.h"

struct stile_session;

/* For a target session with options.draft. ARGUMENT when the vocabularies differ. */
int draft_create(struct guesser **guesser, const struct stile_session *target, struct stile_error *error);
/* What that needs, the model's weights included; the target's options have their defaults filled in. */
int draft_memory(const struct stile_session_options *target, uint64_t *memory_bytes, struct stile_error *error);
/* Its context takes its memory now. */
void draft_touch(struct guesser *guesser);
/* Bytes that the draft model has read so far. */
uint64_t draft_read_bytes(const struct guesser *guesser);
/* Time that went into drafting so far. */
uint64_t draft_time_ns(const struct guesser *guesser);

#endif
