/* kernel_check_matmul.c - quantize and matmul: every table against the scalar one, the scalar one against doubles. */
#include "kernel_check.h"

#include "base/bytes.h"
#include "kernel/act.h"
#include "kernel/unpack.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ROWS = 20, MAX_TOKENS = 70, STRIDE = MAX_ROWS + 5 /* of the output */ };

/* One matrix, its activations and the scalar table's product. */
struct problem {
    enum format format;
    size_t k;
    int weight_kind, act_kind;
    enum kernel_act act;
    uint8_t *weights;
    size_t row_bytes, weights_bytes;
    uint8_t *acts;
    size_t act_bytes;
    void *scratch;
    size_t scratch_bytes;
    float *out; /* (MAX_TOKENS, STRIDE) */
    float scale;
    bool has_bias;
    float bias[MAX_ROWS];
    float want[MAX_TOKENS * MAX_ROWS];
};

static struct kernel_matmul job_of(const struct problem *p)
{
    return (struct kernel_matmul){
        .format = p->format,
        .weights = p->weights,
        .row_bytes = p->row_bytes,
        .k = p->k,
        .scale = p->scale,
        .bias = p->has_bias ? p->bias : NULL,
        .acts = p->acts,
        .act_stride_bytes = p->act_bytes,
    };
}

/* Some matrices have gaps of an odd number of bytes (elements, for floats) between their rows; few are aligned. */
static void problem_init(struct problem *p, const struct kernel_table *truth, enum format format, size_t k,
                         int weight_kind, int act_kind)
{
    const struct format_info *info = format_info(format);
    uint64_t packed;
    if (!format_row_bytes(format, k, &packed)) abort();
    size_t gap = check_below(4) ? 0 : info->block_elements == 1 ? 3 * info->block_bytes : 3;
    *p = (struct problem){.format = format,
                          .k = k,
                          .weight_kind = weight_kind,
                          .act_kind = act_kind,
                          .act = kernel_act_of(format),
                          .scale = 1.0f};
    p->row_bytes = packed + gap;
    p->weights_bytes = MAX_ROWS * p->row_bytes - gap;
    p->weights = check_guarded(p->weights_bytes);
    memset(p->weights, 0x55, p->weights_bytes);
    for (size_t row = 0; row < MAX_ROWS; row++)
        check_fill_weights(format, weight_kind, p->weights + row * p->row_bytes, k / info->block_elements);
    p->act_bytes = kernel_act_bytes(p->act, k);
    p->acts = check_guarded(MAX_TOKENS * p->act_bytes);
    p->scratch_bytes = act_align(kernel_scratch_bytes(k));
    p->scratch = check_guarded(p->scratch_bytes);
    memset(p->scratch, 0xff, p->scratch_bytes);
    p->out = check_guarded(MAX_TOKENS * STRIDE * sizeof *p->out);
    float *x = malloc(k * sizeof *x);
    if (!x) abort();
    for (size_t t = 0; t < MAX_TOKENS; t++) {
        check_fill_acts(act_kind, x, k);
        truth->quantize(p->act, x, k, p->acts + t * p->act_bytes);
    }
    free(x);
    if (check_random() & 1u) p->scale = 0.37f;
    p->has_bias = check_random() & 1u;
    for (int i = 0; i < MAX_ROWS; i++)
        p->bias[i] = check_normal();
    struct kernel_matmul job = job_of(p);
    job.n_tokens = MAX_TOKENS;
    job.out = p->want;
    job.out_stride = MAX_ROWS;
    truth->matmul(&job, 0, MAX_ROWS, NULL);
}

static void problem_free(struct problem *p)
{
    check_guarded_free(p->weights, p->weights_bytes);
    check_guarded_free(p->acts, MAX_TOKENS * p->act_bytes);
    check_guarded_free(p->scratch, p->scratch_bytes);
    check_guarded_free(p->out, MAX_TOKENS * STRIDE * sizeof *p->out);
}

/* Rows [begin, end) for tokens [first, first + n): the right bits there, and nothing written elsewhere. */
static bool matches(const struct problem *p, const struct kernel_table *table, size_t begin, size_t end, size_t first,
                    size_t n)
{
    enum { CANARY = 0x7fa5a5a5 };
    size_t size = (n - 1) * STRIDE + end; /* what the product may touch; it ends where p->out ends */
    float *out = p->out + MAX_TOKENS * STRIDE - size;
    for (size_t i = 0; i < size; i++)
        out[i] = f32_from_bits(CANARY);
    struct kernel_matmul job = job_of(p);
    job.acts = p->acts + first * p->act_bytes;
    job.n_tokens = n;
    job.out = out;
    job.out_stride = STRIDE;
    table->matmul(&job, begin, end, p->scratch);
    bool ok = true;
    for (size_t i = 0; i < size; i++) {
        size_t t = i / STRIDE, row = i % STRIDE;
        if (row >= begin && row < end)
            ok = ok && check_same(out + i, p->want + (first + t) * MAX_ROWS + row, 1);
        else
            ok = ok && f32_bits(out[i]) == CANARY;
    }
    return ok;
}

static void compare(const struct problem *p, const struct kernel_table *table, size_t begin, size_t end, size_t first,
                    size_t n)
{
    check_result(matches(p, table, begin, end, first, n),
                 "%s matmul %s k %zu: rows %zu..%zu, tokens %zu..%zu, weights '%s', acts '%s'", table->isa,
                 format_info(p->format)->name, p->k, begin, end, first, first + n, check_weight_name(p->weight_kind),
                 check_act_name(p->act_kind));
}

/* All row counts and token counts of the list, then the seams of splits. */
static void compare_shapes(const struct problem *p, const struct kernel_table *table)
{
    static const size_t tokens[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 64, 70};
    size_t step = check_quick ? 8 : 1;
    for (size_t rows = 1; rows <= MAX_ROWS; rows += step) {
        for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
            if (tokens[i] < 16 || rows % 4 == 0 || rows == 17) compare(p, table, 0, rows, 0, tokens[i]);
        }
    }
    for (size_t i = 0; i < 10; i++) {
        size_t begin = check_below(MAX_ROWS), first = check_below(MAX_TOKENS);
        size_t end = begin + 1 + check_below(MAX_ROWS - begin), n = 1 + check_below(MAX_TOKENS - first);
        compare(p, table, begin, end, first, n);
    }
}

/* More tokens than any kernel takes in one go: all are the first one. */
static void compare_many_tokens(const struct problem *p, const struct kernel_table *table)
{
    enum { MANY = 2100, ROWS = 3 };
    static float out[MANY * ROWS];
    struct kernel_matmul job = job_of(p);
    bool ok = true;
    job.act_stride_bytes = 0;
    job.n_tokens = MANY;
    job.out = out;
    job.out_stride = ROWS;
    table->matmul(&job, 0, ROWS, p->scratch);
    for (size_t t = 0; t < MANY; t++)
        ok = ok && check_same(out + t * ROWS, p->want, ROWS);
    check_result(ok, "%s matmul %s k %zu: %d tokens", table->isa, format_info(p->format)->name, p->k, MANY);
}

/* More rows than a tile has: each begins one block after the one before. */
static void compare_many_rows(const struct problem *p, const struct kernel_table *truth,
                              const struct kernel_table *table)
{
    enum { MANY = 150, TOKENS = 11 };
    static float want[MANY * TOKENS], out[MANY * TOKENS];
    const struct format_info *info = format_info(p->format);
    size_t packed = p->k / info->block_elements * info->block_bytes;
    size_t n_rows = (p->weights_bytes - packed) / info->block_bytes + 1;
    struct kernel_matmul job = job_of(p);
    job.row_bytes = info->block_bytes;
    job.bias = NULL;
    job.n_tokens = TOKENS;
    job.out_stride = MANY;
    job.out = want;
    truth->matmul(&job, 0, n_rows < MANY ? n_rows : MANY, NULL);
    job.out = out;
    table->matmul(&job, 0, n_rows < MANY ? n_rows : MANY, p->scratch);
    check_result(check_same(out, want, MANY * TOKENS), "%s matmul %s k %zu: %zu overlapping rows", table->isa,
                 info->name, p->k, n_rows);
}

/* Scratch grows with k; an odd number of blocks needs most of it. */
static void check_long_rows(const struct kernel_table *truth, const struct kernel_table *table)
{
    static const struct {
        enum format format;
        size_t k;
    } cases[] = {{FORMAT_Q4_1, 32 * 451}, {FORMAT_Q8_0, 32 * 448}, {FORMAT_NVFP4, 64 * 225}, {FORMAT_Q4_K, 256 * 57}};
    static struct problem p;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        problem_init(&p, truth, cases[i].format, cases[i].k, 0, 0);
        compare(&p, table, 0, 9, 3, 1);
        compare(&p, table, 0, 9, 0, 7);
        problem_free(&p);
    }
}

static const size_t *sizes_of(enum format format)
{
    static const size_t floats[] = {1, 7, 1056, 71, 576, 2113, 0}, blocks[] = {32, 96, 576, 1056, 0};
    static const size_t supers[] = {256, 768, 1280, 0}, wide_blocks[] = {128, 384, 640, 0};
    if (kernel_act_of(format) == ACT_F32) return floats;
    if (kernel_act_of(format) == ACT_Q8_256) return supers;
    return format_info(format)->block_elements > 32 ? wide_blocks : blocks;
}

static bool has_matmul(enum format format)
{
    const struct format_info *info = format_info(format);
    return info && info->decode;
}

static void check_format(const struct kernel_table *truth, const struct kernel_table *table, enum format format)
{
    static struct problem p;
    for (const size_t *k = sizes_of(format); *k; k += check_quick && k[1] ? 2 : 1) {
        problem_init(&p, truth, format, *k, 0, 0);
        compare_shapes(&p, table);
        compare_many_rows(&p, truth, table);
        if (k == sizes_of(format)) compare_many_tokens(&p, table);
        problem_free(&p);
    }
    size_t k = sizes_of(format)[2];
    int step = check_quick ? 4 : 1;
    for (int weight_kind = 0; weight_kind < CHECK_WEIGHT_KINDS; weight_kind++) {
        for (int act_kind = weight_kind % step; act_kind < CHECK_ACT_KINDS; act_kind += step) {
            problem_init(&p, truth, format, k, weight_kind, act_kind);
            compare(&p, table, 0, MAX_ROWS, 0, 9);
            for (size_t t = 6; t < 9; t++)
                compare(&p, table, t - 6, MAX_ROWS - t, t, 1);
            problem_free(&p);
        }
    }
}

void check_matmul(const struct kernel_table *truth, const struct kernel_table *table)
{
    for (enum format format = 0; format < FORMAT_COUNT; format++) {
        if (has_matmul(format)) check_format(truth, table, format);
    }
    if (!check_quick) check_long_rows(truth, table);
}

void check_quantize(const struct kernel_table *truth, const struct kernel_table *table)
{
    static const struct {
        enum kernel_act act;
        size_t unit;
    } acts[] = {{ACT_F32, 1}, {ACT_Q8_32, 32}, {ACT_Q8_256, 256}};
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        for (size_t n = 1; n <= 20; n += check_quick ? 3 : 1) {
            for (int kind = 0; kind < CHECK_ACT_KINDS; kind++) {
                size_t k = n * acts[i].unit, size_bytes = kernel_act_bytes(acts[i].act, k);
                float *x = check_guarded(k * sizeof *x);
                uint8_t *want = check_guarded(size_bytes), *got = check_guarded(size_bytes);
                check_fill_acts(kind, x, k);
                memset(want, 0, size_bytes);
                memset(got, 0, size_bytes);
                truth->quantize(acts[i].act, x, k, want);
                table->quantize(acts[i].act, x, k, got);
                check_result(memcmp(want, got, size_bytes) == 0, "%s quantize, k %zu, '%s'", table->isa, k,
                             check_act_name(kind));
                check_guarded_free(x, k * sizeof *x);
                check_guarded_free(want, size_bytes);
                check_guarded_free(got, size_bytes);
            }
        }
    }
}

/* ---- the truth ------------------------------------------------------------------------------- */

/* The activation that a row of codes stands for. */
static double act_value(const struct problem *p, size_t t, size_t i)
{
    const uint8_t *row = p->acts + t * p->act_bytes;
    if (p->act == ACT_F32) return ((const float *)(const void *)row)[i];
    struct act_row a = act_row_at(p->act, p->k, row);
    double value = (double)a.d[i / (p->act == ACT_Q8_32 ? 32 : 256)] * a.q[i];
    for (size_t r = 0; p->act == ACT_Q8_32 && r < ACT_RESIDUALS; r++)
        if (a.residuals[r].block == i / 32) value += (double)a.residuals[r].d * a.residuals[r].q[i % 32];
    return value;
}

/* The largest magnitude that the terms of element i have before they cancel: |scale x code| + |minimum|. */
static double term_size(const struct problem *p, const struct unpacked *w, size_t i, double value)
{
    switch (unpack_table[p->format].class) {
    case UNPACK_B32: return fabs((double)w->d[i / 32] * w->codes[i]) + fabs((double)w->m[i / 32]);
    case UNPACK_S256:
        return fabs((double)w->super_d * w->scales[i / 16] * w->codes[i]) +
               fabs((double)w->super_min * w->mins[i / 16]);
    default: return fabs(value);
    }
}

/* Each of the (at most 2 per block; of floats one per element of a lane, and the additions of lanes and pieces) steps
 * of the chain rounds the sum so far and the product of scales: the error is at most (steps + 4) x 2^-23 x (sum of the
 * terms' magnitudes). 3 more for decode's own rounding. */
static void check_row(const struct problem *p, size_t row, size_t t)
{
    const struct format_info *info = format_info(p->format);
    const struct unpack_format *form = &unpack_table[p->format];
    const uint8_t *blocks = p->weights + row * p->row_bytes;
    double sum = 0, size = 0;
    for (size_t begin = 0; begin < p->k; begin += UNPACK_PIECE) {
        size_t n = p->k - begin < UNPACK_PIECE ? p->k - begin : UNPACK_PIECE;
        float values[UNPACK_PIECE];
        static struct unpacked w;
        memset(&w, 0, sizeof w);
        format_decode(p->format, blocks + begin / info->block_elements * info->block_bytes, n, values);
        if (form->unpack) form->unpack(blocks + begin / info->block_elements * info->block_bytes, n, &w);
        for (size_t i = 0; i < n; i++) {
            double x = act_value(p, t, begin + i);
            sum += values[i] * x;
            size += term_size(p, &w, i, values[i]) * fabs(x);
        }
    }
    if (p->scale != 1.0f) sum *= p->scale, size *= fabs(p->scale);
    if (p->has_bias) sum += p->bias[row], size += fabs(p->bias[row]);
    double steps = p->act == ACT_F32 ? fmin((double)p->k, KERNEL_FLOAT_PIECE) / KERNEL_FLOAT_LANES + 6 +
                                           (double)(p->k / KERNEL_FLOAT_PIECE)
                   : p->act == ACT_Q8_32 ? (double)p->k / 16 + 2 * ACT_RESIDUALS
                                         : (double)p->k / 128;
    double tolerance = (steps + 7) * 0x1p-23 * size + 0x1p-140, got = p->want[t * MAX_ROWS + row];
    check_result(fabs(got - sum) <= tolerance,
                 "truth %s k %zu: %.9g, in doubles %.9g, tolerance %.2g, weights '%s', acts '%s'", info->name, p->k,
                 got, sum, tolerance, check_weight_name(p->weight_kind), check_act_name(p->act_kind));
}

/* The words of kernel.h about activation codes, block by block. */
static void check_codes(const struct kernel_table *truth, enum kernel_act act, size_t block, int kind)
{
    enum { K = 512 };
    _Alignas(64) uint8_t row[4096];
    float x[K];
    check_fill_acts(kind, x, K);
    truth->quantize(act, x, K, row);
    struct act_row a = act_row_at(act, K, row);
    bool ok = kernel_act_bytes(act, K) <= sizeof row;
    for (size_t b = 0; b < K / block; b++) {
        float amax = 0.0f;
        bool finite = true;
        for (size_t i = b * block; i < (b + 1) * block; i++) {
            finite = finite && isfinite(x[i]);
            amax = fmaxf(amax, fabsf(x[i]));
        }
        bool zero = !finite || amax < 0x1p-120f;
        ok = ok && (finite ? a.d[b] == (zero ? 0.0f : amax / 127.0f) : isnan(a.d[b]));
        for (size_t i = b * block; i < (b + 1) * block; i++)
            ok = ok && a.q[i] == (zero ? 0 : (int)nearbyintf(x[i] * (127.0f / amax)));
        for (size_t i = b * block / 16; i < (b + 1) * block / 16; i++) {
            int sum = 0;
            for (size_t j = 0; j < 16; j++)
                sum += a.q[16 * i + j];
            ok = ok && a.sums[i] == sum;
        }
        if (act == ACT_Q8_32 && finite) ok = ok && a.s[b] == a.d[b] * (float)(a.sums[2 * b] + a.sums[2 * b + 1]);
    }
    check_result(ok, "truth: codes of blocks of %zu, '%s'", block, check_act_name(kind));
}

void check_truth(const struct kernel_table *truth)
{
    static struct problem p;
    for (int kind = 0; kind < CHECK_ACT_KINDS; kind++) {
        check_codes(truth, ACT_Q8_32, 32, kind);
        check_codes(truth, ACT_Q8_256, 256, kind);
    }
    for (enum format format = 0; format < FORMAT_COUNT; format++) {
        if (!has_matmul(format)) continue;
        for (const size_t *k = sizes_of(format); *k; k++) {
            for (int kind = 0; kind < CHECK_SANE_WEIGHTS * CHECK_SANE_ACTS; kind += check_quick ? 7 : 1) {
                problem_init(&p, truth, format, *k, kind / CHECK_SANE_ACTS, kind % CHECK_SANE_ACTS);
                for (size_t row = 0; row < 4; row++)
                    check_row(&p, row, check_below(MAX_TOKENS));
                problem_free(&p);
            }
        }
    }
}
