/* jinja_parse.h - a template as a tree. */
#ifndef STILE_TEXT_JINJA_PARSE_H
#define STILE_TEXT_JINJA_PARSE_H

#include "text/jinja_lex.h"

enum node_kind {
    /* expressions */
    NODE_CONSTANT,  /* constant */
    NODE_NAME,      /* symbol, text */
    NODE_TUPLE,     /* list: items */
    NODE_LIST,      /* list: items */
    NODE_DICT,      /* list: PAIR */
    NODE_PAIR,      /* a: key or target, b: value */
    NODE_ATTRIBUTE, /* a.text */
    NODE_ITEM,      /* a[b] */
    NODE_SLICE,     /* a:b:c, each may be NULL; only as the b of an ITEM */
    NODE_CALL,      /* a(list: ARGUMENT) */
    NODE_FILTER,    /* a|text(list) */
    NODE_TEST,      /* a is text(list) */
    NODE_ARGUMENT,  /* a; op: enum argument_kind; text: keyword */
    NODE_CONDITION, /* b if a else c; c may be NULL */
    NODE_AND,       /* a, b */
    NODE_OR,        /* a, b */
    NODE_NOT,       /* a */
    NODE_COMPARE,   /* a, list: OPERAND */
    NODE_OPERAND,   /* op: enum compare_op; a */
    NODE_BINARY,    /* op: enum jinja_operator; a, b */
    NODE_NEGATE,    /* a */
    NODE_PLUS,      /* a */
    NODE_CONCAT,    /* list */
    NODE_TARGET,    /* assignment to the attribute `text` of the namespace `symbol` */
    /* statements */
    NODE_DATA,       /* text */
    NODE_OUTPUT,     /* list: expressions */
    NODE_SET,        /* a: target, b: value */
    NODE_SET_BLOCK,  /* a: target, b: filters applied to SYMBOL_BLOCK or NULL, list: body */
    NODE_FOR,        /* a: target, b: iterated, c: condition or NULL, list: body, other: SCOPE of else; op: recursive */
    NODE_IF,         /* list: BRANCH */
    NODE_BRANCH,     /* a: condition, NULL for else; list: body */
    NODE_MACRO,      /* symbol, text: name; other: PARAMETER; list: body; op: enum macro_flag */
    NODE_PARAMETER,  /* symbol, text; a: default or NULL */
    NODE_CALL_BLOCK, /* a: the CALL, b: the MACRO it gets as `caller` */
    NODE_FILTER_BLOCK, /* b: filters applied to SYMBOL_BLOCK, list: body */
    NODE_WITH,         /* other: PAIR; list: body */
    NODE_SCOPE,        /* list: body */
    NODE_BREAK,
    NODE_CONTINUE,
};

enum argument_kind { ARGUMENT_POSITIONAL, ARGUMENT_NAMED, ARGUMENT_LIST, ARGUMENT_DICT };
enum compare_op { COMPARE_EQ, COMPARE_NE, COMPARE_LT, COMPARE_LE, COMPARE_GT, COMPARE_GE, COMPARE_IN, COMPARE_NOT_IN };
/* Names that a macro's body uses without declaring them: the macro takes what they stand for. */
enum macro_flag { MACRO_CALLER = 1, MACRO_KWARGS = 2, MACRO_VARARGS = 4 };

/* Symbols with a meaning of their own. */
enum { SYMBOL_BLOCK, SYMBOL_LOOP, SYMBOL_CALLER, SYMBOL_KWARGS, SYMBOL_VARARGS };

struct node {
    enum node_kind kind;
    int op;
    unsigned line, column;
    uint32_t symbol;
    const struct string *text;
    struct value constant;
    struct node *a, *b, *c;
    struct node *list, *other;
    struct node *next;     /* in the list of which this node is a part */
    const uint32_t *unset; /* nodes with a scope: names that are undefined in it until it sets them */
    size_t n_unset;
};

/* Every name of the template, numbered. */
struct symbol {
    const struct string *name;
    uint32_t next; /* in its bucket, plus one */
};

enum { SYMBOL_BUCKETS = 1024 };

struct symbols {
    struct symbol *all;
    size_t n, capacity;
    uint32_t buckets[SYMBOL_BUCKETS]; /* first symbol, plus one */
};

/* The whole template as one SCOPE. Fails through j. */
struct node *jinja_parse(struct jinja *j, struct symbols *symbols, const char *source, size_t n);

/* Fills in `unset` in the whole tree: jinja_unset.c. */
void jinja_find_unset(struct jinja *j, struct node *root, size_t n_symbols);

/* ---- between jinja_parse.c (statements) and jinja_expression.c ---- */

/* A macro whose body is being parsed. */
struct open_macro {
    struct open_macro *outer;
    int flags;
};

struct parser {
    struct jinja *j;
    struct symbols *symbols;
    const struct token *at;
    struct open_macro *macro;
    unsigned loops; /* for loops around, within the macro */
};

struct node *parser_node(struct parser *p, enum node_kind kind, const struct token *token);
uint32_t parser_symbol(struct parser *p, const struct string *name);
bool token_is(const struct token *token, const char *operator);
bool token_is_name(const struct token *token, const char *name);
bool parser_skip(struct parser *p, const char *operator);
bool parser_skip_name(struct parser *p, const char *name);
void parser_expect(struct parser *p, const char *operator);
const struct token *parser_expect_name(struct parser *p); /* any name */
void parser_fail(struct parser *p, const char *expected) __attribute__((noreturn));
/* Appends to a list whose last link is *tail. */
void node_append(struct node ***tail, struct node *node);

struct node *parse_expression(struct parser *p, bool with_condition);
/* One expression, or a tuple of them separated by commas. */
struct node *parse_tuple(struct parser *p, bool with_condition, bool in_parentheses);
struct node *parse_primary(struct parser *p);
/* The filters after '|' on `input`; `first` when the name of the first one comes without '|'. */
struct node *parse_filters(struct parser *p, struct node *input, bool first);

#endif
