/* Methods of lists, dicts, loops and cyclers. */
#include "text/jinja_eval.h"

#include <string.h>

/* ---- dicts ---- */

static struct value dict_get(struct jinja *j, struct value self, struct args *args)
{
    const struct value *v = jinja_find(j, self.as.dict, args->bound[0]);
    return v ? *v : args->bound[1].kind == JINJA_MISSING ? jinja_none() : args->bound[1];
}

static struct value dict_keys(struct jinja *j, struct value self, struct args *args)
{
    (void)args;
    return jinja_view(j, self.as.dict, VIEW_KEYS);
}

static struct value dict_values(struct jinja *j, struct value self, struct args *args)
{
    (void)args;
    return jinja_view(j, self.as.dict, VIEW_VALUES);
}

static struct value dict_items(struct jinja *j, struct value self, struct args *args)
{
    (void)args;
    return jinja_view(j, self.as.dict, VIEW_ITEMS);
}

static struct value dict_copy(struct jinja *j, struct value self, struct args *args)
{
    struct value copy = jinja_dict(j, JINJA_DICT);
    (void)args;
    for (size_t i = 0; i < self.as.dict->n; i++)
        jinja_put(j, copy.as.dict, self.as.dict->pairs[i].key, self.as.dict->pairs[i].value);
    return copy;
}

/* jinja2's sandbox refuses methods that change their object, to protect the program around it. Here every value
 * belongs to the rendering alone, and published templates use append and pop, so these two work. */
static struct value dict_pop(struct jinja *j, struct value self, struct args *args)
{
    struct dict *dict = self.as.dict;
    const struct value *found = jinja_find(j, dict, args->bound[0]);
    if (!found && args->bound[1].kind == JINJA_MISSING) jinja_fail(j, "pop: the dict has no such key");
    if (!found) return args->bound[1];
    struct value v = *found;
    size_t i = 0;
    while (&dict->pairs[i].value != found)
        i++;
    memmove(&dict->pairs[i], &dict->pairs[i + 1], (--dict->n - i) * sizeof *dict->pairs);
    return v;
}

static const struct builtin dict_methods[] = {
    {"get", dict_get, {"/key", "/default"}, 1},
    {"keys", dict_keys, {NULL}, 0},
    {"values", dict_values, {NULL}, 0},
    {"items", dict_items, {NULL}, 0},
    {"copy", dict_copy, {NULL}, 0},
    {"pop", dict_pop, {"/key", "/default"}, 1},
    {"clear", NULL, {NULL}, 0},
    {"popitem", NULL, {NULL}, 0},
    {"setdefault", NULL, {NULL}, 0},
    {"update", NULL, {NULL}, 0},
};
const struct builtin_table jinja_dict_methods = {dict_methods, sizeof dict_methods / sizeof *dict_methods};

/* ---- lists and tuples ---- */

static struct value list_append(struct jinja *j, struct value self, struct args *args)
{
    jinja_append(j, self, args->bound[0]);
    return jinja_none();
}

static struct value list_pop(struct jinja *j, struct value self, struct args *args)
{
    struct list *list = self.as.list;
    int64_t i = args->bound[0].kind == JINJA_MISSING ? -1 : jinja_want_int(j, args->bound[0], "the index of pop");
    if (list->n == 0) jinja_fail(j, "pop from empty list");
    if (i < 0) i += (int64_t)list->n;
    if (i < 0 || (uint64_t)i >= list->n) jinja_fail(j, "pop index out of range");
    struct value v = list->items[i];
    jinja_charge(j, list->n / 64);
    /* a copy: a loop may be walking the old array */
    struct value *items = jinja_alloc(j, list->capacity, sizeof *items);
    memcpy(items, list->items, (size_t)i * sizeof *items);
    memcpy(items + i, list->items + i + 1, (list->n - (size_t)i - 1) * sizeof *items);
    list->items = items;
    list->n--;
    return v;
}

static struct value list_copy(struct jinja *j, struct value self, struct args *args)
{
    struct value copy = jinja_list(j, JINJA_LIST, self.as.list->n);
    (void)args;
    for (size_t i = 0; i < self.as.list->n; i++)
        jinja_append(j, copy, self.as.list->items[i]);
    return copy;
}

static struct value list_count(struct jinja *j, struct value self, struct args *args)
{
    int64_t n = 0;
    for (size_t i = 0; i < self.as.list->n; i++) {
        jinja_charge(j, 1);
        n += jinja_equal(j, self.as.list->items[i], args->bound[0]);
    }
    return jinja_int(n);
}

static struct value list_index(struct jinja *j, struct value self, struct args *args)
{
    for (size_t i = 0; i < self.as.list->n; i++) {
        jinja_charge(j, 1);
        if (jinja_equal(j, self.as.list->items[i], args->bound[0])) return jinja_int((int64_t)i);
    }
    jinja_fail(j, "index: the value is not in the list");
}

static const struct builtin list_methods[] = {
    {"append", list_append, {"/object"}, 1},
    {"pop", list_pop, {"/index"}, 0},
    {"copy", list_copy, {NULL}, 0},
    {"count", list_count, {"/value"}, 1},
    {"index", list_index, {"/value"}, 1},
    {"clear", NULL, {NULL}, 0},
    {"extend", NULL, {NULL}, 0},
    {"insert", NULL, {NULL}, 0},
    {"remove", NULL, {NULL}, 0},
    {"reverse", NULL, {NULL}, 0},
    {"sort", NULL, {NULL}, 0},
};
const struct builtin_table jinja_list_methods = {list_methods, sizeof list_methods / sizeof *list_methods};

static const struct builtin tuple_methods[] = {
    {"count", list_count, {"/value"}, 1},
    {"index", list_index, {"/value"}, 1},
};
const struct builtin_table jinja_tuple_methods = {tuple_methods, sizeof tuple_methods / sizeof *tuple_methods};

/* ---- loops and cyclers ---- */

static struct value loop_cycle(struct jinja *j, struct value self, struct args *args)
{
    if (args->n == 0 || args->n_named > 0) jinja_fail(j, "no items for cycling given");
    return args->positional[(size_t)self.as.loop->index0 % args->n];
}

static struct value loop_changed(struct jinja *j, struct value self, struct args *args)
{
    struct value now = jinja_list(j, JINJA_TUPLE, args->n);
    for (size_t i = 0; i < args->n; i++)
        jinja_append(j, now, args->positional[i]);
    bool same = self.as.loop->changed.kind == JINJA_TUPLE && jinja_equal(j, self.as.loop->changed, now);
    if (!same) self.as.loop->changed = now;
    return jinja_bool(!same);
}

static const struct builtin loop_methods[] = {
    {"cycle", loop_cycle, {"*"}, 0},
    {"changed", loop_changed, {"*"}, 0},
};
const struct builtin_table jinja_loop_methods = {loop_methods, sizeof loop_methods / sizeof *loop_methods};

static struct value cycler_next(struct jinja *j, struct value self, struct args *args)
{
    struct cycle *cycle = self.as.cycle;
    struct value v = cycle->items.items[cycle->at];
    (void)j;
    (void)args;
    cycle->at = (cycle->at + 1) % cycle->items.n;
    return v;
}

static struct value cycler_reset(struct jinja *j, struct value self, struct args *args)
{
    (void)j;
    (void)args;
    self.as.cycle->at = 0;
    return jinja_none();
}

static const struct builtin cycler_methods[] = {
    {"next", cycler_next, {NULL}, 0},
    {"reset", cycler_reset, {NULL}, 0},
};
const struct builtin_table jinja_cycler_methods = {cycler_methods, sizeof cycler_methods / sizeof *cycler_methods};
