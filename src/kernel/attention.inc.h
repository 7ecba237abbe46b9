/* attention.inc.h - attention over one KV head (kernel.h), for any instruction set; included after ops.inc.h, quantize.inc.h
 * and a kv_*.h.
 *
 * Queries are rows. A few rows at a time (a block) go over a tile of the cache: whatever of it was loaded and converted
 * serves all of them, and their sums fill the registers. For scores a lane is a position, for values a dimension; the
 * order in which blocks and spans are taken changes no result. Where the rows of a block do not see the same positions,
 * what only some see is added row by row: nothing unseen is ever multiplied.
 */
#include "kernel/cache.h"
#include "kernel/inline.h"

enum {
    ATTENTION_SPAN =
        64, /* positions that all blocks go over before the next ones: they stay in the first-level cache */
    ATTENTION_LANES = F32V_LANES,
    ATTENTION_VECTORS = KERNEL_KV_GROUP / F32V_LANES, /* of a group of positions, or of 16 values */
    ATTENTION_SUMS = 24,                              /* registers for sums, at most */
    ATTENTION_ROWS = KERNEL_ATTENTION_QUERIES,
};

struct attention_work {
    const struct kernel_attention *job;
    size_t first, n_rows; /* which queries of the job */
    size_t width, part_floats;
    size_t slot;     /* of the tile's first position */
    float *q;        /* blocks, one after the other: (width, rows of the block), or what follows */
    uint32_t *quads; /* Q8_0: blocks: (width / 4, rows): four codes each */
    float *d_q;      /* Q8_0: blocks: (width / 32, rows) */
    int32_t *totals; /* Q8_0: sums of 32 codes, likewise */
    float *p;        /* (rows, KERNEL_KV_TILE): scores, then weights */
    float *scaled;   /* Q8_0: (rows of a block, KERNEL_KV_TILE): weights times the values' scales */
    float *parts, *states;
    size_t begin[ATTENTION_ROWS], end[ATTENTION_ROWS]; /* what each row sees of the tile, from its first position on */
};

/* ---- scores ------------------------------------------------------------------------------------ */

I8_INLINE f32v attention_load(const void *data, size_t i, enum format format)
{
    if (format == FORMAT_F32) return f32v_load((const float *)data + i);
    if (format == FORMAT_F16) return f32v_load_f16((const uint16_t *)data + i);
    return kv_load_i8((const int8_t *)data + i);
}

/* Of n rows from `row` on and KV_GROUPS(n) groups of the tile from `group` on. n and format are constants. */
I8_INLINE void attention_scores(const int n, enum format format, const struct attention_work *w, size_t row,
                                size_t group)
{
    const int n_vectors = KV_GROUPS(n) * ATTENTION_VECTORS;
    const size_t stride = KERNEL_KV_GROUP * w->width, base = (w->slot / KERNEL_KV_GROUP + group) * stride;
    const float *q = w->q + row * w->width;
    f32v sum[ATTENTION_SUMS];
    UNROLL(32)
    for (int i = 0; i < n * n_vectors; i++)
        sum[i] = f32v_zero();
    for (size_t d = 0; d < w->job->kv.head_dim; d++, q += n) {
        f32v x[KV_QUERIES];
        UNROLL(8)
        for (int r = 0; r < n; r++)
            x[r] = f32v_set1(q[r]);
        UNROLL(8)
        for (int v = 0; v < n_vectors; v++) {
            size_t at = base + (size_t)(v / ATTENTION_VECTORS) * stride + d * KERNEL_KV_GROUP +
                        (size_t)(v % ATTENTION_VECTORS) * ATTENTION_LANES;
            f32v key = attention_load(w->job->kv.keys, at, format);
            UNROLL(8)
            for (int r = 0; r < n; r++)
                sum[r * n_vectors + v] = f32v_fma(x[r], key, sum[r * n_vectors + v]);
        }
    }
    float *p = w->p + row * KERNEL_KV_TILE + group * KERNEL_KV_GROUP;
    UNROLL(8)
    for (int r = 0; r < n; r++) {
        UNROLL(8)
        for (int v = 0; v < n_vectors; v++)
            f32v_store(p + r * KERNEL_KV_TILE + v * ATTENTION_LANES, sum[r * n_vectors + v]);
    }
}

/* The same for Q8_0. Between blocks of 32 dimensions the sums are in memory: registers are for the integers. */
I8_INLINE void attention_scores_codes(const int n, const struct attention_work *w, size_t row, size_t group)
{
    const int n_vectors = KV_GROUPS(n) * ATTENTION_VECTORS;
    const size_t stride = KERNEL_KV_GROUP * w->width, n_scales = w->width / 32;
    const size_t first_group = w->slot / KERNEL_KV_GROUP + group;
    const int8_t *keys = (const int8_t *)w->job->kv.keys + first_group * stride;
    const uint16_t *scales = cache_scales(&w->job->kv, w->job->kv.keys) + first_group * n_scales * KERNEL_KV_GROUP;
    const uint32_t *quads = w->quads + row * (w->width / 4);
    float *p = w->p + row * KERNEL_KV_TILE + group * KERNEL_KV_GROUP;
    for (size_t b = 0; b < n_scales; b++, keys += 8 * 64, quads += 8 * n) {
        const size_t factors = row * n_scales + b * (size_t)n;
        kv_sums sum[ATTENTION_SUMS];
        UNROLL(8)
        for (int r = 0; r < n; r++) {
            UNROLL(8)
            for (int v = 0; v < n_vectors; v++)
                sum[r * n_vectors + v] = kv_sums_start(w->totals[factors + (size_t)r]);
        }
        for (size_t quad = 0; quad < 8; quad++) {
            UNROLL(8)
            for (int v = 0; v < n_vectors; v++) {
                kv_codes codes = kv_codes_load(keys + (size_t)(v / ATTENTION_VECTORS) * stride + quad * 64 +
                                               (size_t)(v % ATTENTION_VECTORS) * ATTENTION_LANES * 4);
                UNROLL(8)
                for (int r = 0; r < n; r++)
                    sum[r * n_vectors + v] =
                        kv_sums_add(sum[r * n_vectors + v], codes, quads[quad * (size_t)n + (size_t)r]);
            }
        }
        UNROLL(8)
        for (int v = 0; v < n_vectors; v++) {
            f32v d = f32v_load_f16(scales + ((size_t)(v / ATTENTION_VECTORS) * n_scales + b) * KERNEL_KV_GROUP +
                                   (size_t)(v % ATTENTION_VECTORS) * ATTENTION_LANES);
            UNROLL(8)
            for (int r = 0; r < n; r++) {
                float *out = p + r * KERNEL_KV_TILE + v * ATTENTION_LANES;
                f32v d_q = f32v_set1(w->d_q[factors + (size_t)r]), acc = b == 0 ? f32v_zero() : f32v_load(out);
                f32v_store(out, f32v_fma(f32v_mul(d, d_q), kv_sums_float(sum[r * n_vectors + v]), acc));
            }
        }
    }
}

/* Scores to weights of one row, in place; its top and sum to its part. Whole groups are worked on: what the row does not
 * see of them gets weight 0. */
static void attention_weights(const struct attention_work *w, size_t row)
{
    const struct kernel_attention *job = w->job;
    float *p = w->p + row * KERNEL_KV_TILE, *part = w->parts + row * w->part_floats, lanes[KERNEL_KV_GROUP];
    size_t first = w->begin[row] / KERNEL_KV_GROUP * KERNEL_KV_GROUP, begin = w->begin[row], end = w->end[row];
    size_t last = (end + KERNEL_KV_GROUP - 1) / KERNEL_KV_GROUP * KERNEL_KV_GROUP;
    for (size_t i = first; i < last; i += ATTENTION_LANES) {
        f32v s = f32v_mul(f32v_load(p + i), f32v_set1(job->scale));
        if (job->softcap != 0.0f) s = ops_cap(s, f32v_set1(job->softcap));
        f32v_store(p + i, s);
    }
    for (size_t i = first; i < begin; i++)
        p[i] = -INFINITY;
    for (size_t i = end; i < last; i++)
        p[i] = -INFINITY;
    f32v most = f32v_set1(-INFINITY);
    for (size_t i = first; i < last; i += ATTENTION_LANES)
        most = f32v_max(most, f32v_load(p + i));
    f32v_store(lanes, most);
    float top = lanes[0];
    for (size_t i = 1; i < ATTENTION_LANES; i++)
        top = lanes[i] > top ? lanes[i] : top;
    f32v sum[ATTENTION_VECTORS];
    for (size_t v = 0; v < ATTENTION_VECTORS; v++)
        sum[v] = f32v_zero();
    for (size_t i = first; i < last; i += KERNEL_KV_GROUP) {
        UNROLL(2)
        for (size_t v = 0; v < ATTENTION_VECTORS; v++) {
            f32v e = f32v_exp(f32v_sub(f32v_load(p + i + v * ATTENTION_LANES), f32v_set1(top)));
            f32v_store(p + i + v * ATTENTION_LANES, e);
            sum[v] = f32v_add(sum[v], e);
        }
    }
    for (size_t v = 0; v < ATTENTION_VECTORS; v++)
        f32v_store(lanes + v * ATTENTION_LANES, sum[v]);
    part[PART_TOP] = top;
    part[PART_SUM] = f32x8_sum(f32x8_add(f32x8_load(lanes), f32x8_load(lanes + 8)));
}

/* ---- values ------------------------------------------------------------------------------------ */

/* Adds to 16 * n_panels values from `value` on, of n rows from `row` on, what positions [begin, end) of the tile give. p:
 * the rows' weights. n, n_panels and format are constants. */
I8_INLINE void attention_values(const int n, const int n_panels, enum format format, const struct attention_work *w,
                                size_t row, const float *p, size_t begin, size_t end, size_t value)
{
    const int n_vectors = n_panels * ATTENTION_VECTORS;
    float *o = w->parts + row * w->part_floats + PART_VALUES + value;
    f32v sum[ATTENTION_SUMS];
    UNROLL(8)
    for (int r = 0; r < n; r++) {
        UNROLL(8)
        for (int v = 0; v < n_vectors; v++)
            sum[r * n_vectors + v] = f32v_load(o + (size_t)r * w->part_floats + v * ATTENTION_LANES);
    }
    size_t at = (w->slot + begin) * w->width + value;
    for (size_t i = begin; i < end; i++, at += w->width) {
        f32v x[KV_QUERIES];
        UNROLL(8)
        for (int r = 0; r < n; r++)
            x[r] = f32v_set1(p[(size_t)r * KERNEL_KV_TILE + i]);
        UNROLL(8)
        for (int v = 0; v < n_vectors; v++) {
            f32v values = attention_load(w->job->kv.values, at + (size_t)v * ATTENTION_LANES, format);
            UNROLL(8)
            for (int r = 0; r < n; r++)
                sum[r * n_vectors + v] = f32v_fma(x[r], values, sum[r * n_vectors + v]);
        }
    }
    UNROLL(8)
    for (int r = 0; r < n; r++) {
        UNROLL(8)
        for (int v = 0; v < n_vectors; v++)
            f32v_store(o + (size_t)r * w->part_floats + v * ATTENTION_LANES, sum[r * n_vectors + v]);
    }
}

/* All values. */
I8_INLINE void attention_values_all(const int n, enum format format, const struct attention_work *w, size_t row,
                                    size_t begin, size_t end)
{
    const float *p = w->p + row * KERNEL_KV_TILE;
    const size_t panels = 16 * (size_t)KV_GROUPS(n);
    size_t value = 0;
    for (; value + panels <= w->width; value += panels)
        attention_values(n, KV_GROUPS(n), format, w, row, p, begin, end, value);
    for (; KV_GROUPS(n) > 1 && value < w->width; value += 16)
        attention_values(n, 1, format, w, row, p, begin, end, value);
}

I8_INLINE void attention_values_codes(const int n, const struct attention_work *w, size_t row, size_t begin, size_t end)
{
    const size_t n_scales = w->width / 32, first = begin / KERNEL_KV_GROUP * KERNEL_KV_GROUP;
    const uint16_t *scales = cache_scales(&w->job->kv, w->job->kv.values);
    const float *p = w->p + row * KERNEL_KV_TILE;
    for (size_t b = 0; b < n_scales; b++) {
        for (size_t i = first; i < end; i += ATTENTION_LANES) {
            f32v d = f32v_load_f16(scales + cache_scale_at(w->width, w->slot + i, b));
            UNROLL(8)
            for (int r = 0; r < n; r++)
                f32v_store(w->scaled + r * KERNEL_KV_TILE + i, f32v_mul(f32v_load(p + r * KERNEL_KV_TILE + i), d));
        }
        const int n_panels = KV_GROUPS(n) > 1 ? 2 : 1;
        for (size_t value = 32 * b; value < 32 * (b + 1); value += 16 * (size_t)n_panels)
            attention_values(n, n_panels, FORMAT_Q8_0, w, row, w->scaled, begin, end, value);
    }
}

/* ---- the loops for each number of rows and format ---------------------------------------------- */

typedef void attention_scores_run(const struct attention_work *w, size_t row, size_t group);
typedef void attention_values_run(const struct attention_work *w, size_t row, size_t begin, size_t end);

#define ATTENTION_VARIANT(n)                                                                                   \
    static void attention_scores_f32_##n(const struct attention_work *w, size_t row, size_t group)             \
    {                                                                                                          \
        attention_scores(n, FORMAT_F32, w, row, group);                                                        \
    }                                                                                                          \
    static void attention_scores_f16_##n(const struct attention_work *w, size_t row, size_t group)             \
    {                                                                                                          \
        attention_scores(n, FORMAT_F16, w, row, group);                                                        \
    }                                                                                                          \
    static void attention_scores_q8_##n(const struct attention_work *w, size_t row, size_t group)              \
    {                                                                                                          \
        attention_scores_codes(n, w, row, group);                                                              \
    }                                                                                                          \
    static void attention_values_f32_##n(const struct attention_work *w, size_t row, size_t begin, size_t end) \
    {                                                                                                          \
        attention_values_all(n, FORMAT_F32, w, row, begin, end);                                               \
    }                                                                                                          \
    static void attention_values_f16_##n(const struct attention_work *w, size_t row, size_t begin, size_t end) \
    {                                                                                                          \
        attention_values_all(n, FORMAT_F16, w, row, begin, end);                                               \
    }                                                                                                          \
    static void attention_values_q8_##n(const struct attention_work *w, size_t row, size_t begin, size_t end)  \
    {                                                                                                          \
        attention_values_codes(n, w, row, begin, end);                                                         \
    }
#define ATTENTION_RUNS(n)                                                               \
    {                                                                                   \
        {attention_scores_f32_##n, attention_scores_f16_##n, attention_scores_q8_##n},  \
        {                                                                               \
            attention_values_f32_##n, attention_values_f16_##n, attention_values_q8_##n \
        }                                                                               \
    }

ATTENTION_VARIANT(1)
ATTENTION_VARIANT(2)
ATTENTION_VARIANT(3)
ATTENTION_VARIANT(4)
#if KV_QUERIES == 6
ATTENTION_VARIANT(5)
ATTENTION_VARIANT(6)
#endif

static const struct {
    attention_scores_run *scores[3];
    attention_values_run *values[3];
} attention_runs[KV_QUERIES] = {
    ATTENTION_RUNS(1), ATTENTION_RUNS(2), ATTENTION_RUNS(3), ATTENTION_RUNS(4),
#if KV_QUERIES == 6
    ATTENTION_RUNS(5), ATTENTION_RUNS(6),
#endif
};

static size_t attention_format(enum format format)
{
    return format == FORMAT_F32 ? 0 : format == FORMAT_F16 ? 1 : 2;
}

/* ---- one tile ---------------------------------------------------------------------------------- */

/* Rows of the next block when n are left: blocks of about the same size. */
static size_t attention_block(size_t n)
{
    size_t n_blocks = (n + KV_QUERIES - 1) / KV_QUERIES;
    return (n + n_blocks - 1) / n_blocks;
}

/* What all of n rows see of a span (of what they see, all: the widest range). */
static void attention_common(const struct attention_work *w, size_t row, size_t n, size_t span, bool any, size_t *begin,
                             size_t *end)
{
    *begin = w->begin[row + (any ? 0 : n - 1)]; /* both rise with the position */
    *end = w->end[row + (any ? n - 1 : 0)];
    if (*begin < span) *begin = span;
    if (*end > span + ATTENTION_SPAN) *end = span + ATTENTION_SPAN;
}

static void attention_span_scores(const struct attention_work *w, size_t row, size_t n, size_t span)
{
    size_t begin, end, n_groups = KV_GROUPS(n);
    attention_common(w, row, n, span, true, &begin, &end);
    for (size_t g = begin / KERNEL_KV_GROUP / n_groups * n_groups; g * KERNEL_KV_GROUP < end; g += n_groups)
        attention_runs[n - 1].scores[attention_format(w->job->kv.format)](w, row, g);
}

static void attention_span_values(const struct attention_work *w, size_t row, size_t n, size_t span)
{
    size_t begin, end, format = attention_format(w->job->kv.format);
    attention_common(w, row, n, span, false, &begin, &end);
    bool together = begin < end;
    for (size_t r = row; r < row + n; r++) {
        size_t mine, my_end;
        attention_common(w, r, 1, span, true, &mine, &my_end);
        if (together && my_end > begin) my_end = begin;
        if (mine < my_end) attention_runs[0].values[format](w, r, mine, my_end);
    }
    if (!together) return;
    attention_runs[n - 1].values[format](w, row, begin, end);
    for (size_t r = row; r < row + n; r++) {
        size_t mine, my_end;
        attention_common(w, r, 1, span, true, &mine, &my_end);
        if (end < my_end) attention_runs[0].values[format](w, r, end, my_end);
    }
}

static void attention_tile(struct attention_work *w, size_t tile)
{
    w->slot = tile * KERNEL_KV_TILE % w->job->kv.capacity;
    for (size_t row = 0; row < w->n_rows; row++) {
        size_t begin, end;
        cache_visible(w->job, w->first + row, &begin, &end);
        cache_clip(tile, &begin, &end);
        if (begin >= end) /* nothing: before the tile, or (it stays in order) past it */
            begin = end = end <= tile * KERNEL_KV_TILE ? tile * KERNEL_KV_TILE : (tile + 1) * KERNEL_KV_TILE;
        w->begin[row] = begin - tile * KERNEL_KV_TILE;
        w->end[row] = end - tile * KERNEL_KV_TILE;
    }
    for (size_t span = 0; span < KERNEL_KV_TILE; span += ATTENTION_SPAN)
        for (size_t row = 0, n; row < w->n_rows; row += n)
            attention_span_scores(w, row, n = attention_block(w->n_rows - row), span);
    for (size_t row = 0; row < w->n_rows; row++) {
        attention_weights(w, row);
        memset(w->parts + row * w->part_floats + PART_VALUES, 0, w->width * sizeof(float));
    }
    for (size_t span = 0; span < KERNEL_KV_TILE; span += ATTENTION_SPAN)
        for (size_t row = 0, n; row < w->n_rows; row += n)
            attention_span_values(w, row, n = attention_block(w->n_rows - row), span);
}

/* ---- jobs -------------------------------------------------------------------------------------- */

/* Queries `first` and so on of a job, at most ATTENTION_ROWS; scratch is dealt out. */
static struct attention_work attention_begin(const struct kernel_attention *job, size_t first, float *scratch)
{
    size_t n = job->n_tokens * job->n_heads - first, width = cache_width(job->kv.format, job->kv.head_dim);
    struct attention_work w = {.job = job, .first = first, .width = width, .part_floats = PART_VALUES + width};
    w.n_rows = n < ATTENTION_ROWS ? n : ATTENTION_ROWS;
    w.q = scratch;
    w.quads = (uint32_t *)(void *)w.q;
    w.d_q = w.q + ATTENTION_ROWS * width / 4;
    w.totals = (int32_t *)(void *)(w.d_q + ATTENTION_ROWS * width / 32);
    w.p = w.q + ATTENTION_ROWS * width;
    w.scaled = w.p + ATTENTION_ROWS * KERNEL_KV_TILE;
    w.states = w.scaled + KV_QUERIES * KERNEL_KV_TILE;
    w.parts = w.states + ATTENTION_ROWS * w.part_floats;
    return w;
}

static const float *attention_q(const struct kernel_attention *job, size_t row)
{
    return job->q + row / job->n_heads * job->stride + row % job->n_heads * job->kv.head_dim;
}

/* Query r of a block of n rows that begins at `row`, as codes. */
static void attention_quantize(const struct attention_work *w, size_t row, size_t n, size_t r)
{
    const float *q = attention_q(w->job, w->first + row + r);
    size_t head_dim = w->job->kv.head_dim, n_scales = w->width / 32;
    for (size_t b = 0; b < n_scales; b++) {
        float chunk[32] = {0};
        int8_t codes[32];
        int16_t sums[2];
        memcpy(chunk, q + 32 * b, (head_dim - 32 * b < 32 ? head_dim - 32 * b : 32) * sizeof *q);
        w->d_q[row * n_scales + b * n + r] = quantize_block(chunk, 32, codes, sums);
        w->totals[row * n_scales + b * n + r] = sums[0] + sums[1];
        for (size_t i = 0; i < 8; i++)
            memcpy(&w->quads[row * w->width / 4 + (8 * b + i) * n + r], codes + 4 * i, 4);
    }
}

/* The queries as the loops take them: those of a block side by side. */
static void attention_arrange(const struct attention_work *w)
{
    for (size_t row = 0, n; row < w->n_rows; row += n) {
        n = attention_block(w->n_rows - row);
        for (size_t r = 0; r < n; r++) {
            const float *q = attention_q(w->job, w->first + row + r);
            if (w->job->kv.format == FORMAT_Q8_0)
                attention_quantize(w, row, n, r);
            else
                for (size_t d = 0; d < w->job->kv.head_dim; d++)
                    w->q[row * w->width + d * n + r] = q[d];
        }
    }
}

/* Adds a part to a query's state. */
static void attention_add(float *state, const float *part, size_t width)
{
    float top = part[PART_TOP] > state[PART_TOP] ? part[PART_TOP] : state[PART_TOP];
    float factors[F32V_LANES] = {state[PART_TOP] - top, part[PART_TOP] - top};
    f32v_store(factors, f32v_exp(f32v_load(factors)));
    f32v a = f32v_set1(factors[0]), b = f32v_set1(factors[1]);
    state[PART_TOP] = top;
    state[PART_SUM] = fmaf(part[PART_SUM], factors[1], state[PART_SUM] * factors[0]);
    for (size_t d = PART_VALUES; d < PART_VALUES + width; d += F32V_LANES)
        f32v_store(state + d, f32v_fma(f32v_load(part + d), b, f32v_mul(f32v_load(state + d), a)));
}

static void attention_finish(const struct kernel_attention *job, size_t row, const float *state)
{
    float *out = job->out + row / job->n_heads * job->stride + row % job->n_heads * job->kv.head_dim;
    for (size_t d = 0; d < job->kv.head_dim; d += F32V_LANES)
        ops_store(out + d, f32v_div(f32v_load(state + PART_VALUES + d), f32v_set1(state[PART_SUM])),
                  job->kv.head_dim - d);
}

static void attention(const struct kernel_attention *job, void *scratch)
{
    size_t n_rows = job->n_tokens * job->n_heads, begin, end, unused;
    for (size_t first = 0; first < n_rows; first += ATTENTION_ROWS) {
        struct attention_work w = attention_begin(job, first, scratch);
        attention_arrange(&w);
        cache_visible(job, first, &begin, &unused);
        cache_visible(job, first + w.n_rows - 1, &unused, &end);
        size_t first_tile = begin / KERNEL_KV_TILE;
        for (size_t tile = first_tile; tile * KERNEL_KV_TILE < end; tile++) {
            attention_tile(&w, tile);
            for (size_t row = 0; row < w.n_rows; row++) {
                float *state = w.states + row * w.part_floats, *part = w.parts + row * w.part_floats;
                cache_visible(job, first + row, &begin, &unused);
                if (begin / KERNEL_KV_TILE == tile)
                    memcpy(state, part, w.part_floats * sizeof *state);
                else if (w.begin[row] < w.end[row])
                    attention_add(state, part, w.width);
            }
        }
        for (size_t row = 0; row < w.n_rows; row++)
            attention_finish(job, first + row, w.states + row * w.part_floats);
    }
}

static void attention_part(const struct kernel_attention *job, size_t tile, float *parts, void *scratch)
{
    for (size_t first = 0; first < job->n_tokens * job->n_heads; first += ATTENTION_ROWS) {
        struct attention_work w = attention_begin(job, first, scratch);
        w.parts = parts + first * w.part_floats;
        attention_arrange(&w);
        attention_tile(&w, tile);
    }
}

static void attention_join(const struct kernel_attention *job, float *parts, size_t n_tiles)
{
    size_t n_rows = job->n_tokens * job->n_heads, width = cache_width(job->kv.format, job->kv.head_dim);
    size_t part_floats = PART_VALUES + width;
    for (size_t row = 0; row < n_rows; row++) {
        for (size_t i = 1; i < n_tiles; i++)
            attention_add(parts + row * part_floats, parts + (i * n_rows + row) * part_floats, width);
        attention_finish(job, row, parts + row * part_floats);
    }
}
