/* jinja_eval.h - walking the tree: jinja_eval.c evaluates expressions, jinja_run.c runs statements. */
#ifndef STILE_TEXT_JINJA_EVAL_H
#define STILE_TEXT_JINJA_EVAL_H

#include "text/jinja_parse.h"

struct binding {
    uint32_t symbol;
    struct value value;
    struct binding *next;
};

/* Names set in one body. A body sees those of the bodies around it, and sets only its own. */
struct scope {
    const struct scope *parent;
    struct binding *bindings;
};

struct macro {
    const struct node *node;
    const struct scope *scope; /* where it was defined */
};

struct loop {
    const struct node *node;
    const struct scope *scope; /* around the loop */
    struct list items;
    size_t at; /* first item not yet looked at */
    int64_t index0;
    struct value before, current, after;
    bool has_after;    /* `after` was taken ahead of time */
    struct value rest; /* MISSING, or the items left after the condition, once someone asked for the length */
    size_t rest_at;
    struct value changed; /* what loop.changed saw last */
    uint32_t depth0;
};

/* The scope of `node`'s body; NULL for one that only holds what is put into it. */
struct scope *scope_create(struct jinja *j, const struct scope *parent, const struct node *node);
void scope_set(struct jinja *j, struct scope *scope, uint32_t symbol, struct value value);

struct value jinja_eval(struct jinja *j, const struct node *node, const struct scope *scope);
void jinja_arguments(struct jinja *j, const struct node *list, const struct scope *scope, struct args *args);
/* Failures from here on name this node. */
void jinja_locate(struct jinja *j, const struct node *node);

void jinja_run(struct jinja *j, const struct node *root, struct builder *out);
struct value jinja_call_macro(struct jinja *j, const struct macro *macro, const struct args *args);
/* loop(items) in a recursive loop. */
struct value jinja_call_loop(struct jinja *j, const struct loop *loop, const struct args *args);
bool jinja_loop_attribute(struct jinja *j, struct loop *loop, const struct string *name, struct value *found);

#endif
