#include "backend/cpu/lower.h"

#include <assert.h>
#include <string.h>

/* What threads share and steps read or write: the values, the quantized activations, the KV cache, the angles. */
enum {
    RESOURCE_ACT = VALUE_COUNT,
    RESOURCE_EXPERT_ACTS = RESOURCE_ACT + ACT_COUNT, /* a row for each token's choice, of whatever kind */
    RESOURCE_KV,
    RESOURCE_ANGLES,
    RESOURCE_COUNT,
};

/* What happened to a resource since the last barrier. */
struct resource {
    bool written, read;
    bool read_across; /* by threads beyond their own split, or with different splits */
    enum split write_split, read_split;
    uint32_t write_width, read_width;
};

struct lowering {
    struct lowered *out;
    const struct program *program;
    bool single, pieces, observed;
    struct resource resources[RESOURCE_COUNT];
    bool is_private[VALUE_COUNT]; /* the newest state is in the threads' own copies */
    int quantized[ACT_COUNT];     /* the value whose newest state each activation buffer holds; -1: none */
};

struct access {
    int resource;
    bool write;
    bool across; /* reads what other threads of the same split wrote */
};

static bool same_split(const struct step *step, enum split split, uint32_t width)
{
    return step->split == split && step->split_width == width;
}

static bool must_wait(const struct resource *r, const struct step *step, const struct access *access)
{
    if (r->written && (access->across || !same_split(step, r->write_split, r->write_width))) return true;
    return access->write && r->read && (r->read_across || !same_split(step, r->read_split, r->read_width));
}

static void record(struct resource *r, const struct step *step, const struct access *access)
{
    if (access->write) {
        r->written = true;
        r->write_split = step->split;
        r->write_width = step->split_width;
    } else {
        r->read_across |= access->across || (r->read && !same_split(step, r->read_split, r->read_width));
        r->read = true;
        r->read_split = step->split;
        r->read_width = step->split_width;
    }
}

static void push(struct lowering *l, struct step step, const struct access *accesses, size_t n)
{
    for (size_t i = 0; i < n; i++)
        step.barrier |= must_wait(&l->resources[accesses[i].resource], &step, &accesses[i]);
    if (step.barrier) memset(l->resources, 0, sizeof l->resources);
    for (size_t i = 0; i < n; i++)
        record(&l->resources[accesses[i].resource], &step, &accesses[i]);
    l->out->steps[l->out->n_steps++] = step;
}

/* Reading a value: nothing to wait for when it is the thread's own copy. */
static size_t read_value(const struct lowering *l, enum value value, bool across, struct access *access)
{
    if (l->is_private[value]) return 0;
    *access = (struct access){.resource = (int)value, .across = across};
    return 1;
}

static size_t write_value(struct lowering *l, enum value value, struct access *access)
{
    l->is_private[value] = false;
    for (int act = 0; act < ACT_COUNT; act++)
        if (l->quantized[act] == (int)value) l->quantized[act] = -1;
    *access = (struct access){.resource = (int)value, .write = true};
    return 1;
}

/* The input of a product as activations of this kind, unless they are there already. */
static void lower_quantize(struct lowering *l, const struct op *op, enum kernel_act act)
{
    struct access accesses[2];
    if (l->quantized[act] == (int)op->in) return;
    struct step step = {.kind = STEP_QUANTIZE, .op = op, .act = act, .in_private = l->is_private[op->in]};
    step.split = l->single ? SPLIT_PRIVATE : SPLIT_TOKENS;
    step.split_width = op->selected;
    size_t n = read_value(l, op->in, l->single, &accesses[0]);
    if (!l->single) accesses[n++] = (struct access){.resource = RESOURCE_ACT + (int)act, .write = true};
    push(l, step, accesses, n);
    l->quantized[act] = (int)op->in;
}

/* Everybody looks at everything, and goes on. */
static void lower_observe(struct lowering *l, const struct op *op)
{
    struct access access;
    struct step step = {.kind = STEP_OBSERVE, .op = op, .split = SPLIT_PRIVATE, .in_private = l->is_private[op->in]};
    if (l->observed) push(l, step, &access, read_value(l, op->in, true, &access));
}

/* Rows of a piece go to all threads: no two products are split alike. */
static void split_pieces(const struct lowering *l, struct step *step)
{
    if (!l->pieces) return;
    step->split = SPLIT_PIECES;
    step->split_width = (uint32_t)(step->op - l->program->ops);
}

static void lower_matmul(struct lowering *l, const struct op *op)
{
    struct access accesses[3];
    size_t n;
    enum kernel_act act = kernel_act_of(op->weight->format);
    lower_quantize(l, op, act);
    lower_observe(l, op);
    struct step step = {.kind = STEP_OP, .op = op, .act = act, .split = SPLIT_COLUMNS, .split_width = op->width};
    split_pieces(l, &step);
    n = 0;
    if (!l->single) accesses[n++] = (struct access){.resource = RESOURCE_ACT + (int)act, .across = true};
    n += write_value(l, op->out, &accesses[n]);
    push(l, step, accesses, n);
}

static void lower_norm(struct lowering *l, const struct op *op)
{
    struct access accesses[2];
    struct step step = {.kind = STEP_OP, .op = op, .in_private = l->is_private[op->in]};
    if (op->n_heads > 0) {
        step.split = SPLIT_HEADS;
        step.split_width = op->n_heads;
    } else {
        step.split = l->single ? SPLIT_PRIVATE : SPLIT_TOKENS;
        step.split_width = op->selected;
    }
    size_t n = read_value(l, op->in, step.split == SPLIT_PRIVATE, &accesses[0]);
    struct access write;
    write_value(l, op->out, &write);
    if (step.split == SPLIT_PRIVATE)
        l->is_private[op->out] = true;
    else
        accesses[n++] = write;
    push(l, step, accesses, n);
}

static void lower_rope(struct lowering *l, const struct op *op)
{
    struct access accesses[3];
    struct step step = {.kind = STEP_OP, .op = op, .split = SPLIT_HEADS, .split_width = op->n_heads};
    size_t n = read_value(l, op->in, false, &accesses[0]);
    accesses[n++] = (struct access){.resource = RESOURCE_ANGLES, .across = true};
    n += write_value(l, op->out, &accesses[n]);
    push(l, step, accesses, n);
}

static void lower_kv_write(struct lowering *l, const struct op *op, uint32_t n_kv_heads)
{
    struct access accesses[3];
    struct step step = {.kind = STEP_OP, .op = op, .split = SPLIT_HEADS, .split_width = n_kv_heads};
    size_t n = read_value(l, op->in, false, &accesses[0]);
    n += read_value(l, op->in2, false, &accesses[n]);
    accesses[n++] = (struct access){.resource = RESOURCE_KV, .write = true};
    push(l, step, accesses, n);
}

static void lower_attention(struct lowering *l, const struct op *op)
{
    struct access accesses[3];
    struct step step = {.kind = STEP_OP, .op = op, .split = SPLIT_ATTENTION};
    size_t n = read_value(l, op->in, true, &accesses[0]);
    accesses[n++] = (struct access){.resource = RESOURCE_KV, .across = true};
    n += write_value(l, op->out, &accesses[n]);
    push(l, step, accesses, n);
}

/* The choice of a single token is so little work that every thread makes it; all threads need to know who chose whom. */
static void lower_route(struct lowering *l, const struct op *op)
{
    struct access accesses[2];
    struct step step = {.kind = STEP_OP, .op = op, .split = l->single ? SPLIT_PRIVATE : SPLIT_TOKENS};
    step.split_width = op->selected;
    size_t n = read_value(l, op->in, l->single, &accesses[0]);
    size_t n_written = write_value(l, op->out, &accesses[n]);
    push(l, step, accesses, l->single ? n : n + n_written);
    l->is_private[op->out] = l->single;
    n = read_value(l, op->out, true, &accesses[0]);
    push(l, (struct step){.kind = STEP_GROUP, .op = op, .split = SPLIT_PRIVATE}, accesses, n);
}

static void lower_experts(struct lowering *l, const struct op *op)
{
    struct access accesses[2];
    enum kernel_act act = kernel_act_of(op->weight->format);
    if (op->per_expert) {
        struct step step = {.kind = STEP_QUANTIZE, .op = op, .act = act, .split = SPLIT_HEADS};
        step.split_width = op->width / (uint32_t)op->weight->rows;
        size_t n = read_value(l, op->in, true, &accesses[0]);
        accesses[n++] = (struct access){.resource = RESOURCE_EXPERT_ACTS, .write = true};
        push(l, step, accesses, n);
    } else {
        lower_quantize(l, op, act);
    }
    lower_observe(l, op);
    /* with one token all experts have the same work, so the rows of all of them are split as a matrix's would be */
    struct step step = {.kind = STEP_OP, .op = op, .act = act, .split = l->single ? SPLIT_COLUMNS : SPLIT_EXPERTS};
    step.split_width = op->width;
    split_pieces(l, &step);
    size_t n = 0;
    if (op->per_expert || !l->single) {
        int resource = op->per_expert ? RESOURCE_EXPERT_ACTS : RESOURCE_ACT + (int)act;
        accesses[n++] = (struct access){.resource = resource, .across = true};
    }
    n += write_value(l, op->out, &accesses[n]);
    push(l, step, accesses, n);
}

static void lower_combine(struct lowering *l, const struct op *op)
{
    struct access accesses[3];
    struct step step = {.kind = STEP_OP, .op = op, .in2_private = l->is_private[op->in2]};
    step.split = l->single ? SPLIT_COLUMNS : SPLIT_TOKENS; /* as the sum with the residual stream that follows */
    step.split_width = l->single ? op->width : op->selected;
    size_t n = read_value(l, op->in, true, &accesses[0]);
    n += read_value(l, op->in2, true, &accesses[n]);
    n += write_value(l, op->out, &accesses[n]);
    push(l, step, accesses, n);
}

static void lower_embed(struct lowering *l, const struct op *op)
{
    struct access access;
    size_t n = write_value(l, op->out, &access);
    push(l, (struct step){.kind = STEP_OP, .op = op, .split = SPLIT_TOKENS}, &access, n);
}

/* Element by element: GLU, ADD, SCALE, SOFTCAP, SELECT. */
static void lower_elementwise(struct lowering *l, const struct op *op)
{
    struct access accesses[3];
    struct step step = {.kind = STEP_OP, .op = op, .split = SPLIT_COLUMNS, .split_width = op->width};
    if (!l->single && (op->kind == OP_ADD || op->kind == OP_SCALE)) {
        /* the residual stream stays with the thread that normalises the token */
        step.split = SPLIT_TOKENS;
        step.split_width = op->selected;
    }
    step.in_private = l->is_private[op->in];
    step.in2_private = l->is_private[op->in2];
    assert(!l->is_private[op->out]); /* programs write such values only with matmuls and sums */
    size_t n = read_value(l, op->in, false, &accesses[0]);
    n += read_value(l, op->in2, false, &accesses[n]);
    n += write_value(l, op->out, &accesses[n]);
    push(l, step, accesses, n);
}

size_t lower_steps_max(size_t n_ops)
{
    return 1 + 3 * n_ops;
}

void lower(const struct program *program, const struct lower_options *options, struct lowered *lowered)
{
    struct lowering l = {.out = lowered,
                         .program = program,
                         .single = options->single,
                         .pieces = options->pieces,
                         .observed = options->observed,
                         .quantized = {-1, -1, -1}};
    lowered->n_steps = 0;
    push(&l, (struct step){.kind = STEP_ANGLES, .split = SPLIT_TOKENS},
         &(struct access){.resource = RESOURCE_ANGLES, .write = true}, 1);
    for (size_t i = 0; i < program->n_ops; i++) {
        const struct op *op = &program->ops[i];
        switch (op->kind) {
        case OP_EMBED: lower_embed(&l, op); break;
        case OP_NORM: lower_norm(&l, op); break;
        case OP_MATMUL: lower_matmul(&l, op); break;
        case OP_ROPE: lower_rope(&l, op); break;
        case OP_KV_WRITE: lower_kv_write(&l, op, program->model->hparams.n_kv_heads); break;
        case OP_ATTENTION: lower_attention(&l, op); break;
        case OP_ROUTE: lower_route(&l, op); break;
        case OP_EXPERTS: lower_experts(&l, op); break;
        case OP_COMBINE: lower_combine(&l, op); break;
        default: lower_elementwise(&l, op); break;
        }
    }
}
