/* Tests: what stands after `is`. Each takes the value and at most one argument (MISSING when there is none). */
#include "text/jinja_builtin.h"

static bool defined(struct jinja *j, struct value v, struct value other)
{
    (void)j, (void)other;
    return v.kind != JINJA_UNDEFINED;
}

static bool undefined(struct jinja *j, struct value v, struct value other)
{
    (void)j, (void)other;
    return v.kind == JINJA_UNDEFINED;
}

static bool none(struct jinja *j, struct value v, struct value other)
{
    (void)j, (void)other;
    return v.kind == JINJA_NONE;
}

static bool boolean(struct jinja *j, struct value v, struct value other)
{
    (void)j, (void)other;
    return v.kind == JINJA_BOOL;
}

static bool is_true(struct jinja *j, struct value v, struct value other)
{
    (void)j, (void)other;
    return v.kind == JINJA_BOOL && v.as.truth;
}

static bool is_false(struct jinja *j, struct value v, struct value other)
{
    (void)j, (void)other;
    return v.kind == JINJA_BOOL && !v.as.truth;
}

static bool integer(struct jinja *j, struct value v, struct value other)
{
    (void)j, (void)other;
    return v.kind == JINJA_INT;
}

static bool is_float(struct jinja *j, struct value v, struct value other)
{
    (void)j, (void)other;
    return v.kind == JINJA_FLOAT;
}

static bool number(struct jinja *j, struct value v, struct value other)
{
    (void)j, (void)other;
    return jinja_is_number(v);
}

static bool string(struct jinja *j, struct value v, struct value other)
{
    (void)j, (void)other;
    return v.kind == JINJA_STRING;
}

static bool mapping(struct jinja *j, struct value v, struct value other)
{
    (void)j, (void)other;
    return v.kind == JINJA_DICT;
}

static bool iterable(struct jinja *j, struct value v, struct value other)
{
    (void)j, (void)other;
    return jinja_is_iterable(v);
}

static bool sequence(struct jinja *j, struct value v, struct value other)
{
    (void)j, (void)other;
    return jinja_is_iterable(v) && v.kind != JINJA_GENERATOR && v.kind != JINJA_VIEW && v.kind != JINJA_LOOP;
}

static bool callable(struct jinja *j, struct value v, struct value other)
{
    (void)j, (void)other;
    return v.kind == JINJA_FUNCTION || v.kind == JINJA_METHOD || v.kind == JINJA_MACRO || v.kind == JINJA_LOOP ||
           v.kind == JINJA_JOINER || v.kind == JINJA_UNDEFINED;
}

static bool escaped(struct jinja *j, struct value v, struct value other)
{
    (void)j, (void)other;
    return v.kind == JINJA_STRING && v.as.string->safe;
}

static bool filter(struct jinja *j, struct value v, struct value other)
{
    (void)j, (void)other;
    return v.kind == JINJA_STRING && jinja_filter_exists(v.as.string);
}

static bool lower(struct jinja *j, struct value v, struct value other)
{
    (void)other;
    return jinja_is_true(string_islower(j, jinja_string(jinja_str(j, v)), NULL));
}

static bool upper(struct jinja *j, struct value v, struct value other)
{
    (void)other;
    return jinja_is_true(string_isupper(j, jinja_string(jinja_str(j, v)), NULL));
}

static bool odd(struct jinja *j, struct value v, struct value other)
{
    (void)other;
    return jinja_equal(j, jinja_binary(j, OP_MOD, v, jinja_int(2)), jinja_int(1));
}

static bool even(struct jinja *j, struct value v, struct value other)
{
    (void)other;
    return jinja_equal(j, jinja_binary(j, OP_MOD, v, jinja_int(2)), jinja_int(0));
}

static bool divisibleby(struct jinja *j, struct value v, struct value other)
{
    return jinja_equal(j, jinja_binary(j, OP_MOD, v, other), jinja_int(0));
}

static bool eq(struct jinja *j, struct value v, struct value other)
{
    return jinja_equal(j, v, other);
}

static bool ne(struct jinja *j, struct value v, struct value other)
{
    return !jinja_equal(j, v, other);
}

static bool lt(struct jinja *j, struct value v, struct value other)
{
    return jinja_compare(j, v, other, "<") < 0;
}

static bool le(struct jinja *j, struct value v, struct value other)
{
    return jinja_compare(j, v, other, "<=") <= 0;
}

static bool gt(struct jinja *j, struct value v, struct value other)
{
    return jinja_compare(j, v, other, ">") == 1;
}

static bool ge(struct jinja *j, struct value v, struct value other)
{
    int order = jinja_compare(j, v, other, ">=");
    return order == 0 || order == 1;
}

static bool in(struct jinja *j, struct value v, struct value other)
{
    return jinja_contains(j, other, v);
}

/* `is` of Python, where that is no matter of the implementation: the same singleton or the same object. */
static bool sameas(struct jinja *j, struct value v, struct value other)
{
    if (v.kind != other.kind) return false;
    return v.kind < JINJA_STRING ? jinja_equal(j, v, other) : v.as.list == other.as.list;
}

static bool test(struct jinja *j, struct value v, struct value other)
{
    (void)j, (void)other;
    return v.kind == JINJA_STRING && jinja_test_exists(v.as.string);
}

static const struct {
    const char *name;
    bool (*holds)(struct jinja *j, struct value v, struct value other);
    const char *parameter; /* NULL: takes no argument */
} tests[] = {
    {"defined", defined, NULL},
    {"undefined", undefined, NULL},
    {"none", none, NULL},
    {"boolean", boolean, NULL},
    {"true", is_true, NULL},
    {"false", is_false, NULL},
    {"integer", integer, NULL},
    {"float", is_float, NULL},
    {"number", number, NULL},
    {"string", string, NULL},
    {"mapping", mapping, NULL},
    {"sequence", sequence, NULL},
    {"iterable", iterable, NULL},
    {"callable", callable, NULL},
    {"escaped", escaped, NULL},
    {"lower", lower, NULL},
    {"upper", upper, NULL},
    {"odd", odd, NULL},
    {"even", even, NULL},
    {"divisibleby", divisibleby, "num"},
    {"eq", eq, "/b"},
    {"equalto", eq, "/b"},
    {"==", eq, "/b"},
    {"ne", ne, "/b"},
    {"!=", ne, "/b"},
    {"lt", lt, "/b"},
    {"lessthan", lt, "/b"},
    {"<", lt, "/b"},
    {"le", le, "/b"},
    {"<=", le, "/b"},
    {"gt", gt, "/b"},
    {"greaterthan", gt, "/b"},
    {">", gt, "/b"},
    {"ge", ge, "/b"},
    {">=", ge, "/b"},
    {"in", in, "seq"},
    {"sameas", sameas, "other"},
    {"filter", filter, NULL},
    {"test", test, NULL},
};

static size_t find(const struct string *name)
{
    size_t i = 0;
    while (i < sizeof tests / sizeof *tests && !string_is(name, tests[i].name))
        i++;
    return i;
}

bool jinja_test_exists(const struct string *name)
{
    return find(name) < sizeof tests / sizeof *tests;
}

bool jinja_test(struct jinja *j, const struct string *name, struct value v, const struct args *args)
{
    size_t i = find(name), n = args->n + args->n_named;
    struct value other = {.kind = JINJA_MISSING};
    jinja_charge(j, 1);
    if (i == sizeof tests / sizeof *tests) jinja_fail(j, "no test named '%.*s'", (int)name->n, name->bytes);
    if (n != (tests[i].parameter ? 1 : 0))
        jinja_fail(j, "the test '%s' takes %s argument", tests[i].name, tests[i].parameter ? "one" : "no");
    if (args->n_named > 0 && !string_is(args->named[0].name, tests[i].parameter))
        jinja_fail(j, "the test '%s' takes no argument of that name", tests[i].name);
    if (n > 0) other = args->n > 0 ? args->positional[0] : args->named[0].value;
    return tests[i].holds(j, v, other);
}
