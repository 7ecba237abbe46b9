#include "lab/score.h"

#include <math.h>
#include <string.h>

/* Vectors of four, which every processor stile runs on has. */
typedef float f32x4 __attribute__((vector_size(16)));
typedef int32_t i32x4 __attribute__((vector_size(16)));
typedef double f64x2 __attribute__((vector_size(16)));

enum { BLOCK = 8 }; /* elements that are worked on together; a sum has as many lanes */

struct block {
    f32x4 v[BLOCK / 4];
};

struct sum {
    f64x2 v[BLOCK / 2];
};

static inline struct block load(const float *x)
{
    struct block block;
    memcpy(&block, x, sizeof block);
    return block;
}

/* The last block of a row; what it lacks is far below the largest, and so no part of any sum. */
static struct block load_part(const float *x, size_t n, float max)
{
    float block[BLOCK];
    for (size_t i = 0; i < BLOCK; i++)
        block[i] = i < n ? x[i] : max - 200;
    return load(block);
}

static inline i32x4 bits_of(f32x4 x)
{
    i32x4 bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline f32x4 of_bits(i32x4 bits)
{
    f32x4 x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* exp(x), x <= 0: 2^k times a polynomial in the rest (Taylor's, of degree 6 on +-ln 2 / 2: 1.2e-7). Below -87 it is about
 * 1e-38, which no sum feels. */
static inline f32x4 exp_falling(f32x4 x)
{
    const float shift = 0x1.8p23f; /* adding it rounds to a whole number, which then stands in the lowest bits */
    const i32x4 small = x < -87.0f;
    x = of_bits((bits_of(x) & ~small) | (bits_of((f32x4){-87, -87, -87, -87}) & small));
    const f32x4 rounded = x * 0x1.715476p0f + shift, k = rounded - shift;
    const f32x4 r = x - k * 0x1.62e4p-1f - k * 0x1.7f7d1cp-20f; /* ln 2 in two parts: the first product is exact */
    f32x4 p = r * 0x1.6c16c2p-10f + 0x1.111112p-7f;
    p = p * r + 0x1.555556p-5f;
    p = p * r + 0x1.555556p-3f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return p * of_bits((bits_of(rounded) + 127) << 23);
}

static inline void add(struct sum *sum, int i, f32x4 x)
{
    sum->v[2 * i] += __builtin_convertvector(__builtin_shufflevector(x, x, 0, 1), f64x2);
    sum->v[2 * i + 1] += __builtin_convertvector(__builtin_shufflevector(x, x, 2, 3), f64x2);
}

static double total(const struct sum *sum)
{
    f64x2 all = (sum->v[0] + sum->v[1]) + (sum->v[2] + sum->v[3]);
    return all[0] + all[1];
}

/* The first of the largest. */
static size_t largest(const float *row, size_t n)
{
    f32x4 lanes[BLOCK / 4] = {{row[0], row[0], row[0], row[0]}, {row[0], row[0], row[0], row[0]}};
    float max = row[0];
    size_t i = 0;
    for (; i + BLOCK <= n; i += BLOCK) {
        struct block block = load(row + i);
        for (int j = 0; j < BLOCK / 4; j++) {
            i32x4 larger = block.v[j] > lanes[j];
            lanes[j] = of_bits((bits_of(block.v[j]) & larger) | (bits_of(lanes[j]) & ~larger));
        }
    }
    for (int j = 0; j < BLOCK; j++)
        max = lanes[j / 4][j % 4] > max ? lanes[j / 4][j % 4] : max;
    for (; i < n; i++)
        max = row[i] > max ? row[i] : max;
    for (i = 0; i + 1 < n && row[i] != max;)
        i++;
    return i;
}

static struct score score_one(const float *row, size_t n, int32_t token)
{
    const float max = row[largest(row, n)];
    struct sum sum = {0};
    for (size_t i = 0; i < n; i += BLOCK) {
        struct block x = n - i >= BLOCK ? load(row + i) : load_part(row + i, n - i, max);
        for (int j = 0; j < BLOCK / 4; j++)
            add(&sum, j, exp_falling(x.v[j] - max));
    }
    return (struct score){.log_p = (double)row[token] - ((double)max + log(total(&sum)))};
}

/* KL(r || m) = sum p_r (log p_r - log p_m) = sum p_r (r - m) - (log sum e^r - log sum e^m): 0 exactly for equal rows. */
static struct score score_pair(const float *row, const float *reference, size_t n, int32_t token)
{
    const size_t top = largest(row, n), reference_top = largest(reference, n);
    const float max = row[top], reference_max = reference[reference_top];
    struct sum sum = {0}, reference_sum = {0}, higher = {0};
    for (size_t i = 0; i < n; i += BLOCK) {
        bool whole = n - i >= BLOCK;
        struct block m = whole ? load(row + i) : load_part(row + i, n - i, max);
        struct block r = whole ? load(reference + i) : load_part(reference + i, n - i, reference_max);
        for (int j = 0; j < BLOCK / 4; j++) {
            f32x4 e = exp_falling(r.v[j] - reference_max);
            add(&sum, j, exp_falling(m.v[j] - max));
            add(&reference_sum, j, e);
            add(&higher, j, e * (r.v[j] - m.v[j]));
        }
    }
    const double log_all = (double)max + log(total(&sum));
    const double reference_log_all = (double)reference_max + log(total(&reference_sum));
    return (struct score){
        .log_p = (double)row[token] - log_all,
        .reference_log_p = (double)reference[token] - reference_log_all,
        .divergence = total(&higher) / total(&reference_sum) - (reference_log_all - log_all),
        .same_top = top == reference_top,
    };
}

struct task {
    const float *rows, *reference;
    size_t n_rows, n_vocab;
    const int32_t *tokens;
    struct score *scores;
};

static void score_part(void *arg, int i_thread, int n_threads)
{
    const struct task *task = arg;
    size_t begin, end;
    threads_split(task->n_rows, 1, i_thread, n_threads, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        const float *row = task->rows + i * task->n_vocab;
        task->scores[i] = task->reference
                              ? score_pair(row, task->reference + i * task->n_vocab, task->n_vocab, task->tokens[i])
                              : score_one(row, task->n_vocab, task->tokens[i]);
    }
}

int score_rows(struct threads *threads, const float *rows, const float *reference, size_t n_rows, size_t n_vocab,
               const int32_t *tokens, struct score *scores, struct stile_error *error)
{
    struct task task = {rows, reference, n_rows, n_vocab, tokens, scores};
    threads_run(threads, score_part, &task);
    for (size_t i = 0; i < n_rows; i++)
        if (!isfinite(scores[i].log_p) || !isfinite(scores[i].reference_log_p) || !isfinite(scores[i].divergence))
            return error_set(
                error, STILE_ERROR_MALFORMED,
                "the logits of %s are no finite numbers: the model's file is damaged or its format overflows",
                isfinite(scores[i].log_p) ? "the reference" : "the model");
    return 0;
}
