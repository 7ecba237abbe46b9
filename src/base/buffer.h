/* buffer.h - a byte string that grows. Zero-initialise it; it is always NUL-terminated once written to.
 *
 * A failed allocation (or the limit) sets `failed` and drops what follows, so a writer checks once at the end.
 */
#ifndef STILE_BASE_BUFFER_H
#define STILE_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

struct buffer {
    char *data; /* NULL while nothing was written */
    size_t n;
    size_t capacity;
    size_t limit; /* largest n allowed; 0: none */
    bool failed;
};

void buffer_add(struct buffer *buffer, const void *bytes, size_t n);
void buffer_string(struct buffer *buffer, const char *string);
void buffer_char(struct buffer *buffer, char c);
void buffer_printf(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Hands the bytes over (caller frees with free; "" when empty), leaves the buffer empty. NULL if failed. */
char *buffer_take(struct buffer *buffer);
void buffer_free(struct buffer *buffer);

#endif
