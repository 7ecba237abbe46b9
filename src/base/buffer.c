#include "base/buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(struct buffer *buffer, size_t n)
{
    size_t need;
    if (buffer->failed) return false;
    if (__builtin_add_overflow(buffer->n, n, &need) || need == SIZE_MAX ||
        (buffer->limit > 0 && need > buffer->limit)) {
        buffer->failed = true;
        return false;
    }
    if (need + 1 <= buffer->capacity) return true;
    size_t capacity = buffer->capacity ? buffer->capacity : 64;
    while (capacity < need + 1)
        capacity = capacity > SIZE_MAX / 2 ? need + 1 : capacity * 2;
    char *data = realloc(buffer->data, capacity);
    if (!data) {
        buffer->failed = true;
        return false;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

void buffer_add(struct buffer *buffer, const void *bytes, size_t n)
{
    if (!reserve(buffer, n)) return;
    if (n > 0) memcpy(buffer->data + buffer->n, bytes, n);
    buffer->n += n;
    buffer->data[buffer->n] = '\0';
}

void buffer_string(struct buffer *buffer, const char *string)
{
    buffer_add(buffer, string, strlen(string));
}

void buffer_char(struct buffer *buffer, char c)
{
    buffer_add(buffer, &c, 1);
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0)
        buffer->failed = true;
    else if (reserve(buffer, (size_t)n)) {
        vsnprintf(buffer->data + buffer->n, (size_t)n + 1, format, again);
        buffer->n += (size_t)n;
    }
    va_end(again);
}

char *buffer_take(struct buffer *buffer)
{
    buffer_add(buffer, "", 0);
    char *data = buffer->failed ? NULL : buffer->data;
    if (!data) free(buffer->data);
    *buffer = (struct buffer){.limit = buffer->limit};
    return data;
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){0};
}
