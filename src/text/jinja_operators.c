/* Arithmetic, attributes, items and slices, with Python's rules. */
#include "text/jinja_eval.h"
#include "text/jinja_value.h"
#include "text/utf8.h"

#include <math.h>

static const char *const spellings[] = {"+", "-", "*", "/", "//", "%", "**"};

static void fail_undefined(struct jinja *j, const struct string *name)
{
    if (!name) jinja_fail(j, "a value is undefined");
    jinja_fail(j, "'%.*s' is undefined", (int)name->n, name->bytes);
}

static struct value int_power(struct jinja *j, int64_t base, int64_t exponent)
{
    int64_t result = 1;
    if (exponent < 0) {
        if (base == 0) jinja_fail(j, "0 cannot be raised to a negative power");
        return jinja_float(pow((double)base, (double)exponent));
    }
    for (int64_t square = base; exponent > 0; exponent >>= 1) {
        bool overflow = (exponent & 1) && __builtin_mul_overflow(result, square, &result);
        overflow = (exponent > 1 && __builtin_mul_overflow(square, square, &square)) || overflow;
        if (overflow) jinja_fail(j, "integer overflow in **");
    }
    return jinja_int(result);
}

static struct value int_binary(struct jinja *j, enum jinja_operator op, int64_t a, int64_t b)
{
    int64_t r = 0;
    bool overflow = false;
    if (b == 0 && (op == OP_DIV || op == OP_FLOORDIV || op == OP_MOD)) jinja_fail(j, "division by zero");
    switch (op) {
    case OP_ADD: overflow = __builtin_add_overflow(a, b, &r); break;
    case OP_SUB: overflow = __builtin_sub_overflow(a, b, &r); break;
    case OP_MUL: overflow = __builtin_mul_overflow(a, b, &r); break;
    case OP_DIV: return jinja_float((double)a / (double)b);
    case OP_FLOORDIV:
        if (b == -1) return int_binary(j, OP_SUB, 0, a);
        r = a / b - (a % b != 0 && (a % b < 0) != (b < 0));
        break;
    case OP_MOD:
        r = b == -1 ? 0 : a % b;
        if (r != 0 && (r < 0) != (b < 0)) r += b;
        break;
    case OP_POW: return int_power(j, a, b);
    }
    if (overflow) jinja_fail(j, "integer overflow in %s", spellings[op]);
    return jinja_int(r);
}

static double float_mod(double a, double b)
{
    double r = fmod(a, b);
    if (r == 0) return copysign(0, b);
    return (r < 0) != (b < 0) ? r + b : r;
}

static struct value float_binary(struct jinja *j, enum jinja_operator op, double a, double b)
{
    if (b == 0 && (op == OP_DIV || op == OP_FLOORDIV || op == OP_MOD)) jinja_fail(j, "division by zero");
    switch (op) {
    case OP_ADD: return jinja_float(a + b);
    case OP_SUB: return jinja_float(a - b);
    case OP_MUL: return jinja_float(a * b);
    case OP_DIV: return jinja_float(a / b);
    case OP_FLOORDIV: {
        double whole = (a - float_mod(a, b)) / b; /* as CPython: the quotient of an exact multiple, rounded */
        double floored = floor(whole);
        return jinja_float(whole == 0 ? copysign(0, a / b) : whole - floored > 0.5 ? floored + 1 : floored);
    }
    case OP_MOD: return jinja_float(float_mod(a, b));
    case OP_POW:
        if (a == 0 && b < 0) jinja_fail(j, "0.0 cannot be raised to a negative power");
        if (a < 0 && isfinite(a) && isfinite(b) && b != floor(b)) jinja_fail(j, "complex numbers are not supported");
        double r = pow(a, b);
        if (isinf(r) && isfinite(a) && isfinite(b)) jinja_fail(j, "the result of ** is too large");
        return jinja_float(r);
    }
    return jinja_float(0);
}

static struct value repeat(struct jinja *j, struct value v, int64_t times)
{
    if (v.kind == JINJA_STRING) {
        struct builder b = {.j = j};
        builder_repeat(&b, v.as.string, times);
        return jinja_string(string_safe(j, builder_finish(&b), v.as.string->safe));
    }
    struct value out = jinja_list(j, v.kind, 0);
    for (int64_t i = 0; i < times && v.as.list->n > 0; i++)
        for (size_t k = 0; k < v.as.list->n; k++)
            jinja_append(j, out, v.as.list->items[k]);
    return out;
}

static struct value list_join(struct jinja *j, struct value a, struct value b)
{
    struct value out = jinja_list(j, a.kind, a.as.list->n + b.as.list->n);
    for (size_t i = 0; i < a.as.list->n; i++)
        jinja_append(j, out, a.as.list->items[i]);
    for (size_t i = 0; i < b.as.list->n; i++)
        jinja_append(j, out, b.as.list->items[i]);
    return out;
}

static bool is_repeatable(struct value v)
{
    return v.kind == JINJA_STRING || v.kind == JINJA_LIST || v.kind == JINJA_TUPLE;
}

static bool is_integer(struct value v)
{
    return v.kind == JINJA_INT || v.kind == JINJA_BOOL;
}

struct value jinja_binary(struct jinja *j, enum jinja_operator op, struct value a, struct value b)
{
    if (is_integer(a) && is_integer(b)) return int_binary(j, op, jinja_want_int(j, a, ""), jinja_want_int(j, b, ""));
    if (jinja_is_number(a) && jinja_is_number(b)) return float_binary(j, op, jinja_as_double(a), jinja_as_double(b));
    if (op == OP_ADD && a.kind == b.kind && a.kind == JINJA_STRING)
        return jinja_string(string_join(j, a.as.string, b.as.string));
    if (op == OP_ADD && a.kind == b.kind && is_repeatable(a)) return list_join(j, a, b);
    if (op == OP_MUL && is_repeatable(a) && is_integer(b)) return repeat(j, a, jinja_want_int(j, b, ""));
    if (op == OP_MUL && is_repeatable(b) && is_integer(a)) return repeat(j, b, jinja_want_int(j, a, ""));
    if (op == OP_MOD && a.kind == JINJA_STRING) return jinja_percent(j, a.as.string, b);
    if (a.kind == JINJA_UNDEFINED || b.kind == JINJA_UNDEFINED)
        fail_undefined(j, a.kind == JINJA_UNDEFINED ? a.as.string : b.as.string);
    jinja_fail(j, "unsupported operand types for %s: '%s' and '%s'", spellings[op], jinja_type_name(a),
               jinja_type_name(b));
}

struct value jinja_plus(struct jinja *j, struct value v)
{
    if (v.kind == JINJA_UNDEFINED) fail_undefined(j, v.as.string);
    if (!jinja_is_number(v)) jinja_fail(j, "bad operand type for unary sign: '%s'", jinja_type_name(v));
    return v.kind == JINJA_BOOL ? jinja_int(v.as.truth) : v;
}

struct value jinja_negate(struct jinja *j, struct value v)
{
    v = jinja_plus(j, v);
    return v.kind == JINJA_FLOAT ? jinja_float(-v.as.real) : int_binary(j, OP_SUB, 0, v.as.integer);
}

static struct value method_value(struct jinja *j, struct value self, const struct builtin *builtin,
                                 const struct string *name)
{
    if (!builtin->call) return jinja_undefined(name); /* Python has it, the sandbox refuses it */
    struct method *method = jinja_alloc(j, 1, sizeof *method);
    *method = (struct method){.self = self, .builtin = builtin};
    return (struct value){.kind = JINJA_METHOD, .as.method = method};
}

/* An attribute proper: not an item. */
static bool own_attribute(struct jinja *j, struct value v, const struct string *name, struct value *found)
{
    const struct builtin *builtin = jinja_method(v, name);
    if (builtin) {
        *found = method_value(j, v, builtin, name);
        return true;
    }
    if (v.kind == JINJA_NAMESPACE) {
        const struct value *value = jinja_find(j, v.as.dict, jinja_string(name));
        if (value) *found = name->bytes[0] == '_' ? jinja_undefined(name) : *value;
        return value != NULL;
    }
    if (v.kind == JINJA_CYCLER && string_is(name, "current")) {
        *found = v.as.cycle->items.items[v.as.cycle->at];
        return true;
    }
    return v.kind == JINJA_LOOP && jinja_loop_attribute(j, v.as.loop, name, found);
}

struct value jinja_attribute(struct jinja *j, struct value v, const struct string *name)
{
    struct value found;
    if (v.kind == JINJA_UNDEFINED) fail_undefined(j, v.as.string);
    if (own_attribute(j, v, name, &found)) return found;
    const struct value *item = v.kind == JINJA_DICT ? jinja_find(j, v.as.dict, jinja_string(name)) : NULL;
    return item ? *item : jinja_undefined(name);
}

/* The item at an index that counts from the end when it is negative. */
static bool indexed(struct jinja *j, struct value v, int64_t i, struct value *found)
{
    size_t n;
    if (v.kind != JINJA_STRING && v.kind != JINJA_LIST && v.kind != JINJA_TUPLE && v.kind != JINJA_RANGE) return false;
    jinja_has_length(j, v, &n);
    if (i < 0) i += (int64_t)n;
    if (i < 0 || (uint64_t)i >= n) return false;
    if (v.kind == JINJA_STRING) {
        size_t begin = unicode_offset(v.as.string, (size_t)i), end = unicode_offset(v.as.string, (size_t)i + 1);
        *found = jinja_string(string_slice(j, v.as.string, begin, end));
    } else if (v.kind == JINJA_RANGE) {
        *found = jinja_int(v.as.range->start + i * v.as.range->step);
    } else {
        *found = v.as.list->items[i];
    }
    return true;
}

struct value jinja_item(struct jinja *j, struct value v, struct value key)
{
    struct value found;
    if (v.kind == JINJA_UNDEFINED) fail_undefined(j, v.as.string);
    if (v.kind == JINJA_DICT && key.kind != JINJA_LIST && key.kind != JINJA_DICT && key.kind != JINJA_VIEW) {
        const struct value *item = jinja_find(j, v.as.dict, key);
        if (item) return *item;
    }
    if (is_integer(key) && indexed(j, v, jinja_want_int(j, key, ""), &found)) return found;
    if (key.kind == JINJA_STRING && own_attribute(j, v, key.as.string, &found)) return found;
    return jinja_undefined(key.kind == JINJA_STRING ? key.as.string : NULL);
}

/* A bound of a slice over n items: Python's PySlice_AdjustIndices. */
static int64_t slice_bound(struct jinja *j, struct value v, int64_t missing, int64_t n, int64_t step)
{
    if (v.kind == JINJA_NONE) return missing;
    int64_t i = jinja_want_int(j, v, "a slice index");
    if (i < 0) i = i < -n ? -1 : i + n;
    int64_t low = step < 0 ? -1 : 0, high = step < 0 ? n - 1 : n;
    return i < low ? low : i > high ? high : i;
}

struct value jinja_slice(struct jinja *j, struct value v, struct value start, struct value stop, struct value step)
{
    size_t length;
    if (v.kind == JINJA_UNDEFINED) fail_undefined(j, v.as.string);
    if (!is_repeatable(v) && v.kind != JINJA_RANGE) jinja_fail(j, "'%s' cannot be sliced", jinja_type_name(v));
    jinja_has_length(j, v, &length);
    int64_t n = (int64_t)length, by = step.kind == JINJA_NONE ? 1 : jinja_want_int(j, step, "a slice step");
    if (by == 0) jinja_fail(j, "slice step cannot be zero");
    if (by < -n - 1) by = -n - 1; /* further steps leave the sequence all the same */
    if (by > n + 1) by = n + 1;
    int64_t from = slice_bound(j, start, by < 0 ? n - 1 : 0, n, by), to = slice_bound(j, stop, by < 0 ? -1 : n, n, by);
    if (v.kind == JINJA_STRING && by == 1) {
        if (to < from) to = from;
        size_t begin = unicode_offset(v.as.string, (size_t)from), end = unicode_offset(v.as.string, (size_t)to);
        return jinja_string(string_slice(j, v.as.string, begin, end));
    }
    bool is_string = v.kind == JINJA_STRING, safe = is_string && v.as.string->safe;
    struct list items = jinja_items(j, v);
    struct value out = jinja_list(j, v.kind == JINJA_TUPLE ? JINJA_TUPLE : JINJA_LIST, 0);
    struct builder b = {.j = j};
    for (int64_t i = from; by < 0 ? i > to : i < to; i += by) {
        if (is_string)
            builder_string(&b, items.items[i].as.string);
        else
            jinja_append(j, out, items.items[i]);
    }
    return is_string ? jinja_string(string_safe(j, builder_finish(&b), safe)) : out;
}
