/* error.h - filling a struct stile_error.
 *
 * A function that fails returns what error_set returns, so a failure reads
 *     return error_set(error, STILE_ERROR_MALFORMED, "%s: offset %zu: version %u is not 2 or 3", path, at, version);
 * One line, no full stop: file, place, what was wrong, what to do. `error` may be NULL.
 */
#ifndef STILE_BASE_ERROR_H
#define STILE_BASE_ERROR_H

#include "stile.h"

/* Formats the message (truncated to fit; bytes that are not printable, as a hostile file may hold, become '?')
 * and returns `code`. */
int error_set(struct stile_error *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The usual out-of-memory error: "out of memory (SIZE bytes for WHAT)". Returns STILE_ERROR_MEMORY. */
int error_memory(struct stile_error *error, size_t size_bytes, const char *what);

#endif
