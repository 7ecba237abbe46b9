#include "model/folder_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char file_name[] = "tokenizer.json", config_name[] = "tokenizer_config.json";

enum { TOKENS_MAX = 1 << 24, TEMPLATE_BYTES_MAX = 1 << 20 };

#define KEY(name) "tokenizer.ggml." name
#define SPACE     "\xE2\x96\x81" /* U+2581, a space in SentencePiece spellings */

struct reading {
    struct folder *folder;
    const json_t *model; /* of tokenizer.json */
    struct folder_token *tokens;
    uint32_t n;
    bool is_byte_level; /* else spelled as by SentencePiece, unknown characters byte for byte */
    bool adds_space;    /* SentencePiece */
};

/* ---- tokens ------------------------------------------------------------------------------------ */

static int set_token(struct reading *r, const char *text, const json_t *id, int32_t type)
{
    json_int_t i = json_integer_value(id);
    if (!json_is_integer(id) || i < 0 || i >= r->n)
        return folder_fail(r->folder, STILE_ERROR_MALFORMED, file_name,
                           "the id of token \"%.60s\" is not a number below the %u rows of the embedding", text, r->n);
    struct folder_token *token = &r->tokens[i];
    if (token->text && strcmp(token->text, text) != 0)
        return folder_fail(r->folder, STILE_ERROR_MALFORMED, file_name,
                           "tokens \"%.60s\" and \"%.60s\" have the same id", token->text, text);
    *token = (struct folder_token){text, type};
    return 0;
}

static bool is_byte(const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    return strlen(text) == 6 && strncmp(text, "<0x", 3) == 0 && strchr(digits, text[3]) && strchr(digits, text[4]) &&
           text[5] == '>';
}

/* A special token's text as tokenizer_config.json has it: as it is or as an object; NULL. */
static const char *special_text(const struct reading *r, const char *key)
{
    const json_t *token = json_object_get(r->folder->tokenizer_config, key);
    return json_is_object(token) ? folder_string(token, "content") : json_string_value(token);
}

static int read_tokens(struct reading *r)
{
    json_t *vocab = json_object_get(r->model, "vocab"), *added = json_object_get(r->folder->tokenizer, "added_tokens");
    const char *text, *unknown = folder_string(r->model, "unk_token");
    json_t *item;
    size_t i;
    int failed = 0;
    if (!unknown) unknown = special_text(r, "unk_token");
    if (r->is_byte_level) unknown = NULL;
    if (!json_is_object(vocab))
        return folder_fail(r->folder, STILE_ERROR_MALFORMED, file_name, "model.vocab is not an object of tokens");
    json_object_foreach(vocab, text, item)
    {
        if (failed) break;
        failed = set_token(r, text, item, !r->is_byte_level && is_byte(text) ? FOLDER_BYTE : FOLDER_NORMAL);
    }
    json_array_foreach(added, i, item)
    {
        if (failed) break;
        bool special = json_is_true(json_object_get(item, "special"));
        text = folder_string(item, "content");
        if (!text)
            return folder_fail(r->folder, STILE_ERROR_MALFORMED, file_name, "added_tokens[%zu] has no content", i);
        bool is_unknown = unknown && strcmp(text, unknown) == 0;
        failed = set_token(r, text, json_object_get(item, "id"),
                           is_unknown ? FOLDER_UNKNOWN
                           : special  ? FOLDER_CONTROL
                                      : FOLDER_USER_DEFINED);
    }
    return failed;
}

/* -1 when there is none. */
static int64_t id_of(const struct reading *r, const char *text)
{
    for (uint32_t i = 0; text && i < r->n; i++)
        if (r->tokens[i].text && strcmp(r->tokens[i].text, text) == 0) return i;
    return -1;
}

static int write_tokens(struct reading *r)
{
    struct gguf_header *header = &r->folder->header;
    char name[32];
    gguf_header_array(header, KEY("tokens"), GGUF_STRING, r->n);
    for (uint32_t i = 0; i < r->n; i++) {
        /* rows of the embedding that no token has */
        snprintf(name, sizeof name, "[PAD%u]", i);
        const char *text = r->tokens[i].text ? r->tokens[i].text : name;
        gguf_header_bytes(header, text, strlen(text));
    }
    gguf_header_array(header, KEY("token_type"), GGUF_I32, r->n);
    for (uint32_t i = 0; i < r->n; i++) {
        int32_t type = r->tokens[i].text ? r->tokens[i].type : FOLDER_UNUSED;
        buffer_add(&header->keys, &type, sizeof type);
    }
    return 0;
}

/* ---- merges ------------------------------------------------------------------------------------ */

static int write_merge(struct reading *r, const json_t *merge, size_t i)
{
    struct buffer *keys = &r->folder->header.keys;
    const char *text = json_string_value(merge);
    if (text) {
        gguf_header_bytes(&r->folder->header, text, strlen(text));
        return 0;
    }
    const char *left = json_string_value(json_array_get(merge, 0)),
               *right = json_string_value(json_array_get(merge, 1));
    if (!left || !right || json_array_size(merge) != 2 || strchr(left, ' ') || strchr(right, ' '))
        return folder_fail(r->folder, STILE_ERROR_MALFORMED, file_name, "model.merges[%zu] is not a pair of tokens", i);
    uint64_t n = strlen(left) + 1 + strlen(right);
    buffer_add(keys, &n, sizeof n);
    buffer_string(keys, left);
    buffer_char(keys, ' ');
    buffer_string(keys, right);
    return 0;
}

static int write_merges(struct reading *r)
{
    json_t *merges = json_object_get(r->model, "merges"), *merge;
    size_t i;
    int failed = 0;
    if (!json_is_array(merges))
        return folder_fail(r->folder, STILE_ERROR_MALFORMED, file_name, "model.merges is not an array");
    gguf_header_array(&r->folder->header, KEY("merges"), GGUF_STRING, json_array_size(merges));
    json_array_foreach(merges, i, merge)
    {
        if (failed) break;
        failed = write_merge(r, merge, i);
    }
    return failed;
}

static int write_scores(struct reading *r)
{
    float *scores = calloc(r->n, sizeof *scores);
    if (!scores) return error_memory(r->folder->error, r->n * sizeof *scores, "scores");
    int failed = folder_scores(r->folder, r->model, r->tokens, scores);
    gguf_header_array(&r->folder->header, KEY("scores"), GGUF_F32, r->n);
    buffer_add(&r->folder->header.keys, scores, r->n * sizeof *scores);
    free(scores);
    return failed;
}

/* ---- what happens to a text before ------------------------------------------------------------- */

static int fail_step(struct reading *r, const char *what, const json_t *step)
{
    char *text = json_dumps(step, JSON_COMPACT | JSON_ENCODE_ANY);
    int code = folder_fail(r->folder, STILE_ERROR_UNSUPPORTED, file_name, "%s: this is not supported: %.240s", what,
                           text ? text : "null");
    free(text);
    return code;
}

/* SentencePiece's own: spaces become U+2581, one more at the beginning. */
static bool is_spelling(struct reading *r, const json_t *step)
{
    const char *type = folder_string(step, "type"), *content = folder_string(step, "content");
    const char *pattern = folder_string(json_object_get(step, "pattern"), "String");
    if (!type) return false;
    if (strcmp(type, "Prepend") == 0) {
        const char *prepend = folder_string(step, "prepend");
        r->adds_space = true;
        return prepend && strcmp(prepend, SPACE) == 0;
    }
    return strcmp(type, "Replace") == 0 && pattern && content && strcmp(pattern, " ") == 0 &&
           strcmp(content, SPACE) == 0;
}

/* Composing characters is passed over, as it is with GGUF files: they have no key for it. */
static bool is_composing(const json_t *step)
{
    const char *type = folder_string(step, "type");
    return type && strcmp(type, "NFC") == 0;
}

static int read_normalizer(struct reading *r)
{
    const json_t *root = json_object_get(r->folder->tokenizer, "normalizer");
    const json_t *steps = json_object_get(root, "normalizers");
    if (!root || json_is_null(root)) return 0;
    size_t n = json_is_array(steps) ? json_array_size(steps) : 1;
    for (size_t i = 0; i < n; i++) {
        const json_t *step = json_is_array(steps) ? json_array_get(steps, i) : root;
        if (r->is_byte_level ? !is_composing(step) : !is_spelling(r, step)) return fail_step(r, "normalizer", step);
    }
    return 0;
}

/* Of a SentencePiece vocabulary: nothing, or what changes nothing once spaces are spelled. The space at the beginning is
 * SentencePiece's own, as with GGUF files: also before a text that begins with one, and after control tokens. */
static int read_metaspace(struct reading *r)
{
    const json_t *step = json_object_get(r->folder->tokenizer, "pre_tokenizer");
    const char *type = folder_string(step, "type"), *scheme = folder_string(step, "prepend_scheme");
    const char *replacement = folder_string(step, "replacement");
    const char *pattern = folder_string(json_object_get(step, "pattern"), "String");
    if (!step || json_is_null(step)) return 0;
    if (type && strcmp(type, "Split") == 0 && pattern && strcmp(pattern, " ") == 0) return 0;
    if (!type || strcmp(type, "Metaspace") != 0 || !replacement || strcmp(replacement, SPACE) != 0 ||
        !json_is_false(json_object_get(step, "split")))
        return fail_step(r, "pre_tokenizer", step);
    r->adds_space = !scheme || strcmp(scheme, "never") != 0;
    return 0;
}

static int check_model(struct reading *r)
{
    const char *type = folder_string(r->model, "type");
    const json_t *dropout = json_object_get(r->model, "dropout");
    const char *before = folder_string(r->model, "continuing_subword_prefix");
    const char *after = folder_string(r->model, "end_of_word_suffix");
    if (!type || strcmp(type, "BPE") != 0)
        return folder_fail(r->folder, STILE_ERROR_UNSUPPORTED, file_name,
                           "model.type \"%.40s\" is not supported (BPE is)", type ? type : "");
    if ((dropout && !json_is_null(dropout)) || (before && *before) || (after && *after))
        return folder_fail(r->folder, STILE_ERROR_UNSUPPORTED, file_name,
                           "model: dropout, continuing_subword_prefix and end_of_word_suffix are not supported");
    r->is_byte_level = !json_is_true(json_object_get(r->model, "byte_fallback"));
    return 0;
}

static int write_model(struct reading *r)
{
    struct gguf_header *header = &r->folder->header;
    const char *pre = NULL;
    gguf_header_string(header, KEY("model"), r->is_byte_level ? "gpt2" : "llama");
    int failed = r->is_byte_level ? folder_pre(r->folder, &pre) : read_metaspace(r);
    if (!failed) failed = read_normalizer(r);
    if (failed) return failed;
    if (pre)
        gguf_header_string(header, KEY("pre"), pre);
    else
        gguf_header_bool(header, KEY("add_space_prefix"), r->adds_space);
    return r->is_byte_level ? write_merges(r) : write_scores(r);
}

/* ---- special tokens ---------------------------------------------------------------------------- */

/* Number i of an id or a list of ids in config.json, or generation_config.json, which goes before it; -1. */
static int64_t config_id(const struct reading *r, const char *key, size_t i)
{
    const json_t *found = json_object_get(r->folder->generation, key);
    if (!found || json_is_null(found)) found = json_object_get(r->folder->config, key);
    if (json_is_array(found))
        found = json_array_get(found, i);
    else if (i > 0)
        return -1;
    json_int_t id = json_integer_value(found);
    return json_is_integer(found) && id >= 0 && id < r->n ? id : -1;
}

static void write_id(struct reading *r, const char *key, int64_t id)
{
    if (id >= 0) gguf_header_u32(&r->folder->header, key, (uint32_t)id);
}

/* What ends a reply may be several tokens: GGUF files have three keys for them. */
static void write_ends(struct reading *r, int64_t eos)
{
    static const char *const keys[] = {KEY("eot_token_id"), KEY("eom_token_id")};
    size_t n = 0;
    write_id(r, KEY("eos_token_id"), eos);
    for (size_t i = 0; n < sizeof keys / sizeof *keys; i++) {
        int64_t id = config_id(r, "eos_token_id", i);
        if (id < 0) break;
        if (id != eos) write_id(r, keys[n++], id);
    }
}

/* Does the post-processor put this token before the text (or after it)? */
static bool template_has(const json_t *processor, const char *text, bool before)
{
    const json_t *parts = json_object_get(processor, "processors"), *single = json_object_get(processor, "single");
    bool passed = false, found = false;
    for (size_t i = 0; i < json_array_size(parts) && !found; i++)
        found = template_has(json_array_get(parts, i), text, before);
    for (size_t i = 0; i < json_array_size(single) && text && !found; i++) {
        const json_t *item = json_array_get(single, i);
        const char *special = folder_string(json_object_get(item, "SpecialToken"), "id");
        passed |= json_object_get(item, "Sequence") != NULL;
        found = special && strcmp(special, text) == 0 && passed == !before;
    }
    return found;
}

static int write_additions(struct reading *r, const char *bos, const char *eos)
{
    const json_t *processor = json_object_get(r->folder->tokenizer, "post_processor");
    bool adds_bos = template_has(processor, bos, true), adds_eos = template_has(processor, eos, false);
    int failed = folder_bool(r->folder, config_name, r->folder->tokenizer_config, "add_bos_token", &adds_bos);
    if (!failed) failed = folder_bool(r->folder, config_name, r->folder->tokenizer_config, "add_eos_token", &adds_eos);
    gguf_header_bool(&r->folder->header, KEY("add_bos_token"), adds_bos);
    gguf_header_bool(&r->folder->header, KEY("add_eos_token"), adds_eos);
    return failed;
}

static int write_specials(struct reading *r)
{
    const char *bos_text = special_text(r, "bos_token"), *eos_text = special_text(r, "eos_token");
    int64_t bos = id_of(r, bos_text), eos = id_of(r, eos_text), unknown = id_of(r, special_text(r, "unk_token"));
    if (unknown < 0) unknown = id_of(r, folder_string(r->model, "unk_token"));
    if (bos < 0) bos = config_id(r, "bos_token_id", 0);
    if (eos < 0) eos = config_id(r, "eos_token_id", 0);
    if (bos >= 0) bos_text = r->tokens[bos].text;
    if (eos >= 0) eos_text = r->tokens[eos].text;
    write_id(r, KEY("bos_token_id"), bos);
    write_ends(r, eos);
    write_id(r, KEY("unknown_token_id"), unknown);
    write_id(r, KEY("padding_token_id"), id_of(r, special_text(r, "pad_token")));
    return write_additions(r, bos_text, eos_text);
}

/* ---- chat template ----------------------------------------------------------------------------- */

/* One template, or several by name. */
static const char *configured_template(const json_t *config)
{
    const json_t *found = json_object_get(config, "chat_template");
    const char *text = json_string_value(found);
    for (size_t i = 0; i < json_array_size(found) && !text; i++) {
        const char *name = folder_string(json_array_get(found, i), "name");
        if (name && strcmp(name, "default") == 0) text = folder_string(json_array_get(found, i), "template");
    }
    return text;
}

static int write_template(struct reading *r)
{
    const char *text = configured_template(r->folder->tokenizer_config);
    char *own = NULL;
    size_t n;
    int failed = text ? 0 : folder_text(r->folder, "chat_template.jinja", TEMPLATE_BYTES_MAX, &own, &n);
    if (own && strlen(own) != n)
        failed = folder_fail(r->folder, STILE_ERROR_MALFORMED, "chat_template.jinja", "it holds a NUL");
    if (own) text = own;
    if (text && !failed) gguf_header_string(&r->folder->header, "tokenizer.chat_template", text);
    free(own);
    return failed;
}

int folder_vocab(struct folder *folder)
{
    struct reading r = {.folder = folder, .model = json_object_get(folder->tokenizer, "model")};
    if (folder->n_vocab > TOKENS_MAX)
        return error_set(folder->error, STILE_ERROR_UNSUPPORTED, "%s: more than %d tokens", folder->path, TOKENS_MAX);
    r.n = (uint32_t)folder->n_vocab;
    r.tokens = calloc(r.n, sizeof *r.tokens);
    if (!r.tokens) return error_memory(folder->error, r.n * sizeof *r.tokens, "the vocabulary");
    int failed = check_model(&r);
    if (!failed) failed = read_tokens(&r);
    if (!failed) failed = write_tokens(&r);
    if (!failed) failed = write_model(&r);
    if (!failed) failed = write_specials(&r);
    if (!failed) failed = write_template(&r);
    free(r.tokens);
    return failed;
}
