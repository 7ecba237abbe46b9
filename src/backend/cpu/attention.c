/* Attention and the KV cache, as one thread does its share of them. */
#include "backend/cpu/cpu_private.h"

/* The cache of one KV head in the operation's layer. */
static struct kernel_kv cache_of(const struct context *c, const struct op *op, size_t head)
{
    const struct cpu_kv *layer = &c->batch->kv[op->layer];
    struct kernel_kv kv = {
        .format = c->cpu->options.kv_format,
        .head_dim = c->cpu->program->model->hparams.head_dim,
        .capacity = layer->capacity,
    };
    size_t offset = head * kernel_kv_bytes(kv.format, kv.head_dim, kv.capacity);
    kv.keys = (char *)layer->keys + offset;
    kv.values = (char *)layer->values + offset;
    return kv;
}

void cpu_run_kv_write(const struct context *c, const struct step *step)
{
    const struct op *op = step->op;
    const struct cpu *cpu = c->cpu;
    size_t n_heads = step->split_width, head_dim = cpu->program->model->hparams.head_dim, begin, end;
    threads_split(n_heads * c->batch->n_tokens, 1, c->i_thread, c->n_threads, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        struct kernel_kv kv = cache_of(c, op, i % n_heads);
        cpu->options.kernels->kv_store(&kv, c->batch->position + i / n_heads, cpu->values[op->in] + i * head_dim,
                                       cpu->values[op->in2] + i * head_dim);
    }
}

/* Attention of n_tokens tokens from the t-th row of queries on, to one KV head. */
static struct kernel_attention job_of(const struct context *c, const struct op *op, size_t head, size_t t,
                                      size_t n_tokens)
{
    const struct hparams *h = &c->cpu->program->model->hparams;
    size_t n_group = h->n_heads / h->n_kv_heads, stride = op->width;
    size_t n_skipped = op->selected ? c->batch->n_tokens - c->batch->n_selected : 0;
    return (struct kernel_attention){
        .kv = cache_of(c, op, head),
        .q = c->cpu->values[op->in] + t * stride + head * n_group * h->head_dim,
        .out = c->cpu->values[op->out] + t * stride + head * n_group * h->head_dim,
        .stride = stride,
        .n_tokens = n_tokens,
        .n_heads = n_group,
        .position = c->batch->position + n_skipped + t,
        .window = op->window,
        .scale = op->factor,
    };
}

/* One token: every tile of every KV head is a share of its own, so that all threads have work however few heads there
 * are. Who finishes the last tile of a head joins its parts. */
static void run_token(const struct context *c, const struct op *op)
{
    struct cpu *cpu = c->cpu;
    const struct hparams *h = &cpu->program->model->hparams;
    struct kernel_attention job = job_of(c, op, 0, 0, 1);
    size_t end = job.position + 1, first = (end > job.window && job.window ? end - job.window : 0) / KERNEL_KV_TILE;
    size_t n_tiles = (end - 1) / KERNEL_KV_TILE - first + 1, begin_item, end_item;
    size_t part = job.n_heads * kernel_part_floats(job.kv.format, h->head_dim); /* floats of all queries of a head */
    threads_split(n_tiles * h->n_kv_heads, 1, c->i_thread, c->n_threads, &begin_item, &end_item);
    for (size_t item = begin_item; item < end_item; item++) {
        size_t head = item / n_tiles, tile = item % n_tiles;
        float *parts = cpu->parts + head * n_tiles * part;
        if (item == begin_item || tile == 0) job = job_of(c, op, head, 0, 1);
        cpu->options.kernels->attention_part(&job, first + tile, parts + tile * part, c->own->scratch);
        if (atomic_fetch_add(&cpu->tiles_done[head], 1) + 1 < n_tiles) continue;
        atomic_store(&cpu->tiles_done[head], 0);
        cpu->options.kernels->attention_join(&job, parts, n_tiles);
    }
}

/* Many tokens: a share is a block of tokens at one KV head, dealt out one by one, the longest first. */
static void run_tokens(const struct context *c, const struct op *op, size_t n_tokens)
{
    enum { SHARES_PER_THREAD = 4 };
    const struct hparams *h = &c->cpu->program->model->hparams;
    size_t n_kv_heads = h->n_kv_heads, most = KERNEL_ATTENTION_QUERIES / (h->n_heads / n_kv_heads);
    size_t n_even = n_tokens * n_kv_heads / ((size_t)c->n_threads * SHARES_PER_THREAD) + 1;
    size_t block = most == 0 ? 1 : most < n_even ? most : n_even, n_blocks = (n_tokens + block - 1) / block;
    for (size_t i = (size_t)c->i_thread; i < n_blocks * n_kv_heads; i += (size_t)c->n_threads) {
        size_t t = (n_blocks - 1 - i / n_kv_heads) * block, n = n_tokens - t < block ? n_tokens - t : block;
        struct kernel_attention job = job_of(c, op, i % n_kv_heads, t, n);
        c->cpu->options.kernels->attention(&job, c->own->scratch);
    }
}

void cpu_run_attention(const struct context *c, const struct step *step)
{
    size_t n_tokens = step->op->selected ? c->batch->n_selected : c->batch->n_tokens;
    if (n_tokens == 1)
        run_token(c, step->op);
    else if (n_tokens > 1)
        run_tokens(c, step->op, n_tokens);
}

size_t cpu_parts_floats(const struct program *program, const struct cpu_options *options)
{
    const struct hparams *h = &program->model->hparams;
    size_t n_tiles = ((size_t)options->n_ctx + KERNEL_KV_TILE - 1) / KERNEL_KV_TILE;
    return n_tiles * h->n_heads * kernel_part_floats(options->kv_format, h->head_dim);
}
