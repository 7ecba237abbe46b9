#include "backend/cpu/pieces.h"
#include "backend/cpu/share.h"

bool pieces_run(const struct context *c, const struct kernel_matmul *job, size_t i_piece, bool wait)
{
    const struct cpu_weights *weights = c->cpu->options.weights;
    const struct piece *piece = &weights->placement->pieces[i_piece];
    bool resident = piece->tier == TIER_RESIDENT;
    size_t begin, end;
    threads_split(piece->row_end - piece->row_begin, COLUMN_GRAIN, c->i_thread, c->n_threads, &begin, &end);
    bool work = begin < end && job->n_tokens > 0;
    if (resident && !work) return true;
    const void *rows = weights->acquire(weights->user, i_piece, wait);
    if (!rows) {
        if (wait) atomic_store_explicit(&c->cpu->weights_failed, true, memory_order_relaxed);
        return false;
    }
    struct kernel_matmul part = *job;
    part.weights = rows;
    part.out += piece->row_begin;
    if (part.bias) part.bias += piece->row_begin;
    if (work) c->cpu->options.kernels->matmul(&part, begin, end, c->own->scratch);
    if (!resident) weights->release(weights->user, i_piece);
    return true;
}

void pieces_matmul(const struct context *c, const struct step *step, const struct kernel_matmul *job)
{
    const struct placement *placement = c->cpu->options.weights->placement;
    size_t op = (size_t)(step->op - c->cpu->program->ops);
    for (size_t i = placement->first[op]; i < placement->first[op + 1]; i++)
        if (!pieces_run(c, job, i, true)) return;
}
