#include "text/bpe.h"

#include <stdlib.h>
#include <string.h>

/* bpe_join */

void bpe_scratch_free(struct bpe_scratch *scratch)
{
    free(scratch->symbols);
    free(scratch->heap);
    *scratch = (struct bpe_scratch){0};
}

bool bpe_scratch_reset(struct bpe_scratch *scratch, size_t n)
{
    scratch->n_symbols = scratch->n_heap = 0;
    if (n > INT32_MAX) return false;
    if (n > scratch->symbols_capacity) {
        struct bpe_symbol *symbols = realloc(scratch->symbols, n * sizeof *symbols);
        if (!symbols) return false;
        scratch->symbols = symbols;
        scratch->symbols_capacity = n;
    }
    /* n - 1 pairs at first; each join takes one candidate out and puts at most two in */
    if (2 * n > scratch->heap_capacity) {
        struct bpe_candidate *heap = realloc(scratch->heap, 2 * n * sizeof *heap);
        if (!heap) return false;
        scratch->heap = heap;
        scratch->heap_capacity = 2 * n;
    }
    return true;
}

void bpe_scratch_add(struct bpe_scratch *scratch, size_t begin, size_t n, int32_t id)
{
    int32_t i = (int32_t)scratch->n_symbols++;
    scratch->symbols[i] = (struct bpe_symbol){(uint32_t)begin, (uint32_t)n, id, i - 1, BPE_NONE};
    if (i > 0) scratch->symbols[i - 1].next = i;
}

static bool is_better(const struct bpe_candidate *a, const struct bpe_candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->left < b->left;
}

static void heap_push(struct bpe_scratch *scratch, struct bpe_candidate candidate)
{
    struct bpe_candidate *heap = scratch->heap;
    size_t i = scratch->n_heap++;
    while (i > 0 && is_better(&candidate, &heap[(i - 1) / 2])) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = candidate;
}

static struct bpe_candidate heap_pop(struct bpe_scratch *scratch)
{
    struct bpe_candidate *heap = scratch->heap, best = heap[0];
    size_t n = --scratch->n_heap, i = 0;
    struct bpe_candidate last = heap[n];
    for (size_t child = 1; child < n; child = 2 * i + 1) {
        if (child + 1 < n && is_better(&heap[child + 1], &heap[child])) child++;
        if (!is_better(&heap[child], &last)) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return best;
}

static void pair_try(struct bpe_scratch *scratch, int32_t left, bpe_pair_fn *pair, const void *arg)
{
    const struct bpe_symbol *a = &scratch->symbols[left];
    if (a->next == BPE_NONE) return;
    const struct bpe_symbol *b = &scratch->symbols[a->next];
    struct bpe_candidate candidate = {.left = left, .n_left = a->n, .n_right = b->n};
    if (pair(arg, a, b, &candidate)) heap_push(scratch, candidate);
}

void bpe_join(struct bpe_scratch *scratch, bpe_pair_fn *pair, const void *arg)
{
    struct bpe_symbol *symbols = scratch->symbols;
    for (size_t i = 0; i + 1 < scratch->n_symbols; i++)
        pair_try(scratch, (int32_t)i, pair, arg);
    while (scratch->n_heap > 0) {
        struct bpe_candidate best = heap_pop(scratch);
        struct bpe_symbol *left = &symbols[best.left];
        if (left->n != best.n_left || left->next == BPE_NONE || symbols[left->next].n != best.n_right) continue;
        struct bpe_symbol *right = &symbols[left->next];
        left->n += right->n;
        left->id = best.id;
        left->next = right->next;
        right->n = 0;
        if (left->next != BPE_NONE) symbols[left->next].previous = best.left;
        if (left->previous != BPE_NONE) pair_try(scratch, left->previous, pair, arg);
        pair_try(scratch, best.left, pair, arg);
    }
}

/* The byte-level family */

enum { PROBES_MAX = 512 };
#define BPE_FREE UINT32_MAX

static uint64_t pair_key(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

/* The slot of the pair, or the free one where it belongs; NULL after too many probes. */
static struct bpe_merge *slot_find(const struct bpe *bpe, uint64_t pair)
{
    uint64_t hash = pair * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 32;
    hash *= 0xD6E8FEB86659FD93u;
    hash >>= 32;
    for (uint32_t probe = 0; probe < PROBES_MAX; probe++) {
        struct bpe_merge *slot = &bpe->slots[((uint32_t)hash + probe) & bpe->mask];
        if (slot->rank == BPE_FREE || slot->pair == pair) return slot;
    }
    return NULL;
}

static int merge_add(struct bpe *bpe, const struct gguf_string *text, size_t rank, const struct gguf *gguf,
                     struct stile_error *error)
{
    const struct vocab *vocab = bpe->vocab;
    const char *space = text->n > 1 ? memchr(text->bytes + 1, ' ', text->n - 1) : NULL;
    size_t n_left = space ? (size_t)(space - text->bytes) : 0, n_right = space ? text->n - n_left - 1 : 0;
    if (n_left == 0 || n_right == 0 || n_left + n_right > VOCAB_TEXT_BYTES_MAX)
        return error_set(error, STILE_ERROR_MALFORMED,
                         "%s: tokenizer.ggml.merges[%zu] is not two spellings with a space between", gguf->path, rank);
    char joined[VOCAB_TEXT_BYTES_MAX];
    memcpy(joined, text->bytes, n_left);
    memcpy(joined + n_left, space + 1, n_right);
    int32_t left = vocab_find(vocab, joined, n_left), right = vocab_find(vocab, joined + n_left, n_right);
    int32_t id = vocab_find(vocab, joined, n_left + n_right);
    if (left < 0 || right < 0 || id < 0)
        return error_set(error, STILE_ERROR_MALFORMED,
                         "%s: tokenizer.ggml.merges[%zu]: \"%.*s\": its %s not among tokenizer.ggml.tokens", gguf->path,
                         rank, (int)(text->n < 200 ? text->n : 200), text->bytes,
                         left < 0    ? "left part is"
                         : right < 0 ? "right part is"
                                     : "result is");
    struct bpe_merge *slot = slot_find(bpe, pair_key(left, right));
    if (!slot)
        return error_set(error, STILE_ERROR_MALFORMED,
                         "%s: tokenizer.ggml.merges[%zu] collides with too many others in the hash table: merges made "
                         "to be slow",
                         gguf->path, rank);
    if (slot->rank == BPE_FREE) *slot = (struct bpe_merge){pair_key(left, right), (uint32_t)rank, id};
    return STILE_OK;
}

int bpe_create(struct bpe *bpe, const struct vocab *vocab, const struct gguf *gguf, bool ignores_merges,
               struct arena *arena, struct stile_error *error)
{
    *bpe = (struct bpe){.vocab = vocab, .ignores_merges = ignores_merges};
    const struct gguf_kv *kv = gguf_find(gguf, "tokenizer.ggml.merges");
    if (!kv || kv->type != GGUF_ARRAY || kv->element != GGUF_STRING || kv->n > VOCAB_TOKENS_MAX)
        return error_set(error, STILE_ERROR_MALFORMED,
                         "%s: tokenizer.ggml.merges must be an array of at most %d strings", gguf->path,
                         VOCAB_TOKENS_MAX);
    size_t n_slots = 4;
    while (n_slots < kv->n + kv->n / 2)
        n_slots *= 2;
    bpe->slots = arena_array(arena, n_slots, sizeof *bpe->slots);
    if (!bpe->slots) return error_memory(error, n_slots * sizeof *bpe->slots, "the merges");
    for (size_t i = 0; i < n_slots; i++)
        bpe->slots[i].rank = BPE_FREE;
    bpe->mask = (uint32_t)(n_slots - 1);
    struct gguf_strings strings = gguf_strings(kv);
    struct gguf_string string;
    for (size_t i = 0; gguf_strings_next(&strings, &string); i++) {
        int code = merge_add(bpe, &string, i, gguf, error);
        if (code < 0) return code;
    }
    return STILE_OK;
}

static bool pair_of_merges(const void *arg, const struct bpe_symbol *left, const struct bpe_symbol *right,
                           struct bpe_candidate *candidate)
{
    const struct bpe *bpe = arg;
    if (left->id < 0 || right->id < 0) return false;
    const struct bpe_merge *slot = slot_find(bpe, pair_key(left->id, right->id));
    if (!slot || slot->rank == BPE_FREE) return false;
    candidate->rank = slot->rank;
    candidate->id = slot->id;
    return true;
}

/* The token that is spelled like the whole piece, or BPE_NONE. Control tokens are not text. */
static int32_t whole_piece(const struct vocab *vocab, const char *piece, size_t n)
{
    char spelling[512];
    if (2 * n > sizeof spelling) return BPE_NONE;
    size_t n_spelling = 0;
    for (size_t i = 0; i < n; i++)
        n_spelling += vocab_byte_spelling((unsigned char)piece[i], spelling + n_spelling);
    int32_t id = vocab_find(vocab, spelling, n_spelling);
    return id >= 0 && vocab->tokens[id].type == TOKEN_NORMAL ? id : BPE_NONE;
}

int bpe_encode(const struct bpe *bpe, const char *piece, size_t n, struct bpe_scratch *scratch, struct tokens *tokens,
               struct stile_error *error)
{
    int32_t whole = bpe->ignores_merges ? whole_piece(bpe->vocab, piece, n) : BPE_NONE;
    if (whole >= 0) return tokens_add(tokens, whole) ? STILE_OK : error_memory(error, tokens->n * 4, "tokens");
    if (!bpe_scratch_reset(scratch, n)) return error_memory(error, n * sizeof *scratch->symbols, "tokens");
    for (size_t i = 0; i < n; i++)
        bpe_scratch_add(scratch, i, 1, bpe->vocab->byte_ids[(unsigned char)piece[i]]);
    bpe_join(scratch, pair_of_merges, bpe);
    for (int32_t i = n > 0 ? 0 : BPE_NONE; i != BPE_NONE; i = scratch->symbols[i].next) {
        int32_t id = scratch->symbols[i].id;
        if (id >= 0 && !tokens_add(tokens, id)) return error_memory(error, tokens->n * 4, "tokens");
    }
    return STILE_OK;
}
