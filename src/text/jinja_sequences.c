/* Filters on sequences. */
#include "text/jinja_builtin.h"

#include <string.h>

static struct value list_of(struct jinja *j, struct list items)
{
    struct value out = jinja_list(j, JINJA_LIST, items.n);
    for (size_t i = 0; i < items.n; i++)
        jinja_append(j, out, items.items[i]);
    return out;
}

/* ---- attributes by path ---- */

/* The parts of a path between separators. */
static struct list split_path(struct jinja *j, const struct string *s, char separator)
{
    struct value parts = jinja_list(j, JINJA_LIST, 1);
    for (size_t begin = 0, at = 0; at <= s->n; at++) {
        if (at < s->n && s->bytes[at] != separator) continue;
        jinja_append(j, parts, jinja_string(string_slice(j, s, begin, at)));
        begin = at + 1;
    }
    return *parts.as.list;
}

/* A part of a path made of digits is an index. */
static struct value path_key(struct value part)
{
    const struct string *s = part.as.string;
    int64_t index = 0;
    if (part.kind != JINJA_STRING || s->n == 0 || s->n > 18) return part;
    for (size_t i = 0; i < s->n; i++) {
        if (s->bytes[i] < '0' || s->bytes[i] > '9') return part;
        index = index * 10 + (s->bytes[i] - '0');
    }
    return jinja_int(index);
}

/* "a.b.0" of an item; an undefined part becomes `fallback` unless that is MISSING or none. */
static struct value follow(struct jinja *j, struct value item, struct value path, struct value fallback)
{
    if (path.kind == JINJA_MISSING || path.kind == JINJA_NONE) return item;
    bool has_fallback = fallback.kind != JINJA_MISSING && fallback.kind != JINJA_NONE;
    struct list parts = {.items = &path, .n = 1};
    if (path.kind == JINJA_STRING) parts = split_path(j, path.as.string, '.');
    for (size_t i = 0; i < parts.n; i++) {
        item = jinja_item(j, item, path_key(parts.items[i]));
        if (has_fallback && item.kind == JINJA_UNDEFINED) item = fallback;
    }
    return item;
}

static struct value fold_case(struct jinja *j, struct value v)
{
    return v.kind == JINJA_STRING ? jinja_string(unicode_case(j, v.as.string, CASE_LOWER)) : v;
}

/* What sort, unique, min and max compare: the attribute, in lower case unless told otherwise. */
static struct value key_of(struct jinja *j, struct value item, struct value path, bool case_sensitive)
{
    struct value key = follow(j, item, path, jinja_none());
    return case_sensitive ? key : fold_case(j, key);
}

/* ---- sorting ---- */

struct keyed {
    struct value key, item;
};

/* Stable merge sort; `reverse` keeps equal items in their order, as Python does. */
static void merge_sort(struct jinja *j, struct keyed *a, struct keyed *space, size_t n, bool reverse)
{
    if (n < 2) return;
    size_t half = n / 2, left = 0, right = half;
    merge_sort(j, a, space, half, reverse);
    merge_sort(j, a + half, space, n - half, reverse);
    for (size_t i = 0; i < n; i++) {
        bool take_right = left == half;
        jinja_charge(j, 1);
        if (left < half && right < n)
            take_right = reverse ? jinja_compare(j, a[left].key, a[right].key, "<") == -1
                                 : jinja_compare(j, a[right].key, a[left].key, "<") == -1;
        space[i] = take_right ? a[right++] : a[left++];
    }
    memcpy(a, space, n * sizeof *a);
}

static struct value sort_keyed(struct jinja *j, struct keyed *keyed, size_t n, bool reverse)
{
    struct value out = jinja_list(j, JINJA_LIST, n);
    merge_sort(j, keyed, jinja_alloc(j, n, sizeof *keyed), n, reverse);
    for (size_t i = 0; i < n; i++)
        jinja_append(j, out, keyed[i].item);
    return out;
}

struct value jinja_sort_pairs(struct jinja *j, struct value pairs)
{
    struct list items = jinja_items(j, pairs);
    struct keyed *keyed = jinja_alloc(j, items.n, sizeof *keyed);
    for (size_t i = 0; i < items.n; i++)
        keyed[i] = (struct keyed){items.items[i].as.list->items[0], items.items[i]};
    return sort_keyed(j, keyed, items.n, false);
}

/* The attributes of a comma-separated list, as one key. */
static struct value multi_key(struct jinja *j, struct value item, struct value paths, bool case_sensitive)
{
    if (paths.kind != JINJA_STRING) return key_of(j, item, paths, case_sensitive);
    struct list each = split_path(j, paths.as.string, ',');
    struct value key = jinja_list(j, JINJA_LIST, each.n);
    for (size_t i = 0; i < each.n; i++)
        jinja_append(j, key, key_of(j, item, each.items[i], case_sensitive));
    return key;
}

static struct value sort(struct jinja *j, struct value self, struct args *args)
{
    struct list items = jinja_items(j, self);
    struct keyed *keyed = jinja_alloc(j, items.n, sizeof *keyed);
    for (size_t i = 0; i < items.n; i++)
        keyed[i] =
            (struct keyed){multi_key(j, items.items[i], args->bound[2], jinja_is_true(args->bound[1])), items.items[i]};
    return sort_keyed(j, keyed, items.n, jinja_is_true(args->bound[0]));
}

static struct value dictsort(struct jinja *j, struct value self, struct args *args)
{
    size_t part = 0;
    if (args->bound[1].kind != JINJA_MISSING) {
        const struct string *by = jinja_want_string(j, args->bound[1], "dictsort's 'by'");
        part = string_is(by, "value");
        if (!part && !string_is(by, "key")) jinja_fail(j, "you can only sort by either \"key\" or \"value\"");
    }
    if (self.kind != JINJA_DICT) jinja_fail(j, "dictsort needs a mapping, not %s", jinja_type_name(self));
    struct list items = jinja_items(j, jinja_view(j, self.as.dict, VIEW_ITEMS));
    struct keyed *keyed = jinja_alloc(j, items.n, sizeof *keyed);
    for (size_t i = 0; i < items.n; i++) {
        struct value key = items.items[i].as.list->items[part];
        keyed[i] = (struct keyed){jinja_is_true(args->bound[0]) ? key : fold_case(j, key), items.items[i]};
    }
    return sort_keyed(j, keyed, items.n, jinja_is_true(args->bound[2]));
}

/* ---- picking ---- */

static struct value extreme(struct jinja *j, struct value self, struct args *args, int wanted)
{
    struct list items = jinja_items(j, self);
    struct value best = jinja_undefined(NULL), best_key = best;
    for (size_t i = 0; i < items.n; i++) {
        struct value key = key_of(j, items.items[i], args->bound[1], jinja_is_true(args->bound[0]));
        jinja_charge(j, 1);
        if (i > 0 && jinja_compare(j, key, best_key, wanted < 0 ? "<" : ">") != wanted) continue;
        best = items.items[i];
        best_key = key;
    }
    return best;
}

static struct value min(struct jinja *j, struct value self, struct args *args)
{
    return extreme(j, self, args, -1);
}

static struct value max(struct jinja *j, struct value self, struct args *args)
{
    return extreme(j, self, args, 1);
}

static struct value unique(struct jinja *j, struct value self, struct args *args)
{
    struct list items = jinja_items(j, self);
    struct value seen = jinja_dict(j, JINJA_DICT), out = jinja_list(j, JINJA_GENERATOR, 0);
    for (size_t i = 0; i < items.n; i++) {
        struct value key = key_of(j, items.items[i], args->bound[1], jinja_is_true(args->bound[0]));
        if (jinja_find(j, seen.as.dict, key)) continue;
        jinja_put(j, seen.as.dict, key, jinja_none());
        jinja_append(j, out, items.items[i]);
    }
    return out;
}

static struct value first(struct jinja *j, struct value self, struct args *args)
{
    (void)args;
    if (self.kind == JINJA_STRING && self.as.string->n > 0)
        return jinja_item(j, jinja_string(string_safe(j, self.as.string, false)), jinja_int(0));
    struct list items = jinja_items(j, self);
    if (self.kind == JINJA_GENERATOR && items.n > 0) { /* takes one, leaves the others */
        self.as.list->items = items.items + 1;
        self.as.list->n = items.n - 1;
    }
    return items.n > 0 ? items.items[0] : jinja_undefined(NULL);
}

static struct value last(struct jinja *j, struct value self, struct args *args)
{
    (void)args;
    if (self.kind == JINJA_GENERATOR) jinja_fail(j, "'generator' object is not reversible");
    if (self.kind == JINJA_STRING && self.as.string->n > 0)
        return jinja_item(j, jinja_string(string_safe(j, self.as.string, false)), jinja_int(-1));
    struct list items = jinja_items(j, self);
    return items.n > 0 ? items.items[items.n - 1] : jinja_undefined(NULL);
}

static struct value length(struct jinja *j, struct value self, struct args *args)
{
    size_t n;
    (void)args;
    if (!jinja_has_length(j, self, &n)) jinja_fail(j, "object of type '%s' has no len()", jinja_type_name(self));
    return jinja_int((int64_t)n);
}

static struct value list_filter(struct jinja *j, struct value self, struct args *args)
{
    (void)args;
    return list_of(j, jinja_items(j, self));
}

static struct value items_filter(struct jinja *j, struct value self, struct args *args)
{
    struct value out = jinja_list(j, JINJA_GENERATOR, 0);
    (void)args;
    if (self.kind == JINJA_UNDEFINED) return out;
    if (self.kind != JINJA_DICT) jinja_fail(j, "can only get item pairs from a mapping");
    *out.as.list = jinja_items(j, jinja_view(j, self.as.dict, VIEW_ITEMS));
    return out;
}

static struct value reverse(struct jinja *j, struct value self, struct args *args)
{
    (void)args;
    if (self.kind == JINJA_STRING) return jinja_slice(j, self, jinja_none(), jinja_none(), jinja_int(-1));
    struct list items = jinja_items(j, self);
    /* a sequence gives an iterator, what can only be walked once gives a list */
    struct value out = jinja_list(j, self.kind == JINJA_GENERATOR ? JINJA_LIST : JINJA_GENERATOR, items.n);
    for (size_t i = items.n; i-- > 0;)
        jinja_append(j, out, items.items[i]);
    return out;
}

static struct value join(struct jinja *j, struct value self, struct args *args)
{
    struct list items = jinja_items(j, self);
    struct builder b = {.j = j};
    for (size_t i = 0; i < items.n; i++) {
        if (i > 0 && args->bound[0].kind != JINJA_MISSING) jinja_print(&b, args->bound[0]);
        jinja_print(&b, follow(j, items.items[i], args->bound[1], jinja_none()));
    }
    return jinja_string(builder_finish(&b));
}

static struct value sum(struct jinja *j, struct value self, struct args *args)
{
    struct list items = jinja_items(j, self);
    struct value total = args->bound[1].kind == JINJA_MISSING ? jinja_int(0) : args->bound[1];
    if (total.kind == JINJA_STRING) jinja_fail(j, "sum() can't sum strings, use join instead");
    for (size_t i = 0; i < items.n; i++)
        total = jinja_binary(j, OP_ADD, total, follow(j, items.items[i], args->bound[0], jinja_none()));
    return total;
}

static struct value batch(struct jinja *j, struct value self, struct args *args)
{
    struct list items = jinja_items(j, self);
    int64_t n = jinja_want_int(j, args->bound[0], "the batch size");
    struct value out = jinja_list(j, JINJA_GENERATOR, 0), row = jinja_list(j, JINJA_LIST, 0);
    bool fill = args->bound[1].kind != JINJA_MISSING && args->bound[1].kind != JINJA_NONE;
    for (size_t i = 0; i < items.n; i++) {
        if ((int64_t)row.as.list->n == n) {
            jinja_append(j, out, row);
            row = jinja_list(j, JINJA_LIST, 0);
        }
        jinja_append(j, row, items.items[i]);
    }
    while (fill && row.as.list->n > 0 && (int64_t)row.as.list->n < n)
        jinja_append(j, row, args->bound[1]);
    if (row.as.list->n > 0) jinja_append(j, out, row);
    return out;
}

static struct value slice(struct jinja *j, struct value self, struct args *args)
{
    struct list items = jinja_items(j, self);
    int64_t n = jinja_want_int(j, args->bound[0], "the number of slices");
    struct value out = jinja_list(j, JINJA_GENERATOR, 0);
    bool fill = args->bound[1].kind != JINJA_MISSING && args->bound[1].kind != JINJA_NONE;
    if (n == 0) jinja_fail(j, "division by zero");
    int64_t each = (int64_t)items.n / (n < 0 ? 1 : n), extra = (int64_t)items.n % (n < 0 ? 1 : n);
    for (int64_t i = 0, at = 0; i < n; i++) {
        struct value row = jinja_list(j, JINJA_LIST, 0);
        for (int64_t k = 0; k < each + (i < extra); k++)
            jinja_append(j, row, items.items[at++]);
        if (fill && i >= extra) jinja_append(j, row, args->bound[1]);
        jinja_append(j, out, row);
    }
    return out;
}

static struct value groupby(struct jinja *j, struct value self, struct args *args)
{
    struct list items = jinja_items(j, self);
    struct keyed *keyed = jinja_alloc(j, items.n, sizeof *keyed);
    struct value out = jinja_list(j, JINJA_LIST, 0), group = jinja_none();
    bool case_sensitive = jinja_is_true(args->bound[2]);
    for (size_t i = 0; i < items.n; i++) {
        struct value key = follow(j, items.items[i], args->bound[0], args->bound[1]);
        keyed[i] = (struct keyed){case_sensitive ? key : fold_case(j, key), items.items[i]};
    }
    merge_sort(j, keyed, jinja_alloc(j, items.n, sizeof *keyed), items.n, false);
    for (size_t i = 0; i < items.n; i++) {
        if (i == 0 || !jinja_equal(j, keyed[i].key, keyed[i - 1].key)) {
            struct value name = follow(j, keyed[i].item, args->bound[0], args->bound[1]);
            group = jinja_list(j, JINJA_LIST, 0);
            jinja_append(j, out, jinja_pair(j, name, group));
        }
        jinja_append(j, group, keyed[i].item);
    }
    return out;
}

/* ---- map, select, reject ---- */

/* The arguments after the first `skip`, for the filter or test they are meant for. */
static struct args rest(const struct args *args, size_t skip)
{
    struct args inner = *args;
    inner.positional += skip;
    inner.n -= skip;
    return inner;
}

static struct value named(const struct args *args, const char *name)
{
    for (size_t i = 0; i < args->n_named; i++)
        if (string_is(args->named[i].name, name)) return args->named[i].value;
    return (struct value){.kind = JINJA_MISSING};
}

static struct value map(struct jinja *j, struct value self, struct args *args)
{
    struct value out = jinja_list(j, JINJA_GENERATOR, 0), attribute = named(args, "attribute");
    if (!jinja_is_true(self)) return out;
    struct list items = jinja_items(j, self);
    bool by_attribute = args->n == 0 && attribute.kind != JINJA_MISSING;
    struct value fallback = named(args, "default");
    if (by_attribute && args->n_named > (fallback.kind == JINJA_MISSING ? 1u : 2u))
        jinja_fail(j, "map takes no other keyword than 'attribute' and 'default'");
    if (!by_attribute && args->n == 0) jinja_fail(j, "map requires a filter argument");
    for (size_t i = 0; i < items.n; i++) {
        struct value v;
        if (by_attribute) {
            v = follow(j, items.items[i], attribute, fallback);
        } else {
            struct args inner = rest(args, 1);
            v = jinja_filter(j, jinja_want_string(j, args->positional[0], "the filter of map"), items.items[i], &inner);
        }
        jinja_append(j, out, v);
    }
    return out;
}

static struct value choose(struct jinja *j, struct value self, const struct args *args, bool by_attribute, bool wanted)
{
    struct value out = jinja_list(j, JINJA_GENERATOR, 0);
    size_t skip = by_attribute ? 1 : 0;
    if (!jinja_is_true(self)) return out;
    struct list items = jinja_items(j, self);
    if (args->n < skip) jinja_fail(j, "missing parameter for attribute name");
    for (size_t i = 0; i < items.n; i++) {
        struct value v = by_attribute ? follow(j, items.items[i], args->positional[0], jinja_none()) : items.items[i];
        bool holds = jinja_is_true(v);
        if (args->n > skip) {
            struct args inner = rest(args, skip + 1);
            holds = jinja_test(j, jinja_want_string(j, args->positional[skip], "the test"), v, &inner);
        }
        if (holds == wanted) jinja_append(j, out, items.items[i]);
    }
    return out;
}

static struct value select_filter(struct jinja *j, struct value self, struct args *args)
{
    return choose(j, self, args, false, true);
}

static struct value reject(struct jinja *j, struct value self, struct args *args)
{
    return choose(j, self, args, false, false);
}

static struct value selectattr(struct jinja *j, struct value self, struct args *args)
{
    return choose(j, self, args, true, true);
}

static struct value rejectattr(struct jinja *j, struct value self, struct args *args)
{
    return choose(j, self, args, true, false);
}

static const struct builtin filters[] = {
    {"batch", batch, {"linecount", "fill_with"}, 1},
    {"count", length, {NULL}, 0},
    {"dictsort", dictsort, {"case_sensitive", "by", "reverse"}, 0},
    {"first", first, {NULL}, 0},
    {"groupby", groupby, {"attribute", "default", "case_sensitive"}, 1},
    {"items", items_filter, {NULL}, 0},
    {"join", join, {"d", "attribute"}, 0},
    {"last", last, {NULL}, 0},
    {"length", length, {NULL}, 0},
    {"list", list_filter, {NULL}, 0},
    {"map", map, {"*"}, 0},
    {"max", max, {"case_sensitive", "attribute"}, 0},
    {"min", min, {"case_sensitive", "attribute"}, 0},
    {"reject", reject, {"*"}, 0},
    {"rejectattr", rejectattr, {"*"}, 0},
    {"reverse", reverse, {NULL}, 0},
    {"select", select_filter, {"*"}, 0},
    {"selectattr", selectattr, {"*"}, 0},
    {"slice", slice, {"slices", "fill_with"}, 1},
    {"sort", sort, {"reverse", "case_sensitive", "attribute"}, 0},
    {"sum", sum, {"attribute", "start"}, 0},
    {"unique", unique, {"case_sensitive", "attribute"}, 0},
};
const struct builtin_table jinja_sequence_filters = {filters, sizeof filters / sizeof *filters};
