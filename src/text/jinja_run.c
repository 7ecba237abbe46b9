/* Statements, loops and macros. */
#include "text/jinja_eval.h"

#include <string.h>

enum flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE };

static enum flow run_body(struct jinja *j, const struct node *body, struct scope *scope, struct builder *out);

/* Runs a body in a scope of its own and gives what it printed. */
static struct value capture(struct jinja *j, const struct node *body, struct scope *scope, enum flow *flow)
{
    struct builder b = {.j = j};
    *flow = run_body(j, body, scope, &b);
    return jinja_string(builder_finish(&b));
}

static void assign(struct jinja *j, const struct node *target, struct value v, struct scope *scope)
{
    jinja_locate(j, target);
    if (target->kind == NODE_NAME) {
        scope_set(j, scope, target->symbol, v);
        return;
    }
    if (target->kind == NODE_TARGET) {
        struct node name = *target;
        name.kind = NODE_NAME;
        struct value object = jinja_eval(j, &name, scope);
        if (object.kind != JINJA_NAMESPACE) jinja_fail(j, "cannot assign attribute on non-namespace object");
        jinja_put(j, object.as.dict, jinja_string(target->text), v);
        return;
    }
    struct list items = jinja_items(j, v);
    size_t n = 0, i = 0;
    for (const struct node *part = target->list; part; part = part->next)
        n++;
    if (items.n != n) jinja_fail(j, "%s values to unpack (expected %zu)", items.n < n ? "not enough" : "too many", n);
    for (const struct node *part = target->list; part; part = part->next)
        assign(j, part, items.items[i++], scope);
}

/* ---- loops ---- */

static bool loop_wants(struct jinja *j, const struct loop *loop, struct value item)
{
    if (!loop->node->c) return true;
    struct scope *scope = scope_create(j, loop->scope, NULL);
    assign(j, loop->node->a, item, scope);
    return jinja_is_true(jinja_eval(j, loop->node->c, scope));
}

/* The next item for which the condition holds. The condition is asked as late as jinja2 asks it: templates change
 * namespaces in the body that the condition reads. */
static bool loop_pull(struct jinja *j, struct loop *loop, struct value *item)
{
    if (loop->rest.kind != JINJA_MISSING) {
        if (loop->rest_at == loop->rest.as.list->n) return false;
        *item = loop->rest.as.list->items[loop->rest_at++];
        return true;
    }
    while (loop->at < loop->items.n) {
        *item = loop->items.items[loop->at++];
        if (loop_wants(j, loop, *item)) return true;
    }
    return false;
}

static bool loop_peek(struct jinja *j, struct loop *loop)
{
    if (!loop->has_after) loop->has_after = loop_pull(j, loop, &loop->after);
    return loop->has_after;
}

static bool loop_next(struct jinja *j, struct loop *loop)
{
    struct value item;
    if (!loop_peek(j, loop)) return false;
    item = loop->after;
    loop->has_after = false;
    loop->index0++;
    loop->before = loop->current;
    loop->current = item;
    return true;
}

static int64_t loop_length(struct jinja *j, struct loop *loop)
{
    if (loop->rest.kind == JINJA_MISSING) {
        struct value rest = jinja_list(j, JINJA_LIST, 0), item;
        while (loop_pull(j, loop, &item))
            jinja_append(j, rest, item);
        loop->rest = rest;
    }
    return loop->index0 + 1 + loop->has_after + (int64_t)(loop->rest.as.list->n - loop->rest_at);
}

bool jinja_loop_attribute(struct jinja *j, struct loop *loop, const struct string *name, struct value *found)
{
    if (string_is(name, "index"))
        *found = jinja_int(loop->index0 + 1);
    else if (string_is(name, "index0"))
        *found = jinja_int(loop->index0);
    else if (string_is(name, "first"))
        *found = jinja_bool(loop->index0 == 0);
    else if (string_is(name, "last"))
        *found = jinja_bool(!loop_peek(j, loop));
    else if (string_is(name, "length"))
        *found = jinja_int(loop_length(j, loop));
    else if (string_is(name, "revindex"))
        *found = jinja_int(loop_length(j, loop) - loop->index0);
    else if (string_is(name, "revindex0"))
        *found = jinja_int(loop_length(j, loop) - loop->index0 - 1);
    else if (string_is(name, "previtem"))
        *found = loop->index0 == 0 ? jinja_undefined(name) : loop->before;
    else if (string_is(name, "nextitem"))
        *found = loop_peek(j, loop) ? loop->after : jinja_undefined(name);
    else if (string_is(name, "depth"))
        *found = jinja_int(loop->depth0 + 1);
    else if (string_is(name, "depth0"))
        *found = jinja_int(loop->depth0);
    else
        return false;
    return true;
}

static enum flow run_loop(struct jinja *j, const struct node *node, const struct scope *scope, struct value iterated,
                          uint32_t depth0, struct builder *out)
{
    struct loop *loop = jinja_alloc(j, 1, sizeof *loop);
    *loop = (struct loop){.node = node, .scope = scope, .index0 = -1, .depth0 = depth0};
    loop->items = jinja_items(j, iterated);
    bool finished_one = false; /* as in jinja2: `else` also runs when each iteration ended by break or continue */
    while (loop_next(j, loop)) {
        struct scope *inner = scope_create(j, scope, node);
        jinja_charge(j, 1);
        scope_set(j, inner, SYMBOL_LOOP, (struct value){.kind = JINJA_LOOP, .as.loop = loop});
        assign(j, node->a, loop->current, inner);
        enum flow flow = run_body(j, node->list, inner, out);
        if (flow == FLOW_ON) finished_one = true;
        if (flow == FLOW_BREAK) break;
    }
    if (finished_one || !node->other) return FLOW_ON;
    return run_body(j, node->other->list, scope_create(j, scope, node->other), out);
}

struct value jinja_call_loop(struct jinja *j, const struct loop *loop, const struct args *args)
{
    if (!loop->node->op) jinja_fail(j, "the loop must have the 'recursive' marker to be called recursively");
    if (args->n != 1 || args->n_named > 0) jinja_fail(j, "loop() takes what to loop over, and nothing else");
    struct builder b = {.j = j};
    jinja_enter(j);
    run_loop(j, loop->node, loop->scope, args->positional[0], loop->depth0 + 1, &b);
    jinja_leave(j);
    return jinja_string(builder_finish(&b));
}

/* ---- macros ---- */

static const struct value *named(const struct args *args, const struct string *name)
{
    for (size_t i = 0; i < args->n_named; i++)
        if (string_equal(args->named[i].name, name)) return &args->named[i].value;
    return NULL;
}

/* Was this named argument taken by a parameter that no positional argument filled? */
static bool is_taken(const struct macro *macro, const struct args *args, const struct string *name)
{
    size_t i = 0;
    for (const struct node *parameter = macro->node->other; parameter; parameter = parameter->next, i++)
        if (i >= args->n && string_equal(parameter->text, name)) return true;
    return false;
}

/* What is left of the arguments: for `varargs`, `kwargs` and `caller` where the body uses them, else an error. */
static void bind_rest(struct jinja *j, const struct macro *macro, const struct args *args, size_t n_parameters,
                      struct scope *scope)
{
    const struct node *node = macro->node;
    struct value kwargs = jinja_dict(j, JINJA_DICT), varargs = jinja_list(j, JINJA_TUPLE, 0);
    const struct string *caller = j->symbols->all[SYMBOL_CALLER].name;
    if (node->op & MACRO_CALLER && !is_taken(macro, args, caller)) {
        const struct value *v = named(args, caller);
        scope_set(j, scope, SYMBOL_CALLER, v ? *v : jinja_undefined(caller));
    }
    for (size_t i = 0; i < args->n_named; i++) {
        const struct string *name = args->named[i].name;
        if (is_taken(macro, args, name) || (node->op & MACRO_CALLER && string_equal(name, caller))) continue;
        if (!(node->op & MACRO_KWARGS))
            jinja_fail(j, "macro '%.*s' takes no keyword argument '%.*s'", (int)node->text->n, node->text->bytes,
                       (int)name->n, name->bytes);
        jinja_put(j, kwargs.as.dict, jinja_string(name), args->named[i].value);
    }
    if (args->n > n_parameters && !(node->op & MACRO_VARARGS))
        jinja_fail(j, "macro '%.*s' takes not more than %zu argument(s)", (int)node->text->n, node->text->bytes,
                   n_parameters);
    for (size_t i = n_parameters; i < args->n; i++)
        jinja_append(j, varargs, args->positional[i]);
    if (node->op & MACRO_KWARGS) scope_set(j, scope, SYMBOL_KWARGS, kwargs);
    if (node->op & MACRO_VARARGS) scope_set(j, scope, SYMBOL_VARARGS, varargs);
}

struct value jinja_call_macro(struct jinja *j, const struct macro *macro, const struct args *args)
{
    struct scope *scope = scope_create(j, macro->scope, macro->node);
    size_t n = 0;
    enum flow flow;
    jinja_enter(j);
    for (const struct node *parameter = macro->node->other; parameter; parameter = parameter->next)
        n++;
    bind_rest(j, macro, args, n, scope);
    n = 0;
    for (const struct node *parameter = macro->node->other; parameter; parameter = parameter->next, n++) {
        const struct value *v = n < args->n ? &args->positional[n] : named(args, parameter->text);
        struct value given = v              ? *v
                             : parameter->a ? jinja_eval(j, parameter->a, scope)
                                            : jinja_undefined(parameter->text);
        scope_set(j, scope, parameter->symbol, given);
    }
    struct value result = capture(j, macro->node->list, scope, &flow);
    jinja_leave(j);
    return result;
}

static struct value macro_value(struct jinja *j, const struct node *node, const struct scope *scope)
{
    struct macro *macro = jinja_alloc(j, 1, sizeof *macro);
    *macro = (struct macro){.node = node, .scope = scope};
    return (struct value){.kind = JINJA_MACRO, .as.macro = macro};
}

static void run_call_block(struct jinja *j, const struct node *node, struct scope *scope, struct builder *out)
{
    const struct node *call = node->a;
    struct value callee = jinja_eval(j, call->a, scope);
    struct args args;
    jinja_arguments(j, call->list, scope, &args);
    jinja_locate(j, call);
    size_t capacity = args.n_named;
    args.named = jinja_grow(j, args.named, args.n_named, &capacity, sizeof *args.named);
    args.named[args.n_named++] = (struct named_value){node->b->text, macro_value(j, node->b, scope)};
    jinja_print(out, jinja_call(j, callee, &args));
}

/* ---- statements ---- */

static enum flow run_if(struct jinja *j, const struct node *node, struct scope *scope, struct builder *out)
{
    for (const struct node *branch = node->list; branch; branch = branch->next)
        if (!branch->a || jinja_is_true(jinja_eval(j, branch->a, scope))) return run_body(j, branch->list, scope, out);
    return FLOW_ON;
}

static enum flow run_with(struct jinja *j, const struct node *node, struct scope *scope, struct builder *out)
{
    struct scope *inner = scope_create(j, scope, node);
    for (const struct node *pair = node->other; pair; pair = pair->next)
        assign(j, pair->a, jinja_eval(j, pair->b, scope), inner);
    return run_body(j, node->list, inner, out);
}

/* {% set x %}...{% endset %} and {% filter f %}...{% endfilter %}: what the body prints, through the filters. */
static enum flow run_block(struct jinja *j, const struct node *node, struct scope *scope, struct builder *out)
{
    enum flow flow;
    struct value text = capture(j, node->list, scope_create(j, scope, node), &flow);
    if (node->b) {
        struct scope *input = scope_create(j, scope, NULL);
        scope_set(j, input, SYMBOL_BLOCK, text);
        text = jinja_eval(j, node->b, input);
    }
    if (node->a) {
        assign(j, node->a, text, scope);
        return flow;
    }
    jinja_locate(j, node);
    builder_string(out, jinja_want_string(j, text, "what a filter block prints"));
    return flow;
}

static enum flow run_statement(struct jinja *j, const struct node *node, struct scope *scope, struct builder *out)
{
    switch (node->kind) {
    case NODE_DATA: builder_string(out, node->text); return FLOW_ON;
    case NODE_OUTPUT:
        for (const struct node *part = node->list; part; part = part->next) {
            struct value v = jinja_eval(j, part, scope);
            jinja_locate(j, part);
            jinja_print(out, v);
        }
        return FLOW_ON;
    case NODE_SET: assign(j, node->a, jinja_eval(j, node->b, scope), scope); return FLOW_ON;
    case NODE_SET_BLOCK:
    case NODE_FILTER_BLOCK: return run_block(j, node, scope, out);
    case NODE_FOR: {
        struct value iterated = jinja_eval(j, node->b, scope);
        jinja_locate(j, node->b);
        return run_loop(j, node, scope, iterated, 0, out);
    }
    case NODE_IF: return run_if(j, node, scope, out);
    case NODE_MACRO: scope_set(j, scope, node->symbol, macro_value(j, node, scope)); return FLOW_ON;
    case NODE_CALL_BLOCK: run_call_block(j, node, scope, out); return FLOW_ON;
    case NODE_WITH: return run_with(j, node, scope, out);
    case NODE_SCOPE: return run_body(j, node->list, scope_create(j, scope, node), out);
    case NODE_BREAK: return FLOW_BREAK;
    case NODE_CONTINUE: return FLOW_CONTINUE;
    default: return FLOW_ON;
    }
}

static enum flow run_body(struct jinja *j, const struct node *body, struct scope *scope, struct builder *out)
{
    jinja_enter(j);
    enum flow flow = FLOW_ON;
    for (const struct node *node = body; node && flow == FLOW_ON; node = node->next) {
        jinja_locate(j, node);
        jinja_charge(j, 1);
        flow = run_statement(j, node, scope, out);
    }
    jinja_leave(j);
    return flow;
}

void jinja_run(struct jinja *j, const struct node *root, struct builder *out)
{
    run_body(j, root->list, scope_create(j, NULL, root), out);
}
