/* Finding built-ins by name and handing them their arguments. */
#include "text/jinja_eval.h"

#include <string.h>

static const struct builtin *find(const struct builtin_table *table, const struct string *name)
{
    for (size_t i = 0; i < table->n; i++)
        if (string_is(name, table->all[i].name)) return &table->all[i];
    return NULL;
}

/* The parameter's name as callers may write it; NULL past the last one. */
static const char *parameter(const struct builtin *builtin, size_t i)
{
    return i < JINJA_PARAMETERS_MAX ? builtin->parameters[i] : NULL;
}

static void bind(struct jinja *j, const struct builtin *builtin, struct args *args)
{
    size_t n = 0;
    while (parameter(builtin, n))
        n++;
    if (args->n > n) jinja_fail(j, "%s takes at most %zu argument(s), not %zu", builtin->name, n, args->n);
    for (size_t i = 0; i < args->n; i++)
        args->bound[i] = args->positional[i];
    for (size_t k = 0; k < args->n_named; k++) {
        const struct string *name = args->named[k].name;
        size_t i = 0;
        while (i < n && !string_is(name, builtin->parameters[i]))
            i++;
        if (i == n || i < args->n)
            jinja_fail(j, "%s takes no %s argument '%.*s'", builtin->name, i == n ? "keyword" : "second", (int)name->n,
                       name->bytes);
        args->bound[i] = args->named[k].value;
    }
    for (size_t i = 0; i < builtin->n_required; i++)
        if (args->bound[i].kind == JINJA_MISSING)
            jinja_fail(j, "%s needs the argument '%s'", builtin->name,
                       builtin->parameters[i] + (builtin->parameters[i][0] == '/'));
}

struct value jinja_invoke(struct jinja *j, const struct builtin *builtin, struct value self, struct args *args)
{
    memset(args->bound, 0, sizeof args->bound); /* MISSING */
    if (!parameter(builtin, 0) || builtin->parameters[0][0] != '*') bind(j, builtin, args);
    jinja_enter(j);
    struct value v = builtin->call(j, self, args);
    jinja_leave(j);
    return v;
}

static const struct builtin *find_filter(const struct string *name)
{
    const struct builtin *filter = find(&jinja_text_filters, name);
    return filter ? filter : find(&jinja_sequence_filters, name);
}

struct value jinja_filter(struct jinja *j, const struct string *name, struct value self, struct args *args)
{
    const struct builtin *filter = find_filter(name);
    if (!filter) jinja_fail(j, "no filter named '%.*s'", (int)name->n, name->bytes);
    jinja_charge(j, 1);
    return jinja_invoke(j, filter, self, args);
}

bool jinja_filter_exists(const struct string *name)
{
    return find_filter(name) != NULL;
}

const struct builtin *jinja_method(struct value self, const struct string *name)
{
    const struct builtin *method;
    switch (self.kind) {
    case JINJA_STRING:
        method = find(&jinja_string_methods, name);
        return method ? method : find(&jinja_string_queries, name);
    case JINJA_LIST: return find(&jinja_list_methods, name);
    case JINJA_TUPLE: return find(&jinja_tuple_methods, name);
    case JINJA_DICT: return find(&jinja_dict_methods, name);
    case JINJA_LOOP: return find(&jinja_loop_methods, name);
    case JINJA_CYCLER: return find(&jinja_cycler_methods, name);
    default: return NULL;
    }
}

const struct builtin *jinja_function(const struct string *name)
{
    return find(&jinja_functions, name);
}

static struct value call_joiner(struct cycle *joiner)
{
    static const struct string empty = {.bytes = ""};
    return joiner->at++ == 0 ? jinja_string(&empty) : joiner->items.items[0];
}

struct value jinja_call(struct jinja *j, struct value callee, struct args *args)
{
    jinja_charge(j, 1);
    switch (callee.kind) {
    case JINJA_FUNCTION: return jinja_invoke(j, callee.as.function, callee, args);
    case JINJA_METHOD: return jinja_invoke(j, callee.as.method->builtin, callee.as.method->self, args);
    case JINJA_MACRO: return jinja_call_macro(j, callee.as.macro, args);
    case JINJA_LOOP: return jinja_call_loop(j, callee.as.loop, args);
    case JINJA_JOINER: return call_joiner(callee.as.cycle);
    case JINJA_UNDEFINED:
        if (callee.as.string)
            jinja_fail(j, "'%.*s' is undefined, so it cannot be called", (int)callee.as.string->n,
                       callee.as.string->bytes);
        jinja_fail(j, "an undefined value cannot be called");
    default: jinja_fail(j, "'%s' object is not callable", jinja_type_name(callee));
    }
}
