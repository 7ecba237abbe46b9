/* matmul_row.inc.h - products of block formats for one token: the weights are read once, from memory, in order.
 *
 * The blocks of eight rows are one flat sequence. It is taken eight blocks at a time (a group), whatever row they
 * belong to: the exact integer sums of a group become the lanes of one vector and go to scratch, with the blocks'
 * scales. After the eight rows these are transposed, so that a lane is a row, and the chain of kernel.h runs for the
 * eight rows together. What a group needs of the activations is laid out once per call, for the shortest run of rows
 * after which groups and rows begin together again. A residual is a group too: its block in each of the eight rows.
 */

enum { ROWS_AT_ONCE = 8, ROWS_AHEAD_BYTES = 4096, GROUP = 8 /* blocks */ };

struct group {
    const struct kernel_matmul *job;
    const uint8_t *p; /* the blocks, */
    size_t stride;    /* this many bytes apart (a constant wherever it can be) */
    int part;         /* of blocks of more than 32 elements: which 32 of each; -1: all in turn */
    /* The activations' side: */
    const int8_t *q; /* 8 x 32 codes, in the order that the format's function wants */
    const float *d;
    const int32_t *minus, *minus_second; /* what the codes' offset adds to the sums, negative; NVFP4: per half */
    const struct act_row *row;           /* super-blocks use it as it is, from `first` on */
    size_t first;
    /* Results, eight of each: */
    float *sum, *scale, *min;
    float *of_min; /* super-blocks: what the minimum is multiplied with */
};

typedef void group_fn(const struct group *g);
typedef void arrange_fn(const int8_t *const blocks[GROUP], int8_t *to);

/* A residual's activations, the same for all eight rows, and the eight rows' results. */
struct row_residual {
    int8_t q[GROUP * 32];
    float d[GROUP], sum[GROUP], scale[GROUP], min[GROUP];
    int32_t minus[GROUP], minus_second[GROUP];
};

struct row_stream {
    const struct kernel_matmul *job;
    struct act_row a;
    size_t n_blocks; /* of a row */
    size_t period;   /* in blocks: a multiple of GROUP and of n_blocks */
    size_t block_elements, block_bytes;
    bool super, has_min;
    int8_t *q;
    float *d;
    int32_t *minus, *minus_second;
    float *sum, *scale, *min, *of_min; /* (ROWS_AT_ONCE * n_blocks + GROUP) each */
    struct row_residual *residuals;
};

static struct row_stream row_stream_in(void *scratch, const struct kernel_matmul *job)
{
    const struct format_info *info = format_info(job->format);
    const struct unpack_format *format = &unpack_table[job->format];
    bool super = format->class == UNPACK_S256;
    struct row_stream s = {
        .job = job,
        .a = act_row_at(super ? ACT_Q8_256 : ACT_Q8_32, job->k, job->acts),
        .n_blocks = job->k / (super ? 256 : 32),
        .block_elements = info->block_elements,
        .block_bytes = info->block_bytes,
        .super = super,
        .has_min = format->has_min,
        .residuals = scratch,
    };
    size_t flat = ROWS_AT_ONCE * s.n_blocks + GROUP;
    for (s.period = s.n_blocks; s.period % GROUP != 0;)
        s.period += s.n_blocks;
    s.q = (int8_t *)(s.residuals + ACT_RESIDUALS);
    s.d = (float *)(void *)(s.q + (super ? 0 : 32 * s.period));
    s.minus = (int32_t *)(void *)(s.d + s.period);
    s.minus_second = s.minus + s.period;
    s.sum = (float *)(void *)(s.minus_second + s.period);
    s.scale = s.sum + flat;
    s.min = s.scale + flat;
    s.of_min = s.min + flat;
    return s;
}

/* ---- the chains -------------------------------------------------------------------------------- */

/* Eight of each block: a lane is a block of row r; then a lane is a row of block r. */
I8_INLINE void row_lanes(f32x8 v[8], const float *p, size_t n_blocks)
{
    UNROLL(8)
    for (size_t r = 0; r < 8; r++)
        v[r] = f32x8_load(p + r * n_blocks);
    f32x8_transpose(v);
}

/* Chains and outputs of n_rows rows whose sums lie in scratch. */
static void row_stream_finish(const struct row_stream *s, size_t row, size_t n_rows)
{
    const struct kernel_matmul *job = s->job;
    f32x8 acc = f32x8_zero();
    for (size_t begin = 0; begin < s->n_blocks; begin += GROUP) {
        f32x8 sum[8], scale[8], min[8], of_min[8];
        row_lanes(sum, s->sum + begin, s->n_blocks);
        row_lanes(scale, s->scale + begin, s->n_blocks);
        if (s->has_min) row_lanes(min, s->min + begin, s->n_blocks);
        if (s->has_min && s->super) row_lanes(of_min, s->of_min + begin, s->n_blocks);
        for (size_t b = 0; b < 8 && begin + b < s->n_blocks; b++) {
            acc = f32x8_fma(scale[b], sum[b], acc);
            if (!s->has_min) continue;
            if (s->super)
                acc = f32x8_fnma(min[b], of_min[b], acc);
            else
                acc = f32x8_fma(min[b], f32x8_set1(s->a.s[begin + b]), acc);
        }
        for (size_t i = 0; i < ACT_RESIDUALS && !s->super; i++) {
            const struct act_residual *residual = &s->a.residuals[i];
            if (residual->block / 8 != begin / 8) continue;
            acc = f32x8_fma(f32x8_load(s->residuals[i].scale), f32x8_load(s->residuals[i].sum), acc);
            if (s->has_min) acc = f32x8_fma(f32x8_load(s->residuals[i].min), f32x8_set1(residual->s), acc);
        }
    }
    if (job->scale != 1.0f) acc = f32x8_mul(acc, f32x8_set1(job->scale));
    if (job->bias) acc = f32x8_add(acc, f32x8_load_n(job->bias + row, n_rows));
    f32x8_store_n(job->out + row, acc, n_rows);
}

/* ---- the stream -------------------------------------------------------------------------------- */

/* Missing rows work on zeros. */
I8_INLINE void row_stream_residuals(const struct row_stream *s, size_t row, size_t n_rows, group_fn *group)
{
    for (size_t i = 0; i < ACT_RESIDUALS; i++) {
        struct row_residual *r = &s->residuals[i];
        size_t block = s->a.residuals[i].block, per_block = s->block_elements / 32;
        uint8_t copy[GROUP * 64] = {0};
        if (block >= s->n_blocks) continue;
        const uint8_t *p =
            (const uint8_t *)s->job->weights + row * s->job->row_bytes + block / per_block * s->block_bytes;
        struct group g = {
            .job = s->job,
            .p = p,
            .stride = s->job->row_bytes,
            .part = (int)(block % per_block),
            .q = r->q,
            .d = r->d,
            .minus = r->minus,
            .minus_second = r->minus_second,
            .sum = r->sum,
            .scale = r->scale,
            .min = r->min,
        };
        if (n_rows < ROWS_AT_ONCE) {
            for (size_t k = 0; k < n_rows; k++)
                memcpy(copy + k * s->block_bytes, p + k * g.stride, s->block_bytes);
            g.p = copy;
            g.stride = s->block_bytes;
        }
        group(&g);
    }
}

/* All rows; `group` is inlined. A last group that is not full works on a copy padded with zeros. */
I8_INLINE void row_stream_run(const struct row_stream *s, size_t row_begin, size_t row_end, size_t block_elements,
                              size_t block_bytes, group_fn *group)
{
    const struct kernel_matmul *job = s->job;
    size_t group_bytes = s->super ? GROUP * block_bytes : GROUP * 32 / block_elements * block_bytes;
    for (size_t row = row_begin; row < row_end; row += ROWS_AT_ONCE) {
        size_t n_rows = row_end - row < ROWS_AT_ONCE ? row_end - row : ROWS_AT_ONCE, total = n_rows * s->n_blocks;
        const uint8_t *p = (const uint8_t *)job->weights + row * job->row_bytes;
        for (size_t at = 0, phase = 0; at < total; at += GROUP, p += group_bytes) {
            uint8_t copy[GROUP * 256];
            struct group g = {
                job,
                p,
                block_bytes,
                -1,
                s->q + 32 * phase,
                s->d + phase,
                s->minus + phase,
                s->minus_second + phase,
                &s->a,
                phase % s->n_blocks,
                s->sum + at,
                s->scale + at,
                s->min + at,
                s->of_min + at,
            };
            if (at + GROUP > total) {
                memset(copy, 0, sizeof copy);
                memcpy(copy, p, group_bytes * (total - at) / GROUP);
                g.p = copy;
            }
            for (size_t ahead = 0; ahead < group_bytes; ahead += 64)
                __builtin_prefetch(p + ROWS_AHEAD_BYTES + ahead);
            group(&g);
            phase = phase + GROUP == s->period ? 0 : phase + GROUP;
        }
        if (!s->super) row_stream_residuals(s, row, n_rows, group);
        row_stream_finish(s, row, n_rows);
    }
}

/* ---- blocks of 32 ------------------------------------------------------------------------------ */

static void arrange_plain(const int8_t *const blocks[GROUP], int8_t *to)
{
    for (int b = 0; b < GROUP; b++)
        memcpy(to + 32 * b, blocks[b], 32);
}

static void row_stream_acts(const struct row_stream *s, int offset, arrange_fn *arrange)
{
    const int8_t *blocks[GROUP];
    for (size_t at = 0; at < s->period; at += GROUP) {
        for (size_t i = 0; i < GROUP; i++) {
            size_t b = (at + i) % s->n_blocks;
            blocks[i] = s->a.q + 32 * b;
            s->d[at + i] = s->a.d[b];
            s->minus[at + i] = -offset * (s->a.sums[2 * b] + s->a.sums[2 * b + 1]);
            s->minus_second[at + i] = -offset * s->a.sums[2 * b + 1];
        }
        arrange(blocks, s->q + 32 * at);
    }
    for (size_t i = 0; i < ACT_RESIDUALS; i++) {
        const struct act_residual *from = &s->a.residuals[i];
        struct row_residual *to = &s->residuals[i];
        for (size_t r = 0; r < GROUP; r++) {
            blocks[r] = from->q;
            to->d[r] = from->d;
            to->minus[r] = -offset * (from->sums[0] + from->sums[1]);
            to->minus_second[r] = -offset * from->sums[1];
        }
        arrange(blocks, to->q);
    }
}

I8_INLINE void rows_b32(const struct kernel_matmul *job, size_t row_begin, size_t row_end, void *scratch, int offset,
                        arrange_fn *arrange, size_t block_elements, size_t block_bytes, group_fn *group)
{
    struct row_stream s = row_stream_in(scratch, job);
    row_stream_acts(&s, offset, arrange);
    row_stream_run(&s, row_begin, row_end, block_elements, block_bytes, group);
}

I8_INLINE void group_sums(const struct group *g, i32x8 sums)
{
    f32x8_store(g->sum, f32x8_from_i32(i32x8_add(sums, i32x8_load(g->minus))));
}

I8_INLINE void group_scales(const struct group *g, f32x8 d)
{
    f32x8_store(g->scale, f32x8_mul(d, f32x8_load(g->d)));
}

/* The scales and minimums at the head of each block. */
I8_INLINE void group_scales_and_mins(const struct group *g)
{
    f32x8 d, m;
    f32x8_gather_f16_pairs(g->p, g->stride, &d, &m);
    group_scales(g, d);
    f32x8_store(g->min, m);
}

I8_INLINE void group_q4_0(const struct group *g)
{
    group_sums(g, i8_group_nibbles(g->p + 2, g->stride, g->q, NULL, false));
    group_scales(g, f32x8_gather_f16(g->p, g->stride));
}

I8_INLINE void group_q4_1(const struct group *g)
{
    f32x8_store(g->sum, f32x8_from_i32(i8_group_nibbles(g->p + 4, g->stride, g->q, NULL, false)));
    group_scales_and_mins(g);
}

I8_INLINE void group_q5_0(const struct group *g)
{
    group_sums(g, i8_group_codes(codes_q5_0, g->p, g->stride, g->q, false));
    group_scales(g, f32x8_gather_f16(g->p, g->stride));
}

I8_INLINE void group_q5_1(const struct group *g)
{
    f32x8_store(g->sum, f32x8_from_i32(i8_group_codes(codes_q5_1, g->p, g->stride, g->q, false)));
    group_scales_and_mins(g);
}

I8_INLINE void group_q8_0(const struct group *g)
{
    group_sums(g, i8_group_codes(codes_q8_0, g->p, g->stride, g->q, true));
    group_scales(g, f32x8_gather_f16(g->p, g->stride));
}

I8_INLINE void group_iq4_nl(const struct group *g)
{
    group_sums(g, i8_group_nibbles(g->p + 2, g->stride, g->q, smallfloat_iq4_nl, true));
    group_scales(g, f32x8_gather_f16(g->p, g->stride));
}

I8_INLINE void group_mxfp4(const struct group *g)
{
    group_sums(g, i8_group_nibbles(g->p + 1, g->stride, g->q, e2m1_x2_up, false));
    group_scales(g, scales_mxfp4(g->p, g->stride, 8));
}

/* t of kernel.h for the sum, the activation's scale for the scale. */
I8_INLINE void group_nvfp4(const struct group *g)
{
    i32x8 part[8], sum0, sum1, minus = i32x8_load(g->minus), minus_second = i32x8_load(g->minus_second);
    const uint8_t *blocks[8];
    size_t halves[8];
    f32x8 s0, s1;
    UNROLL(8)
    for (size_t i = 0; i < 8; i++) {
        blocks[i] = g->p + g->stride * (g->part < 0 ? i / 2 : i);
        halves[i] = g->part < 0 ? i % 2 : (size_t)g->part;
        part[i] = i8_dot_u(codes_nvfp4(blocks[i], halves[i]), i8x32_load(g->q + 32 * i));
    }
    i32x8_half_sums8(part, &sum0, &sum1);
    sum0 = i32x8_add(sum0, i32x8_sub(minus, minus_second));
    sum1 = i32x8_add(sum1, minus_second);
    scales_nvfp4(blocks, halves, &s0, &s1);
    f32x8_store(g->sum, f32x8_fma(s1, f32x8_from_i32(sum1), f32x8_mul(s0, f32x8_from_i32(sum0))));
    f32x8_store(g->scale, f32x8_load(g->d));
}

/* Formats that only unpack_table knows. */
static void group_any(const struct group *g)
{
    const struct unpack_format *format = &unpack_table[g->job->format];
    struct unpacked w;
    if (g->part < 0) {
        format->unpack(g->p, UNPACK_PIECE, &w);
    } else {
        for (size_t i = 0; i < GROUP; i++) {
            struct unpacked block;
            format->unpack(g->p + g->stride * i, format_info(g->job->format)->block_elements, &block);
            memcpy(w.codes + 32 * i, block.codes + 32 * g->part, 32);
            w.d[i] = block.d[g->part];
        }
    }
    group_sums(g, i8_group_codes(codes_plain, (const uint8_t *)w.codes, 32, g->q, true));
    group_scales(g, f32x8_load(w.d));
}

/* ---- super-blocks ------------------------------------------------------------------------------ */

/* The sum of one super-block, still spread over lanes. */
I8_INLINE i32x8 super_sum(const uint8_t *p, i8x32 (*codes)(const uint8_t *, int), i16x16 scales, const int8_t *q,
                          const int16_t *sums, bool is_signed, int offset)
{
    i8_scales pairs = i8_scales_from(scales);
    i32x8 sum = offset ? i8_scaled_sums(i32x8_zero(), scales, sums, -offset) : i32x8_zero();
    UNROLL(8)
    for (int j = 0; j < 8; j++) {
        i8x32 w = codes(p, j), x = i8x32_load(q + 32 * j);
        sum = is_signed ? i8_dot_scaled_s(sum, w, x, pairs, j) : i8_dot_scaled_u(sum, w, x, pairs, j);
    }
    return sum;
}

I8_INLINE void group_super(const struct group *g, size_t offset_d, i8x32 (*codes)(const uint8_t *, int),
                           void (*scales_of)(const uint8_t *, i16x16 *, i16x16 *), bool has_min, bool is_signed,
                           int offset)
{
    i32x8 part[GROUP], part_min[GROUP];
    size_t b = g->first;
    for (size_t i = 0; i < GROUP; i++) {
        const uint8_t *block = g->p + g->stride * i;
        const int16_t *sums = g->row->sums + 16 * b;
        i16x16 scales, mins;
        scales_of(block, &scales, &mins);
        part[i] = super_sum(block, codes, scales, g->row->q + 256 * b, sums, is_signed, offset);
        if (has_min) part_min[i] = i8_scaled_sums(i32x8_zero(), mins, sums, 1);
        if (++b == g->job->k / 256) b = 0;
    }
    f32x8_store(g->sum, f32x8_from_i32(i32x8_sums8(part)));
    group_scales(g, f32x8_gather_f16(g->p + offset_d, g->stride));
    if (!has_min) return;
    f32x8_store(g->min, f32x8_mul(f32x8_gather_f16(g->p + offset_d + 2, g->stride), f32x8_load(g->d)));
    f32x8_store(g->of_min, f32x8_from_i32(i32x8_sums8(part_min)));
}

I8_INLINE void group_q2_k(const struct group *g)
{
    group_super(g, 80, codes_q2_k, scales_q2_k, true, false, 0);
}

I8_INLINE void group_q3_k(const struct group *g)
{
    group_super(g, 108, codes_q3_k, scales_q3_k, false, false, 4);
}

I8_INLINE void group_q4_k(const struct group *g)
{
    group_super(g, 0, codes_q4_k, scales_k4, true, false, 0);
}

I8_INLINE void group_q5_k(const struct group *g)
{
    group_super(g, 0, codes_q5_k, scales_k4, true, false, 0);
}

I8_INLINE void group_q6_k(const struct group *g)
{
    group_super(g, 208, codes_q6_k, scales_q6_k, false, false, 32);
}

I8_INLINE void group_iq4_xs(const struct group *g)
{
    group_super(g, 0, codes_iq4_xs, scales_iq4_xs, false, true, 0);
}

/* Formats that only unpack_table knows; none of them has minimums. */
static void group_super_any(const struct group *g)
{
    size_t b = g->first;
    i32x8 part[GROUP];
    float d[GROUP];
    for (size_t i = 0; i < GROUP; i++) {
        struct unpacked w;
        unpack_table[g->job->format].unpack(g->p + g->stride * i, 256, &w);
        part[i] = super_sum((const uint8_t *)w.codes, codes_super_plain, i16x16_load(w.scales), g->row->q + 256 * b,
                            g->row->sums + 16 * b, true, 0);
        d[i] = w.super_d;
        if (++b == g->job->k / 256) b = 0;
    }
    f32x8_store(g->sum, f32x8_from_i32(i32x8_sums8(part)));
    group_scales(g, f32x8_load(d));
}

I8_INLINE void rows_s256(const struct kernel_matmul *job, size_t row_begin, size_t row_end, void *scratch,
                         size_t block_bytes, group_fn *group)
{
    struct row_stream s = row_stream_in(scratch, job);
    for (size_t at = 0; at < s.period; at++)
        s.d[at] = s.a.d[at % s.n_blocks];
    row_stream_run(&s, row_begin, row_end, 256, block_bytes, group);
}

/* ---- by format --------------------------------------------------------------------------------- */

#define ROWS_B32(name, offset, arrange, block_elements, block_bytes)                                    \
    static void rows_##name(const struct kernel_matmul *job, size_t begin, size_t end, void *scratch)   \
    {                                                                                                   \
        rows_b32(job, begin, end, scratch, offset, arrange, block_elements, block_bytes, group_##name); \
    }

#define ROWS_S256(name, block_bytes)                                                                  \
    static void rows_##name(const struct kernel_matmul *job, size_t begin, size_t end, void *scratch) \
    {                                                                                                 \
        rows_s256(job, begin, end, scratch, block_bytes, group_##name);                               \
    }

ROWS_B32(q4_0, 8, i8_arrange_nibbles, 32, 18)
ROWS_B32(q4_1, 0, i8_arrange_nibbles, 32, 20)
ROWS_B32(q5_0, 16, i8_arrange_codes, 32, 22)
ROWS_B32(q5_1, 0, i8_arrange_codes, 32, 24)
ROWS_B32(q8_0, I8_OFFSET_S, i8_arrange_codes, 32, 34)
ROWS_B32(iq4_nl, I8_OFFSET_S, i8_arrange_nibbles, 32, 18)
ROWS_B32(mxfp4, 12, i8_arrange_nibbles, 32, 17)
ROWS_B32(nvfp4, 12, arrange_plain, 64, 36)
ROWS_S256(q2_k, 84)
ROWS_S256(q3_k, 110)
ROWS_S256(q4_k, 144)
ROWS_S256(q5_k, 176)
ROWS_S256(q6_k, 210)
ROWS_S256(iq4_xs, 136)

/* One token; rows without gaps. */
static void matmul_rows(const struct kernel_matmul *job, size_t begin, size_t end, void *scratch)
{
    const struct format_info *info = format_info(job->format);
    switch (job->format) {
    case FORMAT_Q4_0: rows_q4_0(job, begin, end, scratch); break;
    case FORMAT_Q4_1: rows_q4_1(job, begin, end, scratch); break;
    case FORMAT_Q5_0: rows_q5_0(job, begin, end, scratch); break;
    case FORMAT_Q5_1: rows_q5_1(job, begin, end, scratch); break;
    case FORMAT_Q8_0: rows_q8_0(job, begin, end, scratch); break;
    case FORMAT_IQ4_NL: rows_iq4_nl(job, begin, end, scratch); break;
    case FORMAT_MXFP4: rows_mxfp4(job, begin, end, scratch); break;
    case FORMAT_NVFP4: rows_nvfp4(job, begin, end, scratch); break;
    case FORMAT_Q2_K: rows_q2_k(job, begin, end, scratch); break;
    case FORMAT_Q3_K: rows_q3_k(job, begin, end, scratch); break;
    case FORMAT_Q4_K: rows_q4_k(job, begin, end, scratch); break;
    case FORMAT_Q5_K: rows_q5_k(job, begin, end, scratch); break;
    case FORMAT_Q6_K: rows_q6_k(job, begin, end, scratch); break;
    case FORMAT_IQ4_XS: rows_iq4_xs(job, begin, end, scratch); break;
    default:
        if (unpack_table[job->format].class == UNPACK_S256)
            rows_s256(job, begin, end, scratch, info->block_bytes, group_super_any);
        else
            rows_b32(job, begin, end, scratch, I8_OFFSET_S, i8_arrange_codes, info->block_elements, info->block_bytes,
                     group_any);
    }
}
