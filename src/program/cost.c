#include "program/cost.h"

/* Positions that n tokens after n_past others see in total: 1 + n_past, 2 + n_past, ... each at most the window. */
static uint64_t positions_seen(uint64_t n_past, uint64_t n, uint32_t window)
{
    if (window == 0 || n_past + n <= window) return n * n_past + n * (n + 1) / 2;
    if (n_past >= window) return n * window;
    uint64_t growing = window - n_past;
    return positions_seen(n_past, growing, 0) + (n - growing) * window;
}

struct cost op_cost(const struct program *program, const struct op *op, const struct step_shape *shape)
{
    const struct hparams *h = &program->model->hparams;
    struct cost cost = {0};
    uint64_t n = op->selected ? shape->n_selected : shape->n_tokens;
    uint64_t kv_width = (uint64_t)h->n_kv_heads * h->head_dim;
    switch (op->kind) {
    case OP_EMBED: cost.weight_bytes = n * op->weight->row_bytes; break;
    case OP_NORM: cost.weight_bytes = op->weight->cols * sizeof(float); break;
    case OP_MATMUL:
        if (n == 0) break;
        cost.weight_bytes = op->weight->rows * op->weight->row_bytes;
        cost.macs = n * op->weight->rows * op->weight->cols;
        break;
    case OP_KV_WRITE: cost.kv_bytes = 2 * n * kv_width * shape->kv_element_bytes; break;
    case OP_ATTENTION: {
        /* the selected tokens are the last ones */
        uint64_t seen = positions_seen(shape->n_past + shape->n_tokens - n, n, op->window);
        cost.kv_bytes = 2 * seen * kv_width * shape->kv_element_bytes;
        cost.macs = 2 * seen * h->n_heads * h->head_dim;
        break;
    }
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
