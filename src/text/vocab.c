#include "text/vocab.h"

#include "text/utf8.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define KEY(name) "tokenizer.ggml." name

/* Tokens that end a reply whatever the keys say (docs/formats.md, special tokens). */
static const char *const end_texts[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<\xEF\xBD\x9C"
    "end\xE2\x96\x81"
    "of\xE2\x96\x81"
    "sentence\xEF\xBD\x9C>",
};

static const char space_mark[] = "\xE2\x96\x81"; /* U+2581, a space in SentencePiece spellings */

/* An array key of `n` elements (any number when n is 0); NULL in *kv when missing. */
static int array_find(const struct gguf *gguf, const char *key, uint64_t n, const struct gguf_kv **kv,
                      struct stile_error *error)
{
    *kv = gguf_find(gguf, key);
    if (!*kv) return STILE_OK;
    if ((*kv)->type != GGUF_ARRAY)
        return error_set(error, STILE_ERROR_MALFORMED, "%s: %s is not an array", gguf->path, key);
    if (n && (*kv)->n != n)
        return error_set(error, STILE_ERROR_MALFORMED, "%s: %s has %llu elements, but there are %llu tokens",
                         gguf->path, key, (unsigned long long)(*kv)->n, (unsigned long long)n);
    return STILE_OK;
}

static int texts_read(struct vocab *vocab, const struct gguf *gguf, struct stile_error *error)
{
    const struct gguf_kv *kv;
    int code = array_find(gguf, KEY("tokens"), 0, &kv, error);
    if (code < 0) return code;
    if (!kv || kv->element != GGUF_STRING || kv->n == 0 || kv->n > VOCAB_TOKENS_MAX)
        return error_set(error, STILE_ERROR_MALFORMED, "%s: tokenizer.ggml.tokens must be an array of 1 to %d strings",
                         gguf->path, VOCAB_TOKENS_MAX);
    vocab->n = (size_t)kv->n;
    vocab->tokens = arena_array(&vocab->arena, vocab->n, sizeof *vocab->tokens);
    /* each string takes 8 bytes for its length in the file, one for its NUL here */
    char *text = arena_array(&vocab->arena, (size_t)kv->size_bytes, 1);
    if (!vocab->tokens || !text) return error_memory(error, (size_t)kv->size_bytes, "the vocabulary");

    struct gguf_strings strings = gguf_strings(kv);
    struct gguf_string string;
    for (size_t i = 0; i < vocab->n && gguf_strings_next(&strings, &string); i++) {
        if (string.n == 0 || string.n > VOCAB_TEXT_BYTES_MAX)
            return error_set(error, STILE_ERROR_MALFORMED, "%s: tokenizer.ggml.tokens[%zu] has %zu bytes, not 1 to %d",
                             gguf->path, i, string.n, VOCAB_TEXT_BYTES_MAX);
        memcpy(text, string.bytes, string.n);
        text[string.n] = 0;
        uint32_t n = (uint32_t)string.n;
        vocab->tokens[i] = (struct vocab_token){.text = text, .n_text = n, .type = TOKEN_NORMAL};
        if (n > vocab->n_text_max) vocab->n_text_max = n;
        text += string.n + 1;
    }
    return STILE_OK;
}

static int types_read(struct vocab *vocab, const struct gguf *gguf, struct stile_error *error)
{
    const struct gguf_kv *kv;
    int code = array_find(gguf, KEY("token_type"), vocab->n, &kv, error);
    if (code < 0 || !kv) return code;
    for (size_t i = 0; i < vocab->n; i++) {
        int64_t type;
        if (!gguf_element_i64(kv, i, &type) || type < TOKEN_NORMAL || type > TOKEN_BYTE)
            return error_set(error, STILE_ERROR_MALFORMED,
                             "%s: tokenizer.ggml.token_type[%zu] is not a type from 1 to 6", gguf->path, i);
        vocab->tokens[i].type = (uint8_t)type;
    }
    return STILE_OK;
}

static int scores_read(struct vocab *vocab, const struct gguf *gguf, struct stile_error *error)
{
    const struct gguf_kv *kv;
    int code = array_find(gguf, KEY("scores"), vocab->n, &kv, error);
    if (code < 0) return code;
    if (!kv && vocab->model == VOCAB_LLAMA)
        return error_set(error, STILE_ERROR_MALFORMED, "%s: tokenizer.ggml.scores is missing: \"llama\" needs it",
                         gguf->path);
    for (size_t i = 0; kv && i < vocab->n; i++) {
        double score;
        if (!gguf_element_f64(kv, i, &score) || !isfinite((float)score))
            return error_set(error, STILE_ERROR_MALFORMED, "%s: tokenizer.ggml.scores[%zu] is not a finite number",
                             gguf->path, i);
        vocab->tokens[i].score = (float)score;
    }
    return STILE_OK;
}

static int table_fill(struct vocab *vocab, const struct gguf *gguf, struct stile_error *error)
{
    int code = vocab_table_create(&vocab->table, &vocab->arena, vocab->n, error);
    if (code < 0) return code;
    for (size_t i = 0; i < vocab->n; i++) {
        if (!vocab_table_add(&vocab->table, vocab, (int32_t)i))
            return error_set(error, STILE_ERROR_MALFORMED,
                             "%s: tokenizer.ggml.tokens[%zu] collides with too many others in the hash table: a "
                             "vocabulary made to be slow",
                             gguf->path, i);
    }
    return STILE_OK;
}

size_t vocab_byte_spelling(unsigned char byte, char spelling[2])
{
    /* printable Latin-1 stands for itself; the other 68 bytes, in order, are U+0100, U+0101, ... */
    uint32_t c = byte;
    if (c <= 0x20) {
        c = 0x100u + c;
    } else if (c >= 0x7F && c <= 0xA0) {
        c = 0x100u + 0x21 + (c - 0x7F);
    } else if (c == 0xAD) {
        c = 0x100u + 0x43;
    }
    return utf8_encode(c, spelling);
}

static int32_t byte_of_code_point(uint32_t c)
{
    if ((c >= 0x21 && c <= 0x7E) || (c >= 0xA1 && c <= 0xAC) || (c >= 0xAE && c <= 0xFF)) return (int32_t)c;
    if (c >= 0x100 && c <= 0x120) return (int32_t)(c - 0x100);
    if (c >= 0x121 && c <= 0x142) return (int32_t)(c - 0x121 + 0x7F);
    return c == 0x143 ? 0xAD : -1;
}

/* Byte-level spelling to bytes; characters that stand for no byte are kept. Never longer than the spelling. */
static uint32_t bytes_of_gpt2(const struct vocab_token *token, char *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < token->n_text;) {
        uint32_t c;
        uint32_t length = (uint32_t)utf8_decode(token->text + i, token->n_text - i, &c);
        int32_t byte = byte_of_code_point(c);
        if (byte >= 0) {
            out[n++] = (char)byte;
        } else {
            memcpy(out + n, token->text + i, length);
            n += length;
        }
        i += length;
    }
    return n;
}

static uint32_t bytes_of_llama(const struct vocab_token *token, char *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < token->n_text;) {
        if (token->n_text - i >= 3 && memcmp(token->text + i, space_mark, 3) == 0) {
            out[n++] = ' ';
            i += 3;
        } else {
            out[n++] = token->text[i++];
        }
    }
    return n;
}

/* "<0x0A>": the byte, or -1. */
static int byte_of_spelling(const struct vocab_token *token)
{
    static const char digits[] = "0123456789ABCDEF";
    const char *s = token->text;
    if (token->n_text != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>' || !s[3] || !s[4]) return -1;
    const char *high = strchr(digits, s[3]), *low = strchr(digits, s[4]);
    return high && low ? (int)(high - digits) * 16 + (int)(low - digits) : -1;
}

static int bytes_fill(struct vocab *vocab, const struct gguf *gguf, struct stile_error *error)
{
    size_t size_bytes = 0;
    for (size_t i = 0; i < vocab->n; i++)
        size_bytes += vocab->tokens[i].n_text;
    char *bytes = arena_array(&vocab->arena, size_bytes, 1);
    if (!bytes) return error_memory(error, size_bytes, "the vocabulary");
    for (size_t i = 0; i < vocab->n; i++) {
        struct vocab_token *token = &vocab->tokens[i];
        token->bytes = token->text;
        token->n_bytes = token->n_text;
        bool literal =
            token->type == TOKEN_CONTROL || token->type == TOKEN_UNKNOWN || token->type == TOKEN_USER_DEFINED;
        token->is_hidden = token->type == TOKEN_CONTROL || token->type == TOKEN_UNKNOWN || token->type == TOKEN_UNUSED;
        if (literal) continue;
        token->bytes = bytes;
        if (vocab->model == VOCAB_GPT2) {
            token->n_bytes = bytes_of_gpt2(token, bytes);
        } else if (token->type == TOKEN_BYTE) {
            int byte = byte_of_spelling(token);
            if (byte < 0)
                return error_set(error, STILE_ERROR_MALFORMED,
                                 "%s: tokenizer.ggml.tokens[%zu] is of the byte type but not spelled <0x00> to <0xFF>",
                                 gguf->path, i);
            bytes[0] = (char)byte;
            token->n_bytes = 1;
        } else {
            token->n_bytes = bytes_of_llama(token, bytes);
        }
        bytes += token->n_bytes;
    }
    return STILE_OK;
}

static void byte_ids_fill(struct vocab *vocab)
{
    for (int byte = 0; byte < 256; byte++) {
        char spelling[8];
        size_t n;
        if (vocab->model == VOCAB_GPT2) {
            n = vocab_byte_spelling((unsigned char)byte, spelling);
        } else {
            n = (size_t)snprintf(spelling, sizeof spelling, "<0x%02X>", (unsigned)byte);
        }
        vocab->byte_ids[byte] = vocab_find(vocab, spelling, n);
    }
}

/* A *_token_id key; *id keeps its default when the key is missing. */
static int id_read(const struct vocab *vocab, const struct gguf *gguf, const char *key, int32_t *id,
                   struct stile_error *error)
{
    if (!gguf_find(gguf, key)) return STILE_OK;
    uint64_t value = 0;
    int code = gguf_get_u64(gguf, key, 0, vocab->n - 1, &value, error);
    if (code == STILE_OK) *id = (int32_t)value;
    return code;
}

static int special_ids_read(struct vocab *vocab, const struct gguf *gguf, struct stile_error *error)
{
    vocab->bos = vocab->eos = vocab->unknown = -1;
    if (vocab->model == VOCAB_LLAMA && vocab->n > 2) {
        vocab->bos = 1;
        vocab->eos = 2;
        vocab->unknown = 0;
    } else if (vocab->model == VOCAB_GPT2 && vocab->n > 11 && vocab->tokens[11].type == TOKEN_CONTROL) {
        vocab->bos = vocab->eos = 11; /* falcon, the first of this model, wrote no keys */
    }
    int32_t eot = -1, eom = -1;
    int code = id_read(vocab, gguf, KEY("bos_token_id"), &vocab->bos, error);
    if (code == STILE_OK) code = id_read(vocab, gguf, KEY("eos_token_id"), &vocab->eos, error);
    if (code == STILE_OK) code = id_read(vocab, gguf, KEY("unknown_token_id"), &vocab->unknown, error);
    if (code == STILE_OK) code = id_read(vocab, gguf, KEY("eot_token_id"), &eot, error);
    if (code == STILE_OK) code = id_read(vocab, gguf, KEY("eom_token_id"), &eom, error);
    if (code < 0) return code;
    if (vocab->eos >= 0) vocab->tokens[vocab->eos].is_end = true;
    if (eot >= 0) vocab->tokens[eot].is_end = true;
    if (eom >= 0) vocab->tokens[eom].is_end = true;
    return STILE_OK;
}

static struct vocab_token *token_named(struct vocab *vocab, const char *text)
{
    int32_t id = vocab_find(vocab, text, strlen(text));
    return id < 0 ? NULL : &vocab->tokens[id];
}

static void ends_mark(struct vocab *vocab)
{
    for (size_t i = 0; i < sizeof end_texts / sizeof end_texts[0]; i++) {
        struct vocab_token *token = token_named(vocab, end_texts[i]);
        if (!token || (token->type != TOKEN_CONTROL && token->type != TOKEN_NORMAL)) continue;
        token->type = TOKEN_CONTROL; /* some files list it as normal by mistake */
        token->is_end = true;
    }
}

/* gpt-oss: <|end|> ends a message, not the turn; the marks between messages are for the caller to read. */
static void harmony_mark(struct vocab *vocab)
{
    static const char *const visible[] = {"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"};
    if (!token_named(vocab, "<|return|>") || !token_named(vocab, "<|call|>")) return;
    struct vocab_token *end = token_named(vocab, "<|end|>");
    if (end) end->is_end = false;
    for (size_t i = 0; i < sizeof visible / sizeof visible[0]; i++) {
        struct vocab_token *token = token_named(vocab, visible[i]);
        if (token) token->is_hidden = false;
    }
}

static int model_read(struct vocab *vocab, const struct gguf *gguf, struct stile_error *error)
{
    const char *model = NULL;
    int code = gguf_get_string(gguf, KEY("model"), &model, error);
    if (code < 0) return code;
    if (!model)
        return error_set(error, STILE_ERROR_MALFORMED, "%s: tokenizer.ggml.model is missing: no vocabulary",
                         gguf->path);
    if (strcmp(model, "gpt2") == 0) {
        vocab->model = VOCAB_GPT2;
    } else if (strcmp(model, "llama") == 0) {
        vocab->model = VOCAB_LLAMA;
    } else {
        return error_set(error, STILE_ERROR_UNSUPPORTED,
                         "%s: tokenizer.ggml.model: \"%s\" is not supported; supported are gpt2 and llama", gguf->path,
                         model);
    }
    return STILE_OK;
}

int vocab_read(struct vocab *vocab, const struct gguf *gguf, struct stile_error *error)
{
    *vocab = (struct vocab){0};
    int code = model_read(vocab, gguf, error);
    if (code == STILE_OK) code = texts_read(vocab, gguf, error);
    if (code == STILE_OK) code = types_read(vocab, gguf, error);
    if (code == STILE_OK) code = scores_read(vocab, gguf, error);
    if (code == STILE_OK) code = table_fill(vocab, gguf, error);
    if (code == STILE_OK) code = special_ids_read(vocab, gguf, error);
    if (code == STILE_OK) {
        ends_mark(vocab);
        code = bytes_fill(vocab, gguf, error);
    }
    if (code < 0) {
        vocab_free(vocab);
        return code;
    }
    byte_ids_fill(vocab);
    harmony_mark(vocab);
    return STILE_OK;
}

void vocab_free(struct vocab *vocab)
{
    arena_free(&vocab->arena);
}
