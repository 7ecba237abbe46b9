/* Parsing statements. */
#include "text/jinja_parse.h"

#include <stdio.h>
#include <string.h>

enum { PARAMETERS_MAX = 200 };

static struct node *parse_body(struct parser *p, const char *const *ends);

struct node *parser_node(struct parser *p, enum node_kind kind, const struct token *token)
{
    struct node *node = jinja_alloc(p->j, 1, sizeof *node);
    node->kind = kind;
    node->line = token->line;
    node->column = token->column;
    return node;
}

uint32_t parser_symbol(struct parser *p, const struct string *name)
{
    struct symbols *symbols = p->symbols;
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < name->n; i++)
        hash = (hash ^ (unsigned char)name->bytes[i]) * 16777619u;
    uint32_t *bucket = &symbols->buckets[hash % SYMBOL_BUCKETS];
    for (uint32_t at = *bucket; at; at = symbols->all[at - 1].next)
        if (string_equal(symbols->all[at - 1].name, name)) return at - 1;
    if (symbols->n == symbols->capacity)
        symbols->all = jinja_grow(p->j, symbols->all, symbols->n, &symbols->capacity, sizeof *symbols->all);
    const char *copy = arena_string(&p->j->arena, name->bytes, name->n); /* NUL-terminated, for jansson */
    if (!copy) jinja_fail(p->j, "out of memory");
    symbols->all[symbols->n++] = (struct symbol){.name = string_from(p->j, copy, name->n, 0), .next = *bucket};
    *bucket = (uint32_t)symbols->n;
    return *bucket - 1;
}

bool token_is(const struct token *token, const char *operator)
{
    return token->type == TOKEN_OPERATOR && strcmp(token->operator, operator) == 0;
}

bool token_is_name(const struct token *token, const char *name)
{
    return token->type == TOKEN_NAME && string_is(token->text, name);
}

bool parser_skip(struct parser *p, const char *operator)
{
    if (!token_is(p->at, operator)) return false;
    p->at++;
    return true;
}

bool parser_skip_name(struct parser *p, const char *name)
{
    if (!token_is_name(p->at, name)) return false;
    p->at++;
    return true;
}

void parser_fail(struct parser *p, const char *expected)
{
    static const char *const names[] = {
        [TOKEN_END] = "the end of the template",
        [TOKEN_DATA] = "text",
        [TOKEN_VARIABLE_BEGIN] = "'{{'",
        [TOKEN_VARIABLE_END] = "'}}'",
        [TOKEN_BLOCK_BEGIN] = "'{%'",
        [TOKEN_BLOCK_END] = "'%}'",
        [TOKEN_STRING] = "a string",
        [TOKEN_INTEGER] = "a number",
        [TOKEN_FLOAT] = "a number",
    };
    const struct token *token = p->at;
    p->j->line = token->line;
    p->j->column = token->column;
    if (token->type == TOKEN_NAME)
        jinja_fail(p->j, "expected %s, found '%.*s'", expected, (int)token->text->n, token->text->bytes);
    if (token->type == TOKEN_OPERATOR) jinja_fail(p->j, "expected %s, found '%s'", expected, token->operator);
    jinja_fail(p->j, "expected %s, found %s", expected, names[token->type]);
}

void parser_expect(struct parser *p, const char *operator)
{
    char expected[8];
    snprintf(expected, sizeof expected, "'%s'", operator);
    if (!parser_skip(p, operator)) parser_fail(p, expected);
}

const struct token *parser_expect_name(struct parser *p)
{
    if (p->at->type != TOKEN_NAME) parser_fail(p, "a name");
    return p->at++;
}

void node_append(struct node ***tail, struct node *node)
{
    **tail = node;
    *tail = &node->next;
}

static void expect_block_end(struct parser *p)
{
    if (p->at->type != TOKEN_BLOCK_END) parser_fail(p, "'%}'");
    p->at++;
}

/* The body up to one of `ends`, whose name is the current token afterwards. */
static struct node *parse_inner(struct parser *p, const char *const *ends)
{
    parser_skip(p, ":");
    expect_block_end(p);
    return parse_body(p, ends);
}

/* The body up to {% end, past that name. */
static struct node *parse_until(struct parser *p, const char *end)
{
    const char *const ends[] = {end, NULL};
    struct node *body = parse_inner(p, ends);
    p->at++;
    return body;
}

/* A name, a namespace's attribute, or a tuple of them in parentheses. */
static struct node *parse_single_target(struct parser *p, bool with_namespace);

static struct node *parse_target(struct parser *p, bool with_namespace)
{
    const struct token *token = p->at;
    struct node *list = NULL, **tail = &list;
    bool is_tuple = false;
    while (p->at->type != TOKEN_BLOCK_END && !token_is(p->at, ")")) {
        node_append(&tail, parse_single_target(p, with_namespace));
        if (!parser_skip(p, ",")) break;
        is_tuple = true;
    }
    if (!list) parser_fail(p, "a name to assign to");
    if (!is_tuple) return list;
    struct node *tuple = parser_node(p, NODE_TUPLE, token);
    tuple->list = list;
    return tuple;
}

static struct node *parse_single_target(struct parser *p, bool with_namespace)
{
    const struct token *token = p->at;
    if (parser_skip(p, "(")) {
        jinja_enter(p->j);
        struct node *node = parse_target(p, false);
        jinja_leave(p->j);
        parser_expect(p, ")");
        return node;
    }
    if (token->type != TOKEN_NAME) parser_fail(p, "a name to assign to");
    struct node *node = NULL;
    if (with_namespace && token_is(token + 1, ".")) {
        p->at += 2;
        node = parser_node(p, NODE_TARGET, token);
        node->symbol = parser_symbol(p, token->text);
        node->text = parser_expect_name(p)->text;
        return node;
    }
    struct open_macro *macro = p->macro;
    p->macro = NULL; /* assigning to `caller` is no use of it */
    node = parse_primary(p);
    p->macro = macro;
    if (node->kind != NODE_NAME) p->at = token, parser_fail(p, "a name to assign to");
    return node;
}

static struct node *block_input(struct parser *p)
{
    struct node *node = parser_node(p, NODE_NAME, p->at);
    node->symbol = SYMBOL_BLOCK;
    return node;
}

static struct node *parse_set(struct parser *p, const struct token *token)
{
    struct node *node = parser_node(p, NODE_SET, token);
    node->a = parse_target(p, true);
    if (parser_skip(p, "=")) {
        node->b = parse_tuple(p, true, false);
        return node;
    }
    uint32_t depth = p->j->depth;
    node->kind = NODE_SET_BLOCK;
    node->b = token_is(p->at, "|") ? parse_filters(p, block_input(p), false) : NULL;
    p->j->depth = depth;
    node->list = parse_until(p, "endset");
    return node;
}

static struct node *parse_for(struct parser *p, const struct token *token)
{
    static const char *const ends[] = {"endfor", "else", NULL};
    struct node *node = parser_node(p, NODE_FOR, token);
    node->a = parse_target(p, false);
    if (!parser_skip_name(p, "in")) parser_fail(p, "'in'");
    node->b = parse_tuple(p, false, false);
    if (parser_skip_name(p, "if")) node->c = parse_expression(p, true);
    node->op = parser_skip_name(p, "recursive");
    p->loops++;
    node->list = parse_inner(p, ends);
    p->loops--;
    const struct token *end = p->at++;
    if (token_is_name(end, "else")) {
        node->other = parser_node(p, NODE_SCOPE, end);
        node->other->list = parse_until(p, "endfor");
    }
    return node;
}

static struct node *parse_if(struct parser *p, const struct token *token)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    struct node *node = parser_node(p, NODE_IF, token), **tail = &node->list;
    for (;;) {
        struct node *branch = parser_node(p, NODE_BRANCH, p->at);
        branch->a = parse_tuple(p, false, false);
        branch->list = parse_inner(p, ends);
        node_append(&tail, branch);
        const struct token *end = p->at++;
        if (token_is_name(end, "elif")) continue;
        if (token_is_name(end, "endif")) return node;
        branch = parser_node(p, NODE_BRANCH, end);
        branch->list = parse_until(p, "endif");
        node_append(&tail, branch);
        return node;
    }
}

/* Parameters and body of a macro or call block. */
static void parse_macro_rest(struct parser *p, struct node *macro, bool has_parameters)
{
    struct node **tail = &macro->other;
    bool has_default = false;
    int n = 0;
    if (has_parameters) parser_expect(p, "(");
    while (has_parameters && !token_is(p->at, ")")) {
        if (macro->other) parser_expect(p, ",");
        struct node *parameter = parser_node(p, NODE_PARAMETER, p->at);
        parameter->text = parser_expect_name(p)->text;
        parameter->symbol = parser_symbol(p, parameter->text);
        for (const struct node *other = macro->other; other; other = other->next)
            if (other->symbol == parameter->symbol) p->at--, parser_fail(p, "another name for this parameter");
        if (++n > PARAMETERS_MAX) parser_fail(p, "fewer parameters");
        if (parser_skip(p, "=")) {
            parameter->a = parse_expression(p, true);
            has_default = true;
        } else if (has_default) {
            parser_fail(p, "a default, as the parameter before has one");
        }
        node_append(&tail, parameter);
    }
    if (has_parameters) parser_expect(p, ")");
}

static void parse_macro_body(struct parser *p, struct node *macro, const char *end)
{
    struct open_macro open = {.outer = p->macro};
    unsigned loops = p->loops;
    p->macro = &open;
    p->loops = 0;
    macro->list = parse_until(p, end);
    p->macro = open.outer;
    p->loops = loops;
    macro->op = open.flags;
}

static struct node *parse_macro(struct parser *p, const struct token *token)
{
    struct node *node = parser_node(p, NODE_MACRO, token);
    node->text = parser_expect_name(p)->text;
    node->symbol = parser_symbol(p, node->text);
    parse_macro_rest(p, node, true);
    parse_macro_body(p, node, "endmacro");
    return node;
}

static struct node *parse_call_block(struct parser *p, const struct token *token)
{
    static const struct string caller = {.bytes = "caller", .n = 6};
    struct node *node = parser_node(p, NODE_CALL_BLOCK, token);
    node->b = parser_node(p, NODE_MACRO, token);
    node->b->text = &caller;
    parse_macro_rest(p, node->b, token_is(p->at, "("));
    const struct token *call = p->at;
    node->a = parse_expression(p, true);
    if (node->a->kind != NODE_CALL) p->at = call, parser_fail(p, "a call");
    parse_macro_body(p, node->b, "endcall");
    return node;
}

static struct node *parse_with(struct parser *p, const struct token *token)
{
    struct node *node = parser_node(p, NODE_WITH, token), **tail = &node->other;
    while (p->at->type != TOKEN_BLOCK_END) {
        if (node->other) parser_expect(p, ",");
        struct node *pair = parser_node(p, NODE_PAIR, p->at);
        pair->a = parse_target(p, false);
        parser_expect(p, "=");
        pair->b = parse_expression(p, true);
        node_append(&tail, pair);
    }
    node->list = parse_until(p, "endwith");
    return node;
}

static struct node *parse_print(struct parser *p, const struct token *token)
{
    struct node *node = parser_node(p, NODE_OUTPUT, token), **tail = &node->list;
    while (p->at->type != TOKEN_BLOCK_END) {
        if (node->list) parser_expect(p, ",");
        node_append(&tail, parse_expression(p, true));
    }
    return node;
}

static struct node *parse_filter_block(struct parser *p, const struct token *token)
{
    struct node *node = parser_node(p, NODE_FILTER_BLOCK, token);
    uint32_t depth = p->j->depth;
    node->b = parse_filters(p, block_input(p), true);
    p->j->depth = depth;
    node->list = parse_until(p, "endfilter");
    return node;
}

/* {% generation %} marks what the model wrote, for training: only its scope matters here. */
static struct node *parse_generation(struct parser *p, const struct token *token)
{
    struct node *node = parser_node(p, NODE_SCOPE, token);
    node->list = parse_until(p, "endgeneration");
    return node;
}

static struct node *parse_jump(struct parser *p, const struct token *token)
{
    if (p->loops == 0) p->at = token, parser_fail(p, "a loop around this");
    return parser_node(p, token_is_name(token, "break") ? NODE_BREAK : NODE_CONTINUE, token);
}

static struct node *parse_statement(struct parser *p)
{
    static const struct {
        const char *name;
        struct node *(*parse)(struct parser *p, const struct token *token);
    } statements[] = {
        {"if", parse_if},       {"for", parse_for},         {"set", parse_set},
        {"macro", parse_macro}, {"call", parse_call_block}, {"filter", parse_filter_block},
        {"with", parse_with},   {"print", parse_print},     {"generation", parse_generation},
        {"break", parse_jump},  {"continue", parse_jump},
    };
    const struct token *token = p->at;
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        if (!token_is_name(token, statements[i].name)) continue;
        p->at++;
        jinja_enter(p->j);
        struct node *node = statements[i].parse(p, token);
        jinja_leave(p->j);
        expect_block_end(p);
        return node;
    }
    parser_fail(p, "a statement (if, for, set, macro, call, filter, with, print, break, continue)");
}

static bool is_one_of(const struct token *token, const char *const *names)
{
    for (; names && *names; names++)
        if (token_is_name(token, *names)) return true;
    return false;
}

/* Text, prints and statements up to {% and one of `ends`, or up to the end of the template for NULL. */
static struct node *parse_body(struct parser *p, const char *const *ends)
{
    struct node *list = NULL, **tail = &list;
    for (;;) {
        const struct token *token = p->at;
        struct node *node;
        if (token->type == TOKEN_END) {
            if (!ends) return list;
            char expected[64] = "";
            for (; *ends; ends++) {
                size_t n = strlen(expected);
                snprintf(expected + n, sizeof expected - n, "%s'{%% %s %%}'", n ? " or " : "", *ends);
            }
            parser_fail(p, expected);
        }
        p->at++;
        if (token->type == TOKEN_DATA) {
            node = parser_node(p, NODE_DATA, token);
            node->text = token->text;
        } else if (token->type == TOKEN_VARIABLE_BEGIN) {
            node = parser_node(p, NODE_OUTPUT, token);
            node->list = parse_tuple(p, true, false);
            if (p->at->type != TOKEN_VARIABLE_END) parser_fail(p, "'}}'");
            p->at++;
        } else {
            if (is_one_of(p->at, ends)) return list;
            node = parse_statement(p);
        }
        node_append(&tail, node);
    }
}

struct node *jinja_parse(struct jinja *j, struct symbols *symbols, const char *source, size_t n)
{
    static const char *const reserved[] = {"", "loop", "caller", "kwargs", "varargs"}; /* as SYMBOL_BLOCK, ... */
    struct parser p = {.j = j, .symbols = symbols};
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        parser_symbol(&p, string_from(j, reserved[i], strlen(reserved[i]), 0));
    p.at = jinja_tokens(j, source, n);
    struct node *root = parser_node(&p, NODE_SCOPE, p.at);
    root->list = parse_body(&p, NULL);
    jinja_find_unset(j, root, symbols->n);
    return root;
}
