#include "run/tiers.h"

#include "base/clock.h"
#include "base/threads.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* Where a piece is. A read belongs to a piece as long as it is STARTED. */
enum phase { ABSENT, STARTED };

struct piece_state {
    atomic_int phase;  /* changed under the lock */
    atomic_int n_left; /* streamed: threads that have not released it in this pass */
    int slot;          /* streamed and STARTED */
    struct reader_read read;
};

static const size_t nowhere = SIZE_MAX;

/* A reader for each disk. */
struct disk {
    struct reader *reader;
    dev_t device;
};

struct tiers {
    const struct program *program;
    struct placement *placement;
    struct cpu_weights weights;
    int n_threads;
    const volatile int *cancel; /* may be NULL */
    struct disk *disks;         /* (n_disks) */
    size_t n_disks;
    struct shard_source *shards;  /* (n_shards) */
    struct expert_cache *experts; /* NULL: none are CACHED */
    struct piece_state *states;   /* (n_pieces) */
    char *memory;                 /* resident pieces in order, each in pages of its own; then the ring */
    size_t memory_bytes;
    size_t *places; /* (n_pieces) in memory, of pieces that were meant to be resident; `nowhere` */
    size_t ring;    /* of the first slot, in memory */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a piece was STARTED, or all is lost */
    /* under the lock: */
    size_t cursor; /* the next piece to look at */
    bool loaded;   /* the cursor has passed all pieces: resident ones need no look any more */
    int *free_slots;
    size_t n_free;
    atomic_bool failed;
    struct stile_error error;
    bool broken_off; /* a pass was, and not all reads that it left have ended */
    uint64_t n_passes;
    atomic_uint_least64_t waiting_ns; /* of all threads */
};

/* ---- reads ------------------------------------------------------------------------------------- */

static void start_read(struct tiers *t, size_t i, void *to)
{
    const struct piece *piece = &t->placement->pieces[i];
    const struct shard_source *shard = &t->shards[piece->shard];
    struct piece_state *state = &t->states[i];
    state->read.file = shard->file;
    state->read.offset = piece->offset_bytes;
    state->read.size_bytes = piece->size_bytes;
    state->read.buffer = to;
    reader_start(shard->reader, &state->read);
    atomic_store_explicit(&state->phase, STARTED, memory_order_release);
}

/* Looks at the piece under the cursor; false: it has to wait. */
static bool step(struct tiers *t)
{
    size_t i = t->cursor;
    struct piece_state *state = &t->states[i];
    enum phase phase = (enum phase)atomic_load_explicit(&state->phase, memory_order_relaxed);
    switch (t->placement->pieces[i].tier) {
    case TIER_RESIDENT:
        if (phase == ABSENT) start_read(t, i, t->memory + t->places[i]);
        return true;
    case TIER_STREAMED:
        if (phase == STARTED || t->n_free == 0) return false;
        state->slot = t->free_slots[--t->n_free];
        start_read(t, i, t->memory + t->ring + (size_t)state->slot * t->placement->slot_bytes);
        return true;
    default: return true;
    }
}

/* Begins what can be begun, under the lock. */
static void advance(struct tiers *t)
{
    size_t n_pieces = t->placement->n_pieces;
    /* once all is loaded and nothing streamed, it has nothing to stop at */
    bool ends = t->placement->n_slots == 0;
    while (!(ends && t->loaded) && step(t)) {
        if (++t->cursor < n_pieces) continue;
        t->cursor = 0;
        t->loaded = true;
    }
    pthread_cond_broadcast(&t->changed);
}

static bool is_cancelled(const struct tiers *t)
{
    return t->cancel && *t->cancel;
}

/* Waits for a read that was started; false: cancelled. */
static bool await(struct tiers *t, size_t i)
{
    while (!reader_wait_briefly(t->shards[t->placement->pieces[i].shard].reader, &t->states[i].read))
        if (is_cancelled(t)) return false;
    return true;
}

/* ---- for the backend --------------------------------------------------------------------------- */

static void fail(struct tiers *t, const struct stile_error *error)
{
    pthread_mutex_lock(&t->lock);
    if (!atomic_load(&t->failed)) {
        t->error = *error;
        atomic_store(&t->failed, true);
    }
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
    if (t->experts) expert_cache_break(t->experts, error);
}

static bool is_there(const struct piece_state *state)
{
    return atomic_load_explicit(&state->phase, memory_order_acquire) == STARTED && reader_is_done(&state->read) &&
           state->read.failed == 0;
}

/* Waits until the piece has come; false: it never will, or nobody wants it any more. */
static bool wait_for(struct tiers *t, size_t i)
{
    struct piece_state *state = &t->states[i];
    struct stile_error error;
    pthread_mutex_lock(&t->lock);
    while (atomic_load(&state->phase) != STARTED && !atomic_load(&t->failed) && !is_cancelled(t))
        threads_wait_briefly(&t->changed, &t->lock);
    bool started = atomic_load(&state->phase) == STARTED && !atomic_load(&t->failed);
    pthread_mutex_unlock(&t->lock);
    if (!started || !await(t, i)) return false;
    if (reader_wait(t->shards[t->placement->pieces[i].shard].reader, &state->read, &error) == 0) return true;
    fail(t, &error);
    return false;
}

static const void *acquire(void *user, size_t i, bool wait)
{
    struct tiers *t = user;
    struct piece_state *state = &t->states[i];
    bool cached = t->placement->pieces[i].tier == TIER_CACHED;
    const void *rows = NULL;
    if (cached && (rows = expert_cache_acquire(t->experts, i, false))) return rows;
    if (!cached && is_there(state)) return reader_data(&state->read);
    if (!wait || atomic_load(&t->failed)) return NULL;
    uint64_t begin_ns = clock_ns();
    if (cached)
        rows = expert_cache_acquire(t->experts, i, true);
    else if (wait_for(t, i))
        rows = reader_data(&state->read);
    atomic_fetch_add_explicit(&t->waiting_ns, clock_ns() - begin_ns, memory_order_relaxed);
    return rows;
}

static void release(void *user, size_t i)
{
    struct tiers *t = user;
    struct piece_state *state = &t->states[i];
    if (t->placement->pieces[i].tier == TIER_CACHED) {
        expert_cache_release(t->experts, i);
        return;
    }
    if (atomic_fetch_sub_explicit(&state->n_left, 1, memory_order_acq_rel) > 1) return;
    pthread_mutex_lock(&t->lock);
    atomic_store_explicit(&state->n_left, t->n_threads, memory_order_relaxed);
    atomic_store_explicit(&state->phase, ABSENT, memory_order_relaxed);
    t->free_slots[t->n_free++] = state->slot;
    advance(t);
    pthread_mutex_unlock(&t->lock);
}

static void want(void *user, int32_t layer, const uint32_t *begins)
{
    struct tiers *t = user;
    if (t->experts) expert_cache_want(t->experts, layer, begins);
}

static void expect(void *user, int32_t layer, const uint32_t *experts, size_t n)
{
    struct tiers *t = user;
    if (t->experts) expert_cache_expect(t->experts, layer, experts, n);
}

/* ---- passes ------------------------------------------------------------------------------------ */

/* Nothing is held, nothing failed, the cursor is at the beginning. For the time between passes. False: the disk is still
 * reading what was streamed, and we are cancelled. */
static bool reset(struct tiers *t)
{
    const struct placement *p = t->placement;
    t->broken_off = true;
    for (size_t i = 0; i < p->n_pieces; i++)
        if (p->pieces[i].tier == TIER_STREAMED && atomic_load(&t->states[i].phase) == STARTED && !await(t, i))
            return false;
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < p->n_pieces; i++) {
        struct piece_state *state = &t->states[i];
        bool streamed = p->pieces[i].tier == TIER_STREAMED, started = atomic_load(&state->phase) == STARTED;
        if (started && (streamed || (reader_is_done(&state->read) && state->read.failed)))
            atomic_store(&state->phase, ABSENT);
        atomic_store(&state->n_left, t->n_threads);
    }
    for (t->n_free = 0; t->n_free < p->n_slots; t->n_free++)
        t->free_slots[t->n_free] = (int)t->n_free;
    t->cursor = 0;
    t->loaded = false;
    atomic_store(&t->failed, false);
    t->broken_off = false;
    pthread_mutex_unlock(&t->lock);
    return true;
}

int tiers_begin_pass(struct tiers *tiers, struct stile_error *error)
{
    if (tiers->broken_off && !reset(tiers)) return error_set(error, STILE_ERROR_CANCELLED, "cancelled");
    pthread_mutex_lock(&tiers->lock);
    advance(tiers);
    pthread_mutex_unlock(&tiers->lock);
    if (tiers->experts) expert_cache_begin(tiers->experts);
    return 0;
}

int tiers_end_pass(struct tiers *tiers, int failed, struct stile_error *error)
{
    pthread_mutex_lock(&tiers->lock);
    if (failed == STILE_ERROR_IO && tiers->experts) expert_cache_failed(tiers->experts, error);
    if (failed == STILE_ERROR_IO && atomic_load(&tiers->failed) && error) *error = tiers->error;
    tiers->n_passes += !failed;
    pthread_mutex_unlock(&tiers->lock);
    if (failed) reset(tiers);
    return failed;
}

/* Of these, some may be given back, and taken again. */
static bool is_movable(const struct tiers *t, size_t i, enum tier tier)
{
    const struct piece *piece = &t->placement->pieces[i];
    return piece->tier == tier && t->places[i] != nowhere && t->program->ops[piece->op].kind == OP_MATMUL;
}

static void move(struct tiers *t, size_t i, enum tier to)
{
    struct placement *p = t->placement;
    struct piece *piece = &p->pieces[i];
    size_t room = reader_buffer_bytes(piece->size_bytes);
    atomic_store(&t->states[i].phase, ABSENT);
    if (to == TIER_STREAMED) madvise(t->memory + t->places[i], room, MADV_DONTNEED);
    p->resident_bytes = to == TIER_STREAMED ? p->resident_bytes - room : p->resident_bytes + room;
    p->tier_bytes[piece->tier] -= piece->size_bytes;
    p->tier_bytes[to] += piece->size_bytes;
    piece->tier = to;
}

/* Moves matrices from one tier to the other, spread evenly through the program: as large a share of those that were passed
 * as of all. To STREAMED at least so much, to RESIDENT at most; or all there is. */
static void move_matrices(struct tiers *t, enum tier from, enum tier to, uint64_t size_bytes)
{
    uint64_t all_bytes = 0, passed_bytes = 0, moved_bytes = 0;
    size_t n_pieces = t->placement->n_pieces;
    for (size_t i = 0; i < n_pieces; i++)
        if (is_movable(t, i, from)) all_bytes += reader_buffer_bytes(t->placement->pieces[i].size_bytes);
    for (size_t i = 0; i < n_pieces && moved_bytes < size_bytes; i++) {
        size_t room = reader_buffer_bytes(t->placement->pieces[i].size_bytes);
        if (!is_movable(t, i, from)) continue;
        passed_bytes += room;
        if ((double)moved_bytes * (double)all_bytes > (double)size_bytes * (double)passed_bytes) continue;
        if (to == TIER_RESIDENT && moved_bytes + room > size_bytes) continue;
        if (atomic_load(&t->states[i].phase) == STARTED && !await(t, i)) break;
        move(t, i, to);
        moved_bytes += room;
    }
}

static void resize_experts(struct tiers *t, uint64_t size_bytes)
{
    uint64_t after_bytes = expert_cache_resize(t->experts, size_bytes);
    pthread_mutex_lock(&t->lock);
    t->placement->cache_bytes = after_bytes;
    pthread_mutex_unlock(&t->lock);
}

/* Of experts at most half of what they have at a time: others may have wanted it for a moment only. */
void tiers_shrink(struct tiers *tiers, uint64_t size_bytes)
{
    struct tiers *t = tiers;
    uint64_t before_bytes = t->placement->cache_bytes, half_bytes = before_bytes / 2;
    if (t->experts) resize_experts(t, before_bytes - (size_bytes < half_bytes ? size_bytes : half_bytes));
    uint64_t given_bytes = before_bytes - t->placement->cache_bytes;
    if (given_bytes >= size_bytes || t->placement->n_slots == 0 || !reset(t)) return;
    pthread_mutex_lock(&t->lock);
    move_matrices(t, TIER_RESIDENT, TIER_STREAMED, size_bytes - given_bytes);
    pthread_mutex_unlock(&t->lock);
}

void tiers_grow(struct tiers *tiers, uint64_t size_bytes)
{
    struct tiers *t = tiers;
    const struct placement *p = t->placement;
    uint64_t before_bytes = p->resident_bytes, least_bytes = UINT64_MAX;
    for (size_t i = 0; i < p->n_pieces; i++) {
        size_t room = reader_buffer_bytes(p->pieces[i].size_bytes);
        if (is_movable(t, i, TIER_STREAMED) && room < least_bytes) least_bytes = room;
    }
    if (size_bytes >= least_bytes) {
        if (!reset(t)) return;
        pthread_mutex_lock(&t->lock);
        move_matrices(t, TIER_STREAMED, TIER_RESIDENT, size_bytes);
        pthread_mutex_unlock(&t->lock);
        size_bytes -= p->resident_bytes - before_bytes;
    }
    if (t->experts) resize_experts(t, p->cache_bytes + size_bytes);
}

/* ---- the tiers --------------------------------------------------------------------------------- */

static int add_shard(struct tiers *t, const struct map *map, const struct reader_options *options,
                     struct shard_source *shard, struct stile_error *error)
{
    struct stat status;
    int failed = 0;
    if (fstat(map_fd(map), &status) != 0) return error_set(error, STILE_ERROR_IO, "%s: cannot stat", map_path(map));
    size_t i = 0;
    while (i < t->n_disks && t->disks[i].device != status.st_dev)
        i++;
    if (i == t->n_disks) {
        t->disks[i].device = status.st_dev;
        failed = reader_create(&t->disks[i].reader, options, error);
        if (failed) return failed;
        t->n_disks++;
    }
    struct reader *reader = t->disks[i].reader;
    *shard = (struct shard_source){reader, reader_add_file(reader, map_path(map), error)};
    if (shard->file < 0) return shard->file;
    if (!reader_is_file(reader, shard->file, map_fd(map)))
        return error_set(error, STILE_ERROR_IO, "%s: has been replaced since it was opened (open it again)",
                         map_path(map));
    return 0;
}

static int open_files(struct tiers *t, const struct reader_options *options, struct stile_error *error)
{
    const struct gguf *gguf = t->program->model->gguf;
    int failed = 0;
    t->shards = calloc(gguf->n_shards, sizeof *t->shards);
    t->disks = calloc(gguf->n_shards, sizeof *t->disks);
    if (!t->shards || !t->disks) return error_memory(error, gguf->n_shards * sizeof *t->shards, "files to read");
    for (size_t i = 0; i < gguf->n_shards && !failed; i++)
        failed = add_shard(t, gguf->maps[i], options, &t->shards[i], error);
    return failed;
}

/* Memory is taken from the system as it is read into. */
static int reserve(struct tiers *t, struct stile_error *error)
{
    const struct placement *p = t->placement;
    t->states = calloc(p->n_pieces + 1, sizeof *t->states);
    t->places = calloc(p->n_pieces + 1, sizeof *t->places);
    t->free_slots = calloc(p->n_slots + 1, sizeof *t->free_slots);
    if (!t->states || !t->places || !t->free_slots)
        return error_memory(error, p->n_pieces * sizeof *t->states, "the state of the weights");
    size_t at = 0;
    for (size_t i = 0; i < p->n_pieces; i++) {
        t->places[i] = nowhere;
        if (p->pieces[i].tier != TIER_RESIDENT) continue;
        t->places[i] = at;
        at += reader_buffer_bytes(p->pieces[i].size_bytes);
    }
    t->ring = at;
    size_t n_bytes = at + p->n_slots * p->slot_bytes;
    if (n_bytes == 0) return 0;
    void *memory = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return error_memory(error, n_bytes, "weights");
    t->memory = memory;
    t->memory_bytes = n_bytes;
#ifdef MADV_HUGEPAGE
    /* direct reads into large pages have been seen to be 2.5 times as fast: they need fewer requests */
    madvise(memory, n_bytes, MADV_HUGEPAGE);
#endif
    return 0;
}

int tiers_create(struct tiers **tiers, const struct program *program, struct placement *placement,
                 const struct tiers_options *options, struct stile_error *error)
{
    struct tiers *t = calloc(1, sizeof *t);
    if (!t) {
        placement_free(placement);
        return error_memory(error, sizeof *t, "the tiers of the weights");
    }
    assert(program->model->gguf->maps);
    t->program = program;
    t->placement = placement;
    t->n_threads = options->n_threads;
    t->cancel = options->cancel;
    t->weights = (struct cpu_weights){placement, t, acquire, release, want, expect};
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->changed, NULL);
    int failed = open_files(t, &options->reader, error);
    if (!failed) failed = reserve(t, error);
    if (!failed && placement->tier_bytes[TIER_CACHED] > 0)
        failed = expert_cache_create(&t->experts, program, placement, t->shards, t->n_threads, t->cancel, options->use,
                                     error);
    if (failed) {
        tiers_free(t);
        return failed;
    }
    reset(t);
    pthread_mutex_lock(&t->lock);
    advance(t);
    pthread_mutex_unlock(&t->lock);
    if (t->experts) failed = expert_cache_warm(t->experts, error); /* after what every pass needs: reads go in order */
    if (failed) {
        tiers_free(t);
        return failed;
    }
    *tiers = t;
    return 0;
}

void tiers_free(struct tiers *tiers)
{
    bool hangs = false;
    if (!tiers) return;
    if (tiers->experts) expert_cache_stop(tiers->experts);
    for (size_t i = 0; i < tiers->n_disks; i++)
        hangs |= !reader_stop(tiers->disks[i].reader);
    expert_cache_free(tiers->experts, hangs);
    for (size_t i = 0; i < tiers->n_disks; i++)
        reader_free(tiers->disks[i].reader);
    if (!hangs) { /* else the disk may still write there */
        if (tiers->memory) munmap(tiers->memory, tiers->memory_bytes);
        free(tiers->states);
    }
    placement_free(tiers->placement);
    pthread_cond_destroy(&tiers->changed);
    pthread_mutex_destroy(&tiers->lock);
    free(tiers->disks);
    free(tiers->shards);
    free(tiers->places);
    free(tiers->free_slots);
    free(tiers);
}

const struct cpu_weights *tiers_weights(const struct tiers *tiers)
{
    return &tiers->weights;
}

void tiers_stats(struct tiers *tiers, struct tiers_stats *stats)
{
    const struct placement *p = tiers->placement;
    pthread_mutex_lock(&tiers->lock);
    *stats = (struct tiers_stats){
        .n_passes = tiers->n_passes,
        .waiting_ns = atomic_load(&tiers->waiting_ns) / (uint64_t)tiers->n_threads,
        .memory_bytes = p->resident_bytes + p->n_slots * p->slot_bytes + p->cache_bytes,
    };
    for (int tier = 0; tier < TIER_COUNT; tier++)
        stats->tier_bytes[tier] = p->tier_bytes[tier];
    for (size_t i = 0; i < p->n_pieces; i++)
        if (p->pieces[i].tier == TIER_RESIDENT && !is_there(&tiers->states[i]))
            stats->absent_bytes += p->pieces[i].size_bytes;
    pthread_mutex_unlock(&tiers->lock);
    if (tiers->experts) expert_cache_stats(tiers->experts, &stats->experts);
    for (size_t i = 0; i < tiers->n_disks; i++) {
        struct reader_stats disk;
        reader_stats(tiers->disks[i].reader, &disk);
        stats->read_bytes += disk.read_bytes;
        if (disk.busy_ns > stats->reading_ns) stats->reading_ns = disk.busy_ns;
        if (i == 0) stats->direct = disk.way == READER_DIRECT;
    }
}
