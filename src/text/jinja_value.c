/* Making values, and asking them what Python would ask: truth, length, equality, order, items. */
#include "text/jinja_value.h"
#include "text/utf8.h"

#include <math.h>
#include <string.h>

struct value jinja_undefined(const struct string *name)
{
    return (struct value){.kind = JINJA_UNDEFINED, .as.string = name};
}

struct value jinja_none(void)
{
    return (struct value){.kind = JINJA_NONE};
}

struct value jinja_bool(bool truth)
{
    return (struct value){.kind = JINJA_BOOL, .as.truth = truth};
}

struct value jinja_int(int64_t integer)
{
    return (struct value){.kind = JINJA_INT, .as.integer = integer};
}

struct value jinja_float(double real)
{
    return (struct value){.kind = JINJA_FLOAT, .as.real = real};
}

struct value jinja_string(const struct string *string)
{
    return (struct value){.kind = JINJA_STRING, .as.string = string};
}

struct value jinja_text(struct jinja *j, const char *text)
{
    struct builder b = {.j = j};
    builder_text(&b, text);
    return jinja_string(builder_finish(&b));
}

struct value jinja_list(struct jinja *j, enum jinja_kind kind, size_t capacity)
{
    struct list *list = jinja_alloc(j, 1, sizeof *list);
    list->items = jinja_alloc(j, capacity, sizeof *list->items);
    list->capacity = capacity;
    return (struct value){.kind = kind, .as.list = list};
}

void jinja_append(struct jinja *j, struct value list, struct value item)
{
    struct list *l = list.as.list;
    if (l->n == l->capacity) l->items = jinja_grow(j, l->items, l->n, &l->capacity, sizeof *l->items);
    l->items[l->n++] = item;
    jinja_charge(j, 1);
}

struct value jinja_pair(struct jinja *j, struct value a, struct value b)
{
    struct value pair = jinja_list(j, JINJA_TUPLE, 2);
    jinja_append(j, pair, a);
    jinja_append(j, pair, b);
    return pair;
}

struct value jinja_dict(struct jinja *j, enum jinja_kind kind)
{
    struct dict *dict = jinja_alloc(j, 1, sizeof *dict);
    return (struct value){.kind = kind, .as.dict = dict};
}

struct value jinja_view(struct jinja *j, struct dict *dict, enum view_kind kind)
{
    struct view *view = jinja_alloc(j, 1, sizeof *view);
    view->dict = dict;
    view->kind = kind;
    return (struct value){.kind = JINJA_VIEW, .as.view = view};
}

static bool is_hashable(struct jinja *j, struct value v)
{
    if (v.kind == JINJA_TUPLE) {
        jinja_enter(j);
        for (size_t i = 0; i < v.as.list->n; i++)
            if (!is_hashable(j, v.as.list->items[i])) return false;
        jinja_leave(j);
    }
    return v.kind != JINJA_LIST && v.kind != JINJA_DICT && v.kind != JINJA_VIEW;
}

/* Dicts of templates are small: a walk over lengths and bytes is quicker than hashing, and hostile keys cannot
 * collide. The walk is charged, so large ones cannot stall. */
struct value *jinja_find(struct jinja *j, const struct dict *dict, struct value key)
{
    if (!is_hashable(j, key)) jinja_fail(j, "unhashable type: '%s'", jinja_type_name(key));
    jinja_charge(j, dict->n / 4 + 1);
    for (size_t i = 0; i < dict->n; i++)
        if (jinja_equal(j, dict->pairs[i].key, key)) return &dict->pairs[i].value;
    return NULL;
}

static void dict_add(struct jinja *j, struct dict *dict, struct value key, struct value value)
{
    if (dict->n == dict->capacity)
        dict->pairs = jinja_grow(j, dict->pairs, dict->n, &dict->capacity, sizeof *dict->pairs);
    dict->pairs[dict->n++] = (struct pair){key, value};
}

void jinja_put(struct jinja *j, struct dict *dict, struct value key, struct value value)
{
    struct value *found = jinja_find(j, dict, key);
    if (found)
        *found = value;
    else
        dict_add(j, dict, key, value);
}

static struct value text_from_json(struct jinja *j, const char *text, size_t n, unsigned char mark, bool copy)
{
    struct builder b = {.j = j};
    if (!copy) return jinja_string(string_from(j, text, n, mark));
    builder_bytes(&b, text, n, mark);
    return jinja_string(builder_finish(&b));
}

static struct value object_from_json(struct jinja *j, const json_t *json, unsigned char mark, bool copy)
{
    struct value dict = jinja_dict(j, JINJA_DICT);
    /* jansson's iterators take a json_t that is not const, but read only */
    json_t *object = (json_t *)(uintptr_t)json;
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
        struct value key = text_from_json(j, json_object_iter_key(at), json_object_iter_key_len(at), mark, copy);
        dict_add(j, dict.as.dict, key, jinja_from_json(j, json_object_iter_value(at), mark, copy));
    }
    return dict;
}

static struct value array_from_json(struct jinja *j, const json_t *json, unsigned char mark, bool copy)
{
    struct value list = jinja_list(j, JINJA_LIST, json_array_size(json));
    for (size_t i = 0; i < json_array_size(json); i++)
        jinja_append(j, list, jinja_from_json(j, json_array_get(json, i), mark, copy));
    return list;
}

struct value jinja_from_json(struct jinja *j, const json_t *json, unsigned char mark, bool copy)
{
    struct value v;
    jinja_charge(j, 1);
    switch (json_typeof(json)) {
    case JSON_TRUE: return jinja_bool(true);
    case JSON_FALSE: return jinja_bool(false);
    case JSON_INTEGER: return jinja_int(json_integer_value(json));
    case JSON_REAL: return jinja_float(json_real_value(json));
    case JSON_STRING: return text_from_json(j, json_string_value(json), json_string_length(json), mark, copy);
    case JSON_OBJECT:
    case JSON_ARRAY:
        jinja_enter(j);
        v = json_is_object(json) ? object_from_json(j, json, mark, copy) : array_from_json(j, json, mark, copy);
        jinja_leave(j);
        return v;
    default: return jinja_none();
    }
}

bool jinja_is_true(struct value v)
{
    switch (v.kind) {
    case JINJA_MISSING:
    case JINJA_UNDEFINED:
    case JINJA_NONE: return false;
    case JINJA_BOOL: return v.as.truth;
    case JINJA_INT: return v.as.integer != 0;
    case JINJA_FLOAT: return v.as.real != 0;
    case JINJA_STRING: return v.as.string->n > 0;
    case JINJA_LIST:
    case JINJA_TUPLE: return v.as.list->n > 0;
    case JINJA_DICT: return v.as.dict->n > 0;
    case JINJA_VIEW: return v.as.view->dict->n > 0;
    case JINJA_RANGE: return v.as.range->n > 0;
    default: return true;
    }
}

bool jinja_is_number(struct value v)
{
    return v.kind == JINJA_BOOL || v.kind == JINJA_INT || v.kind == JINJA_FLOAT;
}

double jinja_as_double(struct value v)
{
    return v.kind == JINJA_FLOAT ? v.as.real : v.kind == JINJA_BOOL ? (double)v.as.truth : (double)v.as.integer;
}

const char *jinja_type_name(struct value v)
{
    static const char *const names[] = {
        [JINJA_MISSING] = "missing",   [JINJA_UNDEFINED] = "Undefined",
        [JINJA_NONE] = "NoneType",     [JINJA_BOOL] = "bool",
        [JINJA_INT] = "int",           [JINJA_FLOAT] = "float",
        [JINJA_STRING] = "str",        [JINJA_LIST] = "list",
        [JINJA_TUPLE] = "tuple",       [JINJA_GENERATOR] = "generator",
        [JINJA_DICT] = "dict",         [JINJA_VIEW] = "dict view",
        [JINJA_RANGE] = "range",       [JINJA_NAMESPACE] = "Namespace",
        [JINJA_LOOP] = "LoopContext",  [JINJA_MACRO] = "Macro",
        [JINJA_FUNCTION] = "function", [JINJA_METHOD] = "builtin_function_or_method",
        [JINJA_CYCLER] = "Cycler",     [JINJA_JOINER] = "Joiner",
    };
    return names[v.kind];
}

static int64_t as_int(struct value v)
{
    return v.kind == JINJA_BOOL ? v.as.truth : v.as.integer;
}

/* The order of an integer and a float without rounding the integer: 2 for NaN. */
static int compare_mixed(int64_t a, double b)
{
    if (isnan(b)) return 2;
    if (b >= 0x1p63) return -1;
    if (b < -0x1p63) return 1;
    double whole = floor(b);
    int64_t i = (int64_t)whole;
    if (a != i) return a < i ? -1 : 1;
    return whole < b ? -1 : 0;
}

static int compare_numbers(struct value a, struct value b)
{
    if (a.kind != JINJA_FLOAT && b.kind != JINJA_FLOAT) return (as_int(a) > as_int(b)) - (as_int(a) < as_int(b));
    if (a.kind == JINJA_FLOAT && b.kind == JINJA_FLOAT) {
        if (isnan(a.as.real) || isnan(b.as.real)) return 2;
        return (a.as.real > b.as.real) - (a.as.real < b.as.real);
    }
    if (b.kind == JINJA_FLOAT) return compare_mixed(as_int(a), b.as.real);
    int order = compare_mixed(as_int(b), a.as.real);
    return order == 2 ? 2 : -order;
}

static bool equal_lists(struct jinja *j, const struct list *a, const struct list *b)
{
    if (a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++) {
        jinja_charge(j, 1);
        if (!jinja_equal(j, a->items[i], b->items[i])) return false;
    }
    return true;
}

static bool equal_dicts(struct jinja *j, const struct dict *a, const struct dict *b)
{
    if (a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++) {
        const struct value *other = jinja_find(j, b, a->pairs[i].key);
        if (!other || !jinja_equal(j, a->pairs[i].value, *other)) return false;
    }
    return true;
}

static bool equal_same_kind(struct jinja *j, struct value a, struct value b)
{
    bool equal = false;
    switch (a.kind) {
    case JINJA_MISSING:
    case JINJA_UNDEFINED:
    case JINJA_NONE: return true;
    case JINJA_STRING:
        jinja_charge(j, a.as.string->n == b.as.string->n ? a.as.string->n / 64 : 0);
        return string_equal(a.as.string, b.as.string);
    case JINJA_LIST:
    case JINJA_TUPLE:
        jinja_enter(j);
        equal = equal_lists(j, a.as.list, b.as.list);
        jinja_leave(j);
        return equal;
    case JINJA_DICT:
        jinja_enter(j);
        equal = equal_dicts(j, a.as.dict, b.as.dict);
        jinja_leave(j);
        return equal;
    case JINJA_RANGE:
        return a.as.range->n == b.as.range->n &&
               (a.as.range->n == 0 || (a.as.range->start == b.as.range->start &&
                                       (a.as.range->n == 1 || a.as.range->step == b.as.range->step)));
    default: return a.as.list == b.as.list; /* the same object */
    }
}

bool jinja_equal(struct jinja *j, struct value a, struct value b)
{
    if (jinja_is_number(a) && jinja_is_number(b)) return compare_numbers(a, b) == 0;
    return a.kind == b.kind && equal_same_kind(j, a, b);
}

static int compare_lists(struct jinja *j, const struct list *a, const struct list *b, const char *op)
{
    for (size_t i = 0; i < a->n && i < b->n; i++) {
        jinja_charge(j, 1);
        if (!jinja_equal(j, a->items[i], b->items[i])) return jinja_compare(j, a->items[i], b->items[i], op);
    }
    return (a->n > b->n) - (a->n < b->n);
}

int jinja_compare(struct jinja *j, struct value a, struct value b, const char *op)
{
    if (jinja_is_number(a) && jinja_is_number(b)) return compare_numbers(a, b);
    if (a.kind == JINJA_STRING && b.kind == JINJA_STRING) {
        /* UTF-8 sorts as its code points do */
        size_t n = a.as.string->n < b.as.string->n ? a.as.string->n : b.as.string->n;
        int order = memcmp(a.as.string->bytes, b.as.string->bytes, n);
        jinja_charge(j, n / 64);
        if (order != 0) return order < 0 ? -1 : 1;
        return (a.as.string->n > b.as.string->n) - (a.as.string->n < b.as.string->n);
    }
    if (a.kind == b.kind && (a.kind == JINJA_LIST || a.kind == JINJA_TUPLE)) {
        jinja_enter(j);
        int order = compare_lists(j, a.as.list, b.as.list, op);
        jinja_leave(j);
        return order;
    }
    if (a.kind == JINJA_UNDEFINED || b.kind == JINJA_UNDEFINED) {
        const struct string *name = a.kind == JINJA_UNDEFINED ? a.as.string : b.as.string;
        jinja_fail(j, "'%.*s' is undefined", name ? (int)name->n : 5, name ? name->bytes : "value");
    }
    jinja_fail(j, "'%s' not supported between instances of '%s' and '%s'", op, jinja_type_name(a), jinja_type_name(b));
}

bool jinja_has_length(struct jinja *j, struct value v, size_t *n)
{
    *n = 0;
    switch (v.kind) {
    case JINJA_UNDEFINED: return true;
    case JINJA_STRING:
        jinja_charge(j, v.as.string->n / 32);
        *n = unicode_length(v.as.string);
        return true;
    case JINJA_LIST:
    case JINJA_TUPLE: *n = v.as.list->n; return true;
    case JINJA_DICT: *n = v.as.dict->n; return true;
    case JINJA_VIEW: *n = v.as.view->dict->n; return true;
    case JINJA_RANGE: *n = v.as.range->n; return true;
    default: return false;
    }
}

bool jinja_is_iterable(struct value v)
{
    switch (v.kind) {
    case JINJA_UNDEFINED:
    case JINJA_STRING:
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_GENERATOR:
    case JINJA_DICT:
    case JINJA_VIEW:
    case JINJA_RANGE:
    case JINJA_LOOP: return true;
    default: return false;
    }
}

static struct list characters(struct jinja *j, const struct string *s)
{
    struct value list = jinja_list(j, JINJA_LIST, unicode_length(s));
    for (size_t at = 0; at < s->n;) {
        uint32_t c;
        size_t n = utf8_decode(s->bytes + at, s->n - at, &c);
        jinja_append(j, list, jinja_string(string_safe(j, string_slice(j, s, at, at + n), false)));
        at += n;
    }
    return *list.as.list;
}

static struct value view_item(struct jinja *j, const struct view *view, size_t i)
{
    const struct pair *pair = &view->dict->pairs[i];
    if (view->kind == VIEW_ITEMS) return jinja_pair(j, pair->key, pair->value);
    return view->kind == VIEW_KEYS ? pair->key : pair->value;
}

struct list jinja_items(struct jinja *j, struct value v)
{
    struct view keys = {.kind = VIEW_KEYS};
    const struct view *view = &keys;
    struct list all = {0};
    struct value list;
    switch (v.kind) {
    case JINJA_UNDEFINED: return all;
    case JINJA_LIST:
    case JINJA_TUPLE: return *v.as.list;
    case JINJA_GENERATOR:
        all = *v.as.list;
        v.as.list->n = 0;
        return all;
    case JINJA_STRING: return characters(j, v.as.string);
    case JINJA_DICT: keys.dict = v.as.dict; break;
    case JINJA_VIEW: view = v.as.view; break;
    case JINJA_RANGE:
        list = jinja_list(j, JINJA_LIST, v.as.range->n);
        for (size_t i = 0; i < v.as.range->n; i++)
            jinja_append(j, list, jinja_int(v.as.range->start + (int64_t)i * v.as.range->step));
        return *list.as.list;
    default: jinja_fail(j, "'%s' object is not iterable", jinja_type_name(v));
    }
    list = jinja_list(j, JINJA_LIST, view->dict->n);
    for (size_t i = 0; i < view->dict->n; i++)
        jinja_append(j, list, view_item(j, view, i));
    return *list.as.list;
}

bool jinja_contains(struct jinja *j, struct value container, struct value item)
{
    if (container.kind == JINJA_STRING) {
        if (item.kind != JINJA_STRING)
            jinja_fail(j, "'in <string>' requires string as left operand, not %s", jinja_type_name(item));
        return string_search(j, container.as.string, item.as.string, 0) != SIZE_MAX;
    }
    if (container.kind == JINJA_DICT) return jinja_find(j, container.as.dict, item) != NULL;
    if (!jinja_is_iterable(container) || container.kind == JINJA_LOOP)
        jinja_fail(j, "argument of type '%s' is not iterable", jinja_type_name(container));
    struct list items = jinja_items(j, container);
    jinja_charge(j, items.n / 4);
    for (size_t i = 0; i < items.n; i++)
        if (jinja_equal(j, items.items[i], item)) return true;
    return false;
}

int64_t jinja_want_int(struct jinja *j, struct value v, const char *what)
{
    if (v.kind != JINJA_INT && v.kind != JINJA_BOOL)
        jinja_fail(j, "%s must be an integer, not %s", what, jinja_type_name(v));
    return as_int(v);
}

const struct string *jinja_want_string(struct jinja *j, struct value v, const char *what)
{
    if (v.kind != JINJA_STRING) jinja_fail(j, "%s must be a string, not %s", what, jinja_type_name(v));
    return v.as.string;
}
