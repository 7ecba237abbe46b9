#include "plan/placement.h"

#include "file/reader.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

const char *const tier_names[TIER_COUNT] = {"resident", "streamed", "cached"};

enum { SLOTS_MIN = 3, SLOTS_MAX = 16 };
enum { RING_SHARE = 8 };                       /* of the budget, where it is small */
static const enum tier tier_free = TIER_COUNT; /* not decided yet */

/* ---- pieces ------------------------------------------------------------------------------------ */

/* Rows of a piece: equal ones, whose size is at most about piece_bytes. */
static uint64_t piece_rows(const struct weight *weight, size_t piece_bytes)
{
    uint64_t most = piece_bytes / weight->row_bytes / PIECE_ROWS * PIECE_ROWS;
    if (most < PIECE_ROWS) most = PIECE_ROWS;
    uint64_t n = (weight->rows + most - 1) / most;
    uint64_t rows = (weight->rows + n - 1) / n;
    return (rows + PIECE_ROWS - 1) / PIECE_ROWS * PIECE_ROWS;
}

static bool is_placed(const struct op *op)
{
    return op->kind == OP_MATMUL || op->kind == OP_EXPERTS;
}

static uint64_t n_matrices(const struct op *op)
{
    return op->kind == OP_EXPERTS ? op->weight->n_experts : 1;
}

static size_t count_pieces(const struct op *op, size_t piece_bytes)
{
    if (!is_placed(op)) return 0;
    uint64_t rows = piece_rows(op->weight, piece_bytes);
    return (size_t)(n_matrices(op) * ((op->weight->rows + rows - 1) / rows));
}

static void cut(const struct program *program, size_t i_op, size_t piece_bytes, struct piece *piece)
{
    const struct op *op = &program->ops[i_op];
    const struct weight *w = op->weight;
    uint64_t rows = piece_rows(w, piece_bytes);
    for (uint64_t expert = 0; expert < n_matrices(op); expert++) {
        struct gguf_place matrix = gguf_tensor_part(w->tensor, expert);
        for (uint64_t row = 0; row < w->rows; row += rows) {
            uint64_t end = row + rows < w->rows ? row + rows : w->rows;
            *piece++ = (struct piece){
                .op = (uint32_t)i_op,
                .row_begin = (uint32_t)row,
                .row_end = (uint32_t)end,
                .expert = (uint32_t)expert,
                .shard = matrix.shard,
                .tier = tier_free,
                .size_bytes = (size_t)((end - row) * w->row_bytes),
                .offset_bytes = matrix.offset_bytes + row * w->row_bytes,
            };
        }
    }
}

static int create_pieces(struct placement *p, const struct program *program, size_t piece_bytes,
                         struct stile_error *error)
{
    p->first = calloc(program->n_ops + 1, sizeof *p->first);
    if (!p->first) return error_memory(error, program->n_ops * sizeof *p->first, "a placement");
    for (size_t i = 0; i < program->n_ops; i++)
        p->first[i + 1] = p->first[i] + count_pieces(&program->ops[i], piece_bytes);
    p->n_pieces = p->first[program->n_ops];
    p->pieces = calloc(p->n_pieces + 1, sizeof *p->pieces);
    if (!p->pieces) return error_memory(error, p->n_pieces * sizeof *p->pieces, "a placement");
    for (size_t i = 0; i < program->n_ops; i++)
        if (is_placed(&program->ops[i])) cut(program, i, piece_bytes, p->pieces + p->first[i]);
    return 0;
}

static void set_free(struct placement *p, size_t begin, size_t end, enum tier tier)
{
    for (size_t i = begin; i < end; i++)
        if (p->pieces[i].tier == tier_free) p->pieces[i].tier = tier;
}

/* ---- overrides --------------------------------------------------------------------------------- */

struct rule {
    char pattern[256];
    enum tier tier;
};

/* The rule at *text, which moves on to the next; ARGUMENT. */
static int next_rule(const char **text, struct rule *rule, struct stile_error *error)
{
    size_t n = strcspn(*text, ",");
    const char *equals = memchr(*text, '=', n);
    size_t n_pattern = equals ? (size_t)(equals - *text) : 0;
    if (n_pattern == 0 || n_pattern >= sizeof rule->pattern)
        return error_set(error, STILE_ERROR_ARGUMENT,
                         "placement \"%.*s\": not PATTERN=TIER, such as \"blk.0.*=resident\"", (int)(n < 300 ? n : 300),
                         *text);
    memcpy(rule->pattern, *text, n_pattern);
    rule->pattern[n_pattern] = '\0';
    size_t n_tier = n - n_pattern - 1;
    for (rule->tier = 0; rule->tier < TIER_COUNT; rule->tier++)
        if (strlen(tier_names[rule->tier]) == n_tier && memcmp(tier_names[rule->tier], equals + 1, n_tier) == 0) break;
    if (rule->tier == TIER_COUNT)
        return error_set(error, STILE_ERROR_ARGUMENT,
                         "placement \"%.*s\": the tier is not resident, streamed or cached", (int)(n < 300 ? n : 300),
                         *text);
    *text += n + ((*text)[n] == ',');
    return 0;
}

/* Gives the pieces of matching tensors that no rule before has decided about their tier. */
static int apply_rule(struct placement *p, const struct program *program, const struct rule *rule,
                      struct stile_error *error)
{
    bool matched = false;
    for (size_t i = 0; i < program->n_ops; i++) {
        const struct op *op = &program->ops[i];
        if (!is_placed(op) || fnmatch(rule->pattern, op->weight->tensor->name, 0) != 0) continue;
        matched = true;
        enum tier tier = rule->tier;
        if (tier == TIER_STREAMED && op->kind == OP_EXPERTS) tier = TIER_CACHED;
        if (tier == TIER_CACHED && op->kind != OP_EXPERTS)
            return error_set(error, STILE_ERROR_ARGUMENT,
                             "placement \"%s=cached\": %s holds no experts: it is resident or streamed", rule->pattern,
                             op->weight->tensor->name);
        set_free(p, p->first[i], p->first[i + 1], tier);
    }
    if (matched) return 0;
    return error_set(error, STILE_ERROR_ARGUMENT, "placement \"%s=%s\": no tensor that can be placed has such a name",
                     rule->pattern, tier_names[rule->tier]);
}

static int apply_rules(struct placement *p, const struct program *program, const char *text, struct stile_error *error)
{
    struct rule rule;
    int failed = 0;
    while (text && *text && !failed) {
        failed = next_rule(&text, &rule, error);
        if (!failed) failed = apply_rule(p, program, &rule, error);
    }
    return failed;
}

/* ---- tiers ------------------------------------------------------------------------------------- */

/* What the pieces of a tier (or tier_free) take in memory, dense ones or experts. */
static uint64_t room_of(const struct placement *p, const struct program *program, enum op_kind kind, enum tier tier)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < p->n_pieces; i++)
        if (p->pieces[i].tier == tier && program->ops[p->pieces[i].op].kind == kind)
            bytes += reader_buffer_bytes(p->pieces[i].size_bytes);
    return bytes;
}

/* The largest piece of a kind of operation, in memory. */
static size_t largest_room(const struct placement *p, const struct program *program, enum op_kind kind)
{
    size_t largest = 0;
    for (size_t i = 0; i < p->n_pieces; i++) {
        size_t room = reader_buffer_bytes(p->pieces[i].size_bytes);
        if (program->ops[p->pieces[i].op].kind == kind && room > largest) largest = room;
    }
    return largest;
}

/* Two layers' choices of one token: one is computed with while the other comes. */
static uint64_t least_cache(const struct placement *p, const struct program *program)
{
    uint64_t widest = 0, layer_bytes = 0;
    int32_t layer = -1;
    for (size_t i = 0; i < program->n_ops; i++) {
        const struct op *op = &program->ops[i];
        if (op->kind != OP_EXPERTS) continue;
        if (op->layer != layer) layer_bytes = 0;
        layer = op->layer;
        for (size_t j = 0; j < placement_expert_pieces(p, program, i); j++)
            layer_bytes +=
                program->model->hparams.n_experts_used * reader_buffer_bytes(p->pieces[p->first[i] + j].size_bytes);
        if (layer_bytes > widest) widest = layer_bytes;
    }
    return 2 * widest;
}

static void set_free_kind(struct placement *p, const struct program *program, enum op_kind kind, enum tier tier)
{
    for (size_t i = 0; i < program->n_ops; i++)
        if (program->ops[i].kind == kind) set_free(p, p->first[i], p->first[i + 1], tier);
}

/* The output head, when it takes less than what there is: prompts use it only at their end. Returns what is left. */
static uint64_t place_head(struct placement *p, const struct program *program, uint64_t left_bytes)
{
    for (size_t i = 0; i < program->n_ops; i++) {
        const struct op *op = &program->ops[i];
        uint64_t room = 0;
        if (op->kind != OP_MATMUL || op->out != VALUE_LOGITS) continue;
        for (size_t j = p->first[i]; j < p->first[i + 1]; j++)
            if (p->pieces[j].tier == tier_free) room += reader_buffer_bytes(p->pieces[j].size_bytes);
        if (room > left_bytes) continue;
        set_free(p, p->first[i], p->first[i + 1], TIER_RESIDENT);
        left_bytes -= room;
    }
    return left_bytes;
}

/* Of the dense pieces that are free, left_bytes become resident: at any point of the program as large a share as of the
 * whole. */
static void spread(struct placement *p, const struct program *program, uint64_t left_bytes)
{
    uint64_t all_bytes = room_of(p, program, OP_MATMUL, tier_free), passed_bytes = 0, kept_bytes = 0;
    for (size_t i = 0; i < p->n_pieces; i++) {
        struct piece *piece = &p->pieces[i];
        size_t room = reader_buffer_bytes(piece->size_bytes);
        if (piece->tier != tier_free || program->ops[piece->op].kind != OP_MATMUL) continue;
        passed_bytes += room;
        double share = (double)passed_bytes / (double)all_bytes * (double)left_bytes;
        bool keep = (double)(kept_bytes + room) <= share && kept_bytes + room <= left_bytes;
        piece->tier = keep ? TIER_RESIDENT : TIER_STREAMED;
        if (keep) kept_bytes += room;
    }
}

static size_t ring_slots(uint64_t budget_bytes, size_t slot_bytes)
{
    uint64_t n = budget_bytes / RING_SHARE / slot_bytes;
    return n < SLOTS_MIN ? SLOTS_MIN : n > SLOTS_MAX ? SLOTS_MAX : (size_t)n;
}

/* What is needed whatever the budget: what must stay, the smallest ring and the smallest cache. */
struct least {
    uint64_t resident_bytes, ring_bytes, cache_bytes;
};

static struct least least_of(const struct placement *p, const struct program *program)
{
    uint64_t dense = room_of(p, program, OP_MATMUL, tier_free), ring = SLOTS_MIN * largest_room(p, program, OP_MATMUL);
    uint64_t experts = room_of(p, program, OP_EXPERTS, tier_free) + room_of(p, program, OP_EXPERTS, TIER_CACHED);
    uint64_t cache = least_cache(p, program);
    bool streams = room_of(p, program, OP_MATMUL, TIER_STREAMED) > 0;
    return (struct least){
        .resident_bytes =
            room_of(p, program, OP_MATMUL, TIER_RESIDENT) + room_of(p, program, OP_EXPERTS, TIER_RESIDENT),
        .ring_bytes = streams || dense > ring ? ring : dense,
        .cache_bytes = cache < experts ? cache : experts,
    };
}

/* Decides about all that is free, with at least the least budget. First comes what every pass needs, the dense weights;
 * experts get what is left. */
static void decide(struct placement *p, const struct program *program, uint64_t budget_bytes, const struct least *least)
{
    uint64_t left = budget_bytes - least->resident_bytes;
    uint64_t dense = room_of(p, program, OP_MATMUL, tier_free), experts = room_of(p, program, OP_EXPERTS, tier_free);
    bool streams = room_of(p, program, OP_MATMUL, TIER_STREAMED) > 0;
    bool caches = room_of(p, program, OP_EXPERTS, TIER_CACHED) > 0;
    bool all = !streams && !caches && left >= dense + experts;
    set_free_kind(p, program, OP_EXPERTS, all ? TIER_RESIDENT : TIER_CACHED);
    uint64_t for_dense = all ? left - experts : left - least->cache_bytes;
    if (!streams && for_dense >= dense) {
        set_free_kind(p, program, OP_MATMUL, TIER_RESIDENT);
    } else {
        p->slot_bytes = largest_room(p, program, OP_MATMUL);
        p->n_slots = ring_slots(for_dense, p->slot_bytes);
        spread(p, program, place_head(p, program, for_dense - p->n_slots * p->slot_bytes));
    }
}

/* ---- the placement ----------------------------------------------------------------------------- */

static void add_up(struct placement *p, uint64_t budget_bytes)
{
    for (size_t i = 0; i < p->n_pieces; i++) {
        p->tier_bytes[p->pieces[i].tier] += p->pieces[i].size_bytes;
        if (p->pieces[i].tier == TIER_RESIDENT) p->resident_bytes += reader_buffer_bytes(p->pieces[i].size_bytes);
    }
    if (p->tier_bytes[TIER_CACHED] > 0) p->cache_bytes = budget_bytes - p->resident_bytes - p->n_slots * p->slot_bytes;
}

int placement_create(struct placement **placement, const struct program *program,
                     const struct placement_request *request, uint64_t *least_bytes, struct stile_error *error)
{
    *least_bytes = 0;
    struct placement *p = calloc(1, sizeof *p);
    if (!p) return error_memory(error, sizeof *p, "a placement");
    int failed = create_pieces(p, program, request->piece_bytes ? request->piece_bytes : PIECE_BYTES, error);
    if (!failed) failed = apply_rules(p, program, request->place, error);
    if (failed) {
        placement_free(p);
        return failed;
    }
    struct least least = least_of(p, program);
    *least_bytes = least.resident_bytes + least.ring_bytes + least.cache_bytes;
    if (request->budget_bytes < *least_bytes) {
        placement_free(p);
        return error_set(error, STILE_ERROR_MEMORY,
                         "weights need at least %.1f MB of memory to pass through, not %.1f MB",
                         (double)*least_bytes / 1e6, (double)request->budget_bytes / 1e6);
    }
    decide(p, program, request->budget_bytes, &least);
    add_up(p, request->budget_bytes);
    *placement = p;
    return 0;
}

void placement_free(struct placement *placement)
{
    if (!placement) return;
    free(placement->first);
    free(placement->pieces);
    free(placement);
}
