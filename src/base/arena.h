/* arena.h - memory with one lifetime: many allocations, one free.
 *
 * An arena grows by blocks; what it hands out is zeroed, aligned to 64 bytes where asked, and stays where it
 * is until arena_free. Not thread-safe.
 */
#ifndef STILE_BASE_ARENA_H
#define STILE_BASE_ARENA_H

#include <stddef.h>

struct arena_block;

struct arena {
    struct arena_block *blocks; /* newest first */
    size_t total_bytes;         /* handed out */
};

/* n x size zeroed bytes, aligned for any type; NULL on overflow or when memory is out. n x size == 0 gives a
 * valid pointer. */
void *arena_array(struct arena *arena, size_t n, size_t size_bytes);
/* The same with an alignment, a power of two up to 4096. */
void *arena_aligned(struct arena *arena, size_t n, size_t size_bytes, size_t alignment);
/* A NUL-terminated copy of n bytes. */
char *arena_string(struct arena *arena, const char *bytes, size_t n);
/* Takes all of its memory from the system now; normally that happens as it is used. */
void arena_touch(struct arena *arena);
void arena_free(struct arena *arena);

#endif
