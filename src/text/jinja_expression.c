/* Parsing expressions: the precedences are jinja2's, from the loosest to the tightest. */
#include "text/jinja_parse.h"

#include <string.h>

static struct node *parse_unary(struct parser *p, bool with_filter);

static struct node *constant(struct parser *p, const struct token *token, struct value v)
{
    struct node *node = parser_node(p, NODE_CONSTANT, token);
    node->constant = v;
    return node;
}

static struct node *parse_name(struct parser *p)
{
    const struct token *token = parser_expect_name(p);
    if (token_is_name(token, "true") || token_is_name(token, "True")) return constant(p, token, jinja_bool(true));
    if (token_is_name(token, "false") || token_is_name(token, "False")) return constant(p, token, jinja_bool(false));
    if (token_is_name(token, "none") || token_is_name(token, "None")) return constant(p, token, jinja_none());
    struct node *node = parser_node(p, NODE_NAME, token);
    node->text = token->text;
    node->symbol = parser_symbol(p, token->text);
    int flag = node->symbol == SYMBOL_CALLER    ? MACRO_CALLER
               : node->symbol == SYMBOL_KWARGS  ? MACRO_KWARGS
               : node->symbol == SYMBOL_VARARGS ? MACRO_VARARGS
                                                : 0;
    for (struct open_macro *macro = p->macro; flag && macro; macro = macro->outer)
        macro->flags |= flag;
    return node;
}

static struct node *parse_strings(struct parser *p)
{
    const struct token *first = p->at;
    struct builder b = {.j = p->j};
    for (; p->at->type == TOKEN_STRING; p->at++)
        builder_string(&b, p->at->text);
    return constant(p, first, jinja_string(builder_finish(&b)));
}

static struct node *parse_list(struct parser *p)
{
    struct node *node = parser_node(p, NODE_LIST, p->at), **tail = &node->list;
    parser_expect(p, "[");
    while (!token_is(p->at, "]")) {
        if (node->list) parser_expect(p, ",");
        if (token_is(p->at, "]")) break;
        node_append(&tail, parse_expression(p, true));
    }
    parser_expect(p, "]");
    return node;
}

static struct node *parse_dict(struct parser *p)
{
    struct node *node = parser_node(p, NODE_DICT, p->at), **tail = &node->list;
    parser_expect(p, "{");
    while (!token_is(p->at, "}")) {
        if (node->list) parser_expect(p, ",");
        if (token_is(p->at, "}")) break;
        struct node *pair = parser_node(p, NODE_PAIR, p->at);
        pair->a = parse_expression(p, true);
        parser_expect(p, ":");
        pair->b = parse_expression(p, true);
        node_append(&tail, pair);
    }
    parser_expect(p, "}");
    return node;
}

struct node *parse_primary(struct parser *p)
{
    const struct token *token = p->at;
    struct node *node;
    switch (token->type) {
    case TOKEN_NAME: return parse_name(p);
    case TOKEN_STRING: return parse_strings(p);
    case TOKEN_INTEGER: p->at++; return constant(p, token, jinja_int(token->integer));
    case TOKEN_FLOAT: p->at++; return constant(p, token, jinja_float(token->real));
    default: break;
    }
    if (token_is(token, "[")) return parse_list(p);
    if (token_is(token, "{")) return parse_dict(p);
    if (!token_is(token, "(")) parser_fail(p, "an expression");
    p->at++;
    node = parse_tuple(p, true, true);
    parser_expect(p, ")");
    return node;
}

static bool ends_subscript(const struct parser *p)
{
    return token_is(p->at, "]") || token_is(p->at, ",");
}

static struct node *parse_subscript_part(struct parser *p)
{
    const struct token *token = p->at;
    struct node *start = token_is(token, ":") ? NULL : parse_expression(p, true);
    if (!token_is(p->at, ":")) return start;
    p->at++;
    struct node *slice = parser_node(p, NODE_SLICE, token);
    slice->a = start;
    if (!token_is(p->at, ":") && !ends_subscript(p)) slice->b = parse_expression(p, true);
    if (parser_skip(p, ":") && !ends_subscript(p)) slice->c = parse_expression(p, true);
    return slice;
}

static struct node *parse_subscript(struct parser *p, struct node *value)
{
    const struct token *token = p->at++;
    struct node *node;
    if (token_is(token, ".")) {
        const struct token *name = p->at++;
        node = parser_node(p, name->type == TOKEN_NAME ? NODE_ATTRIBUTE : NODE_ITEM, token);
        node->a = value;
        node->text = name->text;
        if (name->type == TOKEN_INTEGER)
            node->b = constant(p, name, jinja_int(name->integer));
        else if (name->type != TOKEN_NAME)
            p->at--, parser_fail(p, "a name or number after '.'");
        return node;
    }
    node = parser_node(p, NODE_ITEM, token);
    node->a = value;
    struct node *parts = NULL, **tail = &parts;
    while (!token_is(p->at, "]")) {
        if (parts) parser_expect(p, ",");
        node_append(&tail, parse_subscript_part(p));
    }
    node->b = parts;
    if (!parts || parts->next) { /* a slice within a tuple is an error when it is evaluated, as in Python */
        node->b = parser_node(p, NODE_TUPLE, token);
        node->b->list = parts;
    }
    parser_expect(p, "]");
    return node;
}

static struct node *parse_argument(struct parser *p, int *seen)
{
    const struct token *token = p->at;
    struct node *argument = parser_node(p, NODE_ARGUMENT, token);
    if (parser_skip(p, "*")) {
        argument->op = ARGUMENT_LIST;
    } else if (parser_skip(p, "**")) {
        argument->op = ARGUMENT_DICT;
    } else if (token->type == TOKEN_NAME && token_is(token + 1, "=")) {
        argument->op = ARGUMENT_NAMED;
        argument->text = token->text;
        p->at += 2;
    }
    /* positional ones first, then named ones; one * and one ** at most, nothing after ** */
    bool valid = *seen != ARGUMENT_DICT && (argument->op > *seen || (argument->op == *seen && *seen != ARGUMENT_LIST) ||
                                            (argument->op == ARGUMENT_NAMED && *seen == ARGUMENT_LIST));
    if (!valid) p->at = token, parser_fail(p, "another order of arguments");
    if (argument->op > *seen) *seen = argument->op;
    argument->a = parse_expression(p, true);
    return argument;
}

static struct node *parse_arguments(struct parser *p)
{
    struct node *list = NULL, **tail = &list;
    int seen = ARGUMENT_POSITIONAL;
    parser_expect(p, "(");
    while (!token_is(p->at, ")")) {
        if (list) parser_expect(p, ",");
        if (token_is(p->at, ")")) break;
        node_append(&tail, parse_argument(p, &seen));
    }
    parser_expect(p, ")");
    return list;
}

static struct node *parse_call(struct parser *p, struct node *callee)
{
    struct node *node = parser_node(p, NODE_CALL, p->at);
    node->a = callee;
    node->list = parse_arguments(p);
    return node;
}

static struct node *parse_postfix(struct parser *p, struct node *node)
{
    for (;;) {
        if (token_is(p->at, ".") || token_is(p->at, "["))
            node = parse_subscript(p, node);
        else if (token_is(p->at, "("))
            node = parse_call(p, node);
        else
            return node;
        jinja_enter(p->j); /* undone by parse_unary: a chain is as deep as it is long */
    }
}

/* A filter's or test's name; dots are part of it. */
static const struct string *parse_dotted_name(struct parser *p)
{
    const struct string *name = parser_expect_name(p)->text;
    while (parser_skip(p, ".")) {
        static const struct string dot = {.bytes = ".", .n = 1};
        name = string_join(p->j, string_join(p->j, name, &dot), parser_expect_name(p)->text);
    }
    return name;
}

struct node *parse_filters(struct parser *p, struct node *input, bool first)
{
    while (first || token_is(p->at, "|")) {
        if (!first) p->at++;
        first = false;
        struct node *node = parser_node(p, NODE_FILTER, p->at);
        node->a = input;
        node->text = parse_dotted_name(p);
        if (token_is(p->at, "(")) node->list = parse_arguments(p);
        input = node;
        jinja_enter(p->j);
    }
    return input;
}

static bool begins_test_argument(const struct parser *p)
{
    switch (p->at->type) {
    case TOKEN_NAME:
        return !token_is_name(p->at, "else") && !token_is_name(p->at, "or") && !token_is_name(p->at, "and");
    case TOKEN_STRING:
    case TOKEN_INTEGER:
    case TOKEN_FLOAT: return true;
    default: return token_is(p->at, "[") || token_is(p->at, "{");
    }
}

static struct node *parse_test(struct parser *p, struct node *value)
{
    const struct token *token = p->at++; /* is */
    bool negated = parser_skip_name(p, "not");
    struct node *node = parser_node(p, NODE_TEST, p->at);
    node->a = value;
    node->text = parse_dotted_name(p);
    if (token_is(p->at, "(")) {
        node->list = parse_arguments(p);
    } else if (begins_test_argument(p)) {
        if (token_is_name(p->at, "is")) parser_fail(p, "no second 'is': tests do not chain");
        node->list = parser_node(p, NODE_ARGUMENT, p->at);
        node->list->a = parse_postfix(p, parse_primary(p));
    }
    jinja_enter(p->j);
    if (!negated) return node;
    struct node *not = parser_node(p, NODE_NOT, token);
    not ->a = node;
    return not ;
}

static struct node *parse_filters_and_tests(struct parser *p, struct node *node)
{
    for (;;) {
        if (token_is(p->at, "|"))
            node = parse_filters(p, node, false);
        else if (token_is_name(p->at, "is"))
            node = parse_test(p, node);
        else if (token_is(p->at, "("))
            node = parse_call(p, node), jinja_enter(p->j);
        else
            return node;
    }
}

static struct node *parse_unary(struct parser *p, bool with_filter)
{
    const struct token *token = p->at;
    uint32_t depth = p->j->depth;
    struct node *node;
    jinja_enter(p->j);
    if (parser_skip(p, "-")) {
        node = parser_node(p, NODE_NEGATE, token);
        node->a = parse_unary(p, false);
    } else if (parser_skip(p, "+")) {
        node = parser_node(p, NODE_PLUS, token);
        node->a = parse_unary(p, false);
    } else {
        node = parse_primary(p);
    }
    node = parse_postfix(p, node);
    if (with_filter) node = parse_filters_and_tests(p, node);
    p->j->depth = depth;
    return node;
}

static bool next_binary(const struct parser *p, int level, enum jinja_operator *op)
{
    static const struct {
        const char *spelling;
        int level;
        enum jinja_operator op;
    } table[] = {{"+", 0, OP_ADD},       {"-", 0, OP_SUB}, {"*", 2, OP_MUL}, {"/", 2, OP_DIV},
                 {"//", 2, OP_FLOORDIV}, {"%", 2, OP_MOD}, {"**", 3, OP_POW}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (table[i].level != level || !token_is(p->at, table[i].spelling)) continue;
        *op = table[i].op;
        return true;
    }
    return false;
}

/* Levels: 0 + -, 1 ~, 2 * / // %, 3 **. All group to the left, as in jinja2. */
static struct node *parse_binary(struct parser *p, int level)
{
    if (level == 4) return parse_unary(p, true);
    const struct token *token = p->at;
    uint32_t depth = p->j->depth;
    struct node *left = parse_binary(p, level + 1);
    enum jinja_operator op;
    if (level == 1 && token_is(p->at, "~")) {
        struct node *concat = parser_node(p, NODE_CONCAT, token), **tail = &concat->list;
        node_append(&tail, left);
        while (parser_skip(p, "~"))
            node_append(&tail, parse_binary(p, level + 1));
        return concat;
    }
    while (next_binary(p, level, &op)) {
        struct node *node = parser_node(p, NODE_BINARY, p->at++);
        jinja_enter(p->j); /* the tree is as deep as the chain is long */
        node->op = (int)op;
        node->a = left;
        node->b = parse_binary(p, level + 1);
        left = node;
    }
    p->j->depth = depth;
    return left;
}

static bool next_compare(struct parser *p, int *op)
{
    static const char *const spellings[] = {"==", "!=", "<", "<=", ">", ">="};
    for (int i = 0; i < 6; i++) {
        *op = i;
        if (parser_skip(p, spellings[i])) return true;
    }
    *op = COMPARE_IN;
    if (parser_skip_name(p, "in")) return true;
    if (!token_is_name(p->at, "not") || !token_is_name(p->at + 1, "in")) return false;
    *op = COMPARE_NOT_IN;
    p->at += 2;
    return true;
}

static struct node *parse_compare(struct parser *p)
{
    const struct token *token = p->at;
    struct node *left = parse_binary(p, 0);
    struct node *compare = NULL, **tail = NULL;
    int op;
    for (;;) {
        const struct token *sign = p->at;
        if (!next_compare(p, &op)) return compare ? compare : left;
        if (!compare) {
            compare = parser_node(p, NODE_COMPARE, token);
            compare->a = left;
            tail = &compare->list;
        }
        struct node *operand = parser_node(p, NODE_OPERAND, sign);
        operand->op = op;
        operand->a = parse_binary(p, 0);
        node_append(&tail, operand);
    }
}

static struct node *parse_not(struct parser *p)
{
    const struct token *token = p->at;
    if (!parser_skip_name(p, "not")) return parse_compare(p);
    struct node *node = parser_node(p, NODE_NOT, token);
    jinja_enter(p->j);
    node->a = parse_not(p);
    jinja_leave(p->j);
    return node;
}

static struct node *parse_logic(struct parser *p, bool is_or)
{
    uint32_t depth = p->j->depth;
    struct node *left = is_or ? parse_logic(p, false) : parse_not(p);
    const struct token *token = p->at;
    while (parser_skip_name(p, is_or ? "or" : "and")) {
        struct node *node = parser_node(p, is_or ? NODE_OR : NODE_AND, token);
        jinja_enter(p->j);
        node->a = left;
        node->b = is_or ? parse_logic(p, false) : parse_not(p);
        left = node;
        token = p->at;
    }
    p->j->depth = depth;
    return left;
}

struct node *parse_expression(struct parser *p, bool with_condition)
{
    const struct token *token = p->at;
    uint32_t depth = p->j->depth;
    jinja_enter(p->j);
    struct node *node = parse_logic(p, true);
    while (with_condition && parser_skip_name(p, "if")) {
        struct node *condition = parser_node(p, NODE_CONDITION, token);
        jinja_enter(p->j);
        condition->b = node;
        condition->a = parse_logic(p, true);
        if (parser_skip_name(p, "else")) condition->c = parse_expression(p, true);
        node = condition;
        token = p->at;
    }
    p->j->depth = depth;
    return node;
}

static bool ends_tuple(const struct parser *p)
{
    return p->at->type == TOKEN_VARIABLE_END || p->at->type == TOKEN_BLOCK_END || token_is(p->at, ")");
}

struct node *parse_tuple(struct parser *p, bool with_condition, bool in_parentheses)
{
    const struct token *token = p->at;
    struct node *list = NULL, **tail = &list;
    bool is_tuple = false;
    for (;;) {
        if (list) parser_expect(p, ",");
        if (ends_tuple(p)) break;
        node_append(&tail, parse_expression(p, with_condition));
        if (!token_is(p->at, ",")) break;
        is_tuple = true;
    }
    if (!is_tuple && list) return list;
    if (!is_tuple && !in_parentheses) parser_fail(p, "an expression");
    struct node *tuple = parser_node(p, NODE_TUPLE, token);
    tuple->list = list;
    return tuple;
}
