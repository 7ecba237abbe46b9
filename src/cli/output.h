/* output.h - what the commands say: errors in one line, text that cannot harm a terminal, JSON.
 *
 * Text from a model or its file is a stranger's: control characters never reach a terminal.
 */
#ifndef STILE_CLI_OUTPUT_H
#define STILE_CLI_OUTPUT_H

#include "stile.h"

#include <jansson.h>
#include <stdio.h>

/* "stile: MESSAGE" on stderr; returns EXIT_USAGE. */
int cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same; returns EXIT_FAILED. */
int cli_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A library's error; returns EXIT_FAILED, or EXIT_INTERRUPTED for STILE_ERROR_CANCELLED (and prints nothing). */
int cli_error(const struct stile_error *error);

/* Writes text; with `safe`, control characters other than newline and tab become U+FFFD. */
void text_write(FILE *stream, const char *text, size_t n_bytes, bool safe);
/* For a table: all control characters become '?', so the text stays on its line. */
void text_line(FILE *stream, const char *text);
/* Text in double quotes, escaped as in C. */
void text_quoted(FILE *stream, const char *text, size_t n_bytes);

/* A JSON string; bytes that are not UTF-8, and NUL, become U+FFFD. */
json_t *json_text(const char *text, size_t n_bytes);
json_t *memory_json(const struct stile_memory *memory);
/* Prints and frees an object. */
void json_show(json_t *object);

/* "86.3 MiB" */
const char *size_text(char out[32], uint64_t size_bytes);

#endif
