/* vocab.h - the vocabulary of a GGUF file: every token's spelling, printed bytes, type and score, checked.
 *
 * Source of the keys: docs/formats.md, tokenizers. Immutable once read.
 */
#ifndef STILE_TEXT_VOCAB_H
#define STILE_TEXT_VOCAB_H

#include "base/arena.h"
#include "file/gguf.h"

enum vocab_model { VOCAB_GPT2, VOCAB_LLAMA };

/* tokenizer.ggml.token_type */
enum token_type { TOKEN_NORMAL = 1, TOKEN_UNKNOWN, TOKEN_CONTROL, TOKEN_USER_DEFINED, TOKEN_UNUSED, TOKEN_BYTE };

enum { VOCAB_TOKENS_MAX = 1 << 24, VOCAB_TEXT_BYTES_MAX = 65535 };

struct vocab_token {
    const char *text;  /* the vocabulary's spelling, NUL-terminated */
    const char *bytes; /* what it prints */
    uint32_t n_text;
    uint32_t n_bytes;
    float score;
    uint8_t type;   /* enum token_type */
    bool is_end;    /* ends a reply */
    bool is_hidden; /* prints only on request */
};

/* From a text to the token with that spelling: open addressing, a power of two of slots, at most half full. */
struct vocab_slot {
    uint32_t hash;
    int32_t id; /* -1: free */
};
struct vocab_table {
    struct vocab_slot *slots;
    uint32_t mask;
};

struct vocab {
    enum vocab_model model;
    struct vocab_token *tokens;
    size_t n;
    struct vocab_table table;  /* of all tokens; of several with one spelling the first */
    uint32_t n_text_max;       /* bytes of the longest spelling */
    int32_t byte_ids[256];     /* the token that stands for one byte, or -1 */
    int32_t bos, eos, unknown; /* -1: none */
    struct arena arena;
};

/* On failure nothing is left to free. Errors name file and key. */
int vocab_read(struct vocab *vocab, const struct gguf *gguf, struct stile_error *error);
void vocab_free(struct vocab *vocab);
/* -1 when no token is spelled so. */
int32_t vocab_find(const struct vocab *vocab, const char *text, size_t n);

/* Tables over a part of the vocabulary, with room for n spellings. Adding one that is there already changes nothing.
 * Adding fails when too many spellings collide: a vocabulary made for that must not cost quadratic time. */
int vocab_table_create(struct vocab_table *table, struct arena *arena, size_t n, struct stile_error *error);
bool vocab_table_add(struct vocab_table *table, const struct vocab *vocab, int32_t id);
int32_t vocab_table_find(const struct vocab_table *table, const struct vocab *vocab, const char *text, size_t n);

/* The character (UTF-8, 1 or 2 bytes) that stands for a byte in the spellings of a byte-level vocabulary. */
size_t vocab_byte_spelling(unsigned char byte, char spelling[2]);

#endif
