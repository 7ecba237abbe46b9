/* Which experts the next layer will want: what its router says of the residual stream as it is before this layer's
 * experts have added to it. They add little, so most of the choices are the same; those that are not cost a read. */
#include "backend/cpu/experts.h"
#include "backend/cpu/share.h"

/* The operations that lead to a layer's choices. */
struct router {
    const struct op *norm, *product, *route;
};

static const struct op *writer_of(const struct program *program, const struct op *reader)
{
    for (const struct op *op = reader; op-- > program->ops;)
        if (op->out == reader->in) return op;
    return NULL;
}

/* That of the next layer after this ROUTE; false: there is none that can be asked already. */
static bool find_router(const struct program *program, const struct op *route, struct router *router)
{
    const struct op *op = route + 1, *end = program->ops + program->n_ops;
    while (op < end && op->kind != OP_ROUTE)
        op++;
    if (op == end) return false;
    router->route = op;
    router->product = writer_of(program, op);
    router->norm = router->product ? writer_of(program, router->product) : NULL;
    return router->norm && router->product->kind == OP_MATMUL && router->norm->kind == OP_NORM &&
           router->norm->in == VALUE_H && router->norm->n_heads == 0;
}

/* What the router says of a token; false: its weights are not at hand. */
static bool ask(const struct context *c, const struct router *router, size_t token)
{
    const struct cpu *cpu = c->cpu;
    const struct cpu_weights *weights = cpu->options.weights;
    const struct cpu_guess *guess = &cpu->guess;
    const struct weight *weight = router->product->weight;
    enum kernel_act act = kernel_act_of(weight->format);
    size_t op = (size_t)(router->product - cpu->program->ops);
    struct kernel_matmul job = {
        .format = weight->format,
        .row_bytes = weight->row_bytes,
        .k = weight->cols,
        .scale = weight->scale,
        .acts = guess->act,
        .n_tokens = 1,
    };
    cpu->options.kernels->rms_norm(value_row(c, VALUE_H, false, token), router->norm->weight->floats, weight->cols,
                                   router->norm->factor, guess->x);
    cpu->options.kernels->quantize(act, guess->x, weight->cols, guess->act);
    for (size_t i = weights->placement->first[op]; i < weights->placement->first[op + 1]; i++) {
        const struct piece *piece = &weights->placement->pieces[i];
        job.weights = piece->tier == TIER_RESIDENT ? weights->acquire(weights->user, i, false) : NULL;
        if (!job.weights) return false;
        job.out = guess->scores + piece->row_begin;
        cpu->options.kernels->matmul(&job, 0, piece->row_end - piece->row_begin, c->own->scratch);
    }
    return true;
}

/* Those of some tokens, surest first; returns how many, some of them more than once. */
static size_t guess_few(const struct context *c, const struct router *router, size_t n_tokens)
{
    const struct hparams *h = &c->cpu->program->model->hparams;
    const struct cpu_guess *guess = &c->cpu->guess;
    size_t n = n_tokens < CPU_GUESS_TOKENS ? n_tokens : CPU_GUESS_TOKENS;
    for (size_t t = 0; t < n; t++) {
        if (!ask(c, router, c->batch->n_tokens - n + t)) return 0;
        experts_choose(c->cpu->options.kernels, guess->scores, h->n_experts, h->n_experts_used, guess->route);
        for (size_t i = 0; i < h->n_experts_used; i++)
            guess->experts[i * n + t] = (uint32_t)guess->route[i];
    }
    return n * h->n_experts_used;
}

/* Many tokens together want nearly all. */
static size_t guess_all(const struct context *c)
{
    uint32_t n = c->cpu->program->model->hparams.n_experts;
    for (uint32_t e = 0; e < n; e++)
        c->cpu->guess.experts[e] = e;
    return n;
}

void experts_guess(const struct context *c, const struct step *step)
{
    const struct hparams *h = &c->cpu->program->model->hparams;
    const struct cpu_weights *weights = c->cpu->options.weights;
    struct router router;
    if (!find_router(c->cpu->program, step->op, &router)) return;
    size_t n_tokens = n_tokens_of(c, router.route);
    bool many = n_tokens * h->n_experts_used >= 4 * h->n_experts;
    size_t n = many ? guess_all(c) : guess_few(c, &router, n_tokens);
    if (n > 0) weights->expect(weights->user, router.route->layer, c->cpu->guess.experts, n);
}
