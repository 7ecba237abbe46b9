#include "base/threads.h"
#include "run/expert_cache_private.h"

/* ---- frames ------------------------------------------------------------------------------------ */

void expert_cache_start_read(struct expert_cache *cache, size_t piece, uint32_t frame, bool idle)
{
    const struct piece *p = &cache->placement->pieces[piece];
    struct part *part = &cache->parts[piece];
    struct pool *pool = &cache->pools[part->pool];
    part->frame = frame;
    pool->pieces[frame] = (uint32_t)piece;
    /* one by one: where a read has failed, others may still look whether it is done */
    struct reader_read *read = &pool->reads[frame];
    read->file = cache->sources[p->shard].file;
    read->offset = p->offset_bytes;
    read->size_bytes = p->size_bytes;
    read->buffer = pool->memory + frame * pool->room_bytes;
    read->idle = idle;
    reader_start(reader_of(cache, piece), read);
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

void expert_cache_await(struct expert_cache *cache, size_t piece, const volatile int *cancel)
{
    struct part *part = &cache->parts[piece];
    atomic_fetch_add(&part->holders, 1);
    while (part->frame != none && !is_present(part) && !cache->stop && !(cancel && *cancel)) {
        struct reader_read *read = &cache->pools[part->pool].reads[part->frame];
        pthread_mutex_unlock(&cache->lock);
        reader_wait_briefly(reader_of(cache, piece), read);
        pthread_mutex_lock(&cache->lock);
        expert_cache_settle(cache, piece);
    }
    atomic_fetch_sub(&part->holders, 1);
    pthread_cond_broadcast(&cache->changed); /* only now its frame can be taken */
}

bool expert_cache_evict(struct expert_cache *cache, size_t piece)
{
    struct part *part = &cache->parts[piece];
    uint32_t held_by_nobody = present;
    if (part->frame == none || !atomic_compare_exchange_strong(&part->holders, &held_by_nobody, 0)) return false;
    set_frame_free(&cache->pools[part->pool], part);
    return true;
}

/* Does the layer at hand use it, or, as long as there is room for both, the next one? */
static bool is_in_use(const struct expert_cache *cache, uint32_t piece)
{
    const struct part *part = &cache->parts[piece];
    return atomic_load(&part->needed) > 0 || (part->expected && !atomic_load(&cache->starved));
}

/* The frames that are free, or whose pieces are not in use and worth least. */
static void choose_victims(struct expert_cache *cache, struct pool *pool)
{
    float worths[VICTIMS];
    uint32_t n = 0;
    for (uint32_t f = 0; f < pool->n_begun; f++) {
        uint32_t piece = pool->pieces[f];
        float worth = piece == none ? -1 : worth_of(cache, piece);
        if (n == VICTIMS && worth >= worths[0]) continue;
        if (piece != none) {
            expert_cache_settle(cache, piece);
            if (!is_present(&cache->parts[piece]) || is_in_use(cache, piece)) continue;
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
        if (!is_in_use(cache, piece) && expert_cache_evict(cache, piece)) return frame;
    }
    return none;
}

/* An empty frame, or that of a piece that is not in use. */
static uint32_t take_unused_frame(struct expert_cache *cache, struct pool *pool)
{
    if (pool->n_begun < pool->n_frames) return pool->n_begun++;
    uint32_t frame = take_victim(cache, pool);
    if (frame != none) return frame;
    choose_victims(cache, pool);
    return take_victim(cache, pool);
}

/* A frame for wanted[i]: one that is not in use, or that of a piece that is needed last. */
static uint32_t take_frame(struct expert_cache *cache, struct pool *pool, size_t i)
{
    uint32_t frame = take_unused_frame(cache, pool);
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
        expert_cache_start_read(cache, piece, frame, false);
        started = true;
    }
    if (cache->n_started == cache->n_wanted) atomic_store(&cache->starved, false);
    if (started) pthread_cond_broadcast(&cache->changed);
}

/* ---- guesses ----------------------------------------------------------------------------------- */

/* What was expected is wanted now, or it was wrong. */
static void forget_expected(struct expert_cache *cache)
{
    for (size_t i = 0; i < cache->n_expected; i++) {
        uint32_t piece = cache->expected[i];
        struct part *part = &cache->parts[piece];
        struct pool *pool = &cache->pools[part->pool];
        bool wanted = atomic_load(&part->needed) > 0;
        if (part->guessed && wanted) cache->right_bytes += cache->placement->pieces[piece].size_bytes;
        if (part->guessed && !wanted && part->frame != none && !is_present(part) && atomic_load(&part->holders) == 0 &&
            reader_drop(reader_of(cache, piece), &pool->reads[part->frame])) {
            cache->guessed_bytes -= cache->placement->pieces[piece].size_bytes;
            set_frame_free(pool, part);
        }
        part->expected = part->guessed = false;
        pool->n_guessed = 0;
    }
    cache->n_expected = 0;
}

/* Begins to read an expected piece, if it is not there and there is room: most of it is for what is certain. */
static void guess(struct expert_cache *cache, uint32_t piece)
{
    struct part *part = &cache->parts[piece];
    struct pool *pool = &cache->pools[part->pool];
    if (part->frame != none || pool->n_guessed >= pool->n_frames / 4) return;
    uint32_t frame = take_unused_frame(cache, pool);
    if (frame == none) return;
    part->guessed = true;
    pool->n_guessed++;
    cache->guessed_bytes += cache->placement->pieces[piece].size_bytes;
    expert_cache_start_read(cache, piece, frame, true);
}

/* The pieces of an expert, in the order of the program. */
static void expect_expert(struct expert_cache *cache, int32_t layer, uint32_t expert)
{
    const struct placement *placement = cache->placement;
    for (size_t op = cache->layers[layer].begin; op < cache->layers[layer].end; op++) {
        if (cache->program->ops[op].kind != OP_EXPERTS) continue;
        size_t n = placement_expert_pieces(placement, cache->program, op), first = placement->first[op] + expert * n;
        for (size_t i = first; i < first + n; i++) {
            if (placement->pieces[i].tier != TIER_CACHED || cache->parts[i].expected) continue;
            expert_cache_settle(cache, i);
            cache->parts[i].expected = true;
            cache->expected[cache->n_expected++] = (uint32_t)i;
        }
    }
}

void expert_cache_expect(struct expert_cache *cache, int32_t layer, const uint32_t *experts, size_t n)
{
    pthread_mutex_lock(&cache->lock);
    forget_expected(cache);
    for (size_t i = 0; i < n; i++)
        expect_expert(cache, layer, experts[i]);
    for (size_t i = 0; i < cache->n_expected && !atomic_load(&cache->starved); i++)
        guess(cache, cache->expected[i]);
    pthread_mutex_unlock(&cache->lock);
}

/* ---- passes ------------------------------------------------------------------------------------ */

void expert_cache_begin(struct expert_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    for (size_t i = 0; i < cache->n_wanted; i++) {
        struct part *part = &cache->parts[cache->wanted[i]];
        atomic_store(&part->needed, 0);
        /* what comes of it is not the next pass's business */
        if (cache->broken) expert_cache_await(cache, cache->wanted[i], cache->cancel);
    }
    forget_expected(cache);
    cache->n_wanted = cache->n_started = 0;
    atomic_store(&cache->starved, false);
    cache->broken = 0;
    pthread_cond_broadcast(&cache->changed);
    pthread_mutex_unlock(&cache->lock);
}

/* Appends the operation's pieces that its experts need; returns how many. */
static size_t find_pieces(const struct expert_cache *cache, size_t i_op, const uint32_t *begins, uint32_t *pieces)
{
    const struct placement *placement = cache->placement;
    size_t n_each = placement_expert_pieces(placement, cache->program, i_op), n = 0;
    for (size_t i = placement->first[i_op]; i < placement->first[i_op + 1]; i++) {
        size_t e = (i - placement->first[i_op]) / n_each;
        if (begins[e + 1] > begins[e] && placement->pieces[i].tier == TIER_CACHED) pieces[n++] = (uint32_t)i;
    }
    return n;
}

static size_t find_layer_pieces(const struct expert_cache *cache, int32_t layer, const uint32_t *begins,
                                uint32_t *pieces)
{
    size_t n = 0;
    for (size_t i = cache->layers[layer].begin; i < cache->layers[layer].end; i++)
        if (cache->program->ops[i].kind == OP_EXPERTS) n += find_pieces(cache, i, begins, pieces + n);
    return n;
}

/* A piece of the layer at hand. */
static void want_piece(struct expert_cache *cache, uint32_t piece, struct expert_layer_use *layer)
{
    struct part *part = &cache->parts[piece];
    uint64_t size_bytes = cache->placement->pieces[piece].size_bytes;
    expert_cache_settle(cache, piece);
    layer->wanted_bytes += size_bytes;
    if (is_present(part) && !part->guessed) layer->hit_bytes += size_bytes;
    /* who came before this has released it already */
    atomic_fetch_add(&part->needed, cache->n_threads);
    if (part->frame != none && !is_present(part))
        reader_hurry(reader_of(cache, piece), &cache->pools[part->pool].reads[part->frame]);
}

void expert_cache_want(struct expert_cache *cache, int32_t layer, const uint32_t *begins)
{
    pthread_mutex_lock(&cache->lock);
    expert_use_add(cache->use, (uint32_t)layer, begins);
    for (size_t i = 0; i < cache->n_pools; i++)
        cache->pools[i].n_victims = 0;
    cache->n_started = 0;
    cache->n_wanted = find_layer_pieces(cache, layer, begins, cache->wanted);
    for (size_t i = 0; i < cache->n_wanted; i++)
        want_piece(cache, cache->wanted[i], &cache->use->layers[layer]);
    forget_expected(cache);
    start_reads(cache);
    pthread_mutex_unlock(&cache->lock);
}

/* The rows of a piece that is there. */
static const void *rows_of(const struct expert_cache *cache, size_t piece)
{
    const struct part *part = &cache->parts[piece];
    return reader_data(&cache->pools[part->pool].reads[part->frame]);
}

/* Until a frame of the pool may have become free. */
static void wait_for_frame(struct expert_cache *cache, const struct pool *pool)
{
    for (uint32_t f = 0; f < pool->n_begun; f++) {
        uint32_t piece = pool->pieces[f];
        if (piece == none || is_present(&cache->parts[piece]) || atomic_load(&cache->parts[piece].needed) > 0) continue;
        expert_cache_await(cache, piece, cache->cancel); /* nobody else waits for what was guessed wrong */
        return;
    }
    threads_wait_briefly(&cache->changed, &cache->lock);
}

/* This thread holds the piece already, so that nobody takes its frame. */
static bool wait_for(struct expert_cache *cache, size_t piece)
{
    struct part *part = &cache->parts[piece];
    pthread_mutex_lock(&cache->lock);
    while (!is_present(part) && !cache->broken && !(cache->cancel && *cache->cancel)) {
        if (part->frame != none) {
            expert_cache_await(cache, piece, cache->cancel);
            continue;
        }
        if (atomic_load(&cache->starved)) start_reads(cache);
        if (part->frame != none) continue;
        if (atomic_load(&cache->starved))
            wait_for_frame(cache, &cache->pools[part->pool]);
        else
            threads_wait_briefly(&cache->changed, &cache->lock); /* it is not wanted yet */
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
