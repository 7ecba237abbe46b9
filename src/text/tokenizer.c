#include "text/tokenizer.h"

#include "text/bpe.h"
#include "text/pretokenizer.h"
#include "text/special.h"
#include "text/spm.h"
#include "text/vocab.h"

#include <stdlib.h>
#include <string.h>

/* Places in a piece are 32-bit, and SentencePiece spells a space with three bytes. */
enum { TEXT_BYTES_MAX = 1 << 29 };

struct tokenizer {
    struct vocab vocab;
    struct special special;
    struct pretokenizer *pretokenizer; /* gpt2 only */
    struct bpe bpe;                    /* gpt2 only */
    const char *pre;
    bool adds_bos, adds_eos, adds_space;
};

void tokens_free(struct tokens *tokens)
{
    free(tokens->ids);
    *tokens = (struct tokens){0};
}

bool tokens_add(struct tokens *tokens, int32_t id)
{
    if (tokens->n == tokens->capacity) {
        size_t capacity = tokens->capacity ? 2 * tokens->capacity : 256;
        int32_t *ids = realloc(tokens->ids, capacity * sizeof *ids);
        if (!ids) return false;
        tokens->ids = ids;
        tokens->capacity = capacity;
    }
    tokens->ids[tokens->n++] = id;
    return true;
}

static int byte_level_create(struct tokenizer *t, const struct gguf *gguf, struct stile_error *error)
{
    const char *pre = "default";
    int code = gguf_get_string(gguf, "tokenizer.ggml.pre", &pre, error);
    if (code == STILE_OK) code = pretokenizer_create(&t->pretokenizer, pre, gguf->path, error);
    if (code < 0) return code;
    t->pre = arena_string(&t->vocab.arena, pre, strlen(pre));
    if (!t->pre) return error_memory(error, strlen(pre), "the pre-tokenizer's name");
    t->adds_bos = pretokenizer_adds_bos(t->pretokenizer);
    return bpe_create(&t->bpe, &t->vocab, gguf, pretokenizer_ignores_merges(t->pretokenizer), &t->vocab.arena, error);
}

int tokenizer_create(struct tokenizer **tokenizer, const struct gguf *gguf, struct stile_error *error)
{
    *tokenizer = NULL;
    struct tokenizer *t = calloc(1, sizeof *t);
    if (!t) return error_memory(error, sizeof *t, "the tokenizer");
    int code = vocab_read(&t->vocab, gguf, error);
    if (code == STILE_OK) code = special_create(&t->special, &t->vocab, gguf->path, error);
    if (code == STILE_OK && t->vocab.model == VOCAB_GPT2) {
        code = byte_level_create(t, gguf, error);
    } else if (code == STILE_OK) {
        t->pre = "";
        t->adds_bos = t->adds_space = true;
        code = gguf_get_bool(gguf, "tokenizer.ggml.add_space_prefix", &t->adds_space, error);
    }
    if (code == STILE_OK) code = gguf_get_bool(gguf, "tokenizer.ggml.add_bos_token", &t->adds_bos, error);
    if (code == STILE_OK) code = gguf_get_bool(gguf, "tokenizer.ggml.add_eos_token", &t->adds_eos, error);
    if (code < 0) {
        tokenizer_free(t);
        return code;
    }
    *tokenizer = t;
    return STILE_OK;
}

void tokenizer_free(struct tokenizer *tokenizer)
{
    if (!tokenizer) return;
    pretokenizer_free(tokenizer->pretokenizer);
    vocab_free(&tokenizer->vocab);
    free(tokenizer);
}

static int byte_level_encode(const struct tokenizer *t, const char *text, size_t n, struct bpe_scratch *scratch,
                             struct tokens *tokens, struct stile_error *error)
{
    struct pieces pieces;
    int code = pretokenizer_split(t->pretokenizer, text, n, &pieces, error);
    size_t begin = 0;
    for (size_t i = 0; code == STILE_OK && i < pieces.n; i++) {
        code = bpe_encode(&t->bpe, text + begin, pieces.ends[i] - begin, scratch, tokens, error);
        begin = pieces.ends[i];
    }
    pieces_free(&pieces);
    return code;
}

static int fragments_encode(const struct tokenizer *t, const char *text, const struct special_fragments *fragments,
                            struct bpe_scratch *scratch, struct tokens *tokens, struct stile_error *error)
{
    int code = STILE_OK;
    bool after_special = true; /* the beginning counts as one */
    for (size_t i = 0; code == STILE_OK && i < fragments->n; i++) {
        const struct special_fragment *fragment = &fragments->items[i];
        const char *begin = text + fragment->begin;
        size_t n = fragment->end - fragment->begin;
        if (fragment->id >= 0) {
            if (!tokens_add(tokens, fragment->id)) code = error_memory(error, tokens->n * 4, "tokens");
        } else if (t->vocab.model == VOCAB_GPT2) {
            code = byte_level_encode(t, begin, n, scratch, tokens, error);
        } else {
            code = spm_encode(&t->vocab, begin, n, t->adds_space && after_special, scratch, tokens, error);
        }
        after_special = fragment->id >= 0;
    }
    return code;
}

/* BOS before and EOS after what was added from `from` on, unless the text brought them. */
static bool ends_add(const struct tokenizer *t, unsigned flags, struct tokens *tokens, size_t from)
{
    int32_t bos = t->adds_bos && flags & (TOKENIZER_ADD_SPECIAL | TOKENIZER_ADD_BOS) ? t->vocab.bos : -1;
    int32_t eos = t->adds_eos && flags & TOKENIZER_ADD_SPECIAL ? t->vocab.eos : -1;
    size_t n = tokens->n - from;
    if (bos >= 0 && (n == 0 || tokens->ids[from] != bos)) {
        if (!tokens_add(tokens, bos)) return false;
        memmove(tokens->ids + from + 1, tokens->ids + from, n * sizeof *tokens->ids);
        tokens->ids[from] = bos;
    }
    return eos < 0 || (n > 0 && tokens->ids[tokens->n - 1] == eos) || tokens_add(tokens, eos);
}

int tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t n, unsigned flags,
                     struct tokens *tokens, struct stile_error *error)
{
    return tokenizer_encode_marked(tokenizer, text, n, NULL, flags, tokens, error);
}

int tokenizer_encode_marked(const struct tokenizer *tokenizer, const char *text, size_t n, const bool *doubtful,
                            unsigned flags, struct tokens *tokens, struct stile_error *error)
{
    if (n > TEXT_BYTES_MAX)
        return error_set(error, STILE_ERROR_ARGUMENT, "the text has %zu bytes; at most %d can be tokenized at once", n,
                         TEXT_BYTES_MAX);
    size_t from = tokens->n;
    struct bpe_scratch scratch = {0};
    struct special_fragments fragments;
    bool trusted = flags & TOKENIZER_PARSE_SPECIAL;
    int code = special_split(&tokenizer->special, text, n, trusted, doubtful, &fragments, error);
    if (code == STILE_OK) code = fragments_encode(tokenizer, text, &fragments, &scratch, tokens, error);
    if (code == STILE_OK && !ends_add(tokenizer, flags, tokens, from))
        code = error_memory(error, tokens->n * sizeof *tokens->ids, "tokens");
    special_fragments_free(&fragments);
    bpe_scratch_free(&scratch);
    if (code < 0) tokens->n = from;
    return code;
}

static const struct vocab_token *token_at(const struct tokenizer *tokenizer, int32_t id)
{
    return id >= 0 && (size_t)id < tokenizer->vocab.n ? &tokenizer->vocab.tokens[id] : NULL;
}

size_t tokenizer_memory_bytes(const struct tokenizer *tokenizer)
{
    return tokenizer->vocab.arena.total_bytes;
}

size_t tokenizer_size(const struct tokenizer *tokenizer)
{
    return tokenizer->vocab.n;
}

const char *tokenizer_bytes(const struct tokenizer *tokenizer, int32_t id, bool special, size_t *n)
{
    const struct vocab_token *token = token_at(tokenizer, id);
    *n = token && (special || !token->is_hidden) ? token->n_bytes : 0;
    return token ? token->bytes : NULL;
}

const char *tokenizer_name(const struct tokenizer *tokenizer, int32_t id)
{
    const struct vocab_token *token = token_at(tokenizer, id);
    return token ? token->text : "";
}

int32_t tokenizer_find(const struct tokenizer *tokenizer, const char *name)
{
    return vocab_find(&tokenizer->vocab, name, strlen(name));
}

bool tokenizer_is_end(const struct tokenizer *tokenizer, int32_t id)
{
    const struct vocab_token *token = token_at(tokenizer, id);
    return token && token->is_end;
}

int32_t tokenizer_bos(const struct tokenizer *tokenizer)
{
    return tokenizer->vocab.bos;
}

int32_t tokenizer_eos(const struct tokenizer *tokenizer)
{
    return tokenizer->vocab.eos;
}

bool tokenizer_adds_bos(const struct tokenizer *tokenizer)
{
    return tokenizer->adds_bos;
}

const char *tokenizer_model(const struct tokenizer *tokenizer)
{
    return tokenizer->vocab.model == VOCAB_GPT2 ? "gpt2" : "llama";
}

const char *tokenizer_pre(const struct tokenizer *tokenizer)
{
    return tokenizer->pre;
}

bool tokenizer_drops_space(const struct tokenizer *tokenizer)
{
    return tokenizer->adds_space;
}
