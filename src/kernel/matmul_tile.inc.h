/* matmul_tile.inc.h - products of block formats for several tokens: rows unpacked once, swept by all of them.
 *
 * TILE_ROWS rows are unpacked 256 elements at a time (in scratch, so that they stay in the first-level cache) and
 * interleaved so that a vector holds 4 consecutive elements of each row. Then every token, TILE_COLUMNS at once, runs
 * over them: one lane is one row, so the chain of sums in kernel.h is simply the order of the instructions. Between
 * pieces, and before what residuals add, the sums rest in the outputs. Rows and columns past the end repeat the last
 * one and are not stored.
 */

struct tile {
    _Alignas(64) struct unpacked rows[TILE_ROWS];
    _Alignas(64) uint8_t codes[UNPACK_PIECE * TILE_ROWS];
    float d[UNPACK_PIECE / 16][TILE_ROWS], m[UNPACK_PIECE / 32][TILE_ROWS];
    float super_d[TILE_ROWS], super_min[TILE_ROWS];
    int32_t pairs[UNPACK_PIECE / 32][TILE_ROWS];  /* two 16-bit numbers for each 32 elements: minimums, or the
                                                     scales for the correction of the offset */
    int32_t scales[UNPACK_PIECE / 16][TILE_ROWS]; /* see tile_scale */
};

struct tile_residual {
    uint32_t token, index;
};

/* A tile within a product. */
struct tile_place {
    const struct kernel_matmul *job;
    const struct tile *tile;
    size_t row, n_rows;
    size_t begin, n;                       /* elements */
    int offset;                            /* of the codes in the tile */
    const struct tile_residual *residuals; /* those among these elements, by token, then by index */
    size_t n_residuals;
};

enum { TILE_QUAD = 4 * TILE_ROWS /* bytes of 4 elements of all rows */ };

/* 32 bytes of each row, at `from` in its struct, become eight vectors of TILE_QUAD bytes. */
I8_INLINE void tile_interleave(struct tile *tile, size_t from, void *to, int add)
{
    i8x32 added = i8x32_set1(add);
    for (size_t group = 0; group < TILE_ROWS / 8; group++) {
        f32x8 v[8];
        UNROLL(8)
        for (size_t r = 0; r < 8; r++) {
            const uint8_t *row = (const uint8_t *)&tile->rows[8 * group + r];
            v[r] = f32x8_from_bits(i8x32_add(i8x32_load(row + from), added));
        }
        f32x8_transpose(v);
        UNROLL(8)
        for (size_t j = 0; j < 8; j++)
            f32x8_store_bits((uint8_t *)to + TILE_QUAD * j + 32 * group, v[j]);
    }
}

static void tile_fill_super(struct tile *tile, bool has_min, int offset)
{
    tile_interleave(tile, offsetof(struct unpacked, scales), tile->pairs, 0);
    for (size_t p = 0; p < UNPACK_PIECE / 32; p++) {
        tile_i pairs = tile_i_load(tile->pairs[p]);
        tile_i_store(tile->scales[2 * p], tile_scale(pairs, 0));
        tile_i_store(tile->scales[2 * p + 1], tile_scale(pairs, 1));
        if (offset) tile_i_store(tile->pairs[p], tile_pairs_times(pairs, -offset));
    }
    if (has_min) tile_interleave(tile, offsetof(struct unpacked, mins), tile->pairs, 0);
    for (size_t r = 0; r < TILE_ROWS; r++) {
        tile->super_d[r] = tile->rows[r].super_d;
        tile->super_min[r] = tile->rows[r].super_min;
    }
}

static void tile_fill(const struct tile_place *place, struct tile *tile)
{
    const struct kernel_matmul *job = place->job;
    const struct format_info *info = format_info(job->format);
    const struct unpack_format *format = &unpack_table[job->format];
    size_t skip = place->begin / info->block_elements * info->block_bytes;
    for (size_t r = 0; r < TILE_ROWS; r++) {
        size_t row = place->row + (r < place->n_rows ? r : place->n_rows - 1);
        const uint8_t *blocks = (const uint8_t *)job->weights + row * job->row_bytes + skip;
        unpack_fast[job->format](blocks, place->n, &tile->rows[r]);
    }
    int add = format->max <= 127 ? 0 : place->offset;
    for (size_t i = 0; i < place->n; i += 32)
        tile_interleave(tile, offsetof(struct unpacked, codes) + i, tile->codes + i * TILE_ROWS, add);
    if (format->class == UNPACK_S256) {
        tile_fill_super(tile, format->has_min, place->offset);
        return;
    }
    tile_interleave(tile, offsetof(struct unpacked, d), tile->d[0], 0);
    if (format->class == UNPACK_NVFP4) tile_interleave(tile, offsetof(struct unpacked, d) + 32, tile->d[8], 0);
    if (format->has_min) tile_interleave(tile, offsetof(struct unpacked, m), tile->m[0], 0);
}

/* ---- sweeps ------------------------------------------------------------------------------------ */

I8_INLINE tile_f tile_sums_load(const float *out, size_t n_rows)
{
    return n_rows == TILE_ROWS ? tile_f_load(out) : tile_f_load_n(out, n_rows);
}

I8_INLINE void tile_sums_store(float *out, tile_f sums, size_t n_rows)
{
    if (n_rows == TILE_ROWS)
        tile_f_store(out, sums);
    else
        tile_f_store_n(out, sums, n_rows);
}

/* TILE_COLUMNS tokens from `first` on. */
struct tile_columns {
    size_t first, n;
    const int8_t *q[TILE_COLUMNS]; /* from the place's first element on; so are the others */
    const float *d[TILE_COLUMNS], *s[TILE_COLUMNS];
    const int16_t *sums[TILE_COLUMNS];
    tile_f acc[TILE_COLUMNS];
};

/* Where things lie in a row of activations: computed once, for the compiler cannot know that stores leave k alone. */
struct tile_offsets {
    size_t q, d, s, sums;
};

I8_INLINE struct tile_offsets tile_offsets(const struct tile_place *place, enum kernel_act act)
{
    size_t k = place->job->k, begin = place->begin;
    return (struct tile_offsets){
        begin,
        act_offset_d(k) + begin / (act == ACT_Q8_32 ? 32 : 256) * sizeof(float),
        act == ACT_Q8_32 ? act_offset_s(k) + begin / 32 * sizeof(float) : 0,
        act_offset_sums(act, k) + begin / 16 * sizeof(int16_t),
    };
}

I8_INLINE void columns_begin(const struct tile_place *place, struct tile_offsets offsets, size_t first,
                             struct tile_columns *columns)
{
    const struct kernel_matmul *job = place->job;
    columns->first = first;
    columns->n = job->n_tokens - first < TILE_COLUMNS ? job->n_tokens - first : TILE_COLUMNS;
    UNROLL(TILE_COLUMNS)
    for (size_t c = 0; c < TILE_COLUMNS; c++) {
        size_t t = first + (c < columns->n ? c : columns->n - 1);
        const uint8_t *row = (const uint8_t *)job->acts + t * job->act_stride_bytes;
        const float *out = job->out + t * job->out_stride + place->row;
        columns->q[c] = (const int8_t *)row + offsets.q;
        columns->d[c] = (const float *)(const void *)(row + offsets.d);
        columns->s[c] = (const float *)(const void *)(row + offsets.s);
        columns->sums[c] = (const int16_t *)(const void *)(row + offsets.sums);
        columns->acc[c] = place->begin == 0 ? tile_f_zero() : tile_sums_load(out, place->n_rows);
    }
}

I8_INLINE void columns_end(const struct tile_place *place, struct tile_columns *columns)
{
    const struct kernel_matmul *job = place->job;
    UNROLL(TILE_COLUMNS)
    for (size_t c = 0; c < TILE_COLUMNS; c++) {
        if (c >= columns->n) break;
        tile_sums_store(job->out + (columns->first + c) * job->out_stride + place->row, columns->acc[c], place->n_rows);
    }
}

/* The tensor's scale and the bias, once all is summed. */
static void tile_finish(const struct kernel_matmul *job, size_t row, size_t n_rows)
{
    tile_f scale = tile_f_set1(job->scale), bias = job->bias ? tile_f_load_n(job->bias + row, n_rows) : tile_f_zero();
    if (job->scale == 1.0f && !job->bias) return;
    for (size_t t = 0; t < job->n_tokens; t++) {
        float *out = job->out + t * job->out_stride + row;
        tile_f y = tile_sums_load(out, n_rows);
        if (job->scale != 1.0f) y = tile_f_mul(y, scale);
        if (job->bias) y = tile_f_add(y, bias);
        tile_sums_store(out, y, n_rows);
    }
}

/* Two 16-bit factors for tile_pairs. */
I8_INLINE tile_i tile_two(int first, int second)
{
    return tile_i_set1((int)((uint32_t)second << 16 | ((uint32_t)first & 0xffffu)));
}

I8_INLINE void sweep_b32(const struct tile_place *place, int max, bool has_min)
{
    const struct tile *tile = place->tile;
    bool correct = !has_min && (max <= 127 || I8_OFFSET_S != 0);
    tile_i minus_offset = tile_two(-place->offset, -place->offset);
    struct tile_offsets offsets = tile_offsets(place, ACT_Q8_32);
    for (size_t t = 0; t < place->job->n_tokens; t += TILE_COLUMNS) {
        struct tile_columns columns;
        columns_begin(place, offsets, t, &columns);
        for (size_t b = 0; b < place->n / 32; b++) {
            const int8_t *q[TILE_COLUMNS];
            tile_i sum[TILE_COLUMNS];
            UNROLL(TILE_COLUMNS)
            for (size_t c = 0; c < TILE_COLUMNS; c++) {
                q[c] = columns.q[c] + 32 * b;
                sum[c] = tile_i_zero();
                if (correct) sum[c] = tile_pairs(sum[c], minus_offset, load_u32(columns.sums[c] + 2 * b));
            }
            tile_dot(sum, tile->codes + 32 * TILE_ROWS * b, q, TILE_COLUMNS, 8, max);
            tile_f d = tile_f_load(tile->d[b]);
            UNROLL(TILE_COLUMNS)
            for (size_t c = 0; c < TILE_COLUMNS; c++) {
                tile_f scale = tile_f_mul(d, tile_f_set1(columns.d[c][b]));
                columns.acc[c] = tile_f_fma(scale, tile_f_from(sum[c]), columns.acc[c]);
            }
            if (!has_min) continue;
            tile_f m = tile_f_load(tile->m[b]);
            UNROLL(TILE_COLUMNS)
            for (size_t c = 0; c < TILE_COLUMNS; c++)
                columns.acc[c] = tile_f_fma(m, tile_f_set1(columns.s[c][b]), columns.acc[c]);
        }
        columns_end(place, &columns);
    }
}

static void sweep_nvfp4(const struct tile_place *place)
{
    enum { MAX = 24 };
    const struct tile *tile = place->tile;
    tile_i minus_first = tile_two(-place->offset, 0), minus_second = tile_two(0, -place->offset);
    struct tile_offsets offsets = tile_offsets(place, ACT_Q8_32);
    for (size_t t = 0; t < place->job->n_tokens; t += TILE_COLUMNS) {
        struct tile_columns columns;
        columns_begin(place, offsets, t, &columns);
        for (size_t b = 0; b < place->n / 32; b++) {
            const uint8_t *codes = tile->codes + 32 * TILE_ROWS * b;
            const int8_t *q[TILE_COLUMNS], *q_second[TILE_COLUMNS];
            tile_i sum0[TILE_COLUMNS], sum1[TILE_COLUMNS];
            UNROLL(TILE_COLUMNS)
            for (size_t c = 0; c < TILE_COLUMNS; c++) {
                uint32_t sums = load_u32(columns.sums[c] + 2 * b);
                q[c] = columns.q[c] + 32 * b;
                q_second[c] = q[c] + 16;
                sum0[c] = tile_pairs(tile_i_zero(), minus_first, sums);
                sum1[c] = tile_pairs(tile_i_zero(), minus_second, sums);
            }
            tile_dot(sum0, codes, q, TILE_COLUMNS, 4, MAX);
            tile_dot(sum1, codes + 4 * TILE_QUAD, q_second, TILE_COLUMNS, 4, MAX);
            tile_f s0 = tile_f_load(tile->d[2 * b]), s1 = tile_f_load(tile->d[2 * b + 1]);
            UNROLL(TILE_COLUMNS)
            for (size_t c = 0; c < TILE_COLUMNS; c++) {
                tile_f first = tile_f_mul(s0, tile_f_from(sum0[c]));
                tile_f both = tile_f_fma(s1, tile_f_from(sum1[c]), first);
                columns.acc[c] = tile_f_fma(both, tile_f_set1(columns.d[c][b]), columns.acc[c]);
            }
        }
        columns_end(place, &columns);
    }
}

/* ---- residuals --------------------------------------------------------------------------------- */

/* What the residual of one token adds. */
I8_INLINE tile_f residual_add(const struct tile_place *place, const struct act_residual *r, tile_f acc)
{
    const struct tile *tile = place->tile;
    const struct unpack_format *format = &unpack_table[place->job->format];
    size_t b = r->block - place->begin / 32;
    const uint8_t *codes = tile->codes + 32 * TILE_ROWS * b;
    const int8_t *q = r->q, *q_second = r->q + 16;
    uint32_t sums = load_u32(r->sums);
    int minus = -place->offset;
    tile_f d = tile_f_set1(r->d);
    tile_i sum0 = tile_pairs(tile_i_zero(), tile_two(minus, 0), sums);
    tile_i sum1 = tile_pairs(tile_i_zero(), tile_two(0, minus), sums);
    if (format->max > 127) {
        tile_dot(&sum0, codes, &q, 1, 4, 255);
        tile_dot(&sum1, codes + 4 * TILE_QUAD, &q_second, 1, 4, 255);
    } else {
        tile_dot(&sum0, codes, &q, 1, 4, 32);
        tile_dot(&sum1, codes + 4 * TILE_QUAD, &q_second, 1, 4, 32);
    }
    if (format->class == UNPACK_NVFP4) {
        tile_f first = tile_f_mul(tile_f_load(tile->d[2 * b]), tile_f_from(sum0));
        return tile_f_fma(tile_f_fma(tile_f_load(tile->d[2 * b + 1]), tile_f_from(sum1), first), d, acc);
    }
    acc = tile_f_fma(tile_f_mul(tile_f_load(tile->d[b]), d), tile_f_from(tile_i_add(sum0, sum1)), acc);
    return format->has_min ? tile_f_fma(tile_f_load(tile->m[b]), tile_f_set1(r->s), acc) : acc;
}

static void sweep_residuals(const struct tile_place *place)
{
    const struct kernel_matmul *job = place->job;
    size_t offset = act_offset_residuals(job->k);
    for (size_t i = 0; i < place->n_residuals; i++) {
        size_t t = place->residuals[i].token;
        const void *residuals = (const uint8_t *)job->acts + t * job->act_stride_bytes + offset;
        const struct act_residual *r = (const struct act_residual *)residuals + place->residuals[i].index;
        float *out = job->out + t * job->out_stride + place->row;
        tile_sums_store(out, residual_add(place, r, tile_sums_load(out, place->n_rows)), place->n_rows);
    }
}

/* n_quads: how many vectors of codes share a scale, 4 or 8. */
I8_INLINE void sweep_s256(const struct tile_place *place, int max, bool has_min, int n_quads)
{
    const struct tile *tile = place->tile;
    bool correct = max <= 127 || I8_OFFSET_S != 0;
    struct tile_offsets offsets = tile_offsets(place, ACT_Q8_256);
    for (size_t t = 0; t < place->job->n_tokens; t += TILE_COLUMNS) {
        struct tile_columns columns;
        columns_begin(place, offsets, t, &columns);
        tile_i sum[TILE_COLUMNS], of_pairs[TILE_COLUMNS];
        UNROLL(TILE_COLUMNS)
        for (size_t c = 0; c < TILE_COLUMNS; c++) {
            of_pairs[c] = tile_i_zero();
            if (!has_min && !correct) continue;
            UNROLL(8)
            for (size_t p = 0; p < 8; p++)
                of_pairs[c] = tile_pairs(of_pairs[c], tile_i_load(tile->pairs[p]), load_u32(columns.sums[c] + 2 * p));
        }
        UNROLL(TILE_COLUMNS)
        for (size_t c = 0; c < TILE_COLUMNS; c++)
            sum[c] = has_min ? tile_i_zero() : of_pairs[c];
        for (size_t i = 0; i < 64; i += (size_t)n_quads) {
            const int8_t *q[TILE_COLUMNS];
            UNROLL(TILE_COLUMNS)
            for (size_t c = 0; c < TILE_COLUMNS; c++)
                q[c] = columns.q[c] + 4 * i;
            tile_dot_scaled(sum, tile->codes + TILE_QUAD * i, q, TILE_COLUMNS, n_quads, max,
                            tile_i_load(tile->scales[i / 4]));
        }
        tile_f d = tile_f_load(tile->super_d);
        UNROLL(TILE_COLUMNS)
        for (size_t c = 0; c < TILE_COLUMNS; c++) {
            tile_f d_act = tile_f_set1(*columns.d[c]);
            columns.acc[c] = tile_f_fma(tile_f_mul(d, d_act), tile_f_from(sum[c]), columns.acc[c]);
            if (!has_min) continue;
            tile_f scale = tile_f_mul(tile_f_load(tile->super_min), d_act);
            columns.acc[c] = tile_f_fnma(scale, tile_f_from(of_pairs[c]), columns.acc[c]);
        }
        columns_end(place, &columns);
    }
}

static void sweep_b32_15(const struct tile_place *place)
{
    sweep_b32(place, 15, false);
}

static void sweep_b32_15_min(const struct tile_place *place)
{
    sweep_b32(place, 15, true);
}

static void sweep_b32_32(const struct tile_place *place)
{
    sweep_b32(place, 32, false);
}

static void sweep_b32_32_min(const struct tile_place *place)
{
    sweep_b32(place, 32, true);
}

static void sweep_b32_255(const struct tile_place *place)
{
    sweep_b32(place, 255, false);
}

static void sweep_s256_32(const struct tile_place *place)
{
    sweep_s256(place, 32, false, 4);
}

static void sweep_s256_32_min(const struct tile_place *place)
{
    sweep_s256(place, 32, true, 4);
}

static void sweep_s256_64(const struct tile_place *place)
{
    sweep_s256(place, 64, false, 4);
}

static void sweep_s256_127(const struct tile_place *place)
{
    sweep_s256(place, 127, false, 4);
}

static void sweep_s256_255(const struct tile_place *place)
{
    sweep_s256(place, 255, false, 4);
}

static void sweep_q4_k(const struct tile_place *place)
{
    sweep_s256(place, 15, true, 8);
}

static void sweep_q5_k(const struct tile_place *place)
{
    sweep_s256(place, 32, true, 8);
}

static void (*sweep_of(enum format format))(const struct tile_place *)
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

enum { TILE_TOKENS = 1024 /* in one go: bounds the list of residuals */ };

_Static_assert(sizeof(struct tile) + TILE_TOKENS * ACT_RESIDUALS * sizeof(struct tile_residual) + 64 <=
                   MATMUL_TILE_BYTES,
               "scratch");

/* Sorted by the 256 elements they belong to; starts[p] is the first of piece p (n_pieces + 1 of them). */
static void residuals_by_piece(const struct kernel_matmul *job, size_t n_pieces, struct tile_residual *sorted,
                               uint32_t *starts)
{
    size_t offset = act_offset_residuals(job->k);
    memset(starts, 0, (n_pieces + 2) * sizeof *starts);
    for (int pass = 0; pass < 2; pass++) { /* count, then place; starts[p + 1] is where the next of piece p goes */
        for (size_t t = 0; t < job->n_tokens; t++) {
            const void *row = (const uint8_t *)job->acts + t * job->act_stride_bytes + offset;
            for (uint32_t i = 0; i < ACT_RESIDUALS; i++) {
                size_t piece = ((const struct act_residual *)row)[i].block / 8;
                if (piece >= n_pieces) continue;
                if (pass == 0)
                    starts[piece + 2]++;
                else
                    sorted[starts[piece + 1]++] = (struct tile_residual){(uint32_t)t, i};
            }
        }
        for (size_t p = 2; pass == 0 && p < n_pieces + 2; p++)
            starts[p] += starts[p - 1];
    }
}

static void matmul_tiles_of(const struct kernel_matmul *job, size_t row_begin, size_t row_end, void *scratch)
{
    struct tile *tile = scratch;
    struct tile_residual *residuals = (struct tile_residual *)(void *)(tile + 1);
    uint32_t *starts = (uint32_t *)(void *)(residuals + TILE_TOKENS * ACT_RESIDUALS);
    const struct unpack_format *format = &unpack_table[job->format];
    size_t n_pieces = (job->k + UNPACK_PIECE - 1) / UNPACK_PIECE;
    bool has_residuals = format->class != UNPACK_S256;
    void (*sweep)(const struct tile_place *) = sweep_of(job->format);
    if (has_residuals) residuals_by_piece(job, n_pieces, residuals, starts);
    for (size_t row = row_begin; row < row_end; row += TILE_ROWS) {
        size_t n_rows = row_end - row < TILE_ROWS ? row_end - row : TILE_ROWS;
        for (size_t p = 0; p < n_pieces; p++) {
            size_t begin = UNPACK_PIECE * p, n = job->k - begin < UNPACK_PIECE ? job->k - begin : UNPACK_PIECE;
            struct tile_place place = {
                .job = job,
                .tile = tile,
                .row = row,
                .n_rows = n_rows,
                .begin = begin,
                .n = n,
                .offset = format->max > 127 ? I8_OFFSET_S : format->offset,
            };
            if (has_residuals) {
                place.residuals = residuals + starts[p];
                place.n_residuals = starts[p + 1] - starts[p];
            }
            tile_fill(&place, tile);
            sweep(&place);
            sweep_residuals(&place);
        }
        tile_finish(job, row, n_rows);
    }
}

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
