/* utf8.h - UTF-8 as it arrives, piece by piece. */
#ifndef STILE_TEXT_UTF8_H
#define STILE_TEXT_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Decodes one character at s (n > 0 bytes left): returns its length 1..4 and the code point; an invalid byte gives
 * length 1 and U+FFFD. Overlong forms, surrogates and code points past U+10FFFF are invalid. */
size_t utf8_decode(const char *s, size_t n, uint32_t *code_point);
/* Writes up to 4 bytes, returns how many. */
size_t utf8_encode(uint32_t code_point, char *out);
/* How many of the leading bytes form whole characters: a truncated but so far valid character at the end is left out;
 * invalid bytes count as whole. */
size_t utf8_complete(const char *s, size_t n);

#endif
