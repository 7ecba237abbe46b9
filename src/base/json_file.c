#include "base/json_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *parse(const char *path, const char *text, size_t n, size_t bytes_max, struct stile_error *error)
{
    json_error_t where = {.line = 0};
    json_t *root = n < bytes_max ? json_loadb(text, n, 0, &where) : NULL;
    if (root) return root;
    if (n == bytes_max)
        error_set(error, STILE_ERROR_MALFORMED, "%s: longer than %zu bytes", path, bytes_max);
    else
        error_set(error, STILE_ERROR_MALFORMED, "%s: line %d: not JSON (%s)", path, where.line, where.text);
    return NULL;
}

json_t *json_file_read(const char *path, size_t bytes_max, struct stile_error *error)
{
    FILE *file = fopen(path, "rb");
    if (!file) return error_set(error, STILE_ERROR_IO, "%s: cannot be opened: %s", path, strerror(errno)), NULL;
    char *text = malloc(bytes_max);
    size_t n = text ? fread(text, 1, bytes_max, file) : 0;
    int why = errno;
    bool failed = ferror(file);
    fclose(file);
    json_t *root = NULL;
    if (!text)
        error_memory(error, bytes_max, path);
    else if (failed)
        error_set(error, STILE_ERROR_IO, "%s: cannot be read: %s", path, strerror(why));
    else
        root = parse(path, text, n, bytes_max, error);
    free(text);
    return root;
}

void json_get_text(const json_t *object, const char *name, char *out, size_t capacity)
{
    const char *text = json_string_value(json_object_get(object, name));
    snprintf(out, capacity, "%s", text ? text : "");
}
