/* jinja_builtin.h - what the files of built-in filters, tests and methods share. */
#ifndef STILE_TEXT_JINJA_BUILTIN_H
#define STILE_TEXT_JINJA_BUILTIN_H

#include "text/jinja_value.h"

/* ---- jinja_methods.c ---- */

const struct string *string_strip(struct jinja *j, const struct string *s, struct value chars, bool left, bool right);
const struct string *string_replace(struct jinja *j, const struct string *s, const struct string *old,
                                    const struct string *new, int64_t limit); /* limit < 0: all */
struct value string_lines(struct jinja *j, const struct string *s, bool keep_ends);

/* ---- jinja_queries.c ---- */

struct value string_center(struct jinja *j, struct value self, struct args *args);
struct value string_islower(struct jinja *j, struct value self, struct args *args);
struct value string_isupper(struct jinja *j, struct value self, struct args *args);

#endif
