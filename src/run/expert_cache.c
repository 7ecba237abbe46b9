#include "run/expert_cache_private.h"

/* ---- frames ------------------------------------------------------------------------------------ */

void expert_cache_start_read(struct expert_cache *cache, size_t piece, uint32_t frame, bool urgent)
{
    const struct piece *p = &cache->placement->pieces[piece];
    struct part *part = &cache->parts[piece];
    struct pool *pool = &cache->pools[part->pool];
    part->frame = frame;
    part->urgent = urgent;
    cache->n_urgent += urgent;
    pool->pieces[frame] = (uint32_t)piece;
    pool->reads[frame] = (struct reader_read){
        .file = cache->sources[p->shard].file,
        .offset = p->offset_bytes,
        .size_bytes = p->size_bytes,
        .buffer = pool->memory + frame * pool->room_bytes,
    };
    reader_start(reader_of(cache, piece), &pool->reads[frame]);
}

static void set_frame_free(struct pool *pool, struct part *part)
{
    pool->pieces[part->frame] = none;
    part->frame = none;
}

void expert_cache_settle(struct expert_cache *cache, size_t piece)
{
    struct part *part = &cache->parts[piece];
    struct pool *pool = &cache->pools[part->pool];
    struct stile_error error;
    if (part->frame == none || is_present(part) || !reader_is_done(&pool->reads[part->frame])) return;
    int failed = reader_wait(reader_of(cache, piece), &pool->reads[part->frame], &error);
    cache->n_urgent -= part->urgent;
    part->urgent = false;
    if (failed) {
        set_frame_free(pool, part);
        if (atomic_load(&part->needed) > 0) {
            cache->broken = failed;
            cache->error = error;
        }
    } else {
        atomic_fetch_or(&part->holders, present);
    }
    pthread_cond_broadcast(&cache->changed);
}

bool expert_cache_evict(struct expert_cache *cache, size_t piece)
{
    struct part *part = &cache->parts[piece];
    uint32_t held_by_nobody = present;
    if (part->frame == none || !atomic_compare_exchange_strong(&part->holders, &held_by_nobody, 0)) return false;
    set_frame_free(&cache->pools[part->pool], part);
    return true;
}

/* The frames that are free, or whose pieces are not needed and worth least. */
static void choose_victims(struct expert_cache *cache, struct pool *pool)
{
    float worths[VICTIMS];
    uint32_t n = 0;
    for (uint32_t f = 0; f < pool->n_begun; f++) {
        uint32_t piece = pool->pieces[f];
        float worth = piece == none ? -1 : expert_use_worth(cache->use, expert_of(cache, piece));
        if (n == VICTIMS && worth >= worths[0]) continue;
        if (piece != none) {
            expert_cache_settle(cache, piece);
            if (!is_present(&cache->parts[piece]) || atomic_load(&cache->parts[piece].needed) > 0) continue;
        }
        uint32_t at = 0; /* the first gives way when there is no room */
        if (n < VICTIMS)
            for (at = n++; at > 0 && worth > worths[at - 1]; at--)
                worths[at] = worths[at - 1], pool->victims[at] = pool->victims[at - 1];
        else
            for (; at + 1 < n && worth < worths[at + 1]; at++)
                worths[at] = worths[at + 1], pool->victims[at] = pool->victims[at + 1];
        worths[at] = worth;
        pool->victims[at] = f;
    }
    pool->n_victims = n;
}

static uint32_t take_victim(struct expert_cache *cache, struct pool *pool)
{
    while (pool->n_victims > 0) {
        uint32_t frame = pool->victims[--pool->n_victims], piece = pool->pieces[frame];
        if (piece == none) return frame;
        if (atomic_load(&cache->parts[piece].needed) <= 0 && expert_cache_evict(cache, piece)) return frame;
    }
    return none;
}

/* A frame for wanted[i]: an empty one, that of a piece that is not needed, or of one that is needed last. */
static uint32_t take_frame(struct expert_cache *cache, struct pool *pool, size_t i)
{
    if (pool->n_begun < pool->n_frames) return pool->n_begun++;
    uint32_t frame = take_victim(cache, pool);
    if (frame != none) return frame;
    choose_victims(cache, pool);
    frame = take_victim(cache, pool);
    if (frame != none) return frame;
    for (size_t last = cache->n_wanted - 1; last > i; last--) {
        struct part *part = &cache->parts[cache->wanted[last]];
        if (&cache->pools[part->pool] != pool) continue;
        frame = part->frame;
        if (expert_cache_evict(cache, cache->wanted[last])) return frame;
    }
    return none;
}

/* Starts the reads of wanted pieces as far as there are frames. */
static void start_reads(struct expert_cache *cache)
{
    bool started = false;
    for (; cache->n_started < cache->n_wanted; cache->n_started++) {
        uint32_t piece = cache->wanted[cache->n_started];
        struct part *part = &cache->parts[piece];
        if (part->frame != none || atomic_load(&part->needed) <= 0) continue;
        struct pool *pool = &cache->pools[part->pool];
        uint32_t frame = take_frame(cache, pool, cache->n_started);
        if (frame == none) {
            /* whoever releases from here on looks here again, what was released before is seen now */
            atomic_store(&cache->starved, true);
            frame = take_frame(cache, pool, cache->n_started);
            if (frame == none) break;
        }
        expert_cache_start_read(cache, piece, frame, true);
        started = true;
    }
    if (cache->n_started == cache->n_wanted) atomic_store(&cache->starved, false);
    if (started) pthread_cond_broadcast(&cache->changed);
}

/* ---- passes ------------------------------------------------------------------------------------ */

void expert_cache_begin(struct expert_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    for (size_t i = 0; i < cache->n_wanted; i++) {
        struct part *part = &cache->parts[cache->wanted[i]];
        atomic_store(&part->needed, 0);
        if (cache->broken && part->frame != none) { /* what comes of it is not the next pass's business */
            reader_wait(reader_of(cache, cache->wanted[i]), &cache->pools[part->pool].reads[part->frame], NULL);
            expert_cache_settle(cache, cache->wanted[i]);
        }
        cache->n_urgent -= part->urgent;
        part->urgent = false;
    }
    cache->n_wanted = cache->n_started = 0;
    atomic_store(&cache->starved, false);
    cache->broken = 0;
    pthread_cond_broadcast(&cache->changed);
    pthread_mutex_unlock(&cache->lock);
}

/* The pieces of an operation that its experts need. */
static void want_pieces(struct expert_cache *cache, size_t i_op, const uint32_t *begins)
{
    const struct placement *placement = cache->placement;
    const struct op *op = &cache->program->ops[i_op];
    struct expert_layer_use *layer = &cache->use->layers[op->layer];
    size_t n = placement_expert_pieces(placement, cache->program, i_op);
    for (size_t i = placement->first[i_op]; i < placement->first[i_op + 1]; i++) {
        size_t e = (i - placement->first[i_op]) / n;
        if (begins[e + 1] == begins[e] || placement->pieces[i].tier != TIER_CACHED) continue;
        struct part *part = &cache->parts[i];
        expert_cache_settle(cache, i);
        layer->wanted_bytes += placement->pieces[i].size_bytes;
        if (is_present(part)) layer->hit_bytes += placement->pieces[i].size_bytes;
        /* who came before this has released it already */
        atomic_fetch_add(&part->needed, cache->n_threads);
        cache->wanted[cache->n_wanted++] = (uint32_t)i;
    }
}

void expert_cache_want(struct expert_cache *cache, int32_t layer, const uint32_t *begins)
{
    pthread_mutex_lock(&cache->lock);
    expert_use_add(cache->use, (uint32_t)layer, begins);
    for (size_t i = 0; i < cache->n_pools; i++)
        cache->pools[i].n_victims = 0;
    cache->n_wanted = cache->n_started = 0;
    for (size_t i = cache->layers[layer].begin; i < cache->layers[layer].end; i++)
        if (cache->program->ops[i].kind == OP_EXPERTS) want_pieces(cache, i, begins);
    start_reads(cache);
    pthread_mutex_unlock(&cache->lock);
}

/* The rows of a piece that is there. */
static const void *rows_of(const struct expert_cache *cache, size_t piece)
{
    const struct part *part = &cache->parts[piece];
    return reader_data(&cache->pools[part->pool].reads[part->frame]);
}

/* This thread holds the piece already, so that nobody takes its frame. */
static bool wait_for(struct expert_cache *cache, size_t piece)
{
    struct part *part = &cache->parts[piece];
    pthread_mutex_lock(&cache->lock);
    while (!is_present(part) && !cache->broken) {
        if (part->frame == none) { /* not wanted yet, or without a frame: a read that has ended may have left one */
            if (atomic_load(&cache->starved)) start_reads(cache);
            if (part->frame == none) pthread_cond_wait(&cache->changed, &cache->lock);
            continue;
        }
        struct reader_read *read = &cache->pools[part->pool].reads[part->frame];
        pthread_mutex_unlock(&cache->lock);
        reader_wait(reader_of(cache, piece), read, NULL);
        pthread_mutex_lock(&cache->lock);
        expert_cache_settle(cache, piece);
    }
    bool there = is_present(part);
    pthread_mutex_unlock(&cache->lock);
    return there;
}

const void *expert_cache_acquire(struct expert_cache *cache, size_t piece, bool wait)
{
    struct part *part = &cache->parts[piece];
    if (atomic_fetch_add(&part->holders, 1) & present) return rows_of(cache, piece);
    if (wait) {
        if (wait_for(cache, piece)) return rows_of(cache, piece);
    } else {
        pthread_mutex_lock(&cache->lock);
        expert_cache_settle(cache, piece);
        bool there = is_present(part);
        pthread_mutex_unlock(&cache->lock);
        if (there) return rows_of(cache, piece);
    }
    atomic_fetch_sub(&part->holders, 1);
    return NULL;
}

void expert_cache_release(struct expert_cache *cache, size_t piece)
{
    atomic_fetch_sub(&cache->parts[piece].holders, 1);
    atomic_fetch_sub(&cache->parts[piece].needed, 1);
    if (!atomic_load(&cache->starved)) return;
    pthread_mutex_lock(&cache->lock);
    start_reads(cache);
    pthread_mutex_unlock(&cache->lock);
}

void expert_cache_break(struct expert_cache *cache, const struct stile_error *error)
{
    pthread_mutex_lock(&cache->lock);
    cache->broken = error->code;
    cache->error = *error;
    pthread_cond_broadcast(&cache->changed);
    pthread_mutex_unlock(&cache->lock);
}

int expert_cache_failed(struct expert_cache *cache, struct stile_error *error)
{
    pthread_mutex_lock(&cache->lock);
    int failed = cache->broken;
    if (failed && error) *error = cache->error;
    pthread_mutex_unlock(&cache->lock);
    return failed;
}
