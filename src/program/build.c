#include "program/build.h"

#include <assert.h>

static struct op *push(struct build *build, enum op_kind kind, enum value out, enum value in, enum value in2,
                       uint32_t width)
{
    assert(build->n_ops < build->capacity);
    struct op *op = &build->ops[build->n_ops++];
    *op = (struct op){
        .kind = kind, .out = out, .in = in, .in2 = in2, .layer = -1, .selected = build->selected, .width = width};
    return op;
}

/* n_heads: 0 for a whole row */
static void push_norm(struct build *build, uint32_t layer, enum role role, enum value out, enum value in,
                      uint32_t n_heads)
{
    const struct weight *weight = model_weight(build->model, layer, role);
    struct op *op = push(build, OP_NORM, out, in, in, (uint32_t)weight->cols * (n_heads > 0 ? n_heads : 1));
    op->layer = role < ROLE_LAYER_FIRST ? -1 : (int32_t)layer;
    op->weight = weight;
    op->n_heads = n_heads;
    op->factor = build->model->hparams.rms_eps;
}

static void push_matmul(struct build *build, int32_t layer, const struct weight *weight, const struct weight *bias,
                        enum value out, enum value in)
{
    struct op *op = push(build, OP_MATMUL, out, in, in, (uint32_t)weight->rows);
    op->layer = layer;
    op->weight = weight;
    op->bias = bias ? bias->floats : NULL;
}

static void push_rope(struct build *build, uint32_t layer, enum value value, uint32_t n_heads)
{
    struct op *op = push(build, OP_ROPE, value, value, value, n_heads * build->model->hparams.head_dim);
    op->layer = (int32_t)layer;
    op->n_heads = n_heads;
    op->local = hparams_layer_slides(&build->model->hparams, layer);
}

static void push_residual(struct build *build, uint32_t layer, enum role post_norm)
{
    uint32_t d_model = build->model->hparams.d_model;
    if (build->recipe->post_norms) push_norm(build, layer, post_norm, VALUE_Y, VALUE_Y, 0);
    push(build, OP_ADD, VALUE_H, VALUE_H, VALUE_Y, d_model)->layer = (int32_t)layer;
}

void build_embedding(struct build *build)
{
    const struct hparams *h = &build->model->hparams;
    push(build, OP_EMBED, VALUE_H, VALUE_H, VALUE_H, h->d_model)->weight =
        model_weight(build->model, 0, ROLE_TOKEN_EMBD);
    if (build->recipe->embedding_scale != 1.0f)
        push(build, OP_SCALE, VALUE_H, VALUE_H, VALUE_H, h->d_model)->factor = build->recipe->embedding_scale;
}

void build_attention(struct build *build, uint32_t layer, bool last)
{
    const struct hparams *h = &build->model->hparams;
    const struct weight *weights = build->model->layers[layer];
    uint32_t q_width = h->n_heads * h->head_dim, kv_width = h->n_kv_heads * h->head_dim;
    uint32_t window = hparams_layer_slides(h, layer) ? h->window : 0;
    int32_t l = (int32_t)layer;

    push_norm(build, layer, ROLE_ATTN_NORM, VALUE_X, VALUE_H, 0);
    push_matmul(build, l, &weights[ROLE_ATTN_Q], &weights[ROLE_ATTN_Q_BIAS], VALUE_Q, VALUE_X);
    push_matmul(build, l, &weights[ROLE_ATTN_K], &weights[ROLE_ATTN_K_BIAS], VALUE_K, VALUE_X);
    push_matmul(build, l, &weights[ROLE_ATTN_V], &weights[ROLE_ATTN_V_BIAS], VALUE_V, VALUE_X);
    if (build->recipe->qk_norm) {
        push_norm(build, layer, ROLE_ATTN_Q_NORM, VALUE_Q, VALUE_Q, h->n_heads);
        push_norm(build, layer, ROLE_ATTN_K_NORM, VALUE_K, VALUE_K, h->n_kv_heads);
    }
    push_rope(build, layer, VALUE_Q, h->n_heads);
    push_rope(build, layer, VALUE_K, h->n_kv_heads);

    struct op *op = push(build, OP_KV_WRITE, VALUE_K, VALUE_K, VALUE_V, kv_width);
    op->layer = l;
    op->window = window;
    if (last) {
        push(build, OP_SELECT, VALUE_Q, VALUE_Q, VALUE_Q, q_width)->layer = l;
        push(build, OP_SELECT, VALUE_H, VALUE_H, VALUE_H, h->d_model)->layer = l;
        build->selected = true;
    }
    op = push(build, OP_ATTENTION, VALUE_A, VALUE_Q, VALUE_Q, q_width);
    op->layer = l;
    op->n_heads = h->n_heads;
    op->factor = build->recipe->query_scale;
    op->window = window;
    push_matmul(build, l, &weights[ROLE_ATTN_OUTPUT], &weights[ROLE_ATTN_OUTPUT_BIAS], VALUE_Y, VALUE_A);
    push_residual(build, layer, ROLE_POST_ATTN_NORM);
}

static void build_dense(struct build *build, uint32_t layer)
{
    const struct hparams *h = &build->model->hparams;
    const struct weight *weights = build->model->layers[layer];
    int32_t l = (int32_t)layer;

    push_matmul(build, l, &weights[ROLE_FFN_GATE], NULL, VALUE_GATE, VALUE_X);
    push_matmul(build, l, &weights[ROLE_FFN_UP], NULL, VALUE_UP, VALUE_X);
    struct op *op = push(build, OP_GLU, VALUE_GATE, VALUE_GATE, VALUE_UP, h->d_ff);
    op->layer = l;
    op->act = build->recipe->act;
    push_matmul(build, l, &weights[ROLE_FFN_DOWN], NULL, VALUE_Y, VALUE_GATE);
}

static struct op *push_experts(struct build *build, uint32_t layer, enum role role, enum value out, enum value in)
{
    const struct weight *weight = &build->model->layers[layer][role];
    uint32_t width = build->model->hparams.n_experts_used * (uint32_t)weight->rows;
    struct op *op = push(build, OP_EXPERTS, out, in, VALUE_ROUTE, width);
    op->layer = (int32_t)layer;
    op->weight = weight;
    return op;
}

/* Gate and up of all experts come before any down: what is read for them is known that much earlier. */
static void build_experts(struct build *build, uint32_t layer)
{
    const struct hparams *h = &build->model->hparams;
    int32_t l = (int32_t)layer;

    push_matmul(build, l, &build->model->layers[layer][ROLE_FFN_ROUTER], NULL, VALUE_ROUTER, VALUE_X);
    push(build, OP_ROUTE, VALUE_ROUTE, VALUE_ROUTER, VALUE_ROUTER, 2 * h->n_experts_used)->layer = l;
    push_experts(build, layer, ROLE_FFN_GATE_EXPERTS, VALUE_GATE, VALUE_X);
    push_experts(build, layer, ROLE_FFN_UP_EXPERTS, VALUE_UP, VALUE_X);
    struct op *op = push(build, OP_GLU, VALUE_GATE, VALUE_GATE, VALUE_UP, h->n_experts_used * h->d_ff_expert);
    op->layer = l;
    op->act = build->recipe->act;
    push_experts(build, layer, ROLE_FFN_DOWN_EXPERTS, VALUE_EXPERTS, VALUE_GATE)->per_expert = true;
    push(build, OP_COMBINE, VALUE_Y, VALUE_EXPERTS, VALUE_ROUTE, h->d_model)->layer = l;
}

void build_ffn(struct build *build, uint32_t layer)
{
    push_norm(build, layer, ROLE_FFN_NORM, VALUE_X, VALUE_H, 0);
    if (build->model->hparams.n_experts > 0)
        build_experts(build, layer);
    else
        build_dense(build, layer);
    push_residual(build, layer, ROLE_POST_FFN_NORM);
}

void build_logits(struct build *build)
{
    const struct hparams *h = &build->model->hparams;
    push_norm(build, 0, ROLE_OUTPUT_NORM, VALUE_X, VALUE_H, 0);
    push_matmul(build, -1, model_output(build->model), NULL, VALUE_LOGITS, VALUE_X);
    if (h->final_softcap > 0)
        push(build, OP_SOFTCAP, VALUE_LOGITS, VALUE_LOGITS, VALUE_LOGITS, h->n_vocab)->factor = h->final_softcap;
}
