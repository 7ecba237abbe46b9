#include "text/jinja_eval.h"

#include <string.h>

void jinja_locate(struct jinja *j, const struct node *node)
{
    j->line = node->line;
    j->column = node->column;
}

static struct binding *scope_find(struct jinja *j, const struct scope *scope, uint32_t symbol)
{
    size_t walked = 0;
    struct binding *b = scope->bindings;
    for (; b && b->symbol != symbol; b = b->next)
        walked++;
    jinja_charge(j, walked / 16);
    return b;
}

void scope_set(struct jinja *j, struct scope *scope, uint32_t symbol, struct value value)
{
    struct binding *binding = scope_find(j, scope, symbol);
    if (!binding) {
        binding = jinja_alloc(j, 1, sizeof *binding);
        binding->symbol = symbol;
        binding->next = scope->bindings;
        scope->bindings = binding;
    }
    binding->value = value;
}

struct scope *scope_create(struct jinja *j, const struct scope *parent, const struct node *node)
{
    struct scope *scope = jinja_alloc(j, 1, sizeof *scope);
    scope->parent = parent;
    for (size_t i = 0; node && i < node->n_unset; i++)
        scope_set(j, scope, node->unset[i], jinja_undefined(j->symbols->all[node->unset[i]].name));
    return scope;
}

/* A name that no scope has: a variable of the caller, or a global function. Found once per rendering. */
static struct value global(struct jinja *j, uint32_t symbol)
{
    const struct string *name = j->symbols->all[symbol].name;
    struct value *slot = &j->globals[symbol];
    if (slot->kind != JINJA_MISSING) return *slot;
    const json_t *json = json_object_get(j->variables, name->bytes);
    const struct builtin *function = jinja_function(name);
    if (json) {
        unsigned char mark = 1;
        for (const char *const *trusted = j->trusted; trusted && *trusted; trusted++)
            if (string_is(name, *trusted)) mark = 0;
        *slot = jinja_from_json(j, json, mark, false);
    } else if (function) {
        *slot = (struct value){.kind = JINJA_FUNCTION, .as.function = function};
    } else {
        *slot = jinja_undefined(name);
    }
    return *slot;
}

static struct value lookup(struct jinja *j, uint32_t symbol, const struct scope *scope)
{
    for (; scope; scope = scope->parent) {
        const struct binding *binding = scope_find(j, scope, symbol);
        if (binding) return binding->value;
    }
    return global(j, symbol);
}

static void add_named(struct jinja *j, struct args *args, size_t *capacity, const struct string *name, struct value v)
{
    for (size_t i = 0; i < args->n_named; i++)
        if (string_equal(args->named[i].name, name))
            jinja_fail(j, "argument '%.*s' is given twice", (int)name->n, name->bytes);
    jinja_charge(j, args->n_named + 1);
    if (args->n_named == *capacity)
        args->named = jinja_grow(j, args->named, args->n_named, capacity, sizeof *args->named);
    args->named[args->n_named++] = (struct named_value){name, v};
}

void jinja_arguments(struct jinja *j, const struct node *list, const struct scope *scope, struct args *args)
{
    struct value positional = {.kind = JINJA_MISSING};
    size_t named_capacity = 0;
    *args = (struct args){0};
    for (const struct node *node = list; node; node = node->next) {
        struct value v = jinja_eval(j, node->a, scope);
        if (positional.kind == JINJA_MISSING && node->op != ARGUMENT_NAMED && node->op != ARGUMENT_DICT)
            positional = jinja_list(j, JINJA_LIST, 4);
        if (node->op == ARGUMENT_POSITIONAL) {
            jinja_append(j, positional, v);
        } else if (node->op == ARGUMENT_NAMED) {
            add_named(j, args, &named_capacity, node->text, v);
        } else if (node->op == ARGUMENT_LIST) {
            struct list items = jinja_items(j, v);
            for (size_t i = 0; i < items.n; i++)
                jinja_append(j, positional, items.items[i]);
        } else {
            if (v.kind != JINJA_DICT) jinja_fail(j, "the argument after ** must be a mapping");
            for (size_t i = 0; i < v.as.dict->n; i++)
                add_named(j, args, &named_capacity, jinja_want_string(j, v.as.dict->pairs[i].key, "a keyword"),
                          v.as.dict->pairs[i].value);
        }
    }
    if (positional.kind == JINJA_MISSING) return;
    args->positional = positional.as.list->items;
    args->n = positional.as.list->n;
}

static struct value eval_list(struct jinja *j, const struct node *node, const struct scope *scope)
{
    struct value out = jinja_list(j, node->kind == NODE_TUPLE ? JINJA_TUPLE : JINJA_LIST, 0);
    for (const struct node *item = node->list; item; item = item->next)
        jinja_append(j, out, jinja_eval(j, item, scope));
    return out;
}

static struct value eval_dict(struct jinja *j, const struct node *node, const struct scope *scope)
{
    struct value out = jinja_dict(j, JINJA_DICT);
    for (const struct node *pair = node->list; pair; pair = pair->next) {
        struct value key = jinja_eval(j, pair->a, scope), value = jinja_eval(j, pair->b, scope);
        jinja_locate(j, pair);
        jinja_put(j, out.as.dict, key, value);
    }
    return out;
}

static bool compare(struct jinja *j, enum compare_op op, struct value a, struct value b)
{
    switch (op) {
    case COMPARE_EQ: return jinja_equal(j, a, b);
    case COMPARE_NE: return !jinja_equal(j, a, b);
    case COMPARE_LT: return jinja_compare(j, a, b, "<") < 0;
    case COMPARE_GT: return jinja_compare(j, a, b, ">") == 1;
    case COMPARE_IN: return jinja_contains(j, b, a);
    case COMPARE_NOT_IN: return !jinja_contains(j, b, a);
    case COMPARE_LE: return jinja_compare(j, a, b, "<=") <= 0;
    case COMPARE_GE: {
        int order = jinja_compare(j, a, b, ">=");
        return order == 0 || order == 1;
    }
    }
    return false;
}

/* a < b < c: each operand once, up to the first comparison that fails. */
static struct value eval_compare(struct jinja *j, const struct node *node, const struct scope *scope)
{
    struct value left = jinja_eval(j, node->a, scope);
    for (const struct node *operand = node->list; operand; operand = operand->next) {
        struct value right = jinja_eval(j, operand->a, scope);
        jinja_locate(j, operand);
        if (!compare(j, (enum compare_op)operand->op, left, right)) return jinja_bool(false);
        left = right;
    }
    return jinja_bool(true);
}

static struct value eval_concat(struct jinja *j, const struct node *node, const struct scope *scope)
{
    struct builder b = {.j = j};
    for (const struct node *part = node->list; part; part = part->next)
        jinja_print(&b, jinja_eval(j, part, scope));
    return jinja_string(builder_finish(&b));
}

static struct value eval_or_none(struct jinja *j, const struct node *node, const struct scope *scope)
{
    return node ? jinja_eval(j, node, scope) : jinja_none();
}

static struct value eval_item(struct jinja *j, const struct node *node, const struct scope *scope)
{
    struct value v = jinja_eval(j, node->a, scope);
    if (node->b->kind != NODE_SLICE) {
        struct value key = jinja_eval(j, node->b, scope);
        jinja_locate(j, node);
        return jinja_item(j, v, key);
    }
    struct value start = eval_or_none(j, node->b->a, scope), stop = eval_or_none(j, node->b->b, scope);
    struct value step = eval_or_none(j, node->b->c, scope);
    jinja_locate(j, node);
    return jinja_slice(j, v, start, stop, step);
}

/* Calls, filters and tests: a value with arguments. */
static struct value eval_call(struct jinja *j, const struct node *node, const struct scope *scope)
{
    struct value v = jinja_eval(j, node->a, scope);
    struct args args;
    jinja_arguments(j, node->list, scope, &args);
    jinja_locate(j, node);
    if (node->kind == NODE_FILTER) return jinja_filter(j, node->text, v, &args);
    if (node->kind == NODE_TEST) return jinja_bool(jinja_test(j, node->text, v, &args));
    return jinja_call(j, v, &args);
}

static struct value eval_binary(struct jinja *j, const struct node *node, const struct scope *scope)
{
    struct value a = jinja_eval(j, node->a, scope), b = jinja_eval(j, node->b, scope);
    jinja_locate(j, node);
    return jinja_binary(j, (enum jinja_operator)node->op, a, b);
}

static struct value eval_sign(struct jinja *j, const struct node *node, const struct scope *scope)
{
    struct value v = jinja_eval(j, node->a, scope);
    jinja_locate(j, node);
    return node->kind == NODE_NEGATE ? jinja_negate(j, v) : jinja_plus(j, v);
}

static struct value eval_attribute(struct jinja *j, const struct node *node, const struct scope *scope)
{
    struct value v = jinja_eval(j, node->a, scope);
    jinja_locate(j, node);
    return jinja_attribute(j, v, node->text);
}

static struct value eval(struct jinja *j, const struct node *node, const struct scope *scope)
{
    struct value v;
    switch (node->kind) {
    case NODE_CONSTANT: return node->constant;
    case NODE_NAME: return lookup(j, node->symbol, scope);
    case NODE_TUPLE:
    case NODE_LIST: return eval_list(j, node, scope);
    case NODE_DICT: return eval_dict(j, node, scope);
    case NODE_ATTRIBUTE: return eval_attribute(j, node, scope);
    case NODE_ITEM: return eval_item(j, node, scope);
    case NODE_CALL:
    case NODE_FILTER:
    case NODE_TEST: return eval_call(j, node, scope);
    case NODE_CONDITION:
        if (jinja_is_true(jinja_eval(j, node->a, scope))) return jinja_eval(j, node->b, scope);
        return node->c ? jinja_eval(j, node->c, scope) : jinja_undefined(NULL);
    case NODE_AND: v = jinja_eval(j, node->a, scope); return jinja_is_true(v) ? jinja_eval(j, node->b, scope) : v;
    case NODE_OR: v = jinja_eval(j, node->a, scope); return jinja_is_true(v) ? v : jinja_eval(j, node->b, scope);
    case NODE_NOT: return jinja_bool(!jinja_is_true(jinja_eval(j, node->a, scope)));
    case NODE_COMPARE: return eval_compare(j, node, scope);
    case NODE_BINARY: return eval_binary(j, node, scope);
    case NODE_NEGATE:
    case NODE_PLUS: return eval_sign(j, node, scope);
    case NODE_CONCAT: return eval_concat(j, node, scope);
    default: jinja_fail(j, "a slice stands alone between brackets");
    }
}

struct value jinja_eval(struct jinja *j, const struct node *node, const struct scope *scope)
{
    jinja_locate(j, node);
    jinja_charge(j, 1);
    jinja_enter(j);
    struct value v = eval(j, node, scope);
    jinja_leave(j);
    return v;
}
