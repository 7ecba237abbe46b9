#include "model/folder_private.h"

#include <string.h>

/* As tokenizer.json files have them. */
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPACES      "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER       "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER       "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define GPT2        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define NUMBER      "\\p{N}"

enum { EXPRESSIONS_MAX = 4 };

/* What GGUF files call a list of expressions, each applied to the pieces that the one before left. The name also says
 * whether a piece that is a token becomes it whatever the merges say (ignore_merges). */
static const struct known {
    const char *name;
    bool ignores_merges;
    const char *expressions[EXPRESSIONS_MAX];
} knowns[] = {
    {"gpt-2", false, {GPT2}},
    {"smollm", false, {NUMBER, GPT2}},
    {"llama-bpe",
     true,
     {CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES}},
    {"smaug-bpe",
     false,
     {CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES}},
    {"qwen2", false, {CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES}},
    {"qwen35",
     false,
     {CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" SPACES}},
    {"gpt-4o",
     false,
     {"[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" CONTRACTION "?|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER
      "*" CONTRACTION "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES}},
    {"tekken",
     true,
     {"[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER
      "*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES}},
};

struct list {
    const char *expressions[EXPRESSIONS_MAX + 1];
    size_t n;
    bool is_byte_level;
};

static const char file_name[] = "tokenizer.json";

static int unknown(struct folder *folder, const json_t *step)
{
    const char *type = folder_string(step, "type");
    char *text = json_dumps(step, JSON_COMPACT | JSON_ENCODE_ANY);
    int code =
        folder_fail(folder, STILE_ERROR_UNSUPPORTED, file_name,
                    "pre_tokenizer: this \"%.40s\" is not supported: %.240s", type ? type : "", text ? text : "");
    free(text);
    return code;
}

/* A step of cutting as expressions; false when it is not known. */
static bool add_step(struct list *list, const json_t *step)
{
    const char *type = folder_string(step, "type"), *expression = NULL;
    if (!type || list->n > EXPRESSIONS_MAX) return false;
    if (strcmp(type, "Digits") == 0) {
        if (!json_is_true(json_object_get(step, "individual_digits"))) return false;
        expression = NUMBER;
    } else if (strcmp(type, "Split") == 0) {
        const char *behavior = folder_string(step, "behavior");
        bool inverts = json_is_true(json_object_get(step, "invert"));
        expression = folder_string(json_object_get(step, "pattern"), "Regex");
        /* the second spelling is one of the same where the expression matches every text, as these do */
        if (!expression || !behavior || strcmp(behavior, inverts ? "Removed" : "Isolated") != 0) return false;
    } else if (strcmp(type, "ByteLevel") == 0) {
        if (list->is_byte_level || json_is_true(json_object_get(step, "add_prefix_space"))) return false;
        list->is_byte_level = true;
        if (json_is_false(json_object_get(step, "use_regex"))) return true;
        expression = GPT2; /* what it does unless it is told not to */
    } else {
        return false;
    }
    list->expressions[list->n++] = expression;
    return true;
}

static bool is_same(const struct known *known, const struct list *list)
{
    for (size_t i = 0; i < EXPRESSIONS_MAX && (known->expressions[i] || i < list->n); i++)
        if (i >= list->n || !known->expressions[i] || strcmp(known->expressions[i], list->expressions[i]) != 0)
            return false;
    return list->n <= EXPRESSIONS_MAX;
}

int folder_pre(struct folder *folder, const char **name)
{
    const json_t *root = json_object_get(folder->tokenizer, "pre_tokenizer");
    const json_t *steps = json_object_get(root, "pretokenizers");
    bool ignores = json_is_true(json_object_get(json_object_get(folder->tokenizer, "model"), "ignore_merges"));
    struct list list = {0};
    size_t n = json_is_array(steps) ? json_array_size(steps) : 1;
    for (size_t i = 0; i < n; i++) {
        const json_t *step = json_is_array(steps) ? json_array_get(steps, i) : root;
        if (!add_step(&list, step)) return unknown(folder, step);
    }
    for (size_t i = 0; i < sizeof knowns / sizeof *knowns; i++)
        if (list.is_byte_level && knowns[i].ignores_merges == ignores && is_same(&knowns[i], &list)) {
            *name = knowns[i].name;
            return 0;
        }
    return folder_fail(folder, STILE_ERROR_UNSUPPORTED, file_name,
                       "pre_tokenizer with ignore_merges %s: no way of cutting text that stile knows; its first "
                       "expression is %.200s",
                       ignores ? "true" : "false", list.n > 0 ? list.expressions[0] : "missing");
}
