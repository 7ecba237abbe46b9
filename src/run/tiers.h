/* tiers.h - brings weights to where they are computed with, when they do not all fit into memory.
 *
 * Carries out a placement (placement.h). A cursor goes through the pieces in the order of the program, round and round,
 * and begins reads: of resident pieces once, into memory of their own; of streamed ones for every pass, into the free
 * slots of a ring. So loading is the first pass, and between passes the next one is being read already. Files on
 * different disks are read side by side. Cached pieces, those of experts, are expert_cache.h's.
 *
 * A read that fails ends the pass with its error; the next pass tries again. One that never ends is waited for until the
 * pass is cancelled, and a few seconds when the tiers are freed. One pass at a time.
 */
#ifndef STILE_RUN_TIERS_H
#define STILE_RUN_TIERS_H

#include "backend/cpu.h"
#include "file/reader.h"
#include "run/expert_cache.h"

struct tiers;

struct tiers_options {
    int n_threads;                /* of the backend */
    struct reader_options reader; /* READER_FASTEST, unless a test wants it otherwise */
    struct expert_use *use;       /* of a placement with CACHED pieces; must outlive the tiers */
    const volatile int *cancel;   /* may be NULL; ends what a pass waits for */
};

/* Takes over the placement, also on failure; the program must outlive it, its model must be a file. Begins to read. */
int tiers_create(struct tiers **tiers, const struct program *program, struct placement *placement,
                 const struct tiers_options *options, struct stile_error *error);
void tiers_free(struct tiers *tiers);
/* For the backend; as long as the tiers. */
const struct cpu_weights *tiers_weights(const struct tiers *tiers);

/* Round each cpu_run, unless CANCELLED; `failed` is what it returned. Returns that, or where weights could not be read,
 * the error IO of the read. */
int tiers_begin_pass(struct tiers *tiers, struct stile_error *error);
int tiers_end_pass(struct tiers *tiers, int failed, struct stile_error *error);

/* Gives back so much memory of experts and then of resident pieces, which from now on are streamed (less where there is not
 * so much). Not during a pass. */
void tiers_shrink(struct tiers *tiers, uint64_t size_bytes);
/* Takes so much at most of what was given back again, for resident pieces and then for experts. Not during a pass. */
void tiers_grow(struct tiers *tiers, uint64_t size_bytes);

struct tiers_stats {
    uint64_t tier_bytes[TIER_COUNT]; /* of weights, by where they are meant to be */
    uint64_t absent_bytes;           /* resident ones that have not been read yet */
    struct expert_cache_stats experts;
    uint64_t n_passes;               /* that ended well */
    uint64_t read_bytes, reading_ns; /* from files; while reads were under way */
    uint64_t waiting_ns;             /* for pieces, the mean thread's */
    uint64_t memory_bytes;           /* resident pieces, the ring, the cache of experts */
    bool direct;                     /* the first disk is read past the page cache now */
};
/* From any thread, during a pass too. */
void tiers_stats(struct tiers *tiers, struct tiers_stats *stats);

#endif
