#include "text/jinja_value.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void jinja_fail(struct jinja *j, const char *format, ...)
{
    char message[sizeof j->error->message];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    j->code =
        error_set(j->error, STILE_ERROR_TEMPLATE, "%s: line %u, column %u: %s", j->name, j->line, j->column, message);
    longjmp(j->escape, 1);
}

void *jinja_alloc(struct jinja *j, size_t n, size_t size_bytes)
{
    size_t want;
    if (__builtin_mul_overflow(n, size_bytes, &want) || want > j->memory_max ||
        j->arena.total_bytes > j->memory_max - want)
        jinja_fail(j, "the template needs more than %zu MiB of memory", j->memory_max >> 20);
    void *p = arena_array(&j->arena, n, size_bytes);
    if (p) return p;
    j->code = error_memory(j->error, want, "a chat template");
    longjmp(j->escape, 1);
}

void *jinja_grow(struct jinja *j, const void *old, size_t n, size_t *capacity, size_t size_bytes)
{
    size_t larger = *capacity < 8 ? 8 : *capacity * 2; /* cannot wrap: jinja_alloc bounded the old one */
    void *p = jinja_alloc(j, larger, size_bytes);
    if (n > 0) memcpy(p, old, n * size_bytes);
    *capacity = larger;
    return p;
}

void jinja_charge(struct jinja *j, uint64_t steps)
{
    if (steps > j->steps_max - j->steps)
        jinja_fail(j, "the template takes more than %ju steps", (uintmax_t)j->steps_max);
    j->steps += steps;
}

void jinja_enter(struct jinja *j)
{
    if (j->depth >= j->depth_max) jinja_fail(j, "nested deeper than %u levels", j->depth_max);
    j->depth++;
}

void jinja_leave(struct jinja *j)
{
    j->depth--;
}
