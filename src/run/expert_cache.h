/* expert_cache.h - the experts of a mixture that are in memory, when not all fit: pieces of tier CACHED (placement.h).
 *
 * Pieces lie in frames; pieces of one size share a pool of them. When a layer's choices are known (expert_cache_want),
 * reads for the pieces that are missing start at once, in the order of the program: gate, up, down. They take the frames of
 * the pieces worth least (expert_use.h), never those of pieces that this layer still needs, and never one that somebody
 * reads. Where a batch needs more than there are frames, it goes in portions: pieces take each other's places, in the
 * order in which they are needed.
 *
 * While a layer is computed, the disk would have nothing to do once that layer's experts have come. So what the next one
 * will probably want (expert_cache_expect) is read then: behind all that is certain, a little at a time, and what has not
 * begun when the choices are known is dropped.
 *
 * A read that fails breaks the pass: whoever waits gets NULL, until the next expert_cache_begin.
 */
#ifndef STILE_RUN_EXPERT_CACHE_H
#define STILE_RUN_EXPERT_CACHE_H

#include "file/reader.h"
#include "plan/placement.h"
#include "run/expert_use.h"

/* Where a shard is read from. */
struct shard_source {
    struct reader *reader;
    int file; /* of the reader */
};

struct expert_cache;

/* Everything given must outlive the cache; sources: (shards). n_threads compute; `cancel`, which may be NULL, ends what
 * they wait for. ARGUMENT, MEMORY. */
int expert_cache_create(struct expert_cache **cache, const struct program *program, const struct placement *placement,
                        const struct shard_source *sources, int n_threads, const volatile int *cancel,
                        struct expert_use *use, struct stile_error *error);
/* Stops warming up. */
void expert_cache_stop(struct expert_cache *cache);
/* After its readers were stopped; `hangs`: one of them does (reader_stop), so that what it may still write to is left. */
void expert_cache_free(struct expert_cache *cache, bool hangs);

/* Fills empty frames in the background, with the experts that were most used before; what passes want goes first. Once. */
int expert_cache_warm(struct expert_cache *cache, struct stile_error *error);
bool expert_cache_is_warming(const struct expert_cache *cache);

/* Before a pass, while no thread computes: forgets what a pass that did not end has left. */
void expert_cache_begin(struct expert_cache *cache);
/* Of struct cpu_weights (cpu.h): by many threads. */
const void *expert_cache_acquire(struct expert_cache *cache, size_t piece, bool wait);
void expert_cache_release(struct expert_cache *cache, size_t piece);
void expert_cache_want(struct expert_cache *cache, int32_t layer, const uint32_t *begins);
void expert_cache_expect(struct expert_cache *cache, int32_t layer, const uint32_t *experts, size_t n);
/* The pass has failed elsewhere: nobody waits any more. */
void expert_cache_break(struct expert_cache *cache, const struct stile_error *error);
/* Why acquire returned NULL; 0 when it did not. */
int expert_cache_failed(struct expert_cache *cache, struct stile_error *error);

struct expert_cache_stats {
    uint64_t wanted_bytes, hit_bytes;    /* wanted by passes; of these, that were in memory before anybody guessed */
    uint64_t guessed_bytes, right_bytes; /* whose reads were begun on a guess; of these, that were wanted then */
    uint64_t empty_bytes;                /* of frames that never held anything: not taken from the system yet */
};
/* By any thread, also during a pass. */
void expert_cache_stats(struct expert_cache *cache, struct expert_cache_stats *stats);
/* Between passes: gives memory back until frames take at most this, least worth first (never less than one frame of each
 * size), or takes as much again, at most what the cache was made with; that fills as pieces miss. Returns what they take. */
uint64_t expert_cache_resize(struct expert_cache *cache, uint64_t bytes);

#endif
