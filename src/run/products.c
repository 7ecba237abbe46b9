#include "run/products.h"

#include "base/clock.h"
#include "base/threads.h"
#include "format/encode.h"

#include <stdlib.h>
#include <string.h>

void products_numbers(float *x, size_t n, uint64_t state)
{
    for (size_t i = 0; i < n; i++) {
        state = state * 0x5851f42d4c957f2du + 0x14057b7ef767814fu;
        x[i] = (float)(int32_t)(state >> 32) / 2147483648.0f;
    }
}

bool products_create(struct products *p, struct threads *threads, enum format format, size_t k, size_t n_rows,
                     size_t n_tokens)
{
    uint64_t row_bytes;
    size_t n_threads = (size_t)threads_count(threads);
    *p = (struct products){.table = kernel_select(NULL), .threads = threads, .n_rows = n_rows, .n_matrices = 1};
    p->act = kernel_act_of(format);
    size_t act_bytes = kernel_act_bytes(p->act, k);
    p->scratch_bytes = products_align(kernel_scratch_bytes(k));
    p->acts = aligned_alloc(KERNEL_ALIGNMENT, products_align((n_tokens > 1 ? n_tokens : n_threads) * act_bytes));
    p->scratch = aligned_alloc(KERNEL_ALIGNMENT, n_threads * p->scratch_bytes);
    p->out = calloc(n_tokens * n_rows, sizeof *p->out);
    if (!format_row_bytes(format, k, &row_bytes) || !p->acts || !p->scratch || !p->out) return false;
    for (size_t t = 0; t < n_tokens; t++) {
        products_numbers(p->x, k, 2 + t);
        p->table->quantize(p->act, p->x, k, p->acts + t * act_bytes);
    }
    p->job = (struct kernel_matmul){.format = format,
                                    .row_bytes = (size_t)row_bytes,
                                    .k = k,
                                    .scale = 1,
                                    .acts = p->acts,
                                    .act_stride_bytes = act_bytes,
                                    .n_tokens = n_tokens,
                                    .out = p->out,
                                    .out_stride = n_rows};
    return true;
}

void products_free(struct products *p)
{
    free(p->acts);
    free(p->scratch);
    free(p->out);
}

/* A row repeats one piece: of some formats encoding is slow. */
void products_fill(struct products *p, char *weights, size_t n)
{
    enum { PIECE = 256 };
    size_t piece_bytes = p->job.row_bytes / (p->job.k / PIECE);
    products_numbers(p->x, p->job.k, 1);
    format_encode(p->job.format, p->x, PIECE, NULL, weights);
    for (size_t done = piece_bytes, all = n * p->job.row_bytes; done < all; done *= 2)
        memcpy(weights + done, weights, done < all - done ? done : all - done);
    p->job.weights = weights;
}

/* As the backend does it: with one token every thread quantizes its own activations, and between matrices all wait. */
static void products_run(void *argument, int i, int n)
{
    struct products *p = argument;
    struct kernel_matmul job = p->job;
    size_t begin, end;
    threads_split(p->n_rows, 8, i, n, &begin, &end);
    for (size_t m = 0; m < p->n_matrices; m++) {
        if (job.n_tokens == 1) {
            job.acts = p->acts + (size_t)i * job.act_stride_bytes;
            p->table->quantize(p->act, p->x, job.k, p->acts + (size_t)i * job.act_stride_bytes);
        }
        if (!p->one_matrix) job.weights = (const char *)p->job.weights + m * p->n_rows * job.row_bytes;
        if (begin < end) p->table->matmul(&job, begin, end, p->scratch + (size_t)i * p->scratch_bytes);
        if (p->n_matrices > 1 && !p->one_matrix) threads_barrier(p->threads);
    }
}

double products_pass(struct products *p, uint64_t time_ns)
{
    uint64_t begin_ns = clock_ns(), spent_ns, n = 0;
    do {
        threads_run(p->threads, products_run, p);
        spent_ns = clock_ns() - begin_ns;
        n++;
    } while (spent_ns + spent_ns / n / 2 < time_ns);
    double rows = (double)n * (double)(p->n_rows * p->n_matrices) * 1e9 / (double)(spent_ns + 1);
    return rows * (p->job.n_tokens > 1 ? (double)(p->job.k * p->job.n_tokens) : (double)p->job.row_bytes);
}
