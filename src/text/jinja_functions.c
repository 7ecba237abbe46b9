/* Global functions. */
#include "text/jinja_builtin.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct value raise_exception(struct jinja *j, struct value self, struct args *args)
{
    const struct string *message = jinja_str(j, args->bound[0]);
    (void)self;
    jinja_fail(j, "%.*s", message->n > 2000 ? 2000 : (int)message->n, message->bytes);
}

/* The conversions of strftime without the time zone: Python's datetime.now() has none. */
static void without_zone(struct builder *b, const struct string *format)
{
    for (size_t i = 0; i < format->n; i++) {
        if (format->bytes[i] == '%' && i + 1 < format->n) {
            char next = format->bytes[++i];
            if (next != 'z' && next != 'Z') builder_slice(b, format, i - 1, i + 1);
        } else if (format->bytes[i] != '\0') {
            builder_slice(b, format, i, i + 1);
        }
    }
    builder_bytes(b, "", 1, 0);
}

static struct value strftime_now(struct jinja *j, struct value self, struct args *args)
{
    const struct string *format = jinja_want_string(j, args->bound[0], "strftime_now's format");
    struct builder b = {.j = j};
    time_t now = (time_t)j->now;
    struct tm local;
    char text[4096];
    (void)self;
    without_zone(&b, format);
    if (!localtime_r(&now, &local)) jinja_fail(j, "strftime_now: the clock is out of range");
    size_t n = strftime(text, sizeof text, builder_finish(&b)->bytes, &local);
    if (n == 0 && format->n > 0) jinja_fail(j, "strftime_now: the result is longer than %zu bytes", sizeof text);
    text[n] = '\0';
    return jinja_text(j, text);
}

static struct value range(struct jinja *j, struct value self, struct args *args)
{
    int64_t start = 0, stop, step = 1;
    struct range *range = jinja_alloc(j, 1, sizeof *range);
    (void)self;
    stop = jinja_want_int(j, args->bound[0], "range's argument");
    if (args->bound[1].kind != JINJA_MISSING) {
        start = stop;
        stop = jinja_want_int(j, args->bound[1], "range's argument");
    }
    if (args->bound[2].kind != JINJA_MISSING) step = jinja_want_int(j, args->bound[2], "range's argument");
    if (step == 0) jinja_fail(j, "range() arg 3 must not be zero");
    uint64_t span = step > 0 ? (stop > start ? (uint64_t)stop - (uint64_t)start : 0)
                             : (start > stop ? (uint64_t)start - (uint64_t)stop : 0);
    uint64_t by = step > 0 ? (uint64_t)step : -(uint64_t)step, n = span / by + (span % by != 0);
    if (n > JINJA_RANGE_MAX) jinja_fail(j, "range() of more than %d items", JINJA_RANGE_MAX);
    *range = (struct range){.start = start, .stop = stop, .step = step, .n = (size_t)n};
    return (struct value){.kind = JINJA_RANGE, .as.range = range};
}

/* What dict() and namespace() take: a mapping or pairs, then keywords. */
static void fill(struct jinja *j, struct dict *dict, const struct args *args, const char *name)
{
    if (args->n > 1) jinja_fail(j, "%s takes at most 1 argument, not %zu", name, args->n);
    if (args->n == 1) {
        struct value from = args->positional[0];
        if (from.kind == JINJA_DICT) from = jinja_view(j, from.as.dict, VIEW_ITEMS);
        struct list pairs = jinja_items(j, from);
        for (size_t i = 0; i < pairs.n; i++) {
            struct list pair = jinja_items(j, pairs.items[i]);
            if (pair.n != 2) jinja_fail(j, "%s: each element must be a pair", name);
            jinja_put(j, dict, pair.items[0], pair.items[1]);
        }
    }
    for (size_t i = 0; i < args->n_named; i++)
        jinja_put(j, dict, jinja_string(args->named[i].name), args->named[i].value);
}

static struct value dict(struct jinja *j, struct value self, struct args *args)
{
    struct value out = jinja_dict(j, JINJA_DICT);
    (void)self;
    fill(j, out.as.dict, args, "dict");
    return out;
}

static struct value namespace(struct jinja *j, struct value self, struct args *args)
{
    struct value out = jinja_dict(j, JINJA_NAMESPACE);
    (void)self;
    fill(j, out.as.dict, args, "namespace");
    return out;
}

static struct value cycle_value(struct jinja *j, enum jinja_kind kind)
{
    struct cycle *cycle = jinja_alloc(j, 1, sizeof *cycle);
    return (struct value){.kind = kind, .as.cycle = cycle};
}

static struct value cycler(struct jinja *j, struct value self, struct args *args)
{
    struct value out = cycle_value(j, JINJA_CYCLER);
    (void)self;
    if (args->n == 0 || args->n_named > 0) jinja_fail(j, "cycler: at least one item has to be provided");
    out.as.cycle->items = (struct list){.items = args->positional, .n = args->n};
    return out;
}

static struct value joiner(struct jinja *j, struct value self, struct args *args)
{
    struct value out = cycle_value(j, JINJA_JOINER), list = jinja_list(j, JINJA_LIST, 1);
    (void)self;
    jinja_append(j, list, args->bound[0].kind == JINJA_MISSING ? jinja_text(j, ", ") : args->bound[0]);
    out.as.cycle->items = *list.as.list;
    return out;
}

static const struct builtin functions[] = {
    {"raise_exception", raise_exception, {"message"}, 1},
    {"strftime_now", strftime_now, {"format"}, 1},
    {"range", range, {"/start", "/stop", "/step"}, 1},
    {"dict", dict, {"*"}, 0},
    {"namespace", namespace, {"*"}, 0},
    {"cycler", cycler, {"*"}, 0},
    {"joiner", joiner, {"sep"}, 0},
};
const struct builtin_table jinja_functions = {functions, sizeof functions / sizeof *functions};
