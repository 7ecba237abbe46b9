/* placement.h - which weights are kept in memory and which are read again for every pass, when they do not all fit.
 *
 * The matrices of a program (OP_MATMUL, OP_EXPERTS) are cut into pieces: whole rows of one matrix, or of one expert's,
 * at most about PIECE_BYTES. A piece is what is read at once, kept, and computed with. A pass over the weights is
 * cyclic, so what was used last is what is needed last, and a cache of it would always miss: instead a fixed part stays
 * (RESIDENT), and the rest comes through a ring of slots (STREAMED), spread evenly through the program so that reading
 * never pauses. Experts are not used in every pass, so what is kept of them is decided while running (CACHED).
 *
 * Embeddings (a row for each token) stay in the mapped file; norms and biases are in memory anyway.
 */
#ifndef STILE_PLAN_PLACEMENT_H
#define STILE_PLAN_PLACEMENT_H

#include "program/op.h"

enum tier {
    TIER_RESIDENT, /* read once, kept */
    TIER_STREAMED, /* read for every pass */
    TIER_CACHED,   /* experts: kept by use */
    TIER_COUNT,
};

extern const char *const tier_names[TIER_COUNT]; /* "resident", "streamed", "cached" */

enum { PIECE_BYTES = 4 << 20, PIECE_ROWS = 64 /* rows of a piece are a multiple of it, but for a matrix's last */ };

struct piece {
    uint32_t op; /* index in the program */
    uint32_t row_begin, row_end;
    uint32_t expert; /* of OP_EXPERTS */
    uint32_t shard;
    enum tier tier;
    size_t size_bytes;
    uint64_t offset_bytes; /* in the shard's file */
};

struct placement {
    struct piece *pieces; /* in the order of the program; of OP_EXPERTS by expert, as many for each */
    size_t n_pieces;
    size_t *first;                   /* (n_ops + 1): op i has the pieces from first[i] to first[i + 1] */
    uint64_t tier_bytes[TIER_COUNT]; /* of the file */
    uint64_t resident_bytes;         /* of memory, for resident pieces: each is read into whole pages of its own */
    size_t slot_bytes;               /* of memory, for the largest streamed piece */
    size_t n_slots;                  /* of the ring; 0: nothing is streamed */
    uint64_t cache_bytes;            /* of memory that is left for the cache of experts; 0: there are none */
};

struct placement_request {
    uint64_t budget_bytes; /* of memory, for weights: resident ones, the ring, the cache */
    /* Overrides: "PATTERN=TIER,...", a shell pattern over the names of tensors, and "resident", "streamed" (of experts:
     * cached) or "cached" (only experts); the first pattern that matches counts. NULL: none. */
    const char *place;
    size_t piece_bytes; /* 0: PIECE_BYTES */
};

/* Places the weights of a program, which must outlive it. ARGUMENT where `place` makes no sense, MEMORY where the budget
 * is less than *least_bytes, which is always set: what the smallest ring, the smallest cache of experts (two layers'
 * choices of one token) and what must be resident take. */
int placement_create(struct placement **placement, const struct program *program,
                     const struct placement_request *request, uint64_t *least_bytes, struct stile_error *error);
void placement_free(struct placement *placement);

/* Pieces of each expert of an OP_EXPERTS. */
static inline size_t placement_expert_pieces(const struct placement *placement, const struct program *program,
                                             size_t op)
{
    return (placement->first[op + 1] - placement->first[op]) / program->ops[op].weight->n_experts;
}

#endif
