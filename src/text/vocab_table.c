#include "text/vocab.h"

#include "base/bytes.h"

#include <string.h>

/* Longest walk from a spelling's own slot. At most half full and with a fair hash it stays far below 100. */
enum { PROBES_MAX = 512 };

static uint32_t text_hash(const char *text, size_t n)
{
    const uint64_t factor = 0x9E3779B97F4A7C15u; /* 2^64 / golden ratio */
    uint64_t hash = n * factor;
    for (; n >= 8; n -= 8, text += 8) {
        hash = (hash ^ load_u64(text)) * factor;
        hash ^= hash >> 29;
    }
    uint64_t tail = 0;
    for (size_t i = 0; i < n; i++)
        tail |= (uint64_t)(unsigned char)text[i] << 8 * i;
    hash = (hash ^ tail) * factor;
    hash ^= hash >> 32;
    hash *= factor;
    return (uint32_t)(hash >> 32);
}

int vocab_table_create(struct vocab_table *table, struct arena *arena, size_t n, struct stile_error *error)
{
    size_t n_slots = 4;
    while (n_slots < 2 * n)
        n_slots *= 2;
    table->slots = arena_array(arena, n_slots, sizeof *table->slots);
    if (!table->slots) return error_memory(error, n_slots * sizeof *table->slots, "the vocabulary's table");
    for (size_t i = 0; i < n_slots; i++)
        table->slots[i].id = -1;
    table->mask = (uint32_t)(n_slots - 1);
    return STILE_OK;
}

/* The slot that holds the spelling, or the free one where it belongs; NULL after too many probes. */
static struct vocab_slot *slot_find(const struct vocab_table *table, const struct vocab *vocab, const char *text,
                                    size_t n, uint32_t hash)
{
    for (uint32_t probe = 0; probe < PROBES_MAX; probe++) {
        struct vocab_slot *slot = &table->slots[(hash + probe) & table->mask];
        if (slot->id < 0) return slot;
        if (slot->hash != hash) continue;
        const struct vocab_token *token = &vocab->tokens[slot->id];
        if (token->n_text == n && memcmp(token->text, text, n) == 0) return slot;
    }
    return NULL;
}

bool vocab_table_add(struct vocab_table *table, const struct vocab *vocab, int32_t id)
{
    const struct vocab_token *token = &vocab->tokens[id];
    uint32_t hash = text_hash(token->text, token->n_text);
    struct vocab_slot *slot = slot_find(table, vocab, token->text, token->n_text, hash);
    if (slot && slot->id < 0) *slot = (struct vocab_slot){hash, id};
    return slot != NULL;
}

int32_t vocab_table_find(const struct vocab_table *table, const struct vocab *vocab, const char *text, size_t n)
{
    const struct vocab_slot *slot = slot_find(table, vocab, text, n, text_hash(text, n));
    return slot ? slot->id : -1;
}

int32_t vocab_find(const struct vocab *vocab, const char *text, size_t n)
{
    if (n > vocab->n_text_max) return -1;
    return vocab_table_find(&vocab->table, vocab, text, n);
}
