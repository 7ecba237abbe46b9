/* lookup.h - guesses the next tokens from what the context already holds: text is often repeated, when code is edited or
 * a document quoted.
 *
 * The longest place in the context that reads like its end is found (at least LOOKUP_MATCH_MIN tokens), and what
 * followed there is the guess. How many tokens of it are worth evaluating follows from how often guesses after such
 * matches were right, and from how long evaluating took: where guessing does not pay, it stops. That decides about speed
 * only: what a guess was worth, the sampler says.
 */
#ifndef STILE_RUN_LOOKUP_H
#define STILE_RUN_LOOKUP_H

#include <stddef.h>
#include <stdint.h>

enum { LOOKUP_MATCH_MIN = 2, LOOKUP_DRAFT_MAX = 15 };

struct lookup;

/* For contexts of at most n_tokens_max tokens; NULL: out of memory. */
struct lookup *lookup_create(size_t n_tokens_max);
void lookup_free(struct lookup *lookup);

/* The context grew by one token. */
void lookup_add(struct lookup *lookup, int32_t token);
/* Writes up to `capacity` guesses of what follows the last token; returns how many are worth evaluating. */
size_t lookup_draft(struct lookup *lookup, size_t capacity, int32_t *tokens);
/* What became of the last lookup_draft: a pass with n_drafted of its tokens took time_ns, and n_accepted were right. */
void lookup_learn(struct lookup *lookup, size_t n_drafted, size_t n_accepted, uint64_t time_ns);

#endif
