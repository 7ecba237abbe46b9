/* lookup.h - guesses the next tokens from what the context already holds: text is often repeated, when code is edited or
 * a document quoted.
 *
 * The longest place in the context that reads like its end is found, and what followed there is the guess. How likely it
 * is right follows from how often it was after matches of such a length; it grows with the guesses before it, if those are
 * right. Matches that are not worth evaluating are compared with what comes.
 */
#ifndef STILE_RUN_LOOKUP_H
#define STILE_RUN_LOOKUP_H

#include "run/guess.h"

/* For contexts of at most n_tokens_max tokens; NULL: out of memory. */
struct guesser *lookup_create(size_t n_tokens_max);
size_t lookup_memory_bytes(size_t n_tokens_max);

#endif
