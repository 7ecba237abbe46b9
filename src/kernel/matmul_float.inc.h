/* matmul_float.inc.h - products of float weights, over the eight lanes of f32x8_<isa>.h.
 *
 * FLOAT_ROWS x FLOAT_COLUMNS vectors of sums at once; every weight and activation that is loaded serves all of them.
 */

enum { FLOAT_ROWS = 4, FLOAT_COLUMNS = 2 };

I8_INLINE f32x8 float_load(enum format format, const uint8_t *p, size_t n)
{
    const void *at = p;
    switch (format) {
    case FORMAT_F16: return n >= 8 ? f32x8_load_f16(at) : f32x8_load_f16_n(at, n);
    case FORMAT_BF16: return n >= 8 ? f32x8_load_bf16(at) : f32x8_load_bf16_n(at, n);
    default: return n >= 8 ? f32x8_load(at) : f32x8_load_n(at, n);
    }
}

/* n_rows and n_columns are constants; the first row and token are `row` and `t`. */
I8_INLINE void float_block(const struct kernel_matmul *job, enum format format, size_t row, size_t t, size_t n_rows,
                           size_t n_columns)
{
    const size_t element_bytes = format == FORMAT_F32 ? 4 : 2;
    const uint8_t *w = (const uint8_t *)job->weights + row * job->row_bytes;
    const uint8_t *x = (const uint8_t *)job->acts + t * job->act_stride_bytes;
    f32x8 acc[FLOAT_ROWS][FLOAT_COLUMNS];
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t c = 0; c < n_columns; c++)
            acc[r][c] = f32x8_zero();
    }
    for (size_t i = 0; i < job->k; i += 8) {
        f32x8 column[FLOAT_COLUMNS];
#pragma GCC unroll 2
        for (size_t c = 0; c < n_columns; c++)
            column[c] = f32x8_load((const float *)(const void *)(x + c * job->act_stride_bytes) + i);
#pragma GCC unroll 4
        for (size_t r = 0; r < n_rows; r++) {
            const uint8_t *p = w + r * job->row_bytes + i * element_bytes;
            f32x8 v = float_load(format, p, job->k - i);
            if (n_columns == 1) __builtin_prefetch(p + 1024);
#pragma GCC unroll 2
            for (size_t c = 0; c < n_columns; c++)
                acc[r][c] = f32x8_fma(v, column[c], acc[r][c]);
        }
    }
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t c = 0; c < n_columns; c++)
            job->out[(t + c) * job->out_stride + row + r] = row_finish(job, row + r, f32x8_sum(acc[r][c]));
    }
}

I8_INLINE void float_rows(const struct kernel_matmul *job, enum format format, size_t row, size_t n_rows)
{
    size_t t = 0;
    for (; t + FLOAT_COLUMNS <= job->n_tokens; t += FLOAT_COLUMNS)
        float_block(job, format, row, t, n_rows, FLOAT_COLUMNS);
    for (; t < job->n_tokens; t++)
        float_block(job, format, row, t, n_rows, 1);
}

I8_INLINE void float_format(const struct kernel_matmul *job, enum format format, size_t row_begin, size_t row_end)
{
    size_t row = row_begin;
    for (; row + FLOAT_ROWS <= row_end; row += FLOAT_ROWS)
        float_rows(job, format, row, FLOAT_ROWS);
    for (; row < row_end; row++)
        float_rows(job, format, row, 1);
}

static void matmul_floats(const struct kernel_matmul *job, size_t row_begin, size_t row_end)
{
    switch (job->format) {
    case FORMAT_F16: float_format(job, FORMAT_F16, row_begin, row_end); break;
    case FORMAT_BF16: float_format(job, FORMAT_BF16, row_begin, row_end); break;
    default: float_format(job, FORMAT_F32, row_begin, row_end);
    }
}
