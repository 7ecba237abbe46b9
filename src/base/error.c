#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

int error_set(struct stile_error *error, int code, const char *format, ...)
{
    if (!error) return code;
    va_list args;
    va_start(args, format);
    error->code = code;
    int n = vsnprintf(error->message, sizeof error->message, format, args);
    va_end(args);
    if (n < 0) error->message[0] = '\0';
    for (char *c = error->message; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
    return code;
}

int error_memory(struct stile_error *error, size_t size_bytes, const char *what)
{
    return error_set(error, STILE_ERROR_MEMORY, "out of memory (%zu bytes for %s)", size_bytes, what);
}
