#include "base/threads.h"
#include "run/expert_cache_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { WARM_READS = 4 /* under way at once */ };

/* ---- warming up -------------------------------------------------------------------------------- */

/* Starts the read of a piece if there is an empty frame for it; false: there is none, or it is time to stop. */
static bool warm_piece(struct expert_cache *cache, size_t piece, bool *started)
{
    struct part *part = &cache->parts[piece];
    struct pool *pool = &cache->pools[part->pool];
    pthread_mutex_lock(&cache->lock);
    bool room = pool->n_begun < pool->n_frames && !cache->stop;
    *started = room && part->frame == none;
    if (*started) expert_cache_start_read(cache, piece, pool->n_begun++, true);
    pthread_mutex_unlock(&cache->lock);
    return room;
}

static void warm_wait(struct expert_cache *cache, size_t piece)
{
    pthread_mutex_lock(&cache->lock);
    expert_cache_await(cache, piece, NULL);
    pthread_mutex_unlock(&cache->lock);
}

/* The reads under way of the warming thread: a ring of pieces. */
struct warming {
    struct expert_cache *cache;
    size_t pieces[WARM_READS];
    size_t n;
};

/* All pieces of an expert; false: no more. */
static bool warm_expert(struct warming *w, uint32_t expert)
{
    struct expert_cache *cache = w->cache;
    const struct placement *placement = cache->placement;
    size_t layer = expert / cache->use->n_experts, e = expert % cache->use->n_experts;
    bool more = true;
    for (size_t op = cache->layers[layer].begin; op < cache->layers[layer].end; op++) {
        if (cache->program->ops[op].kind != OP_EXPERTS) continue;
        size_t n = placement_expert_pieces(placement, cache->program, op), first = placement->first[op] + e * n;
        for (size_t piece = first; piece < first + n && more; piece++) {
            bool started;
            if (placement->pieces[piece].tier != TIER_CACHED) continue;
            size_t *slot = &w->pieces[w->n % WARM_READS];
            if (w->n >= WARM_READS) warm_wait(cache, *slot);
            more = warm_piece(cache, piece, &started);
            if (started) *slot = piece, w->n++;
        }
    }
    return more;
}

static void *warm(void *argument)
{
    struct warming w = {.cache = argument};
    size_t n = (size_t)w.cache->use->n_layers * w.cache->use->n_experts;
    for (size_t i = 0; i < n && warm_expert(&w, w.cache->warm_order[i]); i++) {
    }
    for (size_t i = 0; i < WARM_READS && i < w.n; i++)
        warm_wait(w.cache, w.pieces[i]);
    atomic_store(&w.cache->warming, false);
    return NULL;
}

int expert_cache_warm(struct expert_cache *cache, struct stile_error *error)
{
    assert(!cache->warm_order);
    size_t n = (size_t)cache->use->n_layers * cache->use->n_experts;
    cache->warm_order = malloc(n * sizeof *cache->warm_order);
    if (!cache->warm_order) return error_memory(error, n * sizeof *cache->warm_order, "an order of experts");
    expert_use_order(cache->use, cache->warm_order);
    atomic_store(&cache->warming, true);
    sigset_t before;
    threads_block_signals(&before);
    int failed = pthread_create(&cache->warmer, NULL, warm, cache);
    threads_restore_signals(&before);
    if (failed) return error_set(error, STILE_ERROR_MEMORY, "cannot start a thread: %s", strerror(failed));
    cache->has_warmer = true;
    return 0;
}

bool expert_cache_is_warming(const struct expert_cache *cache)
{
    return atomic_load(&cache->warming);
}

void expert_cache_stop(struct expert_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    cache->stop = true;
    pthread_cond_broadcast(&cache->changed);
    pthread_mutex_unlock(&cache->lock);
    if (cache->has_warmer) pthread_join(cache->warmer, NULL);
    cache->has_warmer = cache->stop = false;
}

/* ---- the cache --------------------------------------------------------------------------------- */

static struct pool *pool_for(struct expert_cache *cache, size_t room_bytes)
{
    for (size_t i = 0; i < cache->n_pools; i++)
        if (cache->pools[i].room_bytes == room_bytes) return &cache->pools[i];
    if (cache->n_pools == POOLS_MAX) return NULL;
    cache->pools[cache->n_pools].room_bytes = room_bytes;
    return &cache->pools[cache->n_pools++];
}

/* Which pool each piece belongs to, and how many there are. */
static int sort_pieces(struct expert_cache *cache, struct stile_error *error)
{
    const struct placement *placement = cache->placement;
    for (size_t i = 0; i < placement->n_pieces; i++) {
        struct part *part = &cache->parts[i];
        part->frame = none;
        if (placement->pieces[i].tier != TIER_CACHED) continue;
        struct pool *pool = pool_for(cache, reader_buffer_bytes(placement->pieces[i].size_bytes));
        if (!pool)
            return error_set(error, STILE_ERROR_UNSUPPORTED, "the experts' matrices have more than %d different sizes",
                             POOLS_MAX);
        part->pool = (uint8_t)(pool - cache->pools);
        pool->total_bytes += pool->room_bytes;
    }
    return 0;
}

/* Each pool gets a share of the memory as large as its share of the pieces. Memory comes from the system when it is read
 * into. */
static int create_pool(struct expert_cache *cache, struct pool *pool, double share, struct stile_error *error)
{
    uint64_t n = (uint64_t)((double)cache->placement->cache_bytes * share) / pool->room_bytes;
    if (n * pool->room_bytes > pool->total_bytes) n = pool->total_bytes / pool->room_bytes;
    if (n == 0)
        return error_set(error, STILE_ERROR_MEMORY, "%.1f MB are not enough for a cache of experts",
                         (double)cache->placement->cache_bytes / 1e6);
    size_t size_bytes = n * pool->room_bytes;
    void *memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return error_memory(error, size_bytes, "experts");
    pool->memory = memory;
    pool->mapped_bytes = size_bytes;
    pool->n_frames = (uint32_t)n;
#ifdef MADV_HUGEPAGE
    madvise(memory, size_bytes, MADV_HUGEPAGE);
#endif
    pool->pieces = malloc(n * sizeof *pool->pieces);
    pool->reads = calloc(n, sizeof *pool->reads);
    if (!pool->pieces || !pool->reads) return error_memory(error, n * sizeof *pool->reads, "the cache of experts");
    return 0;
}

static int create_pools(struct expert_cache *cache, struct stile_error *error)
{
    uint64_t total_bytes = 0;
    int failed = sort_pieces(cache, error);
    for (size_t i = 0; i < cache->n_pools; i++)
        total_bytes += cache->pools[i].total_bytes;
    for (size_t i = 0; i < cache->n_pools && !failed; i++)
        failed = create_pool(cache, &cache->pools[i], (double)cache->pools[i].total_bytes / (double)total_bytes, error);
    return failed;
}

/* Where each layer's operations are; returns the most pieces that a layer has. */
static size_t find_layers(struct expert_cache *cache)
{
    size_t most = 0;
    for (size_t i = 0; i < cache->program->n_ops; i++) {
        if (cache->program->ops[i].layer < 0) continue;
        struct span *span = &cache->layers[cache->program->ops[i].layer];
        if (span->end == 0) span->begin = i;
        span->end = i + 1;
        size_t n = cache->placement->first[span->end] - cache->placement->first[span->begin];
        if (n > most) most = n;
    }
    return most;
}

static int fill(struct expert_cache *cache, struct stile_error *error)
{
    const struct placement *placement = cache->placement;
    cache->layers = calloc(cache->use->n_layers, sizeof *cache->layers);
    cache->parts = calloc(placement->n_pieces + 1, sizeof *cache->parts);
    if (!cache->layers || !cache->parts)
        return error_memory(error, placement->n_pieces * sizeof *cache->parts, "the cache of experts");
    size_t most = find_layers(cache);
    cache->wanted = calloc(most + 1, sizeof *cache->wanted);
    cache->expected = calloc(most + 1, sizeof *cache->expected);
    if (!cache->wanted || !cache->expected)
        return error_memory(error, most * sizeof *cache->wanted, "the cache of experts");
    return create_pools(cache, error);
}

int expert_cache_create(struct expert_cache **cache, const struct program *program, const struct placement *placement,
                        const struct shard_source *sources, int n_threads, const volatile int *cancel,
                        struct expert_use *use, struct stile_error *error)
{
    assert(placement->n_pieces < none);
    struct expert_cache *c = calloc(1, sizeof *c);
    if (!c) return error_memory(error, sizeof *c, "the cache of experts");
    c->program = program;
    c->placement = placement;
    c->sources = sources;
    c->n_threads = n_threads;
    c->cancel = cancel;
    c->use = use;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    int failed = fill(c, error);
    if (failed) {
        expert_cache_free(c, false);
        return failed;
    }
    *cache = c;
    return 0;
}

static void free_pool(struct pool *pool, bool hangs)
{
    free(pool->pieces);
    if (hangs) return;
    if (pool->memory) munmap(pool->memory, pool->mapped_bytes);
    free(pool->reads);
}

void expert_cache_free(struct expert_cache *cache, bool hangs)
{
    if (!cache) return;
    expert_cache_stop(cache);
    for (size_t i = 0; i < cache->n_pools; i++)
        free_pool(&cache->pools[i], hangs);
    pthread_cond_destroy(&cache->changed);
    pthread_mutex_destroy(&cache->lock);
    free(cache->layers);
    free(cache->parts);
    free(cache->wanted);
    free(cache->expected);
    free(cache->warm_order);
    free(cache);
}

void expert_cache_stats(struct expert_cache *cache, struct expert_cache_stats *stats)
{
    *stats = (struct expert_cache_stats){0};
    pthread_mutex_lock(&cache->lock);
    for (uint32_t i = 0; i < cache->use->n_layers; i++) {
        stats->wanted_bytes += cache->use->layers[i].wanted_bytes;
        stats->hit_bytes += cache->use->layers[i].hit_bytes;
    }
    stats->guessed_bytes = cache->guessed_bytes;
    stats->right_bytes = cache->right_bytes;
    for (size_t i = 0; i < cache->n_pools; i++)
        stats->empty_bytes += (cache->pools[i].n_frames - cache->pools[i].n_begun) * cache->pools[i].room_bytes;
    pthread_mutex_unlock(&cache->lock);
}

/* ---- giving memory back, and taking it again --------------------------------------------------- */

static float worth_of_frame(const struct expert_cache *cache, const struct pool *pool, uint32_t frame)
{
    uint32_t piece = pool->pieces[frame];
    return piece == none ? -1 : worth_of(cache, piece);
}

/* Moves what is in the pool's last frame to the place of what is worth least, and gives the frame up. */
static void drop_frame(struct expert_cache *cache, struct pool *pool)
{
    uint32_t last = --pool->n_frames, least = last;
    if (pool->n_begun <= last) return;
    pool->n_begun = last;
    for (uint32_t f = 0; f < last; f++)
        if (worth_of_frame(cache, pool, f) < worth_of_frame(cache, pool, least)) least = f;
    uint32_t moved = pool->pieces[last];
    if (pool->pieces[least] != none) expert_cache_evict(cache, pool->pieces[least]);
    if (least != last && moved != none) {
        memcpy(pool->memory + least * pool->room_bytes, pool->memory + last * pool->room_bytes, pool->room_bytes);
        pool->pieces[least] = moved;
        pool->reads[least] = pool->reads[last];
        pool->reads[least].buffer = pool->memory + least * pool->room_bytes;
        cache->parts[moved].frame = least;
    }
    madvise(pool->memory + last * pool->room_bytes, pool->room_bytes, MADV_DONTNEED);
}

/* Waits until no frame is being read into. */
static void await_all(struct expert_cache *cache)
{
    for (size_t i = 0; i < cache->n_pools; i++)
        for (uint32_t f = 0; f < cache->pools[i].n_begun; f++)
            if (cache->pools[i].pieces[f] != none) expert_cache_await(cache, cache->pools[i].pieces[f], cache->cancel);
}

static void resize_pool(struct expert_cache *cache, struct pool *pool, uint32_t n_frames)
{
    pool->n_victims = 0;
    while (pool->n_frames > n_frames && pool->n_frames > 1)
        drop_frame(cache, pool);
    if (pool->n_frames < n_frames) pool->n_frames = n_frames;
}

uint64_t expert_cache_resize(struct expert_cache *cache, uint64_t bytes)
{
    uint64_t all_bytes = 0, taken_bytes = 0, after_bytes = 0;
    for (size_t i = 0; i < cache->n_pools; i++) {
        all_bytes += cache->pools[i].mapped_bytes;
        taken_bytes += cache->pools[i].n_frames * cache->pools[i].room_bytes;
    }
    if (bytes > all_bytes) bytes = all_bytes;
    if (bytes == taken_bytes) return taken_bytes;
    expert_cache_stop(cache);
    pthread_mutex_lock(&cache->lock);
    await_all(cache);
    bool cancelled = cache->cancel && *cache->cancel; /* reads may be under way: another time */
    for (size_t i = 0; i < cache->n_pools; i++) {
        struct pool *pool = &cache->pools[i];
        double n = (double)(pool->mapped_bytes / pool->room_bytes) * ((double)bytes / (double)all_bytes);
        if (!cancelled && (n < pool->n_frames) == (bytes < taken_bytes)) resize_pool(cache, pool, (uint32_t)n);
        after_bytes += pool->n_frames * pool->room_bytes;
    }
    pthread_mutex_unlock(&cache->lock);
    return after_bytes;
}
