#include "plan/standin.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { Q, K, V, O, GATE, UP, DOWN, ROUTER, SHARED_GATE, SHARED_UP, SHARED_DOWN, HEAD, OPS_PER_LAYER = 16 };

static void set_hparams(struct hparams *h, const struct shape *shape)
{
    h->n_layers = shape->n_layers;
    h->d_model = shape->d_model;
    h->d_ff = shape->d_ff;
    h->n_experts = shape->n_experts;
    h->n_experts_used = shape->n_experts_used;
    h->d_ff_expert = shape->d_ff_expert;
    h->n_heads = shape->n_heads;
    h->n_kv_heads = shape->n_kv_heads;
    h->head_dim = shape->head_dim;
    h->n_vocab = shape->n_vocab;
    h->n_ctx_trained = shape->n_ctx;
}

static void set_weight(struct weight *weight, uint64_t rows, uint64_t cols, enum format format, double bits)
{
    weight->format = format;
    weight->rows = rows;
    weight->cols = cols;
    weight->row_bytes = (uint64_t)llround((double)cols * bits / 8);
}

static uint64_t elements(const struct weight *weight)
{
    return weight->rows * weight->cols;
}

/* Makes attention as large as the table's active parameters leave for it. */
static void scale_attention(struct standin *standin, const struct shape *shape)
{
    struct weight *w = standin->weights;
    double others = 0, attention = 0;
    for (int i = 0; i <= O; i++)
        attention += (double)elements(&w[i]);
    for (int i = GATE; i <= SHARED_DOWN; i++)
        others += (double)elements(&w[i]) * (w[i].n_experts ? shape->n_experts_used : 1);
    double all = shape->n_params_active_m * 1e6 - (double)elements(&w[HEAD]);
    double factor = (all / shape->n_layers - others) / attention;
    for (int i = 0; i <= O && factor > 0; i++) /* rows, as both bytes and multiplications follow them */
        w[i].rows = (uint64_t)llround((double)w[i].rows * factor);
}

static void set_weights(struct standin *standin, const struct shape *shape, enum format format, double bits)
{
    struct weight *w = standin->weights;
    uint64_t d = shape->d_model, heads = (uint64_t)shape->n_heads * shape->head_dim;
    uint64_t kv = (uint64_t)shape->n_kv_heads * shape->head_dim;
    uint64_t d_ff = shape->n_experts > 0 ? shape->d_ff_expert : shape->d_ff;
    set_weight(&w[Q], heads, d, format, bits);
    set_weight(&w[K], kv, d, format, bits);
    set_weight(&w[V], kv, d, format, bits);
    set_weight(&w[O], d, heads, format, bits);
    set_weight(&w[GATE], d_ff, d, format, bits);
    set_weight(&w[UP], d_ff, d, format, bits);
    set_weight(&w[DOWN], d, d_ff, format, bits);
    set_weight(&w[HEAD], shape->n_vocab, d, format, bits);
    if (shape->n_experts > 0) {
        uint64_t shared = (uint64_t)shape->n_shared_experts * d_ff;
        set_weight(&w[ROUTER], shape->n_experts, d, format, bits);
        set_weight(&w[SHARED_GATE], shared, d, format, bits);
        set_weight(&w[SHARED_UP], shared, d, format, bits);
        set_weight(&w[SHARED_DOWN], shared > 0 ? d : 0, shared, format, bits);
        for (int i = GATE; i <= DOWN; i++) {
            w[i].n_experts = shape->n_experts;
            w[i].expert_bytes = w[i].rows * w[i].row_bytes;
        }
    }
    scale_attention(standin, shape);
}

static void add_op(struct standin *standin, enum op_kind kind, int weight, int32_t layer)
{
    struct op *op = &standin->ops[standin->program.n_ops];
    const struct weight *w = weight >= 0 ? &standin->weights[weight] : NULL;
    if (w && w->rows == 0) return;
    *op = (struct op){.kind = kind, .layer = layer, .weight = w, .width = w ? (uint32_t)w->rows : 0};
    if (w && w->n_experts > 0) op->kind = OP_EXPERTS;
    op->selected = layer < 0;
    standin->program.n_ops++;
}

bool standin_create(struct standin *standin, const struct shape *shape, enum format format, double bits_per_weight)
{
    memset(standin, 0, sizeof *standin);
    if (shape->n_layers == 0 || shape->n_heads == 0 || shape->d_model == 0) return false;
    standin->ops = calloc((size_t)shape->n_layers * OPS_PER_LAYER + 1, sizeof *standin->ops);
    if (!standin->ops) return false;
    set_hparams(&standin->model.hparams, shape);
    set_weights(standin, shape, format, bits_per_weight);
    for (int32_t layer = 0; layer < (int32_t)shape->n_layers; layer++) {
        for (int i = Q; i <= V; i++)
            add_op(standin, OP_MATMUL, i, layer);
        add_op(standin, OP_ATTENTION, -1, layer);
        for (int i = O; i <= SHARED_DOWN; i++)
            add_op(standin, OP_MATMUL, i, layer);
    }
    add_op(standin, OP_MATMUL, HEAD, -1);
    standin->program.ops = standin->ops;
    standin->program.model = &standin->model;
    standin->model.globals[ROLE_OUTPUT] = standin->weights[HEAD];
    return true;
}

void standin_free(struct standin *standin)
{
    free(standin->ops);
}
