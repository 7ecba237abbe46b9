/* json_file.h - JSON in files that may be damaged, made up, or no files at all. */
#ifndef STILE_BASE_JSON_FILE_H
#define STILE_BASE_JSON_FILE_H

#include "base/error.h"

#include <jansson.h>

/* Reads at most bytes_max - 1 bytes. NULL: IO, or MALFORMED for what is longer or no JSON, with the line. */
json_t *json_file_read(const char *path, size_t bytes_max, struct stile_error *error);
/* The text under `name`, cut to fit; "" where there is none. */
void json_get_text(const json_t *object, const char *name, char *out, size_t capacity);

#endif
