/* matmul_row_grid.inc.h - groups (matmul_row.inc.h) of codebooks, ternary codes and bits.
 *
 * A codebook's signs go to the activations, so that its magnitudes stay the unsigned side of the products.
 */

typedef i8x32 grid_rows_fn(const struct grid_block *b, int j);

/* What is still missing in the sum of a block. */
typedef i32x8 grid_settle_fn(i32x8 sum, const struct grid_block *b, const int16_t *sums);

/* All eight are spread out before the first is looked up: a lookup waits long for its row number. */
I8_INLINE void group_grid(const struct group *g, size_t n, f32x8 *acc, grid_spread_fn *spread, grid_rows_fn *rows,
                          bool has_signs, grid_settle_fn *settle, f32x8 d)
{
    struct grid_block blocks[ROWS_AT_ONCE];
    i32x8 part[TOKENS_AT_ONCE][ROWS_AT_ONCE];
    for (size_t r = 0; r < ROWS_AT_ONCE; r++)
        spread(g->p + g->stride * r, &blocks[r]);
    I8_IN_MEMORY(blocks);
    for (size_t r = 0; r < ROWS_AT_ONCE; r++) {
        const struct grid_block *b = &blocks[r];
        i8_scales64 scales = i8_scales64_from(b->scales);
        i8_acc64 sum[TOKENS_AT_ONCE];
        UNROLL(TOKENS_AT_ONCE)
        for (size_t t = 0; t < n; t++)
            sum[t] = i8_acc64_zero();
        UNROLL(4)
        for (int i = 0; i < 4; i++) {
            i8x32 first = rows(b, 2 * i), last = rows(b, 2 * i + 1);
            i8x64 w = has_signs ? i8x64_negative(first, last, b->signs + 8 * i) : i8x64_unsigned(first, last);
            i8_scale64 of = i8_scale64_at(scales, i);
            UNROLL(TOKENS_AT_ONCE)
            for (size_t t = 0; t < n; t++)
                sum[t] = i8_dot64(sum[t], w, g->q + t * g->act_stride + 64 * i, of, has_signs);
        }
        UNROLL(TOKENS_AT_ONCE)
        for (size_t t = 0; t < n; t++)
            part[t][r] = settle(i8_acc64_sums(sum[t]), b, group_token(g, t).sums);
    }
    UNROLL(TOKENS_AT_ONCE)
    for (size_t t = 0; t < n; t++)
        super_add(g, t, d, i32x8_sums8(part[t]), acc);
}

I8_INLINE i32x8 grid_settled(i32x8 sum, const struct grid_block *b, const int16_t *sums)
{
    (void)b, (void)sums;
    return sum;
}

#define GROUP_GRID(name, row_elements, factor)                                              \
    I8_INLINE i8x32 grid_rows_##name(const struct grid_block *b, int j)                     \
    {                                                                                       \
        return grid_rows(b, grid_##name[0], row_elements, j);                               \
    }                                                                                       \
    I8_INLINE void group_##name(const struct group *g, size_t n, f32x8 *acc)                \
    {                                                                                       \
        f32x8 d = f32x8_mul(f32x8_gather_f16(g->p, g->stride), f32x8_set1(factor));         \
        group_grid(g, n, acc, grid_spread_##name, grid_rows_##name, true, grid_settled, d); \
    }

GROUP_GRID(iq2_xxs, 8, 0.125f)
GROUP_GRID(iq2_xs, 8, 0.125f)
GROUP_GRID(iq2_s, 8, 0.125f)
GROUP_GRID(iq3_xxs, 4, 0.25f)
GROUP_GRID(iq3_s, 4, 1.0f)

/* Eight times the rows' sum, and a shift that is the same for 32 elements. */
I8_INLINE i32x8 settle_iq1_s(i32x8 sum, const struct grid_block *b, const int16_t *sums)
{
    for (int i = 0; i < 3; i++)
        sum = i32x8_add(sum, sum);
    return i8_scaled_sums(i8_scaled_sums(sum, b->scales, sums, -8), b->shifts, sums, 1);
}

I8_INLINE void group_iq1_s(const struct group *g, size_t n, f32x8 *acc)
{
    f32x8 d = f32x8_mul(f32x8_gather_f16(g->p, g->stride), f32x8_set1(0.125f));
    group_grid(g, n, acc, grid_spread_iq1_s, grid_ternary_rows, false, settle_iq1_s, d);
}

I8_INLINE i32x8 settle_iq1_m(i32x8 sum, const struct grid_block *b, const int16_t *sums)
{
    return i8_scaled_sums(sum, b->scales, sums, -9);
}

I8_INLINE void group_iq1_m(const struct group *g, size_t n, f32x8 *acc)
{
    uint16_t d[ROWS_AT_ONCE];
    UNROLL(8)
    for (size_t r = 0; r < ROWS_AT_ONCE; r++)
        d[r] = grid_d_iq1_m(g->p + g->stride * r);
    f32x8 all = f32x8_mul(f32x8_from_halves(d), f32x8_set1(0.125f));
    group_grid(g, n, acc, grid_spread_iq1_m, grid_shifted_rows, false, settle_iq1_m, all);
}

/* ---- ternary and bits -------------------------------------------------------------------------- */

/* Codes 0, 1, 2 for -1, 0, 1; no sub-scales. */
I8_INLINE void group_ternary(const struct group *g, size_t n, f32x8 *acc, i8x32 (*codes)(const uint8_t *, int),
                             size_t offset_d)
{
    i32x8 part[TOKENS_AT_ONCE][ROWS_AT_ONCE];
    for (size_t r = 0; r < ROWS_AT_ONCE; r++) {
        i32x8 sum[TOKENS_AT_ONCE];
        UNROLL(TOKENS_AT_ONCE)
        for (size_t t = 0; t < n; t++)
            sum[t] = i32x8_zero();
        UNROLL(8)
        for (int j = 0; j < 8; j++) {
            i8x32 w = codes(g->p + g->stride * r, j);
            UNROLL(TOKENS_AT_ONCE)
            for (size_t t = 0; t < n; t++)
                sum[t] = i8_small_add(sum[t], w, i8x32_load(g->q + t * g->act_stride + 32 * j));
        }
        UNROLL(TOKENS_AT_ONCE)
        for (size_t t = 0; t < n; t++)
            part[t][r] = i8_scaled_sums(i8_small_sums(sum[t]), i16x16_set1(-1), group_token(g, t).sums, 1);
    }
    f32x8 d = f32x8_gather_f16(g->p + offset_d, g->stride);
    UNROLL(TOKENS_AT_ONCE)
    for (size_t t = 0; t < n; t++)
        super_add(g, t, d, i32x8_sums8(part[t]), acc);
}

I8_INLINE void group_tq1_0(const struct group *g, size_t n, f32x8 *acc)
{
    group_ternary(g, n, acc, codes_tq1_0, 52);
}

I8_INLINE void group_tq2_0(const struct group *g, size_t n, f32x8 *acc)
{
    group_ternary(g, n, acc, codes_tq2_0, 64);
}

/* Blocks of n_parts * 32 elements; codes have 1 too much. */
I8_INLINE void group_parts(const struct group *g, size_t n, f32x8 *acc, i8x32 (*codes)(const uint8_t *, size_t),
                           size_t n_parts)
{
    f32x8 d = f32x8_gather_f16(g->p, g->stride);
    struct group part = *g;
    for (size_t i = 0; i < (g->part < 0 ? n_parts : 1); i++, part.q += 32, part.d++, part.sums += 2) {
        i32x8 sums[TOKENS_AT_ONCE][ROWS_AT_ONCE];
        i32x8 all[TOKENS_AT_ONCE];
        UNROLL(8)
        for (size_t r = 0; r < ROWS_AT_ONCE; r++) {
            i8x32 w = codes(g->p + g->stride * r, g->part < 0 ? i : (size_t)g->part);
            UNROLL(TOKENS_AT_ONCE)
            for (size_t t = 0; t < n; t++)
                sums[t][r] = i8_dot_u(w, i8x32_load(part.q + t * g->act_stride));
        }
        UNROLL(TOKENS_AT_ONCE)
        for (size_t t = 0; t < n; t++)
            all[t] = i32x8_sums8(sums[t]);
        group_add(&part, n, all, 1, d, acc);
    }
}

I8_INLINE void group_q1_0(const struct group *g, size_t n, f32x8 *acc)
{
    group_parts(g, n, acc, codes_q1_0, 4);
}

I8_INLINE void group_q2_0(const struct group *g, size_t n, f32x8 *acc)
{
    group_parts(g, n, acc, codes_q2_0, 2);
}
