/* expert_cache_private.h - what the files of the cache of experts share.
 *
 *   expert_cache.c         passes: what is wanted, its reads, who gives way
 *   expert_cache_create.c  frames: where they are, warming up, giving memory back and taking it again
 */
#ifndef STILE_RUN_EXPERT_CACHE_PRIVATE_H
#define STILE_RUN_EXPERT_CACHE_PRIVATE_H

#include "run/expert_cache.h"

#include <pthread.h>

enum { VICTIMS = 32 /* chosen together */, POOLS_MAX = 64 };

static const uint32_t none = UINT32_MAX;

/* Of a part's `holders`: its rows are there. The rest is how many threads read them, or wait for them. */
static const uint32_t present = 1u << 31;

/* A piece, as the cache sees it. */
struct part {
    atomic_uint holders;
    atomic_int needed; /* releases to come, of the layer at hand */
    uint32_t frame;    /* in its pool; `none`: the piece is neither there nor on its way */
    uint8_t pool;
    bool expected; /* of the layer to come: nobody takes its frame */
    bool guessed;  /* its read was begun because it is expected */
};

/* Frames for pieces of one size. */
struct pool {
    size_t room_bytes;
    uint64_t total_bytes; /* that all its pieces would take */
    char *memory;
    size_t mapped_bytes;
    uint32_t n_frames, n_begun; /* n_begun: that ever held something */
    uint32_t *pieces;           /* (n_frames) */
    struct reader_read *reads;  /* (n_frames) */
    uint32_t victims[VICTIMS];  /* frames, least worth last */
    uint32_t n_victims;
    uint32_t n_guessed; /* frames of what is expected and was not there */
};

/* The operations of a layer. */
struct span {
    size_t begin, end;
};

struct expert_cache {
    const struct program *program;
    const struct placement *placement;
    const struct shard_source *sources;
    int n_threads;
    const volatile int *cancel; /* may be NULL */
    struct expert_use *use;
    struct span *layers; /* (n_layers) */
    struct part *parts;  /* (n_pieces) */
    struct pool pools[POOLS_MAX];
    size_t n_pools;
    pthread_mutex_t lock; /* over all that is not atomic */
    pthread_cond_t changed;
    uint32_t *wanted; /* pieces of the layer at hand, in the order of the program */
    size_t n_wanted, n_started;
    uint32_t *expected; /* pieces of the layer to come, that one thinks it will want */
    size_t n_expected;
    uint64_t guessed_bytes, right_bytes;
    atomic_bool starved; /* n_started does not move for want of a frame */
    struct stile_error error;
    int broken; /* code of the error */
    pthread_t warmer;
    uint32_t *warm_order; /* all experts */
    bool has_warmer, stop;
    atomic_bool warming;
};

static inline const struct op *op_of(const struct expert_cache *cache, size_t piece)
{
    return &cache->program->ops[cache->placement->pieces[piece].op];
}

static inline float worth_of(const struct expert_cache *cache, size_t piece)
{
    return expert_use_worth(cache->use, (uint32_t)op_of(cache, piece)->layer, cache->placement->pieces[piece].expert);
}

static inline bool is_present(const struct part *part)
{
    return atomic_load(&part->holders) & present;
}

static inline struct reader *reader_of(const struct expert_cache *cache, size_t piece)
{
    return cache->sources[cache->placement->pieces[piece].shard].reader;
}

/* Under the lock: */
void expert_cache_start_read(struct expert_cache *cache, size_t piece, uint32_t frame, bool idle);
/* Takes note of what a read that has ended brought. */
void expert_cache_settle(struct expert_cache *cache, size_t piece);
/* Waits until a piece's read, if it has one under way, has ended, or *cancel, or it is time to stop; gives up the lock
 * meanwhile. */
void expert_cache_await(struct expert_cache *cache, size_t piece, const volatile int *cancel);
/* Gives up a piece; false: somebody holds it, or it is not there. */
bool expert_cache_evict(struct expert_cache *cache, size_t piece);

#endif
