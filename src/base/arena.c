#include "base/arena.h"

#include "base/touch.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 64 * 1024, ALIGNMENT_MAX = 4096 };

struct arena_block {
    struct arena_block *next;
    size_t used_bytes;
    size_t size_bytes;
    unsigned char *data;
};

static struct arena_block *block_create(size_t size_bytes)
{
    struct arena_block *block = malloc(sizeof *block);
    if (!block) return NULL;
    *block = (struct arena_block){.size_bytes = size_bytes};
    /* calloc: large blocks come from the system already zero and are not touched before use */
    block->data = calloc(1, size_bytes);
    if (block->data) return block;
    free(block);
    return NULL;
}

void *arena_aligned(struct arena *arena, size_t n, size_t size_bytes, size_t alignment)
{
    size_t want;
    if (alignment > ALIGNMENT_MAX || __builtin_mul_overflow(n, size_bytes, &want)) return NULL;
    if (want > SIZE_MAX / 2) return NULL;
    if (want == 0) want = 1;
    struct arena_block *block = arena->blocks;
    for (int attempt = 0; attempt < 2; attempt++) {
        if (block) {
            uintptr_t base = (uintptr_t)block->data;
            uintptr_t at = (base + block->used_bytes + alignment - 1) & ~(uintptr_t)(alignment - 1);
            size_t begin = (size_t)(at - base);
            if (begin <= block->size_bytes && want <= block->size_bytes - begin) {
                block->used_bytes = begin + want;
                arena->total_bytes += want;
                return block->data + begin;
            }
        }
        block = block_create(want + alignment > BLOCK_BYTES ? want + alignment : BLOCK_BYTES);
        if (!block) return NULL;
        block->next = arena->blocks;
        arena->blocks = block;
    }
    return NULL;
}

void *arena_array(struct arena *arena, size_t n, size_t size_bytes)
{
    return arena_aligned(arena, n, size_bytes, 16);
}

char *arena_string(struct arena *arena, const char *bytes, size_t n)
{
    if (n == SIZE_MAX) return NULL;
    char *copy = arena_aligned(arena, n + 1, 1, 1);
    if (!copy) return NULL;
    if (n > 0) memcpy(copy, bytes, n);
    copy[n] = '\0';
    return copy;
}

void arena_touch(struct arena *arena)
{
    for (struct arena_block *block = arena->blocks; block; block = block->next)
        memory_touch(block->data, block->size_bytes);
}

void arena_free(struct arena *arena)
{
    if (!arena) return;
    while (arena->blocks) {
        struct arena_block *next = arena->blocks->next;
        free(arena->blocks->data);
        free(arena->blocks);
        arena->blocks = next;
    }
    arena->total_bytes = 0;
}
