/* matmul_tile.inc.h - products of block formats for several tokens: rows unpacked once, swept by all of them.
 *
 * TILE_ROWS rows are unpacked 256 elements at a time (in scratch, so that they stay in the first-level cache) and
 * interleaved so that a vector holds 4 consecutive elements of each of TILE_LANES rows. Then the tokens, TILE_COLUMNS
 * at once, run over them: one lane is one row, so the chain of sums in kernel.h is simply the order of the
 * instructions. What they need of their activations is gathered in one place first, where the loops find it without
 * arithmetic on addresses; a residual is such a column too, of one block. Between pieces the sums rest in scratch.
 * Rows past the end repeat the last one and are not stored; columns past the end repeat the last one.
 */

enum {
    TILE_TOKENS = 512, /* in one go: bounds the sums and the list of residuals */
    TILE_UNPACKED = 8  /* rows that are unpacked, then interleaved */
};

struct tile {
    _Alignas(64) float sums[TILE_TOKENS][TILE_ROWS];
    _Alignas(64) uint8_t codes[UNPACK_PIECE * TILE_ROWS];
    float d[UNPACK_PIECE / 16][TILE_ROWS], m[UNPACK_PIECE / 32][TILE_ROWS];
    float super_d[TILE_ROWS], super_min[TILE_ROWS];
    int32_t mins[UNPACK_PIECE / 32][TILE_ROWS];   /* two 16-bit numbers each */
    int32_t scales[UNPACK_PIECE / 16][TILE_ROWS]; /* see tile_scale */
    struct unpacked rows[TILE_UNPACKED];
};

/* One residual of a token, copied: sorted by block they are read often, in order. */
struct tile_residual {
    struct act_residual residual;
    size_t token;
};

/* A tile within a product. */
struct tile_place {
    const struct kernel_matmul *job;
    struct tile *tile;
    size_t row, n_rows;
    size_t begin, n; /* elements */
    int offset;      /* of the codes in the tile */
};

/* Activations of TILE_COLUMNS tokens, of one piece. */
struct tile_columns {
    const int8_t *acts[TILE_COLUMNS];
    int32_t minus[TILE_COLUMNS][UNPACK_PIECE / 16]; /* see tile_minus: of each 32 elements for B32, else of each 16 */
    int16_t sums[TILE_COLUMNS][UNPACK_PIECE / 16];
    float d[TILE_COLUMNS][UNPACK_PIECE / 32], s[TILE_COLUMNS][UNPACK_PIECE / 32];
    float *acc[TILE_COLUMNS];
    _Alignas(64) int8_t q[TILE_COLUMNS][UNPACK_PIECE]; /* where acts cannot be read where they lie */
};

/* Scales and minimums of 32 elements, not of 16, in super-blocks. */
static bool has_long_mins(enum format format)
{
    return format == FORMAT_Q4_K || format == FORMAT_Q5_K;
}

/* Columns times blocks [first, first + n) of 32 elements of the tile. */
typedef void sweep_fn(const struct tile_place *place, const struct tile_columns *columns, size_t first, size_t n);

/* 32 bytes of TILE_UNPACKED rows, at `from` in their struct, become eight vectors, TILE_ROWS words apart. */
I8_INLINE void tile_interleave(const struct tile *tile, size_t from, void *to, int add, void (*transpose)(f32x8 *))
{
    i8x32 added = i8x32_set1(add);
    f32x8 v[8];
    UNROLL(8)
    for (size_t r = 0; r < 8; r++)
        v[r] = f32x8_from_bits(i8x32_add(i8x32_load((const uint8_t *)&tile->rows[r] + from), added));
    transpose(v);
    UNROLL(8)
    for (size_t j = 0; j < 8; j++)
        f32x8_store_bits((uint8_t *)to + 4 * TILE_ROWS * j, v[j]);
}

/* Rows [row, row + TILE_UNPACKED) of the tile from tile->rows. */
static void tile_fill_rows(const struct tile_place *place, size_t row, int add)
{
    struct tile *tile = place->tile;
    const struct unpack_format *format = &unpack_table[place->job->format];
    for (size_t i = 0; i < place->n; i += 32)
        tile_interleave(tile, offsetof(struct unpacked, codes) + i, tile->codes + i * TILE_ROWS + 4 * row, add,
                        tile_transpose);
    if (format->class == UNPACK_S256) {
        tile_interleave(tile, offsetof(struct unpacked, scales), &tile->scales[0][row], 0, f32x8_transpose);
        if (format->has_min)
            tile_interleave(tile, offsetof(struct unpacked, mins), &tile->mins[0][row], 0, f32x8_transpose);
        for (size_t r = 0; r < TILE_UNPACKED; r++) {
            tile->super_d[row + r] = tile->rows[r].super_d;
            tile->super_min[row + r] = tile->rows[r].super_min;
        }
        return;
    }
    tile_interleave(tile, offsetof(struct unpacked, d), &tile->d[0][row], 0, f32x8_transpose);
    if (format->class == UNPACK_NVFP4)
        tile_interleave(tile, offsetof(struct unpacked, d) + 32, &tile->d[8][row], 0, f32x8_transpose);
    if (format->has_min) tile_interleave(tile, offsetof(struct unpacked, m), &tile->m[0][row], 0, f32x8_transpose);
}

/* The pairs of 16-bit scales, in the first half of tile->scales, become what the loops want. */
static void tile_spread_scales(const struct tile_place *place)
{
    struct tile *tile = place->tile;
    for (size_t p = UNPACK_PIECE / 32; p-- > 0;) {
        for (size_t r = 0; r < TILE_ROWS; r += TILE_LANES) {
            tile_i pairs = tile_i_load(&tile->scales[p][r]);
            tile_i_store(&tile->scales[2 * p][r], tile_scale(pairs, 0));
            tile_i_store(&tile->scales[2 * p + 1][r], tile_scale(pairs, 1));
        }
    }
}

/* Where a minimum serves 32 elements, there are two of each: pairs of those of 64 elements, in half the room. */
static void tile_join_mins(struct tile *tile)
{
    for (size_t p = 0; p < UNPACK_PIECE / 64; p++)
        for (size_t r = 0; r < TILE_ROWS; r++)
            tile->mins[p][r] = (tile->mins[2 * p][r] & 0xffff) | (int32_t)((uint32_t)tile->mins[2 * p + 1][r] << 16);
}

static void tile_fill(const struct tile_place *place)
{
    const struct kernel_matmul *job = place->job;
    const struct format_info *info = format_info(job->format);
    const struct unpack_format *format = &unpack_table[job->format];
    int present = format->max <= 127 ? format->offset : 0;
    size_t skip = place->begin / info->block_elements * info->block_bytes;
    for (size_t first = 0; first < place->n_rows; first += TILE_UNPACKED) {
        for (size_t r = 0; r < TILE_UNPACKED; r++) {
            size_t row = place->row + (first + r < place->n_rows ? first + r : place->n_rows - 1);
            const uint8_t *blocks = (const uint8_t *)job->weights + row * job->row_bytes + skip;
            unpack_fast[job->format](blocks, place->n, &place->tile->rows[r]);
        }
        tile_fill_rows(place, first, place->offset - present);
    }
    if (format->class == UNPACK_S256) tile_spread_scales(place);
    if (has_long_mins(job->format)) tile_join_mins(place->tile);
}

/* The part of the rows that the next tile_fill reads. */
static void tile_prefetch(const struct kernel_matmul *job, size_t row, size_t row_end, size_t begin)
{
    const struct format_info *info = format_info(job->format);
    size_t from = begin / info->block_elements * info->block_bytes;
    size_t n = job->k - begin < UNPACK_PIECE ? job->k - begin : UNPACK_PIECE;
    size_t n_bytes = n / info->block_elements * info->block_bytes;
    for (size_t r = row; r < row_end && r < row + TILE_ROWS; r++) {
        const uint8_t *p = (const uint8_t *)job->weights + r * job->row_bytes + from;
        for (size_t i = 0; i < n_bytes; i += 64)
            __builtin_prefetch(p + i);
    }
}

/* ---- columns ----------------------------------------------------------------------------------- */

I8_INLINE void column_minus(const struct tile_place *place, struct tile_columns *columns, size_t c)
{
    size_t n_each = unpack_table[place->job->format].class == UNPACK_B32 ? 32 : 16;
    if (place->offset) tile_minus(columns->acts[c], columns->sums[c], place->offset, n_each, columns->minus[c]);
}

/* The tokens from `first` on. rows: of token 0; n: the piece's elements. */
I8_INLINE void columns_of_tokens(const struct tile_place *place, const struct act_row *rows, size_t n, size_t first,
                                 struct tile_columns *columns)
{
    const struct kernel_matmul *job = place->job;
    size_t b = place->begin / 32;
    for (size_t c = 0; c < TILE_COLUMNS; c++) {
        size_t t = first + c < job->n_tokens ? first + c : job->n_tokens - 1;
        struct act_row row = act_row_after(rows, t * job->act_stride_bytes);
        columns->acc[c] = place->tile->sums[t];
        columns->acts[c] = TILE_ACTS_MIXED ? columns->q[c] : row.q + place->begin;
        for (size_t i = 0; TILE_ACTS_MIXED && i < n; i += 32)
            tile_acts_store(columns->q[0], c, i, i8x32_load(row.q + place->begin + i));
        /* The parts of a row are padded to more than the last piece's share. */
        if (has_long_mins(job->format))
            i16x16_store_pair_sums(columns->sums[c], i16x16_load(row.sums + 2 * b));
        else
            i8x32_store(columns->sums[c], i8x32_load(row.sums + 2 * b));
        column_minus(place, columns, c);
        if (!row.s) {
            columns->d[c][0] = row.d[b / 8];
        } else {
            f32x8_store(columns->d[c], f32x8_load(row.d + b));
            f32x8_store(columns->s[c], f32x8_load(row.s + b));
        }
    }
}

/* What that reads. */
I8_INLINE void columns_prefetch(const struct tile_place *place, const struct act_row *rows, size_t n, size_t first)
{
    size_t b = place->begin / 32;
    for (size_t t = first; t < first + TILE_COLUMNS && t < place->job->n_tokens; t++) {
        struct act_row row = act_row_after(rows, t * place->job->act_stride_bytes);
        UNROLL(4)
        for (size_t i = 0; i < n; i += 64)
            __builtin_prefetch(row.q + place->begin + i);
        __builtin_prefetch(row.sums + 2 * b);
        __builtin_prefetch(row.d + (row.s ? b : b / 8));
        if (row.s) __builtin_prefetch(row.s + b);
    }
}

/* Residuals of the same block of so many tokens. */
static void columns_of_residuals(const struct tile_place *place, const struct tile_residual *list, size_t n_list,
                                 struct tile_columns *columns)
{
    for (size_t c = 0; c < TILE_COLUMNS; c++) {
        const struct tile_residual *which = &list[c < n_list ? c : n_list - 1];
        const struct act_residual *r = &which->residual;
        size_t b = r->block - place->begin / 32;
        columns->acc[c] = place->tile->sums[which->token];
        columns->acts[c] = columns->q[c];
        tile_acts_store(columns->q[0], c, 32 * b, i8x32_load(r->q));
        memcpy(columns->sums[c] + 2 * b, r->sums, sizeof r->sums);
        column_minus(place, columns, c);
        columns->d[c][b] = r->d;
        columns->s[c][b] = r->s;
    }
}

/* ---- sweeps ------------------------------------------------------------------------------------ */

/* TILE_COLUMNS x TILE_VECTORS, of rows from `row` on. */
I8_INLINE void sums_load(const struct tile_columns *columns, size_t row, tile_f acc[TILE_COLUMNS * TILE_VECTORS])
{
    UNROLL(TILE_COLUMNS)
    for (size_t c = 0; c < TILE_COLUMNS; c++) {
        UNROLL(TILE_VECTORS)
        for (size_t v = 0; v < TILE_VECTORS; v++)
            acc[c * TILE_VECTORS + v] = tile_f_load(columns->acc[c] + row + v * TILE_LANES);
    }
}

I8_INLINE void sums_store(const struct tile_columns *columns, size_t row, tile_f acc[TILE_COLUMNS * TILE_VECTORS])
{
    UNROLL(TILE_COLUMNS)
    for (size_t c = 0; c < TILE_COLUMNS; c++) {
        UNROLL(TILE_VECTORS)
        for (size_t v = 0; v < TILE_VECTORS; v++)
            tile_f_store(columns->acc[c] + row + v * TILE_LANES, acc[c * TILE_VECTORS + v]);
    }
}

/* acc += scale[row] * factor[column] * sum */
I8_INLINE void sums_scale(tile_f acc[TILE_COLUMNS * TILE_VECTORS], const tile_i sum[TILE_COLUMNS * TILE_VECTORS],
                          const float *scale, const float *factor, size_t factor_stride)
{
    UNROLL(TILE_COLUMNS)
    for (size_t c = 0; c < TILE_COLUMNS; c++) {
        tile_f of_column = tile_f_set1(factor[c * factor_stride]);
        UNROLL(TILE_VECTORS)
        for (size_t v = 0; v < TILE_VECTORS; v++) {
            size_t i = c * TILE_VECTORS + v;
            acc[i] =
                tile_f_fma(tile_f_mul(tile_f_load(scale + v * TILE_LANES), of_column), tile_f_from(sum[i]), acc[i]);
        }
    }
}

I8_INLINE void sweep_b32(const struct tile_place *place, const struct tile_columns *columns, size_t first, size_t n,
                         int max, bool has_min)
{
    const struct tile *tile = place->tile;
    bool correct = !has_min && (max <= TILE_MAX_UNSIGNED || I8_OFFSET_S != 0);
    for (size_t row = 0; row < place->n_rows; row += TILE_LANES * TILE_VECTORS) {
        tile_f acc[TILE_COLUMNS * TILE_VECTORS];
        sums_load(columns, row, acc);
        for (size_t b = first; b < first + n; b++) {
            tile_i sum[TILE_COLUMNS * TILE_VECTORS];
            tile_dot(sum, correct ? &columns->minus[0][b] : NULL, tile->codes + 4 * (8 * TILE_ROWS * b + row),
                     columns->acts, 32 * b, 8, max);
            sums_scale(acc, sum, &tile->d[b][row], &columns->d[0][b], UNPACK_PIECE / 32);
            if (!has_min) continue;
            UNROLL(TILE_COLUMNS)
            for (size_t c = 0; c < TILE_COLUMNS; c++) {
                tile_f s = tile_f_set1(columns->s[c][b]);
                UNROLL(TILE_VECTORS)
                for (size_t v = 0; v < TILE_VECTORS; v++)
                    acc[c * TILE_VECTORS + v] =
                        tile_f_fma(tile_f_load(&tile->m[b][row + v * TILE_LANES]), s, acc[c * TILE_VECTORS + v]);
            }
        }
        sums_store(columns, row, acc);
    }
}

static void sweep_nvfp4(const struct tile_place *place, const struct tile_columns *columns, size_t first, size_t n)
{
    enum { MAX = 24 };
    const struct tile *tile = place->tile;
    for (size_t row = 0; row < place->n_rows; row += TILE_LANES * TILE_VECTORS) {
        tile_f acc[TILE_COLUMNS * TILE_VECTORS];
        sums_load(columns, row, acc);
        for (size_t b = first; b < first + n; b++) {
            tile_i sum[TILE_COLUMNS * TILE_VECTORS];
            tile_f both[TILE_COLUMNS * TILE_VECTORS];
            const uint8_t *codes = tile->codes + 4 * (8 * TILE_ROWS * b + row);
            tile_dot(sum, &columns->minus[0][2 * b], codes, columns->acts, 32 * b, 4, MAX);
            UNROLL(TILE_COLUMNS)
            for (size_t c = 0; c < TILE_COLUMNS; c++) {
                UNROLL(TILE_VECTORS)
                for (size_t v = 0; v < TILE_VECTORS; v++) {
                    size_t i = c * TILE_VECTORS + v;
                    both[i] = tile_f_mul(tile_f_load(&tile->d[2 * b][row + v * TILE_LANES]), tile_f_from(sum[i]));
                }
            }
            tile_dot(sum, &columns->minus[0][2 * b + 1], codes + 16 * TILE_ROWS, columns->acts, 32 * b + 16, 4, MAX);
            UNROLL(TILE_COLUMNS)
            for (size_t c = 0; c < TILE_COLUMNS; c++) {
                tile_f d = tile_f_set1(columns->d[c][b]);
                UNROLL(TILE_VECTORS)
                for (size_t v = 0; v < TILE_VECTORS; v++) {
                    size_t i = c * TILE_VECTORS + v;
                    tile_f scale = tile_f_load(&tile->d[2 * b + 1][row + v * TILE_LANES]);
                    acc[i] = tile_f_fma(tile_f_fma(scale, tile_f_from(sum[i]), both[i]), d, acc[i]);
                }
            }
        }
        sums_store(columns, row, acc);
    }
}

/* acc -= minimums x sums of activations */
I8_INLINE void sums_subtract_min(const struct tile_place *place, const struct tile_columns *columns, size_t row,
                                 size_t n_pairs, tile_f acc[TILE_COLUMNS * TILE_VECTORS])
{
    const struct tile *tile = place->tile;
    tile_i of_min[TILE_COLUMNS * TILE_VECTORS];
    UNROLL(TILE_COLUMNS * TILE_VECTORS)
    for (size_t i = 0; i < TILE_COLUMNS * TILE_VECTORS; i++)
        of_min[i] = tile_i_zero();
    UNROLL(4)
    for (size_t p = 0; p < n_pairs; p++) {
        UNROLL(TILE_COLUMNS)
        for (size_t c = 0; c < TILE_COLUMNS; c++) {
            uint32_t pair = load_u32(columns->sums[c] + 2 * p);
            UNROLL(TILE_VECTORS)
            for (size_t v = 0; v < TILE_VECTORS; v++) {
                size_t i = c * TILE_VECTORS + v;
                of_min[i] = tile_pairs(of_min[i], tile_i_load(&tile->mins[p][row + v * TILE_LANES]), pair);
            }
        }
    }
    UNROLL(TILE_COLUMNS)
    for (size_t c = 0; c < TILE_COLUMNS; c++) {
        tile_f d = tile_f_set1(columns->d[c][0]);
        UNROLL(TILE_VECTORS)
        for (size_t v = 0; v < TILE_VECTORS; v++) {
            size_t i = c * TILE_VECTORS + v;
            tile_f scale = tile_f_mul(tile_f_load(&tile->super_min[row + v * TILE_LANES]), d);
            acc[i] = tile_f_fnma(scale, tile_f_from(of_min[i]), acc[i]);
        }
    }
}

/* n_quads: how many vectors of codes share a scale, 4 or 8. */
I8_INLINE void sweep_s256(const struct tile_place *place, const struct tile_columns *columns, int max, bool has_min,
                          int n_quads)
{
    const struct tile *tile = place->tile;
    bool correct = !has_min && (max <= TILE_MAX_UNSIGNED || I8_OFFSET_S != 0);
    for (size_t row = 0; row < place->n_rows; row += TILE_LANES * TILE_VECTORS) {
        tile_f acc[TILE_COLUMNS * TILE_VECTORS];
        tile_i sum[TILE_COLUMNS * TILE_VECTORS];
        UNROLL(TILE_COLUMNS * TILE_VECTORS)
        for (size_t i = 0; i < TILE_COLUMNS * TILE_VECTORS; i++)
            sum[i] = tile_i_zero();
        for (size_t i = 0; i < 64; i += (size_t)n_quads)
            tile_dot_scaled(sum, correct ? &columns->minus[0][i / 4] : NULL, tile->codes + 4 * (TILE_ROWS * i + row),
                            columns->acts, 4 * i, n_quads, max, &tile->scales[i / 4][row]);
        sums_load(columns, row, acc);
        sums_scale(acc, sum, &tile->super_d[row], columns->d[0], UNPACK_PIECE / 32);
        if (has_min) sums_subtract_min(place, columns, row, UNPACK_PIECE / (8 * (size_t)n_quads), acc);
        sums_store(columns, row, acc);
    }
}

static void sweep_b32_15(const struct tile_place *place, const struct tile_columns *columns, size_t first, size_t n)
{
    sweep_b32(place, columns, first, n, 15, false);
}

static void sweep_b32_15_min(const struct tile_place *place, const struct tile_columns *columns, size_t first, size_t n)
{
    sweep_b32(place, columns, first, n, 15, true);
}

static void sweep_b32_32(const struct tile_place *place, const struct tile_columns *columns, size_t first, size_t n)
{
    sweep_b32(place, columns, first, n, 32, false);
}

static void sweep_b32_32_min(const struct tile_place *place, const struct tile_columns *columns, size_t first, size_t n)
{
    sweep_b32(place, columns, first, n, 32, true);
}

static void sweep_b32_255(const struct tile_place *place, const struct tile_columns *columns, size_t first, size_t n)
{
    sweep_b32(place, columns, first, n, 255, false);
}

/* Super-blocks are always whole. */
#define SWEEP_S256(name, max, has_min, n_quads)                                                                  \
    static void name(const struct tile_place *place, const struct tile_columns *columns, size_t first, size_t n) \
    {                                                                                                            \
        (void)first, (void)n;                                                                                    \
        sweep_s256(place, columns, max, has_min, n_quads);                                                       \
    }

SWEEP_S256(sweep_s256_32, 32, false, 4)
SWEEP_S256(sweep_s256_32_min, 32, true, 4)
SWEEP_S256(sweep_s256_64, 64, false, 4)
SWEEP_S256(sweep_s256_127, 127, false, 4)
SWEEP_S256(sweep_s256_255, 255, false, 4)
SWEEP_S256(sweep_q4_k, 15, true, 8)
SWEEP_S256(sweep_q5_k, 32, true, 8)

static sweep_fn *sweep_of(enum format format)
{
    const struct unpack_format *f = &unpack_table[format];
    if (f->class == UNPACK_NVFP4) return sweep_nvfp4;
    if (f->class == UNPACK_B32) {
        if (f->max <= 15) return f->has_min ? sweep_b32_15_min : sweep_b32_15;
        if (f->max <= 32) return f->has_min ? sweep_b32_32_min : sweep_b32_32;
        return sweep_b32_255;
    }
    if (format == FORMAT_Q4_K) return sweep_q4_k;
    if (format == FORMAT_Q5_K) return sweep_q5_k;
    if (f->max <= 32) return f->has_min ? sweep_s256_32_min : sweep_s256_32;
    return f->max <= 64 ? sweep_s256_64 : f->max <= 127 ? sweep_s256_127 : sweep_s256_255;
}

/* ---- products ---------------------------------------------------------------------------------- */

I8_INLINE void sweep_tokens(const struct tile_place *place, size_t n, sweep_fn *sweep)
{
    const struct kernel_matmul *job = place->job;
    struct act_row rows = act_row_at(kernel_act_of(job->format), job->k, job->acts);
    struct tile_columns columns = {.minus = {{0}}};
    for (size_t t = 0; t < job->n_tokens; t += TILE_COLUMNS) {
        columns_of_tokens(place, &rows, n, t, &columns);
        columns_prefetch(place, &rows, n, t + TILE_COLUMNS);
        sweep(place, &columns, 0, n / 32);
    }
}

static void tile_sweep_tokens(const struct tile_place *place, sweep_fn *sweep)
{
    if (place->n == UNPACK_PIECE)
        sweep_tokens(place, UNPACK_PIECE, sweep);
    else
        sweep_tokens(place, place->n, sweep);
}

/* Residuals of the piece's n blocks; starts[b] is the first of block b in `sorted`. */
static void tile_sweep_residuals(const struct tile_place *place, sweep_fn *sweep, const struct tile_residual *sorted,
                                 const uint32_t *starts)
{
    struct tile_columns columns = {.minus = {{0}}};
    for (size_t b = 0; b < place->n / 32; b++) {
        for (size_t i = starts[b]; i < starts[b + 1]; i += TILE_COLUMNS) {
            columns_of_residuals(place, sorted + i, starts[b + 1] - i, &columns);
            sweep(place, &columns, b, 1);
        }
    }
}

/* Sorted by block; starts[b] is the first of block b (n_blocks + 1 of them; another one is needed on the way). */
static void residuals_by_block(const struct kernel_matmul *job, size_t n_blocks, struct tile_residual *sorted,
                               uint32_t *starts)
{
    memset(starts, 0, (n_blocks + 2) * sizeof *starts);
    for (int pass = 0; pass < 2; pass++) { /* count, then place; starts[b + 1] is where the next of block b goes */
        for (size_t t = 0; t < job->n_tokens; t++) {
            const void *acts = (const uint8_t *)job->acts + t * job->act_stride_bytes;
            const struct act_residual *residuals = act_row_at(ACT_Q8_32, job->k, acts).residuals;
            for (size_t i = 0; i < ACT_RESIDUALS; i++) {
                uint32_t block = residuals[i].block;
                if (block >= n_blocks) continue;
                if (pass == 0)
                    starts[block + 2]++;
                else
                    sorted[starts[block + 1]++] = (struct tile_residual){residuals[i], t};
            }
        }
        for (size_t b = 2; pass == 0 && b < n_blocks + 2; b++)
            starts[b] += starts[b - 1];
    }
}

/* The tensor's scale and the bias, once all is summed. Rows of the output are far apart: they are asked for early. */
static void tile_finish(const struct tile_place *place)
{
    enum { TOKENS_AHEAD = 8 };
    const struct kernel_matmul *job = place->job;
    const float *bias = job->bias ? job->bias + place->row : NULL, scale = job->scale;
    for (size_t t = 0; t < job->n_tokens; t++) {
        float *out = job->out + t * job->out_stride + place->row;
        for (size_t r = 0; r < place->n_rows; r += TILE_LANES) {
            size_t n = place->n_rows - r < TILE_LANES ? place->n_rows - r : TILE_LANES;
            tile_f y = tile_f_load(place->tile->sums[t] + r);
            if (t + TOKENS_AHEAD < job->n_tokens) __builtin_prefetch(out + TOKENS_AHEAD * job->out_stride + r, 1);
            if (scale != 1.0f) y = tile_f_mul(y, tile_f_set1(scale));
            if (bias) y = tile_f_add(y, tile_f_load_n(bias + r, n));
            tile_f_store_n(out + r, y, n);
        }
    }
}

static void matmul_tiles_of(const struct kernel_matmul *job, size_t row_begin, size_t row_end, void *scratch)
{
    struct tile *tile = scratch;
    struct tile_residual *residuals = (struct tile_residual *)(void *)(tile + 1);
    uint32_t *starts = (uint32_t *)(void *)(residuals + TILE_TOKENS * ACT_RESIDUALS);
    const struct unpack_format *format = &unpack_table[job->format];
    bool has_residuals = format->class != UNPACK_S256;
    sweep_fn *sweep = sweep_of(job->format);
    if (has_residuals) residuals_by_block(job, job->k / 32, residuals, starts);
    for (size_t row = row_begin; row < row_end; row += TILE_ROWS) {
        struct tile_place place = {
            .job = job,
            .tile = tile,
            .row = row,
            .n_rows = row_end - row < TILE_ROWS ? row_end - row : TILE_ROWS,
            .offset = format->max > TILE_MAX_UNSIGNED ? I8_OFFSET_S : format->offset,
        };
        memset(tile->sums, 0, job->n_tokens * sizeof tile->sums[0]);
        for (place.begin = 0; place.begin < job->k; place.begin += UNPACK_PIECE) {
            place.n = job->k - place.begin < UNPACK_PIECE ? job->k - place.begin : UNPACK_PIECE;
            tile_fill(&place);
            if (place.begin + place.n < job->k)
                tile_prefetch(job, row, row_end, place.begin + place.n);
            else
                tile_prefetch(job, row + TILE_ROWS, row_end, 0);
            tile_sweep_tokens(&place, sweep);
            if (has_residuals) tile_sweep_residuals(&place, sweep, residuals, starts + place.begin / 32);
        }
        tile_finish(&place);
    }
}

_Static_assert(sizeof(struct tile) + TILE_TOKENS * ACT_RESIDUALS * sizeof(struct tile_residual) + 64 <=
                   MATMUL_TILE_BYTES,
               "scratch");

static void matmul_tiles(const struct kernel_matmul *job, size_t row_begin, size_t row_end, void *scratch)
{
    for (size_t t = 0; t < job->n_tokens; t += TILE_TOKENS) {
        struct kernel_matmul part = *job;
        part.acts = (const uint8_t *)job->acts + t * job->act_stride_bytes;
        part.out = job->out + t * job->out_stride;
        part.n_tokens = job->n_tokens - t < TILE_TOKENS ? job->n_tokens - t : TILE_TOKENS;
        matmul_tiles_of(&part, row_begin, row_end, scratch);
    }
}
