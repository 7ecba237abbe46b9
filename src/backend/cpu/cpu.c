#include "backend/cpu/cpu_private.h"
#include "base/clock.h"
#include "program/rope.h"

#include <assert.h>
#include <stdlib.h>

enum { PAGE_BYTES = 4096 }; /* of memory nodes; where pages are larger, neighbours share some */

/* The widest input of a product with this kind of activations; 0: none. per_expert: only of those that have an input
 * for each chosen expert, or only of the others. */
static size_t widest_input(const struct program *program, enum kernel_act act, bool per_expert)
{
    size_t widest = 0;
    for (size_t i = 0; i < program->n_ops; i++) {
        const struct op *op = &program->ops[i];
        if ((op->kind != OP_MATMUL && op->kind != OP_EXPERTS) || op->per_expert != per_expert) continue;
        if (kernel_act_of(op->weight->format) != act) continue;
        if (op->weight->cols > widest) widest = op->weight->cols;
    }
    return widest;
}

static size_t scratch_bytes(const struct program *program)
{
    size_t widest = 0, attention_bytes = kernel_attention_scratch_bytes(program->model->hparams.head_dim);
    for (int i = 0; i < 2 * ACT_COUNT; i++) {
        size_t k = widest_input(program, (enum kernel_act)(i / 2), i % 2);
        if (k > widest) widest = k;
    }
    size_t matmul_bytes = kernel_scratch_bytes(widest);
    return matmul_bytes > attention_bytes ? matmul_bytes : attention_bytes;
}

/* All memory of a run, from one arena. With `cpu` NULL nothing is allocated, only counted. */
struct reservation {
    struct cpu *cpu;
    uint64_t total_bytes;
    bool failed;
};

static void *reserve_aligned(struct reservation *r, size_t n, size_t size_bytes, size_t alignment)
{
    r->total_bytes += (uint64_t)n * size_bytes;
    if (!r->cpu || n == 0) return NULL;
    void *memory = arena_aligned(&r->cpu->arena, n, size_bytes, alignment);
    r->failed |= !memory;
    return memory;
}

static void *reserve(struct reservation *r, size_t n, size_t size_bytes)
{
    return reserve_aligned(r, n, size_bytes, KERNEL_ALIGNMENT);
}

static bool any_local(const struct program *program)
{
    for (size_t i = 0; i < program->n_ops; i++)
        if (program->ops[i].local) return true;
    return false;
}

/* For the inputs of the experts' down projections. */
static void reserve_expert_acts(struct reservation *r, const struct program *program, size_t n_batch, struct cpu *cpu)
{
    size_t widest_bytes = 0;
    for (int act = 0; act < ACT_COUNT; act++) {
        size_t k = widest_input(program, (enum kernel_act)act, true);
        size_t row_bytes = k > 0 ? kernel_act_bytes((enum kernel_act)act, k) : 0;
        if (row_bytes > widest_bytes) widest_bytes = row_bytes;
    }
    cpu->expert_act_stride_bytes = widest_bytes;
    cpu->expert_acts = reserve(r, n_batch * program->model->hparams.n_experts_used, widest_bytes);
}

/* The most pieces that an operation with experts has. */
static size_t most_pieces(const struct program *program, const struct placement *placement)
{
    size_t most = 0;
    for (size_t i = 0; i < program->n_ops; i++) {
        size_t n = placement->first[i + 1] - placement->first[i];
        if (program->ops[i].kind == OP_EXPERTS && n > most) most = n;
    }
    return most;
}

/* What a thread needs in a mixture of experts. */
static void reserve_routing(struct reservation *r, const struct program *program, const struct cpu_options *options,
                            const size_t act_bytes[ACT_COUNT], struct cpu_thread *thread)
{
    const struct hparams *h = &program->model->hparams;
    size_t widest_bytes = 0, n_batch = options->n_batch;
    if (h->n_experts == 0) return;
    for (int act = 0; act < ACT_COUNT; act++)
        if (act_bytes[act] > widest_bytes) widest_bytes = act_bytes[act];
    struct cpu_routing *routing = &thread->routing;
    routing->route = reserve(r, 2 * h->n_experts_used, sizeof *routing->route);
    routing->begins = reserve(r, h->n_experts + 1, sizeof *routing->begins);
    routing->slots = reserve(r, n_batch * h->n_experts_used, sizeof *routing->slots);
    routing->tokens = reserve(r, n_batch * h->n_experts_used, sizeof *routing->tokens);
    thread->gathered = reserve(r, n_batch, widest_bytes);
    if (options->weights)
        routing->late = reserve(r, most_pieces(program, options->weights->placement), sizeof *routing->late);
}

static void reserve_guess(struct reservation *r, const struct hparams *h, const size_t act_bytes[ACT_COUNT],
                          struct cpu_guess *guess)
{
    size_t widest_bytes = 0;
    for (int act = 0; act < ACT_COUNT; act++)
        if (act_bytes[act] > widest_bytes) widest_bytes = act_bytes[act];
    guess->x = reserve(r, h->d_model, sizeof *guess->x);
    guess->act = reserve(r, widest_bytes, 1);
    guess->scores = reserve(r, h->n_experts, sizeof *guess->scores);
    guess->route = reserve(r, 2 * h->n_experts_used, sizeof *guess->route);
    guess->experts = reserve(r, CPU_GUESS_TOKENS * h->n_experts_used + h->n_experts, sizeof *guess->experts);
}

static void reserve_thread(struct reservation *r, const struct program *program, const struct cpu_options *options,
                           const size_t act_bytes[ACT_COUNT], struct cpu_thread *thread)
{
    size_t d_model = program->model->hparams.d_model;
    /* pages of its own, so that they lie near it: nobody else touches them first */
    thread->x = reserve_aligned(r, d_model, sizeof(float), PAGE_BYTES);
    thread->y = reserve(r, d_model, sizeof(float));
    for (int act = 0; act < ACT_COUNT; act++)
        thread->acts[act] = reserve(r, act_bytes[act], 1);
    thread->scratch = reserve(r, scratch_bytes(program), 1);
    reserve_routing(r, program, options, act_bytes, thread);
}

static void reserve_all(struct reservation *r, const struct program *program, const struct cpu_options *options)
{
    struct cpu nobody = {0}, *cpu = r->cpu ? r->cpu : &nobody;
    size_t half = program->model->hparams.n_rot / 2, n_batch = options->n_batch, act_bytes[ACT_COUNT];
    for (int v = 0; v < VALUE_COUNT; v++)
        if (v != VALUE_LOGITS) cpu->values[v] = reserve(r, n_batch * program->widths[v], sizeof(float));
    for (int act = 0; act < ACT_COUNT; act++) {
        size_t k = widest_input(program, (enum kernel_act)act, false);
        act_bytes[act] = k > 0 ? kernel_act_bytes((enum kernel_act)act, k) : 0;
        cpu->act_stride_bytes[act] = act_bytes[act];
        cpu->acts[act] = reserve(r, n_batch, act_bytes[act]);
    }
    reserve_expert_acts(r, program, n_batch, cpu);
    bool local = any_local(program);
    cpu->frequencies = reserve(r, half, sizeof(double));
    cpu->frequencies_local = local ? reserve(r, half, sizeof(double)) : NULL;
    for (int i = 0; i < (local ? 2 : 1); i++) {
        cpu->cosines[i] = reserve(r, n_batch * half, sizeof(float));
        cpu->sines[i] = reserve(r, n_batch * half, sizeof(float));
    }
    cpu->parts = reserve(r, cpu_parts_floats(program, options), sizeof(float));
    cpu->tiles_done = reserve(r, program->model->hparams.n_kv_heads, sizeof *cpu->tiles_done);
    size_t n_steps = lower_steps_max(program->n_ops);
    cpu->single.steps = reserve(r, n_steps, sizeof *cpu->single.steps);
    cpu->many.steps = reserve(r, n_steps, sizeof *cpu->many.steps);
    if (options->weights && program->model->hparams.n_experts > 0)
        reserve_guess(r, &program->model->hparams, act_bytes, &cpu->guess);
    cpu->per_thread = reserve(r, (size_t)options->n_threads, sizeof *cpu->per_thread);
    for (int i = 0; i < options->n_threads && !r->failed; i++)
        reserve_thread(r, program, options, act_bytes, cpu->per_thread ? &cpu->per_thread[i] : &(struct cpu_thread){0});
}

uint64_t cpu_memory_bytes(const struct program *program, const struct cpu_options *options)
{
    struct reservation r = {0};
    reserve_all(&r, program, options);
    return r.total_bytes;
}

int cpu_create(struct cpu **cpu, const struct program *program, const struct cpu_options *options,
               struct stile_error *error)
{
    assert(options->n_batch > 0 && options->kernels);
    struct cpu *c = calloc(1, sizeof *c);
    if (!c) return error_memory(error, sizeof *c, "the CPU backend");
    c->program = program;
    c->options = *options;
    struct reservation r = {.cpu = c};
    reserve_all(&r, program, options);
    int failed =
        r.failed ? error_memory(error, cpu_memory_bytes(program, options), "activations (ask for a smaller batch)") : 0;
    if (!failed && options->weights) arena_touch(&c->arena); /* memory is scarce: later it may not be there */
    if (!failed) failed = threads_create(&c->threads, options->n_threads, error);
    if (failed) {
        cpu_free(c);
        return failed;
    }
    const struct hparams *h = &program->model->hparams;
    rope_frequencies(&h->rope, h->n_rot, program->model->globals[ROLE_ROPE_FREQS].floats, c->frequencies,
                     &c->magnitude);
    if (c->frequencies_local)
        rope_frequencies(&h->rope_local, h->n_rot, NULL, c->frequencies_local, &c->magnitude_local);
    struct lower_options how = {.pieces = options->weights, .observed = options->observer};
    lower(program, &how, &c->many);
    how.single = true;
    lower(program, &how, &c->single);
    *cpu = c;
    return 0;
}

void cpu_free(struct cpu *cpu)
{
    if (!cpu) return;
    threads_free(cpu->threads);
    free(cpu->profile);
    free(cpu->times);
    arena_free(&cpu->arena);
    free(cpu);
}

static bool should_leave(struct cpu *cpu)
{
    return (cpu->batch->cancel && *cpu->batch->cancel) ||
           atomic_load_explicit(&cpu->weights_failed, memory_order_relaxed);
}

/* All threads must leave at the same barrier: thread 0 announces one that nobody can have passed yet. */
static bool leave_at(struct cpu *cpu, size_t i_step, int i_thread)
{
    if (i_thread == 0 && should_leave(cpu) && atomic_load(&cpu->stop_at) == SIZE_MAX)
        atomic_store(&cpu->stop_at, i_step);
    threads_barrier(cpu->threads);
    return atomic_load(&cpu->stop_at) <= i_step;
}

/* As run_thread, with a look at the clock round every step and every barrier. */
static void run_timed(const struct context *context, const struct lowered *lowered, struct cpu_op_time *times)
{
    struct cpu *cpu = context->cpu;
    uint64_t now_ns = clock_ns();
    for (size_t i = 0; i < lowered->n_steps; i++) {
        const struct step *step = &lowered->steps[i];
        size_t op = step->op ? (size_t)(step->op - cpu->program->ops) : 0;
        if (step->barrier) {
            bool leave = leave_at(cpu, i, context->i_thread);
            uint64_t then_ns = now_ns;
            now_ns = clock_ns();
            times[op].wait_ns += now_ns - then_ns;
            if (leave) return;
        }
        cpu_step_run(context, step);
        uint64_t then_ns = now_ns;
        now_ns = clock_ns();
        times[op].busy_ns += now_ns - then_ns;
    }
}

static void run_thread(void *argument, int i_thread, int n_threads)
{
    struct cpu *cpu = argument;
    struct context context = {.cpu = cpu,
                              .batch = cpu->batch,
                              .own = &cpu->per_thread[i_thread],
                              .i_thread = i_thread,
                              .n_threads = n_threads};
    const struct lowered *lowered = cpu->batch->n_tokens == 1 ? &cpu->single : &cpu->many;
    if (cpu->profile) {
        run_timed(&context, lowered, cpu->times + (size_t)i_thread * cpu->program->n_ops);
        return;
    }
    for (size_t i = 0; i < lowered->n_steps; i++) {
        if (lowered->steps[i].barrier && leave_at(cpu, i, i_thread)) return;
        cpu_step_run(&context, &lowered->steps[i]);
    }
}

int cpu_profile_start(struct cpu *cpu, bool on, struct stile_error *error)
{
    size_t n_ops = cpu->program->n_ops, n_times = n_ops * (size_t)cpu->options.n_threads;
    free(cpu->profile);
    free(cpu->times);
    cpu->profile = on ? calloc(n_ops, sizeof *cpu->profile) : NULL;
    cpu->times = on ? calloc(n_times, sizeof *cpu->times) : NULL;
    if (!on || (cpu->profile && cpu->times)) return 0;
    free(cpu->profile);
    cpu->profile = NULL;
    return error_memory(error, n_times * sizeof *cpu->times, "a profile");
}

const struct cpu_profile *cpu_profile(const struct cpu *cpu)
{
    return cpu->profile;
}

/* Adds what the threads measured in one run. */
static void profile_add(struct cpu *cpu)
{
    const struct cpu_batch *batch = cpu->batch;
    size_t n_ops = cpu->program->n_ops;
    struct step_shape shape = {.n_tokens = batch->n_tokens, .n_past = batch->position, .n_selected = batch->n_selected};
    shape.kv_format = cpu->options.kv_format;
    for (size_t op = 0; op < n_ops; op++) {
        struct cpu_profile *profile = &cpu->profile[op];
        for (size_t i = 0; i < (size_t)cpu->options.n_threads; i++) {
            struct cpu_op_time *time = &cpu->times[i * n_ops + op];
            profile->busy_ns += time->busy_ns;
            profile->wait_ns += time->wait_ns;
            *time = (struct cpu_op_time){0};
        }
        struct cost cost = op_cost(cpu->program, &cpu->program->ops[op], &shape);
        profile->cost.weight_bytes += cost.weight_bytes;
        profile->cost.kv_bytes += cost.kv_bytes;
        profile->cost.macs += cost.macs;
    }
}

int cpu_run(struct cpu *cpu, const struct cpu_batch *batch, struct stile_error *error)
{
    assert(batch->n_tokens >= 1 && batch->n_tokens <= cpu->options.n_batch && batch->n_selected <= batch->n_tokens);
    cpu->batch = batch;
    atomic_store(&cpu->stop_at, SIZE_MAX);
    atomic_store(&cpu->weights_failed, false);
    threads_run(cpu->threads, run_thread, cpu);
    if (cpu->profile) profile_add(cpu);
    cpu->batch = NULL;
    bool cancelled = batch->cancel && *batch->cancel;
    if (atomic_load(&cpu->weights_failed) && !cancelled)
        return error_set(error, STILE_ERROR_IO, "weights could not be read");
    if (atomic_load(&cpu->stop_at) != SIZE_MAX || atomic_load(&cpu->weights_failed))
        return error_set(error, STILE_ERROR_CANCELLED, "cancelled");
    return 0;
}
