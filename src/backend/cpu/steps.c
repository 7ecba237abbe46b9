/* Each step, as one thread does its share of it. */
#include "backend/cpu/experts.h"
#include "backend/cpu/pieces.h"
#include "backend/cpu/share.h"
#include "program/rope.h"

#include <string.h>

static void run_angles(const struct context *c, const struct step *step)
{
    struct cpu *cpu = c->cpu;
    uint32_t n_rot = cpu->program->model->hparams.n_rot;
    size_t begin, end, half = n_rot / 2;
    my_tokens(c, step, &begin, &end);
    for (size_t t = begin; t < end; t++) {
        uint32_t position = c->batch->position + (uint32_t)t;
        rope_angles(cpu->frequencies, cpu->magnitude, n_rot, position, cpu->cosines[0] + t * half,
                    cpu->sines[0] + t * half);
        if (cpu->frequencies_local)
            rope_angles(cpu->frequencies_local, cpu->magnitude_local, n_rot, position, cpu->cosines[1] + t * half,
                        cpu->sines[1] + t * half);
    }
}

static void run_quantize(const struct context *c, const struct step *step)
{
    size_t begin, end;
    if (step->op->per_expert) {
        experts_quantize(c, step);
        return;
    }
    my_tokens(c, step, &begin, &end);
    for (size_t t = begin; t < end; t++) {
        void *row = step->split == SPLIT_PRIVATE
                        ? c->own->acts[step->act]
                        : (char *)c->cpu->acts[step->act] + t * c->cpu->act_stride_bytes[step->act];
        c->cpu->options.kernels->quantize(step->act, value_row(c, step->op->in, step->in_private, t),
                                          step->op->weight->cols, row);
    }
}

static void run_embed(const struct context *c, const struct step *step)
{
    const struct weight *weight = step->op->weight;
    size_t begin, end;
    my_tokens(c, step, &begin, &end);
    for (size_t t = begin; t < end; t++) {
        float *out = value_row(c, step->op->out, false, t);
        format_decode(weight->format, (const char *)weight->data + (size_t)c->batch->tokens[t] * weight->row_bytes,
                      weight->cols, out);
        if (weight->scale != 1.0f) c->cpu->options.kernels->scale(out, weight->scale, weight->cols);
    }
}

static void run_norm(const struct context *c, const struct step *step)
{
    const struct op *op = step->op;
    size_t cols = op->weight->cols, n_groups = op->n_heads > 0 ? op->n_heads : 1, begin, end;
    bool own = step->split == SPLIT_PRIVATE;
    if (step->split == SPLIT_HEADS)
        my_heads(c, step, &begin, &end);
    else
        my_tokens(c, step, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        size_t t = i / n_groups, group = i % n_groups;
        c->cpu->options.kernels->rms_norm(value_row(c, op->in, step->in_private, t) + group * cols, op->weight->floats,
                                          cols, op->factor, value_row(c, op->out, own, t) + group * cols);
    }
}

static void run_matmul(const struct context *c, const struct step *step)
{
    const struct weight *weight = step->op->weight;
    bool single = c->batch->n_tokens == 1;
    struct kernel_matmul job = {
        .format = weight->format,
        .weights = weight->data,
        .row_bytes = weight->row_bytes,
        .k = weight->cols,
        .scale = weight->scale,
        .bias = step->op->bias,
        .acts = single ? c->own->acts[step->act] : c->cpu->acts[step->act],
        .act_stride_bytes = c->cpu->act_stride_bytes[step->act],
        .n_tokens = n_tokens_of(c, step->op),
        .out = shared_value(c, step->op->out),
        .out_stride = step->op->width,
    };
    size_t begin, end;
    if (step->split == SPLIT_PIECES) {
        pieces_matmul(c, step, &job);
        return;
    }
    my_columns(c, step, &begin, &end);
    if (begin < end && job.n_tokens > 0) c->cpu->options.kernels->matmul(&job, begin, end, c->own->scratch);
}

/* From (x[i], x[i + n / 2]) to (x[2 i], x[2 i + 1]). */
static void weave(float *x, size_t n)
{
    float halves[HPARAMS_HEAD_DIM_MAX];
    memcpy(halves, x, n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = halves[gguf_halves_row(i, (uint32_t)n)];
}

static void run_rope(const struct context *c, const struct step *step)
{
    const struct program *program = c->cpu->program;
    size_t head_dim = program->model->hparams.head_dim, n_rot = program->model->hparams.n_rot, begin, end;
    int local = step->op->local;
    my_heads(c, step, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        size_t t = i / step->op->n_heads, head = i % step->op->n_heads;
        float *x = value_row(c, step->op->out, false, t) + head * head_dim;
        if (program->rope_weaves) weave(x, n_rot);
        c->cpu->options.kernels->rope(x, n_rot, c->cpu->cosines[local] + t * (n_rot / 2),
                                      c->cpu->sines[local] + t * (n_rot / 2), program->rope_neox);
    }
}

/* GLU, ADD, SCALE, SOFTCAP. */
static void run_elementwise(const struct context *c, const struct step *step)
{
    const struct op *op = step->op;
    const struct kernel_table *kernels = c->cpu->options.kernels;
    size_t begin = 0, end = op->width, t = 0, t_end = n_tokens_of(c, op);
    if (step->split == SPLIT_TOKENS)
        my_tokens(c, step, &t, &t_end);
    else
        my_columns(c, step, &begin, &end);
    if (begin >= end) return;
    for (; t < t_end; t++) {
        float *out = value_row(c, op->out, false, t) + begin;
        const float *in2 = value_row(c, op->in2, step->in2_private, t) + begin;
        switch (op->kind) {
        case OP_GLU: kernels->glu(op->act == ACT_GELU ? GLU_GELU : GLU_SILU, out, in2, end - begin, out); break;
        case OP_ADD: kernels->add(out, in2, end - begin); break;
        case OP_SCALE: kernels->scale(out, op->factor, end - begin); break;
        default: kernels->softcap(out, op->factor, end - begin); break;
        }
    }
}

/* Moves the last n_selected rows to the front. */
static void run_select(const struct context *c, const struct step *step)
{
    size_t begin, end, n = c->batch->n_selected, skipped = c->batch->n_tokens - n;
    my_columns(c, step, &begin, &end);
    if (begin >= end || skipped == 0) return;
    for (size_t t = 0; t < n; t++)
        memcpy(value_row(c, step->op->out, false, t) + begin, value_row(c, step->op->in, false, t + skipped) + begin,
               (end - begin) * sizeof(float));
}

static void run_observe(const struct context *c, const struct step *step)
{
    const struct cpu_observer *observer = c->cpu->options.observer;
    if (step->op->kind == OP_EXPERTS)
        experts_observe(c, step);
    else
        observer->see(observer->user, step->op, 0, value_row(c, step->op->in, step->in_private, 0), NULL,
                      n_tokens_of(c, step->op), c->i_thread, c->n_threads);
}

static void (*const op_runs[OP_KIND_COUNT])(const struct context *, const struct step *) = {
    [OP_EMBED] = run_embed,           [OP_NORM] = run_norm,
    [OP_MATMUL] = run_matmul,         [OP_ROPE] = run_rope,
    [OP_KV_WRITE] = cpu_run_kv_write, [OP_ATTENTION] = cpu_run_attention,
    [OP_GLU] = run_elementwise,       [OP_ADD] = run_elementwise,
    [OP_SCALE] = run_elementwise,     [OP_SOFTCAP] = run_elementwise,
    [OP_SELECT] = run_select,         [OP_ROUTE] = experts_route,
    [OP_EXPERTS] = experts_matmul,    [OP_COMBINE] = experts_combine,
};

void cpu_step_run(const struct context *context, const struct step *step)
{
    switch (step->kind) {
    case STEP_ANGLES: run_angles(context, step); break;
    case STEP_QUANTIZE: run_quantize(context, step); break;
    case STEP_GROUP: experts_group(context, step); break;
    case STEP_OBSERVE: run_observe(context, step); break;
    case STEP_OP: op_runs[step->op->kind](context, step); break;
    }
}
