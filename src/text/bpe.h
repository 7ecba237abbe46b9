/* bpe.h - byte-pair encoding: joins adjacent symbols, best pair first, leftmost on ties, until no pair has a rank.
 *
 * bpe_join is the algorithm, O(n log n) with a heap; which pairs join is the caller's. bpe_encode is the byte-level
 * family ("gpt2"), whose pairs come from the merges of the file. Source: docs/formats.md, byte-level BPE.
 */
#ifndef STILE_TEXT_BPE_H
#define STILE_TEXT_BPE_H

#include "text/tokenizer.h"
#include "text/vocab.h"

enum { BPE_NONE = -1 };

struct bpe_symbol {
    uint32_t begin, n;      /* bytes of the piece; n == 0: joined to the symbol before */
    int32_t id;             /* BPE_NONE: not in the vocabulary */
    int32_t previous, next; /* BPE_NONE: none */
};

struct bpe_candidate {
    uint32_t rank;            /* lower is better */
    int32_t left;             /* symbol */
    uint32_t n_left, n_right; /* bytes of both when this was found: differ if it is stale */
    int32_t id;               /* of the joined symbol */
};

/* Working memory of one caller, used again from piece to piece. Zero-initialise it. */
struct bpe_scratch {
    struct bpe_symbol *symbols;
    size_t n_symbols, symbols_capacity;
    struct bpe_candidate *heap;
    size_t n_heap, heap_capacity;
};
void bpe_scratch_free(struct bpe_scratch *scratch);
/* Room for n symbols; drops those of the piece before. False when memory is out. */
bool bpe_scratch_reset(struct bpe_scratch *scratch, size_t n);
void bpe_scratch_add(struct bpe_scratch *scratch, size_t begin, size_t n, int32_t id);

/* Does the pair join? Then fills candidate->rank and ->id. */
typedef bool bpe_pair_fn(const void *arg, const struct bpe_symbol *left, const struct bpe_symbol *right,
                         struct bpe_candidate *candidate);
/* Joins the symbols added; those that remain are linked from symbol 0 by `next`. */
void bpe_join(struct bpe_scratch *scratch, bpe_pair_fn *pair, const void *arg);

struct bpe_merge {
    uint64_t pair; /* left id << 32 | right id */
    uint32_t rank; /* BPE_FREE: free slot */
    int32_t id;
};

struct bpe {
    const struct vocab *vocab;
    struct bpe_merge *slots;
    uint32_t mask;
    bool ignores_merges; /* a piece that is a token becomes it, however it would be joined */
};

/* Reads tokenizer.ggml.merges. Memory comes from `arena`; `vocab` must stay. */
int bpe_create(struct bpe *bpe, const struct vocab *vocab, const struct gguf *gguf, bool ignores_merges,
               struct arena *arena, struct stile_error *error);
/* Appends the tokens of one piece. Bytes that no token stands for are dropped. */
int bpe_encode(const struct bpe *bpe, const char *piece, size_t n, struct bpe_scratch *scratch, struct tokens *tokens,
               struct stile_error *error);

#endif
