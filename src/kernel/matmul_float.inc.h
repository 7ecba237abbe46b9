/* matmul_float.inc.h - products of float weights, over the eight lanes of f32x8_<isa>.h.
 *
 * FLOAT_ROWS x FLOAT_COLUMNS vectors of sums at once; every weight and activation that is loaded serves all of them.
 */

static float float_finish(const struct kernel_matmul *job, size_t row, float acc)
{
    if (job->scale != 1.0f) acc *= job->scale;
    return job->bias ? acc + job->bias[row] : acc;
}

I8_INLINE f32x8 float_load(enum format format, const void *p, size_t n)
{
    if (format == FORMAT_F16) return n >= 8 ? f32x8_load_f16(p) : f32x8_load_f16_n(p, n);
    if (format == FORMAT_BF16) return n >= 8 ? f32x8_load_bf16(p) : f32x8_load_bf16_n(p, n);
    return n >= 8 ? f32x8_load(p) : f32x8_load_n(p, n);
}

struct float_block {
    const uint8_t *w; /* first row */
    const uint8_t *x; /* first token */
    size_t row_bytes, act_bytes;
    f32x8 acc[FLOAT_ROWS][FLOAT_COLUMNS];
};

/* Elements i ... i + 7, of which n exist; n_rows and n_columns are constants. */
I8_INLINE void float_step(struct float_block *block, enum format format, size_t i, size_t n, size_t n_rows,
                          size_t n_columns)
{
    f32x8 column[FLOAT_COLUMNS];
    UNROLL(FLOAT_COLUMNS)
    for (size_t c = 0; c < n_columns; c++)
        column[c] = f32x8_load((const float *)(const void *)(block->x + c * block->act_bytes) + i);
    UNROLL(FLOAT_ROWS)
    for (size_t r = 0; r < n_rows; r++) {
        const uint8_t *p = block->w + r * block->row_bytes + i * (format == FORMAT_F32 ? 4 : 2);
        f32x8 v = float_load(format, p, n);
        if (n_columns == 1) __builtin_prefetch(p + 1024);
        UNROLL(FLOAT_COLUMNS)
        for (size_t c = 0; c < n_columns; c++)
            block->acc[r][c] = f32x8_fma(v, column[c], block->acc[r][c]);
    }
}

I8_INLINE void float_block(const struct kernel_matmul *job, enum format format, size_t row, size_t t, size_t n_rows,
                           size_t n_columns)
{
    struct float_block block = {
        .w = (const uint8_t *)job->weights + row * job->row_bytes,
        .x = (const uint8_t *)job->acts + t * job->act_stride_bytes,
        .row_bytes = job->row_bytes,
        .act_bytes = job->act_stride_bytes,
    };
    size_t i = 0;
    UNROLL(FLOAT_ROWS)
    for (size_t r = 0; r < n_rows; r++) {
        UNROLL(FLOAT_COLUMNS)
        for (size_t c = 0; c < n_columns; c++)
            block.acc[r][c] = f32x8_zero();
    }
    for (; i + 8 <= job->k; i += 8)
        float_step(&block, format, i, 8, n_rows, n_columns);
    if (i < job->k) float_step(&block, format, i, job->k - i, n_rows, n_columns);
    UNROLL(FLOAT_ROWS)
    for (size_t r = 0; r < n_rows; r++) {
        UNROLL(FLOAT_COLUMNS)
        for (size_t c = 0; c < n_columns; c++)
            job->out[(t + c) * job->out_stride + row + r] = float_finish(job, row + r, f32x8_sum(block.acc[r][c]));
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

static void matmul_f32(const struct kernel_matmul *job, size_t row_begin, size_t row_end)
{
    float_format(job, FORMAT_F32, row_begin, row_end);
}

static void matmul_f16(const struct kernel_matmul *job, size_t row_begin, size_t row_end)
{
    float_format(job, FORMAT_F16, row_begin, row_end);
}

static void matmul_bf16(const struct kernel_matmul *job, size_t row_begin, size_t row_end)
{
    float_format(job, FORMAT_BF16, row_begin, row_end);
}

static void matmul_floats(const struct kernel_matmul *job, size_t row_begin, size_t row_end)
{
    switch (job->format) {
    case FORMAT_F16: matmul_f16(job, row_begin, row_end); break;
    case FORMAT_BF16: matmul_bf16(job, row_begin, row_end); break;
    default: matmul_f32(job, row_begin, row_end);
    }
}
