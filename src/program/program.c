#include "program/build.h"

#include <stdlib.h>

const char *const op_kind_names[OP_KIND_COUNT] = {
    [OP_EMBED] = "embed",       [OP_NORM] = "norm",           [OP_MATMUL] = "matmul", [OP_ROPE] = "rope",
    [OP_KV_WRITE] = "kv_write", [OP_ATTENTION] = "attention", [OP_GLU] = "glu",       [OP_ADD] = "add",
    [OP_SCALE] = "scale",       [OP_SOFTCAP] = "softcap",     [OP_SELECT] = "select", [OP_ROUTE] = "route",
    [OP_EXPERTS] = "experts",   [OP_COMBINE] = "combine",
};

static struct recipe (*const recipes[])(const struct hparams *hparams) = {
    [FAMILY_LLAMA] = recipe_llama,
    [FAMILY_QWEN2] = recipe_qwen2,
    [FAMILY_QWEN3] = recipe_qwen3,
    [FAMILY_GEMMA3] = recipe_gemma3,
};

enum { OPS_PER_LAYER_MAX = 28, OPS_OUTSIDE_MAX = 8 };

static void set_widths(struct program *program)
{
    const struct hparams *h = &program->model->hparams;
    uint32_t q = h->n_heads * h->head_dim, kv = h->n_kv_heads * h->head_dim, n_used = h->n_experts_used;
    uint32_t d_ff = h->n_experts > 0 ? n_used * h->d_ff_expert : h->d_ff;
    const uint32_t widths[VALUE_COUNT] = {
        [VALUE_H] = h->d_model,
        [VALUE_X] = h->d_model,
        [VALUE_Y] = h->d_model,
        [VALUE_Q] = q,
        [VALUE_A] = q,
        [VALUE_K] = kv,
        [VALUE_V] = kv,
        [VALUE_GATE] = d_ff,
        [VALUE_UP] = d_ff,
        [VALUE_LOGITS] = h->n_vocab,
        [VALUE_ROUTER] = h->n_experts,
        [VALUE_ROUTE] = 2 * n_used,
        [VALUE_EXPERTS] = n_used * h->d_model,
    };
    for (int i = 0; i < VALUE_COUNT; i++)
        program->widths[i] = widths[i];
}

int program_create(struct program **program, const struct model *model, struct stile_error *error)
{
    const struct hparams *h = &model->hparams;
    struct program *p = calloc(1, sizeof *p);
    if (!p) return error_memory(error, sizeof *p, "a program");
    p->model = model;
    size_t capacity = (size_t)h->n_layers * OPS_PER_LAYER_MAX + OPS_OUTSIDE_MAX;
    struct recipe recipe = recipes[h->family](h);
    struct build build = {.model = model, .recipe = &recipe, .capacity = capacity};
    build.ops = arena_array(&p->arena, capacity, sizeof *build.ops);
    if (!build.ops) {
        program_free(p);
        return error_memory(error, capacity * sizeof *build.ops, "a program");
    }
    build_embedding(&build);
    for (uint32_t layer = 0; layer < h->n_layers; layer++) {
        build_attention(&build, layer, layer + 1 == h->n_layers);
        build_ffn(&build, layer);
    }
    build_logits(&build);
    p->ops = build.ops;
    p->n_ops = build.n_ops;
    p->rope_neox = recipe.rope_neox;
    p->rope_weaves = model->gguf->halves;
    set_widths(p);
    *program = p;
    return 0;
}

void program_free(struct program *program)
{
    if (!program) return;
    arena_free(&program->arena);
    free(program);
}

struct program program_part(const struct program *program, size_t begin, size_t end)
{
    struct program part = *program;
    part.ops += begin;
    part.n_ops = end - begin;
    part.arena = (struct arena){0};
    return part;
}
