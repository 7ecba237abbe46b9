#include "text/spm.h"

#include "base/bytes.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

struct spelled {
    const struct vocab *vocab;
    char *text; /* spaces written as the vocabulary spells them */
    size_t n;
};

static int32_t token_of(const struct spelled *spelled, size_t begin, size_t n)
{
    int32_t id = vocab_find(spelled->vocab, spelled->text + begin, n);
    if (id < 0) return BPE_NONE;
    uint8_t type = spelled->vocab->tokens[id].type;
    return type == TOKEN_CONTROL || type == TOKEN_UNKNOWN || type == TOKEN_BYTE ? BPE_NONE : id;
}

/* Orders floats downwards: the higher the score, the lower the rank. */
static uint32_t rank_of_score(float score)
{
    uint32_t bits = f32_bits(score + 0.0f); /* -0 becomes +0 */
    return bits & 0x80000000u ? bits : ~bits & 0x7FFFFFFFu;
}

static bool pair_of_spellings(const void *arg, const struct bpe_symbol *left, const struct bpe_symbol *right,
                              struct bpe_candidate *candidate)
{
    const struct spelled *spelled = arg;
    candidate->id = token_of(spelled, left->begin, (size_t)left->n + right->n);
    if (candidate->id < 0) return false;
    candidate->rank = rank_of_score(spelled->vocab->tokens[candidate->id].score);
    return true;
}

static int spell(struct spelled *spelled, const char *text, size_t n, bool adds_space, struct stile_error *error)
{
    size_t size_bytes = 3 * (n + 1), at = 0;
    spelled->text = malloc(size_bytes);
    if (!spelled->text) return error_memory(error, size_bytes, "tokens");
    for (size_t i = adds_space ? 0 : 1; i <= n; i++) {
        char c = i == 0 ? ' ' : text[i - 1];
        if (c == ' ') {
            memcpy(spelled->text + at, "\xE2\x96\x81", 3);
            at += 3;
        } else {
            spelled->text[at++] = c;
        }
    }
    spelled->n = at;
    return STILE_OK;
}

static bool bytes_add(const struct spelled *spelled, const struct bpe_symbol *symbol, struct tokens *tokens)
{
    const struct vocab *vocab = spelled->vocab;
    const unsigned char *bytes = (const unsigned char *)spelled->text + symbol->begin;
    size_t n_before = tokens->n;
    for (uint32_t i = 0; i < symbol->n; i++) {
        int32_t id = vocab->byte_ids[bytes[i]];
        if (id < 0) {
            tokens->n = n_before;
            return vocab->unknown < 0 || tokens_add(tokens, vocab->unknown);
        }
        if (!tokens_add(tokens, id)) return false;
    }
    return true;
}

static int spelled_encode(const struct spelled *spelled, struct bpe_scratch *scratch, struct tokens *tokens,
                          struct stile_error *error)
{
    if (!bpe_scratch_reset(scratch, spelled->n))
        return error_memory(error, spelled->n * sizeof *scratch->symbols, "tokens");
    for (size_t i = 0; i < spelled->n;) {
        uint32_t c;
        size_t length = utf8_decode(spelled->text + i, spelled->n - i, &c);
        bpe_scratch_add(scratch, i, length, token_of(spelled, i, length));
        i += length;
    }
    bpe_join(scratch, pair_of_spellings, spelled);
    for (int32_t i = scratch->n_symbols > 0 ? 0 : BPE_NONE; i != BPE_NONE; i = scratch->symbols[i].next) {
        const struct bpe_symbol *symbol = &scratch->symbols[i];
        bool ok = symbol->id >= 0 ? tokens_add(tokens, symbol->id) : bytes_add(spelled, symbol, tokens);
        if (!ok) return error_memory(error, tokens->n * sizeof *tokens->ids, "tokens");
    }
    return STILE_OK;
}

int spm_encode(const struct vocab *vocab, const char *text, size_t n, bool adds_space, struct bpe_scratch *scratch,
               struct tokens *tokens, struct stile_error *error)
{
    struct spelled spelled = {.vocab = vocab};
    int code = spell(&spelled, text, n, adds_space, error);
    if (code == STILE_OK) code = spelled_encode(&spelled, scratch, tokens, error);
    free(spelled.text);
    return code;
}
