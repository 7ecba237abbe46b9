/* matmul_row.inc.h - products of block formats for one token: each row is read once, from memory, in order.
 *
 * Blocks of 32: the exact sums of eight blocks at a time become the lanes of one vector and go to scratch with the
 * blocks' scales; after eight rows these are transposed, so that a lane is a row, and the chain of kernel.h runs for
 * the eight rows together. Super-blocks: one exact sum per 256 elements, the chain of each row in a scalar.
 */

enum { ROWS_AT_ONCE = 8, ROWS_AHEAD_BYTES = 4096 };

static float row_finish(const struct kernel_matmul *job, size_t row, float acc)
{
    if (job->scale != 1.0f) acc *= job->scale;
    return job->bias ? acc + job->bias[row] : acc;
}

/* ---- blocks of 32 ------------------------------------------------------------------------------ */

/* In scratch, for each of eight rows, a vector of eight blocks after the other: sums (as floats), scales (times the
 * activation's), minimums. n_groups = blocks / 8 rounded up. Residuals: a lane is a row at once. */
struct row_sums {
    float *sum, *scale, *min;
    size_t n_groups;
    struct {
        float sum[ROWS_AT_ONCE], scale[ROWS_AT_ONCE], min[ROWS_AT_ONCE];
    } residuals[ACT_RESIDUALS];
};

static struct row_sums row_sums_in(void *scratch, size_t k)
{
    size_t n_groups = (k / 32 + 7) / 8, size = ROWS_AT_ONCE * 8 * n_groups;
    float *p = scratch;
    return (struct row_sums){.sum = p, .scale = p + size, .min = p + 2 * size, .n_groups = n_groups};
}

/* What row r adds for a residual: kept for row_sums_finish. */
I8_INLINE void row_residual(struct row_sums *sums, size_t i, size_t r, float sum, float scale, float min)
{
    sums->residuals[i].sum[r] = sum;
    sums->residuals[i].scale[r] = scale;
    sums->residuals[i].min[r] = min;
}

static void row_sums_finish(const struct kernel_matmul *job, size_t row, size_t n_rows, const struct row_sums *sums,
                            const struct act_row *a, bool has_min)
{
    f32x8 acc = f32x8_zero();
    size_t n_blocks = job->k / 32;
    for (size_t g = 0; g < sums->n_groups; g++) {
        f32x8 sum[8], scale[8], min[8];
#pragma GCC unroll 8
        for (size_t r = 0; r < 8; r++) {
            sum[r] = f32x8_load(sums->sum + 8 * (sums->n_groups * r + g));
            scale[r] = f32x8_load(sums->scale + 8 * (sums->n_groups * r + g));
        }
        f32x8_transpose(sum);
        f32x8_transpose(scale);
        if (has_min) {
#pragma GCC unroll 8
            for (size_t r = 0; r < 8; r++)
                min[r] = f32x8_load(sums->min + 8 * (sums->n_groups * r + g));
            f32x8_transpose(min);
        }
        for (size_t b = 0; b < 8 && 8 * g + b < n_blocks; b++) {
            acc = f32x8_fma(scale[b], sum[b], acc);
            if (has_min) acc = f32x8_fma(min[b], f32x8_set1(a->s[8 * g + b]), acc);
        }
        for (size_t i = 0; i < ACT_RESIDUALS; i++) {
            if (a->residuals[i].block / 8 != g) continue;
            acc = f32x8_fma(f32x8_load(sums->residuals[i].scale), f32x8_load(sums->residuals[i].sum), acc);
            if (has_min) acc = f32x8_fma(f32x8_load(sums->residuals[i].min), f32x8_set1(a->residuals[i].s), acc);
        }
    }
    if (job->scale != 1.0f) acc = f32x8_mul(acc, f32x8_set1(job->scale));
    if (job->bias) acc = f32x8_add(acc, f32x8_load_n(job->bias + row, n_rows));
    f32x8_store_n(job->out + row, acc, n_rows);
}

/* The sums of n (at most 8) blocks from block number `at` on; codes(p + b * stride) are their codes. */
I8_INLINE f32x8 group_sums(const uint8_t *p, size_t stride, size_t n, i8x32 (*codes)(const uint8_t *),
                           const struct act_row *a, size_t at, bool is_signed, int offset)
{
    i32x8 part[8];
    const int8_t *q = a->q + 32 * at;
    if (n >= 8) {
#pragma GCC unroll 8
        for (size_t b = 0; b < 8; b++) {
            i8x32 w = codes(p + b * stride), x = i8x32_load(q + 32 * b);
            part[b] = is_signed ? i8_dot_s(w, x) : i8_dot_u(w, x);
        }
    } else {
        for (size_t b = 0; b < 8; b++)
            part[b] = i32x8_zero();
        for (size_t b = 0; b < n; b++) {
            i8x32 w = codes(p + b * stride), x = i8x32_load(q + 32 * b);
            part[b] = is_signed ? i8_dot_s(w, x) : i8_dot_u(w, x);
        }
    }
    i32x8 sums = i32x8_sums8(part);
    if (offset) sums = i32x8_add(sums, i32x8_from_pairs(a->sums + 2 * at, -offset, -offset));
    return f32x8_from_i32(sums);
}

/* The sum of a residual with the codes of its block. */
I8_INLINE float residual_sum(i8x32 codes, const struct act_residual *r, bool is_signed, int offset)
{
    i8x32 x = i8x32_load(r->q);
    int sum = i32x8_sum(is_signed ? i8_dot_s(codes, x) : i8_dot_u(codes, x));
    return (float)(sum - offset * (r->sums[0] + r->sums[1]));
}

I8_INLINE void rows_b32(const struct kernel_matmul *job, size_t row_begin, size_t row_end, void *scratch,
                        i8x32 (*codes)(const uint8_t *), size_t block_bytes, bool is_signed, int offset)
{
    const struct unpack_format *format = &unpack_table[job->format];
    bool has_min = format->has_min, e8m0 = job->format == FORMAT_MXFP4;
    struct act_row a = act_row_at(ACT_Q8_32, job->k, job->acts);
    struct row_sums sums = row_sums_in(scratch, job->k);
    size_t n_blocks = job->k / 32;
    for (size_t row = row_begin; row < row_end; row += ROWS_AT_ONCE) {
        size_t n_rows = row_end - row < ROWS_AT_ONCE ? row_end - row : ROWS_AT_ONCE;
        for (size_t r = 0; r < n_rows; r++) {
            const uint8_t *p = (const uint8_t *)job->weights + (row + r) * job->row_bytes;
            for (size_t b = 0; b < n_blocks; b += 8, p += 8 * block_bytes) {
                size_t n = n_blocks - b, at = 8 * (sums.n_groups * r + b / 8);
                for (size_t ahead = 0; ahead < 8 * block_bytes; ahead += 64)
                    __builtin_prefetch(p + ROWS_AHEAD_BYTES + ahead);
                f32x8_store(sums.sum + at, group_sums(p, block_bytes, n, codes, &a, b, is_signed, offset));
                f32x8 d = e8m0 ? scales_mxfp4(p, n) : scales_f16(p, block_bytes, n);
                f32x8_store(sums.scale + at, f32x8_mul(d, f32x8_load(a.d + b)));
                if (has_min) f32x8_store(sums.min + at, scales_f16(p + 2, block_bytes, n));
            }
            for (size_t i = 0; i < ACT_RESIDUALS; i++) {
                const struct act_residual *residual = &a.residuals[i];
                if (residual->block >= n_blocks) continue;
                p = (const uint8_t *)job->weights + (row + r) * job->row_bytes + residual->block * block_bytes;
                float d = e8m0 ? 0.5f * f32_from_e8m0(*p) : half_at(p), min = has_min ? half_at(p + 2) : 0.0f;
                row_residual(&sums, i, r, residual_sum(codes(p), residual, is_signed, offset), d * residual->d, min);
            }
        }
        row_sums_finish(job, row, n_rows, &sums, &a, has_min);
    }
}

/* Formats that only unpack_table knows. */
static void rows_b32_any(const struct kernel_matmul *job, size_t row_begin, size_t row_end, void *scratch)
{
    const struct format_info *info = format_info(job->format);
    const struct unpack_format *format = &unpack_table[job->format];
    struct act_row a = act_row_at(ACT_Q8_32, job->k, job->acts);
    struct row_sums sums = row_sums_in(scratch, job->k);
    for (size_t row = row_begin; row < row_end; row += ROWS_AT_ONCE) {
        size_t n_rows = row_end - row < ROWS_AT_ONCE ? row_end - row : ROWS_AT_ONCE;
        for (size_t r = 0; r < n_rows; r++) {
            const uint8_t *p = (const uint8_t *)job->weights + (row + r) * job->row_bytes;
            for (size_t begin = 0; begin < job->k; begin += UNPACK_PIECE) {
                size_t n = job->k - begin < UNPACK_PIECE ? job->k - begin : UNPACK_PIECE;
                size_t at = 8 * (sums.n_groups * r + begin / 256);
                struct unpacked w;
                format->unpack(p + begin / info->block_elements * info->block_bytes, n, &w);
                const uint8_t *codes = (const uint8_t *)w.codes;
                f32x8_store(sums.sum + at,
                            group_sums(codes, 32, n / 32, codes_plain, &a, begin / 32, true, I8_OFFSET_S));
                f32x8_store(sums.scale + at, f32x8_mul(f32x8_load(w.d), f32x8_load(a.d + begin / 32)));
                if (format->has_min) f32x8_store(sums.min + at, f32x8_load(w.m));
                for (size_t i = 0; i < ACT_RESIDUALS; i++) {
                    const struct act_residual *residual = &a.residuals[i];
                    size_t b = residual->block - begin / 32;
                    if (b >= n / 32) continue;
                    float sum = residual_sum(codes_plain(codes + 32 * b), residual, true, I8_OFFSET_S);
                    row_residual(&sums, i, r, sum, w.d[b] * residual->d, format->has_min ? w.m[b] : 0.0f);
                }
            }
        }
        row_sums_finish(job, row, n_rows, &sums, &a, format->has_min);
    }
}

/* As blocks of 32, with t of kernel.h for `sum` and the activation's scale for `scale`. */
static void rows_nvfp4(const struct kernel_matmul *job, size_t row_begin, size_t row_end, void *scratch)
{
    int offset = unpack_table[FORMAT_NVFP4].offset;
    struct act_row a = act_row_at(ACT_Q8_32, job->k, job->acts);
    struct row_sums sums = row_sums_in(scratch, job->k);
    size_t n_blocks = job->k / 32;
    int8_t split[ACT_RESIDUALS][2][32] = {{{0}}}; /* the first 16 codes and the last, zeros elsewhere */
    for (size_t i = 0; i < ACT_RESIDUALS; i++) {
        memcpy(split[i][0], a.residuals[i].q, 16);
        memcpy(split[i][1] + 16, a.residuals[i].q + 16, 16);
    }
    for (size_t row = row_begin; row < row_end; row += ROWS_AT_ONCE) {
        size_t n_rows = row_end - row < ROWS_AT_ONCE ? row_end - row : ROWS_AT_ONCE;
        for (size_t r = 0; r < n_rows; r++) {
            const uint8_t *p = (const uint8_t *)job->weights + (row + r) * job->row_bytes;
            for (size_t b = 0; b < n_blocks; b += 8, p += 4 * 36) {
                size_t n = n_blocks - b < 8 ? n_blocks - b : 8, at = 8 * (sums.n_groups * r + b / 8);
                i32x8 part[8], sum0, sum1;
                __builtin_prefetch(p + ROWS_AHEAD_BYTES);
                __builtin_prefetch(p + ROWS_AHEAD_BYTES + 64);
                for (size_t i = n; i < 8; i++)
                    part[i] = i32x8_zero();
                for (size_t i = 0; i < n; i++)
                    part[i] = i8_dot_u(codes_nvfp4(p + 36 * (i / 2), i % 2), i8x32_load(a.q + 32 * (b + i)));
                i32x8_half_sums8(part, &sum0, &sum1);
                sum0 = i32x8_add(sum0, i32x8_from_pairs(a.sums + 2 * b, -offset, 0));
                sum1 = i32x8_add(sum1, i32x8_from_pairs(a.sums + 2 * b, 0, -offset));
                float scales[16];
                f32x8 s0, s1;
                scales_nvfp4(p, n, scales);
                f32x8_load_pairs(scales, &s0, &s1);
                f32x8 t = f32x8_fma(s1, f32x8_from_i32(sum1), f32x8_mul(s0, f32x8_from_i32(sum0)));
                f32x8_store(sums.sum + at, t);
                f32x8_store(sums.scale + at, f32x8_load(a.d + b));
            }
            for (size_t i = 0; i < ACT_RESIDUALS; i++) {
                const struct act_residual *residual = &a.residuals[i];
                size_t b = residual->block, half = b % 2;
                if (b >= n_blocks) continue;
                p = (const uint8_t *)job->weights + (row + r) * job->row_bytes + b / 2 * 36;
                i8x32 w = codes_nvfp4(p, half);
                int i0 = i32x8_sum(i8_dot_u(w, i8x32_load(split[i][0]))) - offset * residual->sums[0];
                int i1 = i32x8_sum(i8_dot_u(w, i8x32_load(split[i][1]))) - offset * residual->sums[1];
                float s0 = 0.5f * f32_from_ue4m3(p[2 * half]), s1 = 0.5f * f32_from_ue4m3(p[2 * half + 1]);
                float t = fmaf(s1, (float)i1, s0 * (float)i0);
                row_residual(&sums, i, r, t, residual->d, 0.0f);
            }
        }
        row_sums_finish(job, row, n_rows, &sums, &a, false);
    }
}

/* ---- super-blocks ------------------------------------------------------------------------------ */

struct super {
    i16x16 scales, mins;
    float d, min;
};

/* acc after one super-block whose codes are codes(p, 0) ... codes(p, 7). */
I8_INLINE float super_add(float acc, const uint8_t *p, i8x32 (*codes)(const uint8_t *, int), const struct super *super,
                          const struct act_row *a, size_t at, bool has_min, bool is_signed, int offset)
{
    i8_scales scales = i8_scales_from(super->scales);
    i32x8 sum = i32x8_zero();
    const int16_t *sums = a->sums + 16 * at;
    float d_act = a->d[at];
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
        i8x32 w = codes(p, j), x = i8x32_load(a->q + 256 * at + 32 * j);
        sum = is_signed ? i8_dot_scaled_s(sum, w, x, scales, j) : i8_dot_scaled_u(sum, w, x, scales, j);
    }
    if (offset) sum = i8_scaled_sums(sum, super->scales, sums, -offset);
    acc = fmaf(super->d * d_act, (float)i32x8_sum(sum), acc);
    if (!has_min) return acc;
    return fmaf(-(super->min * d_act), (float)i32x8_sum(i8_scaled_sums(i32x8_zero(), super->mins, sums, 1)), acc);
}

I8_INLINE void rows_s256(const struct kernel_matmul *job, size_t row_begin, size_t row_end,
                         i8x32 (*codes)(const uint8_t *, int), void (*scales)(const uint8_t *, i16x16 *, i16x16 *),
                         size_t block_bytes, size_t offset_d, bool has_min, bool is_signed, int offset)
{
    struct act_row a = act_row_at(ACT_Q8_256, job->k, job->acts);
    for (size_t row = row_begin; row < row_end; row++) {
        const uint8_t *p = (const uint8_t *)job->weights + row * job->row_bytes;
        float acc = 0.0f;
        for (size_t b = 0; b < job->k / 256; b++, p += block_bytes) {
            struct super super;
            for (size_t ahead = 0; ahead < block_bytes; ahead += 64)
                __builtin_prefetch(p + ROWS_AHEAD_BYTES + ahead);
            scales(p, &super.scales, &super.mins);
            super.d = half_at(p + offset_d);
            super.min = has_min ? half_at(p + offset_d + 2) : 0.0f;
            acc = super_add(acc, p, codes, &super, &a, b, has_min, is_signed, offset);
        }
        job->out[row] = row_finish(job, row, acc);
    }
}

static void rows_s256_any(const struct kernel_matmul *job, size_t row_begin, size_t row_end, void *scratch)
{
    size_t block_bytes = format_info(job->format)->block_bytes;
    const struct unpack_format *format = &unpack_table[job->format];
    struct act_row a = act_row_at(ACT_Q8_256, job->k, job->acts);
    (void)scratch;
    for (size_t row = row_begin; row < row_end; row++) {
        const uint8_t *p = (const uint8_t *)job->weights + row * job->row_bytes;
        float acc = 0.0f;
        for (size_t b = 0; b < job->k / 256; b++) {
            struct unpacked w;
            format->unpack(p + b * block_bytes, 256, &w);
            struct super super = {i16x16_load(w.scales), i16x16_load(w.scales), w.super_d, 0.0f};
            acc = super_add(acc, (const uint8_t *)w.codes, codes_super_plain, &super, &a, b, false, true, 0);
        }
        job->out[row] = row_finish(job, row, acc);
    }
}

/* ---- by format --------------------------------------------------------------------------------- */

static void matmul_rows(const struct kernel_matmul *job, size_t begin, size_t end, void *scratch)
{
    switch (job->format) {
    case FORMAT_Q4_0: rows_b32(job, begin, end, scratch, codes_q4_0, 18, false, 8); break;
    case FORMAT_Q4_1: rows_b32(job, begin, end, scratch, codes_q4_1, 20, false, 0); break;
    case FORMAT_Q5_0: rows_b32(job, begin, end, scratch, codes_q5_0, 22, false, 16); break;
    case FORMAT_Q5_1: rows_b32(job, begin, end, scratch, codes_q5_1, 24, false, 0); break;
    case FORMAT_Q8_0: rows_b32(job, begin, end, scratch, codes_q8_0, 34, true, I8_OFFSET_S); break;
    case FORMAT_IQ4_NL: rows_b32(job, begin, end, scratch, codes_iq4_nl, 18, true, I8_OFFSET_S); break;
    case FORMAT_MXFP4: rows_b32(job, begin, end, scratch, codes_mxfp4, 17, false, 12); break;
    case FORMAT_NVFP4: rows_nvfp4(job, begin, end, scratch); break;
    case FORMAT_Q2_K: rows_s256(job, begin, end, codes_q2_k, scales_q2_k, 84, 80, true, false, 0); break;
    case FORMAT_Q3_K: rows_s256(job, begin, end, codes_q3_k, scales_q3_k, 110, 108, false, false, 4); break;
    case FORMAT_Q4_K: rows_s256(job, begin, end, codes_q4_k, scales_k4, 144, 0, true, false, 0); break;
    case FORMAT_Q5_K: rows_s256(job, begin, end, codes_q5_k, scales_k4, 176, 0, true, false, 0); break;
    case FORMAT_Q6_K: rows_s256(job, begin, end, codes_q6_k, scales_q6_k, 210, 208, false, false, 32); break;
    case FORMAT_IQ4_XS: rows_s256(job, begin, end, codes_iq4_xs, scales_iq4_xs, 136, 0, false, true, 0); break;
    default: (unpack_table[job->format].class == UNPACK_B32 ? rows_b32_any : rows_s256_any)(job, begin, end, scratch);
    }
}
