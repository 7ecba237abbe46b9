#include "quantize/inputs.h"

#include "base/threads.h"

size_t inputs_first(const struct program *program, size_t op)
{
    const struct op *product = &program->ops[op];
    size_t first = op;
    for (size_t i = op; i-- > 0 && program->ops[i].out != product->in;)
        if (program->ops[i].kind == product->kind && program->ops[i].in == product->in &&
            program->ops[i].weight->n_experts == product->weight->n_experts)
            first = i;
    return first;
}

int inputs_create(struct inputs *inputs, const struct program *program, struct stile_error *error)
{
    *inputs = (struct inputs){.program = program};
    inputs->of = arena_array(&inputs->arena, program->n_ops, sizeof *inputs->of);
    bool failed = !inputs->of;
    for (size_t i = 0; i < program->n_ops && !failed; i++) {
        const struct op *op = &program->ops[i];
        if (!inputs_is_product(op) || inputs_first(program, i) != i) continue;
        uint64_t n_experts = op->weight->n_experts > 0 ? op->weight->n_experts : 1;
        inputs->of[i] = (struct inputs_of){
            .cols = op->weight->cols,
            .n_experts = n_experts,
            .sums = arena_array(&inputs->arena, op->weight->cols * n_experts, sizeof(double)),
            .counts = arena_array(&inputs->arena, n_experts, sizeof(uint64_t)),
        };
        failed = !inputs->of[i].sums || !inputs->of[i].counts;
    }
    if (!failed) return 0;
    inputs_free(inputs);
    return error_memory(error, program->n_ops * sizeof *inputs->of, "sums over the inputs of all matrices");
}

void inputs_free(struct inputs *inputs)
{
    arena_free(&inputs->arena);
    *inputs = (struct inputs){0};
}

void inputs_see(void *user, const struct op *op, size_t expert, const float *values, const uint32_t *rows,
                size_t n_rows, int i_thread, int n_threads)
{
    enum { GRAIN = 8 }; /* doubles of one cache line */
    struct inputs *inputs = user;
    struct inputs_of *of = &inputs->of[inputs->begin + (size_t)(op - inputs->part)];
    size_t begin, end, cols = op->weight->cols;
    if (!of->sums) return; /* that of another product */
    threads_split(cols, GRAIN, i_thread, n_threads, &begin, &end);
    double *sums = of->sums + expert * cols;
    for (size_t i = 0; i < n_rows; i++) {
        const float *x = values + (rows ? rows[i] : i) * cols;
        for (size_t j = begin; j < end; j++)
            sums[j] += (double)x[j] * (double)x[j];
    }
    if (i_thread == 0) of->counts[expert] += n_rows;
}
