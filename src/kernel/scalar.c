/* scalar.c - the table that defines the numbers: plain C, any processor.
 *
 * The matrix product is the text of kernel.h over the canonical forms of unpack.h, one row after the other.
 */
#include "kernel/f32x8_scalar.h"

#include "kernel/f32v_f32x8.inc.h"
#include "kernel/ops.inc.h"
#include "kernel/tables.h"
#include "kernel/unpack.h"

static uint32_t i8_amax_bits(const float *x, size_t n)
{
    uint32_t amax = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = f32_bits(x[i]) & 0x7fffffffu;
        amax = bits > amax ? bits : amax;
    }
    return amax;
}

static int i8_codes(const float *x, float factor, int8_t *q)
{
    int sum = 0;
    for (int i = 0; i < 16; i++) {
        /* Adding 1.5 * 2^23 leaves no bits for a fraction: it rounds to an integer, ties to even. */
        float shifted = x[i] * factor + 0x1.8p23f;
        int code = (int)(f32_bits(shifted) - 0x4b400000u);
        q[i] = (int8_t)code;
        sum += code;
    }
    return sum;
}

#include "kernel/quantize.inc.h"

#include "kernel/attention_scalar.inc.h"
#include "kernel/kv_store.inc.h"

static int dot(const int8_t *a, const int8_t *b, int n)
{
    int sum = 0;
    for (int i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Block i of a piece times 32 activations. */
static float add_block(const struct unpack_format *format, const struct unpacked *w, size_t i, const int8_t *q, float d,
                       float s, float acc)
{
    const int8_t *codes = w->codes + 32 * i;
    if (format->class == UNPACK_NVFP4) {
        float i0 = (float)dot(codes, q, 16), i1 = (float)dot(codes + 16, q + 16, 16);
        return fmaf(fmaf(w->d[2 * i + 1], i1, w->d[2 * i] * i0), d, acc);
    }
    acc = fmaf(w->d[i] * d, (float)dot(codes, q, 32), acc);
    return format->has_min ? fmaf(w->m[i], s, acc) : acc;
}

static float add_blocks(const struct unpack_format *format, const struct unpacked *w, const struct act_row *a,
                        size_t begin, size_t n, float acc)
{
    size_t first = begin / 32;
    for (size_t i = 0; i < n / 32; i++)
        acc = add_block(format, w, i, a->q + begin + 32 * i, a->d[first + i], a->s[first + i], acc);
    for (size_t i = 0; i < ACT_RESIDUALS; i++) {
        const struct act_residual *r = &a->residuals[i];
        if (r->block >= first && r->block < first + n / 32)
            acc = add_block(format, w, r->block - first, r->q, r->d, r->s, acc);
    }
    return acc;
}

static float add_s256(const struct unpacked *w, bool has_min, const struct act_row *a, size_t begin, float acc)
{
    float d_act = a->d[begin / 256];
    int i = 0, j = 0;
    for (size_t s = 0; s < 16; s++)
        i += w->scales[s] * dot(w->codes + 16 * s, a->q + begin + 16 * s, 16);
    acc = fmaf(w->super_d * d_act, (float)i, acc);
    if (!has_min) return acc;
    for (size_t s = 0; s < 16; s++)
        j += w->mins[s] * a->sums[begin / 16 + s];
    return fmaf(-(w->super_min * d_act), (float)j, acc);
}

static float finish(const struct kernel_matmul *job, size_t row, float acc)
{
    if (job->scale != 1.0f) acc *= job->scale;
    return job->bias ? acc + job->bias[row] : acc;
}

/* One row of blocks for all tokens; the sums so far are kept in the outputs. */
static void row_of_blocks(const struct kernel_matmul *job, size_t row)
{
    const struct format_info *info = format_info(job->format);
    const struct unpack_format *format = &unpack_table[job->format];
    enum kernel_act act = kernel_act_of(job->format);
    const uint8_t *weights = (const uint8_t *)job->weights + row * job->row_bytes;
    for (size_t begin = 0; begin < job->k; begin += UNPACK_PIECE) {
        size_t n = job->k - begin < UNPACK_PIECE ? job->k - begin : UNPACK_PIECE;
        struct unpacked w;
        format->unpack(weights + begin / info->block_elements * info->block_bytes, n, &w);
        for (size_t t = 0; t < job->n_tokens; t++) {
            struct act_row a = act_row_at(act, job->k, (const uint8_t *)job->acts + t * job->act_stride_bytes);
            float *out = job->out + t * job->out_stride + row, acc = begin == 0 ? 0.0f : *out;
            if (format->class == UNPACK_S256)
                acc = add_s256(&w, format->has_min, &a, begin, acc);
            else
                acc = add_blocks(format, &w, &a, begin, n, acc);
            *out = begin + n == job->k ? finish(job, row, acc) : acc;
        }
    }
}

static float piece_of_floats(const float *w, const float *x, size_t n)
{
    float lanes[KERNEL_FLOAT_LANES] = {0};
    for (size_t i = 0; i < n; i += KERNEL_FLOAT_LANES) {
        for (size_t l = 0; l < KERNEL_FLOAT_LANES; l++)
            lanes[l] = fmaf(w[i + l], x[i + l], lanes[l]);
    }
    for (size_t half = KERNEL_FLOAT_LANES / 2; half > 0; half /= 2) {
        for (size_t l = 0; l < half; l++)
            lanes[l] += lanes[l + half];
    }
    return lanes[0];
}

static void row_of_floats(const struct kernel_matmul *job, size_t row)
{
    size_t element_bytes = format_info(job->format)->block_bytes;
    const uint8_t *weights = (const uint8_t *)job->weights + row * job->row_bytes;
    for (size_t begin = 0; begin < job->k; begin += KERNEL_FLOAT_PIECE) {
        size_t n = job->k - begin < KERNEL_FLOAT_PIECE ? job->k - begin : KERNEL_FLOAT_PIECE;
        float w[KERNEL_FLOAT_PIECE];
        format_decode(job->format, weights + begin * element_bytes, n, w);
        for (; n % KERNEL_FLOAT_LANES != 0; n++)
            w[n] = 0.0f;
        for (size_t t = 0; t < job->n_tokens; t++) {
            const float *x = (const float *)(const void *)((const uint8_t *)job->acts + t * job->act_stride_bytes);
            float *out = job->out + t * job->out_stride + row, acc = begin == 0 ? 0.0f : *out;
            acc += piece_of_floats(w, x + begin, n);
            *out = begin + n >= job->k ? finish(job, row, acc) : acc;
        }
    }
}

static void matmul(const struct kernel_matmul *job, size_t row_begin, size_t row_end, void *scratch)
{
    bool floats = unpack_table[job->format].class == UNPACK_FLOAT;
    (void)scratch;
    for (size_t row = row_begin; row < row_end; row++)
        (floats ? row_of_floats : row_of_blocks)(job, row);
}

const struct kernel_table kernel_table_scalar = KERNEL_TABLE("scalar");
