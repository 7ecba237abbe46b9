/* matmul_float.inc.h - products of float weights, over the vectors of f32v_*.
 *
 * Two ways through. Few tokens: reading the weights is the limit, so rows are read one after the other, as they lie in
 * memory, and multiplied as they arrive. More tokens: the arithmetic is, so a panel of rows, a piece long, is unpacked
 * to scratch once for all tokens, and tiles of FLOAT_ROWS x FLOAT_COLUMNS sums sweep it; a tile's activations stay in
 * the first cache while all rows of the panel pass.
 */

/* All loops over registers have UNROLL(16): with exactly the number of turns clang leaves some of them as they are. */

/* Vectors that hold the lanes of one sum. */
enum { FLOAT_VECTORS = KERNEL_FLOAT_LANES / F32V_LANES };

enum { PANEL_ROWS = 32, FLOAT_AHEAD_BYTES = 8192 /* memory is asked for so early */, FLOAT_CACHE_BYTES = 32 * 1024 };

_Static_assert(PANEL_ROWS % FLOAT_ROWS == 0, "panels are made of whole tiles");
_Static_assert(PANEL_ROWS *KERNEL_FLOAT_PIECE * sizeof(float) <= MATMUL_TILE_BYTES, "scratch");
_Static_assert(FLOAT_VECTORS == 2 || FLOAT_VECTORS == 4, "panel_tile");

I8_INLINE size_t float_bytes(enum format format)
{
    return format == FORMAT_F32 ? 4 : 2;
}

/* F32V_LANES of the elements at p, beginning with i. */
I8_INLINE f32v float_load(enum format format, const uint8_t *p, size_t i)
{
    const void *at = p + i * float_bytes(format);
    if (format == FORMAT_F16) return f32v_load_f16(at);
    if (format == FORMAT_BF16) return f32v_load_bf16(at);
    return f32v_load(at);
}

static inline const float *float_acts(const struct kernel_matmul *job, size_t t)
{
    return (const float *)(const void *)((const uint8_t *)job->acts + t * job->act_stride_bytes);
}

static inline size_t float_piece_size(const struct kernel_matmul *job, size_t begin)
{
    return job->k - begin < KERNEL_FLOAT_PIECE ? job->k - begin : KERNEL_FLOAT_PIECE;
}

/* From a piece of a row to that of a later row; these pieces are FLOAT_AHEAD_BYTES or more. */
I8_INLINE size_t float_ahead(const struct kernel_matmul *job, enum format format)
{
    size_t piece_bytes = float_piece_size(job, 0) * float_bytes(format);
    return (FLOAT_AHEAD_BYTES + piece_bytes - 1) / piece_bytes * job->row_bytes;
}

/* The lanes beyond a vector's are added first. */
I8_INLINE f32v float_fold(const f32v part[FLOAT_VECTORS])
{
    f32v sum[FLOAT_VECTORS];
    UNROLL(16)
    for (size_t v = 0; v < FLOAT_VECTORS; v++)
        sum[v] = part[v];
    UNROLL(16)
    for (size_t n = FLOAT_VECTORS / 2; n > 0; n /= 2) {
        UNROLL(16)
        for (size_t v = 0; v < n; v++)
            sum[v] = f32v_add(sum[v], sum[v + n]);
    }
    return sum[0];
}

static void float_finish(const struct kernel_matmul *job, size_t row, size_t n_rows)
{
    if (job->scale == 1.0f && !job->bias) return;
    for (size_t t = 0; t < job->n_tokens; t++) {
        float *out = job->out + t * job->out_stride;
        for (size_t r = row; r < row + n_rows; r++) {
            if (job->scale != 1.0f) out[r] *= job->scale;
            if (job->bias) out[r] += job->bias[r];
        }
    }
}

/* ---- few tokens -------------------------------------------------------------------------------- */

struct float_sums {
    f32v lanes[FLOAT_DIRECT][FLOAT_VECTORS];
};

/* KERNEL_FLOAT_LANES weights at p with the activations at x of n_tokens tokens. */
I8_INLINE void float_step(struct float_sums *sums, enum format format, const uint8_t *p, const float *x,
                          size_t act_floats, size_t n_tokens)
{
    f32v w[FLOAT_VECTORS];
    UNROLL(16)
    for (size_t v = 0; v < FLOAT_VECTORS; v++)
        w[v] = float_load(format, p, v * F32V_LANES);
    UNROLL(16)
    for (size_t t = 0; t < n_tokens; t++) {
        UNROLL(16)
        for (size_t v = 0; v < FLOAT_VECTORS; v++)
            sums->lanes[t][v] = f32v_fma(w[v], f32v_load(x + t * act_floats + v * F32V_LANES), sums->lanes[t][v]);
    }
}

/* A piece of a row with n_tokens tokens, a constant; memory is asked for `ahead` bytes early. */
I8_INLINE void float_piece(const struct kernel_matmul *job, enum format format, size_t row, size_t begin, size_t ahead,
                           size_t first, size_t n_tokens)
{
    const uint8_t *p = (const uint8_t *)job->weights + row * job->row_bytes + begin * float_bytes(format);
    const float *x = float_acts(job, first) + begin;
    size_t act_floats = job->act_stride_bytes / sizeof *x, i = 0, n = float_piece_size(job, begin);
    float *out = job->out + first * job->out_stride + row;
    struct float_sums sums;
    UNROLL(16)
    for (size_t t = 0; t < n_tokens; t++) {
        UNROLL(16)
        for (size_t v = 0; v < FLOAT_VECTORS; v++)
            sums.lanes[t][v] = f32v_zero();
    }
    for (; i + KERNEL_FLOAT_LANES <= n; i += KERNEL_FLOAT_LANES) {
        const uint8_t *at = p + i * float_bytes(format);
        for (size_t b = 0; b < KERNEL_FLOAT_LANES * float_bytes(format); b += 64)
            __builtin_prefetch(at + ahead + b);
        float_step(&sums, format, at, x + i, act_floats, n_tokens);
    }
    if (i < n) {
        uint8_t rest[KERNEL_FLOAT_LANES * sizeof(float)] = {0};
        memcpy(rest, p + i * float_bytes(format), (n - i) * float_bytes(format));
        float_step(&sums, format, rest, x + i, act_floats, n_tokens);
    }
    UNROLL(16)
    for (size_t t = 0; t < n_tokens; t++)
        out[t * job->out_stride] += f32v_sum(float_fold(sums.lanes[t]));
}

I8_INLINE void float_tokens(const struct kernel_matmul *job, enum format format, size_t row, size_t begin, size_t ahead)
{
    for (size_t t = 0; t < job->n_tokens; t += FLOAT_DIRECT) {
        switch (job->n_tokens - t) {
        case 1: float_piece(job, format, row, begin, ahead, t, 1); break;
        case 2: float_piece(job, format, row, begin, ahead, t, 2); break;
#if FLOAT_DIRECT > 3
        case 3: float_piece(job, format, row, begin, ahead, t, 3); break;
        case 4: float_piece(job, format, row, begin, ahead, t, 4); break;
        case 5: float_piece(job, format, row, begin, ahead, t, 5); break;
        case 6: float_piece(job, format, row, begin, ahead, t, 6); break;
        case 7: float_piece(job, format, row, begin, ahead, t, 7); break;
#endif
        default: float_piece(job, format, row, begin, ahead, t, FLOAT_DIRECT);
        }
    }
}

/* Row after row where all activations stay in the first cache, else piece after piece of some rows. */
I8_INLINE void float_rows(const struct kernel_matmul *job, enum format format, size_t row_begin, size_t row_end)
{
    bool fits = job->n_tokens == 1 || job->n_tokens * job->k * sizeof(float) <= FLOAT_CACHE_BYTES;
    size_t block = fits ? 1 : PANEL_ROWS, ahead = fits ? FLOAT_AHEAD_BYTES : float_ahead(job, format);
    for (size_t first = row_begin; first < row_end; first += block) {
        size_t last = row_end - first < block ? row_end : first + block;
        for (size_t begin = 0; begin < job->k; begin += KERNEL_FLOAT_PIECE) {
            for (size_t row = first; row < last; row++)
                float_tokens(job, format, row, begin, ahead);
        }
    }
}

/* ---- many tokens ------------------------------------------------------------------------------- */

/* A tile's rows lie together: (FLOAT_VECTORS, n_steps, FLOAT_ROWS, F32V_LANES). */
I8_INLINE void panel_fill_row(enum format format, const uint8_t *p, size_t n, size_t ahead, float *panel)
{
    size_t n_steps = (n + KERNEL_FLOAT_LANES - 1) / KERNEL_FLOAT_LANES, stride = FLOAT_ROWS * F32V_LANES;
    uint8_t rest[KERNEL_FLOAT_LANES * sizeof(float)] = {0};
    for (size_t s = 0; s < n_steps; s++) {
        const uint8_t *at = p + s * KERNEL_FLOAT_LANES * float_bytes(format);
        size_t left = n - s * KERNEL_FLOAT_LANES;
        if (left < KERNEL_FLOAT_LANES) at = memcpy(rest, at, left * float_bytes(format));
        for (size_t b = 0; b < KERNEL_FLOAT_LANES * float_bytes(format); b += 64)
            __builtin_prefetch(p + ahead + s * KERNEL_FLOAT_LANES * float_bytes(format) + b);
        UNROLL(16)
        for (size_t v = 0; v < FLOAT_VECTORS; v++)
            f32v_store(panel + (v * n_steps + s) * stride, float_load(format, at, v * F32V_LANES));
    }
}

struct panel {
    const struct kernel_matmul *job;
    float *rows; /* (PANEL_ROWS, KERNEL_FLOAT_PIECE), tile after tile */
    size_t row, n_rows;
    size_t begin, n_steps; /* the piece */
};

/* The last tile is filled up with its last row. */
I8_INLINE void panel_fill(const struct panel *panel, enum format format)
{
    const struct kernel_matmul *job = panel->job;
    size_t n = float_piece_size(job, panel->begin), ahead = float_ahead(job, format);
    for (size_t r = 0; r < panel->n_rows || r % FLOAT_ROWS != 0; r++) {
        size_t row = panel->row + (r < panel->n_rows ? r : panel->n_rows - 1);
        const uint8_t *p = (const uint8_t *)job->weights + row * job->row_bytes + panel->begin * float_bytes(format);
        float *to =
            panel->rows + (r / FLOAT_ROWS * FLOAT_ROWS * panel->n_steps * FLOAT_VECTORS + r % FLOAT_ROWS) * F32V_LANES;
        panel_fill_row(format, p, n, ahead, to);
    }
}

/* Vector v of the sums of a tile: w and x point at its first weights and activations; n_columns is a constant. */
I8_INLINE void panel_products(f32v sums[FLOAT_COLUMNS][FLOAT_ROWS], const float *w, const float *x, size_t act_floats,
                              size_t n_steps, size_t n_columns)
{
    UNROLL(16)
    for (size_t c = 0; c < n_columns; c++) {
        UNROLL(16)
        for (size_t r = 0; r < FLOAT_ROWS; r++)
            sums[c][r] = f32v_zero();
    }
    for (size_t s = 0; s < n_steps; s++) {
        f32v column[FLOAT_COLUMNS];
        UNROLL(16)
        for (size_t c = 0; c < n_columns; c++)
            column[c] = f32v_load(x + c * act_floats);
        UNROLL(16)
        for (size_t r = 0; r < FLOAT_ROWS; r++) {
            f32v v = f32v_load(w + r * F32V_LANES);
            UNROLL(16)
            for (size_t c = 0; c < n_columns; c++)
                sums[c][r] = f32v_fma(v, column[c], sums[c][r]);
        }
        w += FLOAT_ROWS * F32V_LANES;
        x += KERNEL_FLOAT_LANES;
    }
}

/* Sums in memory (n_columns, FLOAT_ROWS, F32V_LANES): set, or added to. Zeros are added too: clang makes a memcpy of a plain
 * copy, and then keeps the sums in memory. (A zero's sign does not reach the result.) */
I8_INLINE void panel_keep(float *kept, f32v sums[FLOAT_COLUMNS][FLOAT_ROWS], size_t n_columns, bool add)
{
    UNROLL(16)
    for (size_t c = 0; c < n_columns; c++) {
        UNROLL(16)
        for (size_t r = 0; r < FLOAT_ROWS; r++) {
            float *at = kept + (c * FLOAT_ROWS + r) * F32V_LANES;
            f32v_store(at, f32v_add(add ? f32v_load(at) : f32v_zero(), sums[c][r]));
        }
    }
}

I8_INLINE void panel_take(f32v sums[FLOAT_COLUMNS][FLOAT_ROWS], const float *kept, size_t n_columns)
{
    UNROLL(16)
    for (size_t c = 0; c < n_columns; c++) {
        UNROLL(16)
        for (size_t r = 0; r < FLOAT_ROWS; r++)
            sums[c][r] = f32v_add(f32v_load(kept + (c * FLOAT_ROWS + r) * F32V_LANES), sums[c][r]);
    }
}

/* Rows r ... of the panel with tokens t ... Vectors half of the lanes apart are added as soon as both are there, the
 * last ones in registers. */
I8_INLINE void panel_tile(const struct panel *panel, size_t r, size_t t, size_t n_columns)
{
    const struct kernel_matmul *job = panel->job;
    const float *x = float_acts(job, t) + panel->begin, *w = panel->rows + r * panel->n_steps * KERNEL_FLOAT_LANES;
    size_t n_rows = panel->n_rows - r, act_floats = job->act_stride_bytes / sizeof *x;
    size_t w_floats = panel->n_steps * FLOAT_ROWS * F32V_LANES;
    _Alignas(64) float kept[FLOAT_VECTORS / 2][FLOAT_COLUMNS * FLOAT_ROWS * F32V_LANES],
        totals[FLOAT_COLUMNS][FLOAT_ROWS];
    f32v sums[FLOAT_COLUMNS][FLOAT_ROWS];
    UNROLL(16)
    for (size_t i = 0; i < FLOAT_VECTORS / 2; i++) {
        size_t other = i + FLOAT_VECTORS / 2;
        panel_products(sums, w + i * w_floats, x + i * F32V_LANES, act_floats, panel->n_steps, n_columns);
        panel_keep(kept[i], sums, n_columns, false);
        panel_products(sums, w + other * w_floats, x + other * F32V_LANES, act_floats, panel->n_steps, n_columns);
        if (i + 1 < FLOAT_VECTORS / 2) panel_keep(kept[i], sums, n_columns, true);
    }
    UNROLL(16)
    for (size_t i = FLOAT_VECTORS / 2; i > 0; i--)
        panel_take(sums, kept[i - 1], n_columns);
    f32v_sum_columns(totals, sums, n_columns);
    float *out = job->out + t * job->out_stride + panel->row + r;
    UNROLL(16)
    for (size_t c = 0; c < n_columns; c++, out += job->out_stride) {
        if (n_rows >= FLOAT_ROWS) {
            UNROLL(16)
            for (size_t i = 0; i < FLOAT_ROWS; i++)
                out[i] += totals[c][i];
        } else {
            for (size_t i = 0; i < n_rows; i++)
                out[i] += totals[c][i];
        }
    }
}

#define PANEL_SWEEP(n)                                                   \
    static void panel_sweep_##n(const struct panel *panel, size_t token) \
    {                                                                    \
        for (size_t r = 0; r < panel->n_rows; r += FLOAT_ROWS)           \
            panel_tile(panel, r, token, n);                              \
    }

PANEL_SWEEP(1)
PANEL_SWEEP(2)
PANEL_SWEEP(3)
#if FLOAT_COLUMNS > 3
PANEL_SWEEP(4)
PANEL_SWEEP(5)
PANEL_SWEEP(6)
#endif

/* Tokens in groups of FLOAT_COLUMNS, or one less where that comes out even. */
static void panel_sweep(const struct panel *panel)
{
    static void (*const sweep[FLOAT_COLUMNS])(const struct panel *, size_t) = {
        panel_sweep_1,
        panel_sweep_2,
        panel_sweep_3,
#if FLOAT_COLUMNS > 3
        panel_sweep_4,
        panel_sweep_5,
        panel_sweep_6,
#endif
    };
    size_t n_tokens = panel->job->n_tokens;
    for (size_t t = 0, n; t < n_tokens; t += n) {
        size_t left = n_tokens - t, n_groups = (left + FLOAT_COLUMNS - 1) / FLOAT_COLUMNS;
        n = (left + n_groups - 1) / n_groups;
        sweep[n - 1](panel, t);
    }
}

I8_INLINE void float_panels(const struct kernel_matmul *job, enum format format, size_t row_begin, size_t row_end,
                            void *scratch)
{
    for (size_t row = row_begin; row < row_end; row += PANEL_ROWS) {
        struct panel panel = {
            .job = job,
            .rows = scratch,
            .row = row,
            .n_rows = row_end - row < PANEL_ROWS ? row_end - row : PANEL_ROWS,
        };
        for (; panel.begin < job->k; panel.begin += KERNEL_FLOAT_PIECE) {
            panel.n_steps = (float_piece_size(job, panel.begin) + KERNEL_FLOAT_LANES - 1) / KERNEL_FLOAT_LANES;
            panel_fill(&panel, format);
            panel_sweep(&panel);
        }
    }
}

/* ---- formats ----------------------------------------------------------------------------------- */

I8_INLINE void float_format(const struct kernel_matmul *job, enum format format, size_t begin, size_t end,
                            void *scratch)
{
    for (size_t t = 0; t < job->n_tokens; t++)
        memset(job->out + t * job->out_stride + begin, 0, (end - begin) * sizeof *job->out);
    if (job->n_tokens <= 8)
        float_rows(job, format, begin, end);
    else
        float_panels(job, format, begin, end, scratch);
    float_finish(job, begin, end - begin);
}

static void matmul_f32(const struct kernel_matmul *job, size_t begin, size_t end, void *scratch)
{
    float_format(job, FORMAT_F32, begin, end, scratch);
}

static void matmul_f16(const struct kernel_matmul *job, size_t begin, size_t end, void *scratch)
{
    float_format(job, FORMAT_F16, begin, end, scratch);
}

static void matmul_bf16(const struct kernel_matmul *job, size_t begin, size_t end, void *scratch)
{
    float_format(job, FORMAT_BF16, begin, end, scratch);
}

static void matmul_floats(const struct kernel_matmul *job, size_t begin, size_t end, void *scratch)
{
    switch (job->format) {
    case FORMAT_F16: matmul_f16(job, begin, end, scratch); break;
    case FORMAT_BF16: matmul_bf16(job, begin, end, scratch); break;
    default: matmul_f32(job, begin, end, scratch);
    }
}
