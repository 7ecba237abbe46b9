/* jinja_lex.h - a template's source as tokens, with jinja2's rules for white space.
 *
 * Rules (jinja2's lexer with trim_blocks and lstrip_blocks): one final newline of the source is dropped and CR LF
 * becomes LF; a newline after %} or #} is dropped; blanks before {% or {# at the beginning of a line are dropped; '-'
 * beside a tag drops all white space on that side, '+' keeps it.
 */
#ifndef STILE_TEXT_JINJA_LEX_H
#define STILE_TEXT_JINJA_LEX_H

#include "text/jinja_value.h"

enum token_type {
    TOKEN_END,
    TOKEN_DATA,
    TOKEN_VARIABLE_BEGIN,
    TOKEN_VARIABLE_END,
    TOKEN_BLOCK_BEGIN,
    TOKEN_BLOCK_END,
    TOKEN_NAME,
    TOKEN_STRING,
    TOKEN_INTEGER,
    TOKEN_FLOAT,
    TOKEN_OPERATOR,
};

struct token {
    enum token_type type;
    unsigned line, column;
    const struct string *text; /* DATA, NAME, STRING: its value */
    char operator[3];          /* OPERATOR: its spelling */
    int64_t integer;
    double real;
};

/* All tokens, ended by TOKEN_END; in j's arena. */
struct token *jinja_tokens(struct jinja *j, const char *source, size_t n);

#endif
