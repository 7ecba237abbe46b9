#include "backend/cpu/experts.h"
#include "backend/cpu/pieces.h"
#include "backend/cpu/share.h"

#include <math.h>
#include <string.h>

/* Where an expert's matrix is: the one place that knows. */
static const void *expert_weights(const struct weight *weight, size_t expert)
{
    return gguf_tensor_part(weight->tensor, expert).data;
}

void experts_choose(const struct kernel_table *kernels, const float *scores, size_t n, size_t n_used, float *route)
{
    float *numbers = route, *chosen = route + n_used;
    size_t n_chosen = 0;
    for (size_t e = 0; e < n; e++) {
        float score = isnan(scores[e]) ? -INFINITY : scores[e];
        if (n_chosen == n_used && !(score > chosen[n_used - 1])) continue;
        size_t at = n_chosen < n_used ? n_chosen++ : n_used - 1;
        for (; at > 0 && score > chosen[at - 1]; at--) {
            chosen[at] = chosen[at - 1];
            numbers[at] = numbers[at - 1];
        }
        chosen[at] = score;
        numbers[at] = (float)e;
    }
    kernels->softmax(chosen, n_used);
}

/* The choices of a token. */
static float *route_row(const struct context *c, bool own, size_t token)
{
    return own ? c->own->routing.route : value_row(c, VALUE_ROUTE, false, token);
}

void experts_route(const struct context *c, const struct step *step)
{
    const struct hparams *h = &c->cpu->program->model->hparams;
    bool own = step->split == SPLIT_PRIVATE;
    size_t begin, end;
    my_tokens(c, step, &begin, &end);
    for (size_t t = begin; t < end; t++)
        experts_choose(c->cpu->options.kernels, value_row(c, step->op->in, false, t), h->n_experts, h->n_experts_used,
                       route_row(c, own, t));
}

void experts_group(const struct context *c, const struct step *step)
{
    const struct hparams *h = &c->cpu->program->model->hparams;
    const struct cpu_routing *routing = &c->own->routing;
    size_t n_tokens = n_tokens_of(c, step->op), n_used = h->n_experts_used;
    bool own = c->batch->n_tokens == 1;
    memset(routing->begins, 0, (h->n_experts + 1) * sizeof *routing->begins);
    for (size_t t = 0; t < n_tokens; t++)
        for (size_t i = 0; i < n_used; i++)
            routing->begins[(size_t)route_row(c, own, t)[i] + 1]++;
    for (size_t e = 0; e < h->n_experts; e++)
        routing->begins[e + 1] += routing->begins[e];
    for (size_t t = 0; t < n_tokens; t++) {
        for (size_t i = 0; i < n_used; i++) {
            uint32_t slot = routing->begins[(size_t)route_row(c, own, t)[i]]++;
            routing->slots[t * n_used + i] = slot;
            routing->tokens[slot] = (uint32_t)t;
        }
    }
    /* each has moved to where the next one begins */
    memmove(routing->begins + 1, routing->begins, h->n_experts * sizeof *routing->begins);
    routing->begins[0] = 0;
    const struct cpu_weights *weights = c->cpu->options.weights;
    if (!weights || c->i_thread > 0 || n_tokens == 0) return;
    weights->want(weights->user, step->op->layer, routing->begins);
    experts_guess(c, step);
}

void experts_observe(const struct context *c, const struct step *step)
{
    const struct cpu_observer *observer = c->cpu->options.observer;
    const struct cpu_routing *routing = &c->own->routing;
    const struct op *op = step->op;
    const float *values = value_row(c, op->in, step->in_private, 0);
    for (size_t e = 0; e < op->weight->n_experts; e++) {
        size_t first = routing->begins[e], n = routing->begins[e + 1] - first;
        if (n == 0) continue;
        if (op->per_expert) /* in slots: one after the other */
            observer->see(observer->user, op, e, values + first * op->weight->cols, NULL, n, c->i_thread, c->n_threads);
        else
            observer->see(observer->user, op, e, values, routing->tokens + first, n, c->i_thread, c->n_threads);
    }
}

void experts_quantize(const struct context *c, const struct step *step)
{
    const struct cpu *cpu = c->cpu;
    size_t cols = step->op->weight->cols, begin, end;
    my_heads(c, step, &begin, &end);
    for (size_t slot = begin; slot < end; slot++)
        cpu->options.kernels->quantize(step->act, shared_value(c, step->op->in) + slot * cols, cols,
                                       (char *)cpu->expert_acts + slot * cpu->expert_act_stride_bytes);
}

/* The inputs of an expert's tokens, one after the other. */
static const void *gather(const struct context *c, const struct step *step, size_t first, size_t n)
{
    size_t stride = c->cpu->act_stride_bytes[step->act];
    const char *acts = c->cpu->acts[step->act];
    const uint32_t *tokens = c->own->routing.tokens + first;
    if (n == 1) return acts + tokens[0] * stride;
    for (size_t i = 0; i < n; i++)
        memcpy((char *)c->own->gathered + i * stride, acts + tokens[i] * stride, stride);
    return c->own->gathered;
}

/* The product of an expert's whole matrix with its tokens. */
static struct kernel_matmul expert_job(const struct context *c, const struct step *step, size_t expert)
{
    const struct op *op = step->op;
    const struct weight *weight = op->weight;
    const struct cpu_routing *routing = &c->own->routing;
    size_t first = routing->begins[expert], n = routing->begins[expert + 1] - first;
    struct kernel_matmul job = {
        .format = weight->format,
        .weights = expert_weights(weight, expert),
        .row_bytes = weight->row_bytes,
        .k = weight->cols,
        .scale = weight->expert_scales ? weight->expert_scales[expert] : weight->scale,
        .act_stride_bytes = op->per_expert ? c->cpu->expert_act_stride_bytes : c->cpu->act_stride_bytes[step->act],
        .n_tokens = n,
        .out = shared_value(c, op->out) + first * weight->rows,
        .out_stride = weight->rows,
    };
    if (op->per_expert)
        job.acts = (const char *)c->cpu->expert_acts + first * job.act_stride_bytes;
    else
        job.acts = c->batch->n_tokens == 1 ? c->own->acts[step->act] : gather(c, step, first, n);
    return job;
}

static void run_expert(const struct context *c, const struct step *step, size_t expert, size_t row_begin,
                       size_t row_end)
{
    struct kernel_matmul job = expert_job(c, step, expert);
    c->cpu->options.kernels->matmul(&job, row_begin, row_end, c->own->scratch);
}

/* What unpacking a row costs, in products of it with a token. */
enum { UNPACK_TOKENS = 6 };

/* The work of COLUMN_GRAIN rows of an expert; 0 when nobody chose it. */
static uint64_t expert_work(const struct cpu_routing *routing, size_t expert)
{
    uint32_t n = routing->begins[expert + 1] - routing->begins[expert];
    return n > 0 ? n + UNPACK_TOKENS : 0;
}

static size_t clamp(size_t n, size_t max)
{
    return n < max ? n : max;
}

/* Chunks of rows stand in a line, each as long as its work, and the line is cut into equal parts: a chunk belongs to the
 * part that it begins in. */
static void run_many(const struct context *c, const struct step *step)
{
    const struct cpu_routing *routing = &c->own->routing;
    size_t n_experts = step->op->weight->n_experts, rows = step->op->weight->rows;
    uint64_t chunks = (rows + COLUMN_GRAIN - 1) / COLUMN_GRAIN, total = 0, at = 0;
    for (size_t e = 0; e < n_experts; e++)
        total += chunks * expert_work(routing, e);
    uint64_t begin = total * (uint64_t)c->i_thread / (uint64_t)c->n_threads;
    uint64_t end = total * ((uint64_t)c->i_thread + 1) / (uint64_t)c->n_threads;
    for (size_t e = 0; e < n_experts && at < end; e++) {
        uint64_t work = expert_work(routing, e);
        if (work == 0) continue;
        size_t first = begin > at ? (size_t)((begin - at + work - 1) / work) : 0;
        size_t last = (size_t)((end - at + work - 1) / work);
        if (first < chunks) run_expert(c, step, e, first * COLUMN_GRAIN, clamp(last * COLUMN_GRAIN, rows));
        at += chunks * work;
    }
}

/* One token: its experts' rows one after the other, split as if they were one matrix. */
static void run_single(const struct context *c, const struct step *step)
{
    const struct cpu_routing *routing = &c->own->routing;
    size_t n_experts = step->op->weight->n_experts, rows = step->op->weight->rows, begin, end;
    my_columns(c, step, &begin, &end);
    for (size_t e = 0; e < n_experts; e++) {
        size_t at = routing->begins[e] * rows;
        if (routing->begins[e + 1] == routing->begins[e] || at >= end || at + rows <= begin) continue;
        run_expert(c, step, e, begin > at ? begin - at : 0, clamp(end - at, rows));
    }
}

/* Piece by piece, each split over all threads: first what is there. */
static void run_pieces(const struct context *c, const struct step *step)
{
    const struct program *program = c->cpu->program;
    const struct placement *placement = c->cpu->options.weights->placement;
    const struct cpu_routing *routing = &c->own->routing;
    size_t op = (size_t)(step->op - program->ops), n = placement_expert_pieces(placement, program, op), n_late = 0;
    for (size_t e = 0; e < step->op->weight->n_experts; e++) {
        if (routing->begins[e + 1] == routing->begins[e]) continue;
        struct kernel_matmul job = expert_job(c, step, e);
        for (size_t i = 0; i < n; i++) {
            size_t piece = placement->first[op] + e * n + i;
            if (!pieces_run(c, &job, piece, false)) routing->late[n_late++] = (uint32_t)piece;
        }
    }
    for (size_t i = 0; i < n_late; i++) {
        struct kernel_matmul job = expert_job(c, step, placement->pieces[routing->late[i]].expert);
        if (!pieces_run(c, &job, routing->late[i], true)) return;
    }
}

void experts_matmul(const struct context *c, const struct step *step)
{
    if (step->split == SPLIT_PIECES)
        run_pieces(c, step);
    else if (step->split == SPLIT_COLUMNS)
        run_single(c, step);
    else
        run_many(c, step);
}

void experts_combine(const struct context *c, const struct step *step)
{
    const struct kernel_table *kernels = c->cpu->options.kernels;
    size_t n_used = c->cpu->program->model->hparams.n_experts_used, width = step->op->width;
    size_t begin = 0, end = width, t = 0, t_end = n_tokens_of(c, step->op);
    if (step->split == SPLIT_TOKENS)
        my_tokens(c, step, &t, &t_end);
    else
        my_columns(c, step, &begin, &end);
    if (begin >= end) return;
    for (; t < t_end; t++) {
        float *out = value_row(c, step->op->out, false, t) + begin;
        const float *weights = route_row(c, step->in2_private, t) + n_used;
        for (size_t i = 0; i < n_used; i++) {
            float *in = shared_value(c, step->op->in) + c->own->routing.slots[t * n_used + i] * width + begin;
            kernels->scale(in, weights[i], end - begin); /* nobody needs it any more */
            if (i == 0)
                memcpy(out, in, (end - begin) * sizeof *out);
            else
                kernels->add(out, in, end - begin);
        }
    }
}
