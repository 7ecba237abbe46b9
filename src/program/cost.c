#include "program/cost.h"

#include <math.h>

/* Positions that at least one of the last n tokens of a step sees. */
static uint64_t positions_seen(const struct step_shape *shape, uint64_t n, uint32_t window)
{
    uint64_t all = shape->n_past + shape->n_tokens;
    return window == 0 || window + n > all ? all : window + n - 1;
}

/* Pairs of a query and a position it sees, over the last n tokens of a step. */
static uint64_t pairs_seen(const struct step_shape *shape, uint64_t n, uint32_t window)
{
    uint64_t end = shape->n_past + shape->n_tokens,
             begin = end - n; /* queries stand at [begin, end) and see 1 + their position */
    uint64_t full = window == 0 || end <= window ? end : begin < window ? window : begin;
    return (full - begin) * (full + begin + 1) / 2 + (end - full) * window;
}

/* How many experts n tokens choose together, when each chooses n_experts_used of equally popular ones: exact for one
 * token. */
static double experts_chosen(const struct hparams *h, uint64_t n)
{
    double missed = 1 - (double)h->n_experts_used / h->n_experts; /* by one token */
    return n == 1 ? h->n_experts_used : h->n_experts * (1 - pow(missed, (double)n));
}

struct cost op_cost(const struct program *program, const struct op *op, const struct step_shape *shape)
{
    const struct hparams *h = &program->model->hparams;
    struct cost cost = {0};
    uint64_t n = op->selected ? shape->n_selected : shape->n_tokens;
    const struct format_info *kv = format_info(shape->kv_format);
    uint64_t position_bytes = 2 * (uint64_t)h->n_kv_heads * h->head_dim * kv->block_bytes / kv->block_elements;
    switch (op->kind) {
    case OP_EMBED: cost.weight_bytes = n * op->weight->row_bytes; break;
    case OP_NORM: cost.weight_bytes = op->weight->cols * sizeof(float); break;
    case OP_MATMUL:
        if (n == 0) break;
        cost.weight_bytes = op->weight->rows * op->weight->row_bytes;
        cost.macs = n * op->weight->rows * op->weight->cols;
        break;
    case OP_EXPERTS:
        if (n == 0) break;
        cost.weight_bytes = (uint64_t)llround(experts_chosen(h, n) * (double)op->weight->expert_bytes);
        cost.macs = n * h->n_experts_used * op->weight->rows * op->weight->cols;
        break;
    case OP_KV_WRITE: cost.kv_bytes = n * position_bytes; break;
    case OP_ATTENTION:
        if (n == 0) break;
        cost.kv_bytes = positions_seen(shape, n, op->window) * position_bytes;
        cost.macs = 2 * pairs_seen(shape, n, op->window) * h->n_heads * h->head_dim;
        break;
    default: break;
    }
    return cost;
}

struct cost program_cost(const struct program *program, const struct step_shape *shape)
{
    struct cost total = {0};
    for (size_t i = 0; i < program->n_ops; i++) {
        struct cost cost = op_cost(program, &program->ops[i], shape);
        total.weight_bytes += cost.weight_bytes;
        total.kv_bytes += cost.kv_bytes;
        total.macs += cost.macs;
    }
    return total;
}
