/* recipe.h - formats for tensors by name: "blk.*.ffn_down.weight=q6_k,token_embd.weight=q8_0".
 *
 * Patterns are those of the shell (*, ?, [...]); the first rule whose pattern fits a name decides. Rules are separated by
 * commas or, in a file, by line ends; what follows a # is a comment there.
 */
#ifndef STILE_QUANTIZE_RECIPE_H
#define STILE_QUANTIZE_RECIPE_H

#include "base/error.h"
#include "format/format.h"

enum { RECIPE_PATTERN_BYTES = 128 };

struct recipe_rule {
    char pattern[RECIPE_PATTERN_BYTES];
    enum format format;
    bool used; /* some tensor took its format from it */
};

struct recipe {
    struct recipe_rule *rules;
    size_t n;
};

/* `text` holds rules or, without any "=", is the path of a file of them. ARGUMENT, IO. */
int recipe_open(struct recipe *recipe, const char *text, struct stile_error *error);
void recipe_close(struct recipe *recipe);

/* The rule for a tensor, marked as used; NULL when there is none. */
const struct recipe_rule *recipe_find(struct recipe *recipe, const char *name);
/* ARGUMENT when a rule was never used. */
int recipe_check(const struct recipe *recipe, struct stile_error *error);

#endif
