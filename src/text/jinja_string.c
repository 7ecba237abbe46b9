/* Strings with their marks: cutting, joining, searching. */
#include "text/jinja_value.h"

#include <string.h>

/* Bytes that one step pays for when a string is copied or searched. */
enum { BYTES_PER_STEP = 64 };

static void builder_reserve(struct builder *b, size_t n)
{
    size_t need;
    if (__builtin_add_overflow(b->n, n, &need) || (b->limit > 0 && need > b->limit))
        jinja_fail(b->j, "the output is longer than %zu bytes", b->limit);
    if (need < b->capacity) return;
    size_t capacity = b->capacity < 64 ? 64 : b->capacity;
    while (capacity <= need) {
        if (capacity > (size_t)JINJA_MEMORY_MAX) jinja_fail(b->j, "a string is longer than %d bytes", JINJA_MEMORY_MAX);
        capacity *= 2;
    }
    char *bytes = jinja_alloc(b->j, capacity, 1);
    if (b->n > 0) memcpy(bytes, b->bytes, b->n);
    if (b->marks) {
        unsigned char *marks = jinja_alloc(b->j, capacity, 1);
        memcpy(marks, b->marks, b->n);
        b->marks = marks;
    }
    b->bytes = bytes;
    b->capacity = capacity;
}

/* Room for n bytes of `mark`; marks per byte begin when the first byte of another origin comes. */
static void builder_prepare(struct builder *b, size_t n, unsigned char mark)
{
    builder_reserve(b, n);
    jinja_charge(b->j, n / BYTES_PER_STEP);
    if (b->n == 0 && !b->marks) b->mark = mark;
    if (!b->marks && mark != b->mark) {
        b->marks = jinja_alloc(b->j, b->capacity, 1);
        memset(b->marks, b->mark, b->n);
    }
    if (b->marks) memset(b->marks + b->n, mark, n);
}

void builder_bytes(struct builder *b, const char *bytes, size_t n, unsigned char mark)
{
    if (n == 0) return;
    builder_prepare(b, n, mark);
    memcpy(b->bytes + b->n, bytes, n);
    b->n += n;
}

void builder_text(struct builder *b, const char *text)
{
    builder_bytes(b, text, strlen(text), 0);
}

void builder_slice(struct builder *b, const struct string *s, size_t begin, size_t end)
{
    if (!s->marks) {
        builder_bytes(b, s->bytes + begin, end - begin, s->mark);
        return;
    }
    while (begin < end) {
        size_t run = begin + 1;
        while (run < end && s->marks[run] == s->marks[begin])
            run++;
        builder_bytes(b, s->bytes + begin, run - begin, s->marks[begin]);
        begin = run;
    }
}

void builder_string(struct builder *b, const struct string *s)
{
    builder_slice(b, s, 0, s->n);
}

void builder_repeat(struct builder *b, const struct string *s, int64_t times)
{
    if (times <= 0 || s->n == 0) return;
    size_t n;
    if (__builtin_mul_overflow(s->n, (size_t)times, &n) || n > b->j->memory_max)
        jinja_fail(b->j, "a string is longer than %zu bytes", b->j->memory_max);
    builder_reserve(b, n);
    jinja_charge(b->j, (uint64_t)times / 16);
    for (int64_t i = 0; i < times; i++)
        builder_string(b, s);
}

const struct string *builder_finish(struct builder *b)
{
    struct string *s = jinja_alloc(b->j, 1, sizeof *s);
    *s = (struct string){.bytes = b->n > 0 ? b->bytes : "", .n = b->n, .marks = b->marks, .mark = b->mark};
    return s;
}

const struct string *string_from(struct jinja *j, const char *bytes, size_t n, unsigned char mark)
{
    struct string *s = jinja_alloc(j, 1, sizeof *s);
    *s = (struct string){.bytes = bytes, .n = n, .mark = mark};
    return s;
}

const struct string *string_slice(struct jinja *j, const struct string *s, size_t begin, size_t end)
{
    if (begin == 0 && end == s->n) return s;
    struct string *part = jinja_alloc(j, 1, sizeof *part);
    *part = *s;
    part->bytes += begin;
    part->n = end - begin;
    if (part->marks) part->marks += begin;
    return part;
}

const struct string *string_safe(struct jinja *j, const struct string *s, bool safe)
{
    if (s->safe == safe) return s;
    struct string *copy = jinja_alloc(j, 1, sizeof *copy);
    *copy = *s;
    copy->safe = safe;
    return copy;
}

const struct string *string_join(struct jinja *j, const struct string *a, const struct string *b)
{
    struct builder out = {.j = j};
    if (a->safe || b->safe) {
        a = string_escape(j, a);
        b = string_escape(j, b);
    }
    builder_reserve(&out, a->n + b->n);
    builder_string(&out, a);
    builder_string(&out, b);
    return string_safe(j, builder_finish(&out), a->safe && b->safe);
}

bool string_equal(const struct string *a, const struct string *b)
{
    return a->n == b->n && (a->bytes == b->bytes || memcmp(a->bytes, b->bytes, a->n) == 0);
}

bool string_is(const struct string *s, const char *text)
{
    return s->n == strlen(text) && memcmp(s->bytes, text, s->n) == 0;
}

unsigned char string_mark(const struct string *s, size_t at)
{
    return s->marks ? s->marks[at] : s->mark;
}

/* A simple search, whose worst case is charged: candidates times the length of the part. */
size_t string_search(struct jinja *j, const struct string *s, const struct string *part, size_t from)
{
    if (part->n > s->n || from > s->n - part->n) return SIZE_MAX;
    if (part->n == 0) return from;
    size_t last = s->n - part->n, charged = from;
    for (size_t at = from; at <= last; at++) {
        const char *candidate = memchr(s->bytes + at, part->bytes[0], last - at + 1);
        at = candidate ? (size_t)(candidate - s->bytes) : last;
        jinja_charge(j, (at - charged) / BYTES_PER_STEP + part->n / BYTES_PER_STEP + (at & 1));
        charged = at;
        if (candidate && memcmp(candidate, part->bytes, part->n) == 0) return at;
    }
    return SIZE_MAX;
}

static const char *entity(char c)
{
    switch (c) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '\'': return "&#39;";
    case '"': return "&#34;";
    default: return NULL;
    }
}

const struct string *string_escape(struct jinja *j, const struct string *s)
{
    if (s->safe) return s;
    struct builder b = {.j = j};
    size_t begin = 0;
    for (size_t i = 0; i < s->n; i++) {
        const char *text = entity(s->bytes[i]);
        if (!text) continue;
        builder_slice(&b, s, begin, i);
        builder_bytes(&b, text, strlen(text), string_mark(s, i));
        begin = i + 1;
    }
    builder_slice(&b, s, begin, s->n);
    return string_safe(j, builder_finish(&b), true);
}
