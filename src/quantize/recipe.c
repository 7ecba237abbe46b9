#include "quantize/recipe.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES_MAX = 1 << 20, RULES_MAX = 1 << 16 };

static const char spaces[] = " \t\r\n";

static int bad_rule(const char *rule, size_t n, struct stile_error *error)
{
    return error_set(error, STILE_ERROR_ARGUMENT,
                     "recipe \"%.*s\": not PATTERN=FORMAT, such as \"blk.*.ffn_down.weight=q6_k\"",
                     (int)(n < 200 ? n : 200), rule);
}

static int parse_rule(struct recipe_rule *rule, const char *text, size_t n, struct stile_error *error)
{
    char name[16];
    const char *equals = memchr(text, '=', n), *value = equals ? equals + 1 : text;
    size_t n_pattern = equals ? (size_t)(equals - text) : 0, n_name = n - (size_t)(value - text);
    while (n_pattern > 0 && strchr(spaces, text[n_pattern - 1]))
        n_pattern--;
    for (; n_name > 0 && strchr(spaces, *value); n_name--)
        value++;
    if (n_pattern == 0 || n_pattern >= sizeof rule->pattern || n_name == 0 || n_name >= sizeof name)
        return bad_rule(text, n, error);
    memcpy(rule->pattern, text, n_pattern);
    rule->pattern[n_pattern] = '\0';
    memcpy(name, value, n_name);
    name[n_name] = '\0';
    const struct format_info *info = format_by_name(name, &rule->format);
    if (!info || !info->decode)
        return error_set(
            error, STILE_ERROR_ARGUMENT,
            "recipe \"%s=%s\": no format of weights is called so (q4_k, q6_k, iq4_xs, nvfp4, f16, ... are)",
            rule->pattern, name);
    rule->used = false;
    return 0;
}

static int add_rule(struct recipe *recipe, const char *text, size_t n, struct stile_error *error)
{
    for (; n > 0 && strchr(spaces, *text); n--)
        text++;
    while (n > 0 && strchr(spaces, text[n - 1]))
        n--;
    if (n == 0) return 0;
    if (recipe->n == RULES_MAX) return error_set(error, STILE_ERROR_ARGUMENT, "recipe: more than %d rules", RULES_MAX);
    struct recipe_rule *rules = realloc(recipe->rules, (recipe->n + 1) * sizeof *rules);
    if (!rules) return error_memory(error, (recipe->n + 1) * sizeof *rules, "a recipe");
    recipe->rules = rules;
    int failed = parse_rule(&rules[recipe->n], text, n, error);
    if (!failed) recipe->n++;
    return failed;
}

static int parse(struct recipe *recipe, const char *text, struct stile_error *error)
{
    int failed = 0;
    for (const char *at = text; !failed; at++) {
        size_t n = strcspn(at, ",\n#");
        failed = add_rule(recipe, at, n, error);
        at += n;
        if (*at == '#') at += strcspn(at, "\n");
        if (!*at) break;
    }
    return failed;
}

static int parse_file(struct recipe *recipe, const char *path, struct stile_error *error)
{
    FILE *file = fopen(path, "re");
    char *text = file ? malloc(FILE_BYTES_MAX + 1) : NULL;
    if (!file)
        return error_set(error, STILE_ERROR_ARGUMENT,
                         "recipe \"%.200s\": neither PATTERN=FORMAT,... nor a file that can be read: %s", path,
                         strerror(errno));
    size_t n = text ? fread(text, 1, FILE_BYTES_MAX, file) : 0;
    int failed = text ? 0 : error_memory(error, FILE_BYTES_MAX, "a recipe");
    if (!failed && ferror(file))
        failed = error_set(error, STILE_ERROR_IO, "%.200s: cannot be read: %s", path, strerror(errno));
    if (!failed && (n == FILE_BYTES_MAX || memchr(text, '\0', n)))
        failed = error_set(error, STILE_ERROR_ARGUMENT, "%.200s: not a recipe: lines of PATTERN=FORMAT", path);
    fclose(file);
    if (!failed) {
        text[n] = '\0';
        failed = parse(recipe, text, error);
    }
    free(text);
    return failed;
}

int recipe_open(struct recipe *recipe, const char *text, struct stile_error *error)
{
    *recipe = (struct recipe){0};
    int failed = strchr(text, '=') ? parse(recipe, text, error) : parse_file(recipe, text, error);
    if (!failed && recipe->n == 0)
        failed = error_set(error, STILE_ERROR_ARGUMENT, "recipe \"%.200s\": there is no rule in it", text);
    if (failed) recipe_close(recipe);
    return failed;
}

void recipe_close(struct recipe *recipe)
{
    free(recipe->rules);
    *recipe = (struct recipe){0};
}

const struct recipe_rule *recipe_find(struct recipe *recipe, const char *name)
{
    for (size_t i = 0; i < recipe->n; i++) {
        struct recipe_rule *rule = &recipe->rules[i];
        if (fnmatch(rule->pattern, name, 0) != 0) continue;
        rule->used = true;
        return rule;
    }
    return NULL;
}

int recipe_check(const struct recipe *recipe, struct stile_error *error)
{
    for (size_t i = 0; i < recipe->n; i++)
        if (!recipe->rules[i].used)
            return error_set(error, STILE_ERROR_ARGUMENT,
                             "recipe \"%s=%s\": no weight that can be quantized has such a name, or an earlier rule "
                             "took all of them (`stile info MODEL --tensors` lists the names)",
                             recipe->rules[i].pattern, format_info(recipe->rules[i].format)->name);
    return 0;
}
