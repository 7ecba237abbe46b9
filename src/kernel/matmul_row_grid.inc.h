/* matmul_row_grid.inc.h - groups (matmul_row.inc.h) of codebooks, ternary codes and bits.
 *
 * A codebook's signs go to the activations, so that its magnitudes stay the unsigned side of the products.
 */

/* The sum of one super-block, still spread over lanes. */
I8_INLINE i32x8 grid_sum(const struct grid_block *b, const int8_t *table, int row_elements, const int8_t *q)
{
    i8_scales64 scales = i8_scales64_from(b->scales);
    i8_acc64 sum = i8_acc64_zero();
    UNROLL(4)
    for (int i = 0; i < 4; i++) {
        i8x32 first = grid_rows(b, table, row_elements, 2 * i), last = grid_rows(b, table, row_elements, 2 * i + 1);
        sum = i8_dot64(sum, first, last, q, b->signs, scales, i);
    }
    return i8_acc64_sums(sum);
}

I8_INLINE i32x8 grid_sum_iq1(const struct grid_block *b, i8x32 (*rows)(const struct grid_block *, int), const int8_t *q)
{
    i8_scales64 scales = i8_scales64_from(b->scales);
    i8_acc64 sum = i8_acc64_zero();
    UNROLL(4)
    for (int i = 0; i < 4; i++)
        sum = i8_dot64(sum, rows(b, 2 * i), rows(b, 2 * i + 1), q, NULL, scales, i);
    return i8_acc64_sums(sum);
}

typedef i32x8 grid_sum_fn(const struct grid_block *b, const int8_t *q, const int16_t *sums);

/* All eight are spread out before the first is looked up: a lookup waits long for its row number. */
I8_INLINE f32x8 group_grid(const struct group *g, f32x8 acc, grid_spread_fn *spread, grid_sum_fn *sum, f32x8 d)
{
    struct grid_block blocks[ROWS_AT_ONCE];
    i32x8 part[ROWS_AT_ONCE];
    for (size_t r = 0; r < ROWS_AT_ONCE; r++)
        spread(g->p + g->stride * r, &blocks[r]);
    I8_IN_MEMORY(blocks);
    for (size_t r = 0; r < ROWS_AT_ONCE; r++)
        part[r] = sum(&blocks[r], g->q, g->sums);
    return f32x8_fma(f32x8_mul(d, f32x8_set1(*g->d)), f32x8_from_i32(i32x8_sums8(part)), acc);
}

#define GROUP_GRID(name, row_elements, factor)                                                   \
    I8_INLINE i32x8 sum_##name(const struct grid_block *b, const int8_t *q, const int16_t *sums) \
    {                                                                                            \
        (void)sums;                                                                              \
        return grid_sum(b, grid_##name[0], row_elements, q);                                     \
    }                                                                                            \
    I8_INLINE f32x8 group_##name(const struct group *g, f32x8 acc)                               \
    {                                                                                            \
        f32x8 d = f32x8_mul(f32x8_gather_f16(g->p, g->stride), f32x8_set1(factor));              \
        return group_grid(g, acc, grid_spread_##name, sum_##name, d);                            \
    }

GROUP_GRID(iq2_xxs, 8, 0.125f)
GROUP_GRID(iq2_xs, 8, 0.125f)
GROUP_GRID(iq2_s, 8, 0.125f)
GROUP_GRID(iq3_xxs, 4, 0.25f)
GROUP_GRID(iq3_s, 4, 1.0f)

/* Eight times the rows' sum, and a shift that is the same for 32 elements. */
I8_INLINE i32x8 sum_iq1_s(const struct grid_block *b, const int8_t *q, const int16_t *sums)
{
    i32x8 sum = grid_sum_iq1(b, grid_ternary_rows, q);
    for (int i = 0; i < 3; i++)
        sum = i32x8_add(sum, sum);
    return i8_scaled_sums(i8_scaled_sums(sum, b->scales, sums, -8), b->shifts, sums, 1);
}

I8_INLINE f32x8 group_iq1_s(const struct group *g, f32x8 acc)
{
    f32x8 d = f32x8_mul(f32x8_gather_f16(g->p, g->stride), f32x8_set1(0.125f));
    return group_grid(g, acc, grid_spread_iq1_s, sum_iq1_s, d);
}

I8_INLINE i32x8 sum_iq1_m(const struct grid_block *b, const int8_t *q, const int16_t *sums)
{
    return i8_scaled_sums(grid_sum_iq1(b, grid_shifted_rows, q), b->scales, sums, -9);
}

I8_INLINE f32x8 group_iq1_m(const struct group *g, f32x8 acc)
{
    uint16_t d[ROWS_AT_ONCE];
    UNROLL(8)
    for (size_t r = 0; r < ROWS_AT_ONCE; r++)
        d[r] = grid_d_iq1_m(g->p + g->stride * r);
    f32x8 all = f32x8_mul(f32x8_from_halves(d), f32x8_set1(0.125f));
    return group_grid(g, acc, grid_spread_iq1_m, sum_iq1_m, all);
}

/* ---- ternary and bits -------------------------------------------------------------------------- */

/* Codes 0, 1, 2 for -1, 0, 1; no sub-scales. */
I8_INLINE i32x8 ternary_sum(const uint8_t *block, i8x32 (*codes)(const uint8_t *, int), const int8_t *q)
{
    i32x8 sum = i32x8_zero();
    UNROLL(8)
    for (int j = 0; j < 8; j++)
        sum = i8_small_add(sum, codes(block, j), i8x32_load(q + 32 * j));
    return i8_small_sums(sum);
}

typedef i32x8 ternary_sum_fn(const uint8_t *block, const int8_t *q, const int16_t *sums);

/* sum: of one super-block; d: of the eight. */
I8_INLINE f32x8 group_ternary(const struct group *g, f32x8 acc, ternary_sum_fn *sum, f32x8 d)
{
    i32x8 part[ROWS_AT_ONCE];
    for (size_t r = 0; r < ROWS_AT_ONCE; r++)
        part[r] = sum(g->p + g->stride * r, g->q, g->sums);
    return f32x8_fma(f32x8_mul(d, f32x8_set1(*g->d)), f32x8_from_i32(i32x8_sums8(part)), acc);
}

I8_INLINE i32x8 sum_tq1_0(const uint8_t *block, const int8_t *q, const int16_t *sums)
{
    return i8_scaled_sums(ternary_sum(block, codes_tq1_0, q), i16x16_set1(-1), sums, 1);
}

I8_INLINE f32x8 group_tq1_0(const struct group *g, f32x8 acc)
{
    return group_ternary(g, acc, sum_tq1_0, f32x8_gather_f16(g->p + 52, g->stride));
}

I8_INLINE i32x8 sum_tq2_0(const uint8_t *block, const int8_t *q, const int16_t *sums)
{
    return i8_scaled_sums(ternary_sum(block, codes_tq2_0, q), i16x16_set1(-1), sums, 1);
}

I8_INLINE f32x8 group_tq2_0(const struct group *g, f32x8 acc)
{
    return group_ternary(g, acc, sum_tq2_0, f32x8_gather_f16(g->p + 64, g->stride));
}

/* Blocks of n_parts * 32 elements; codes have 1 too much. */
I8_INLINE f32x8 group_parts(const struct group *g, f32x8 acc, i8x32 (*codes)(const uint8_t *, size_t), size_t n_parts)
{
    f32x8 d = f32x8_gather_f16(g->p, g->stride);
    struct group part = *g;
    for (size_t i = 0; i < (g->part < 0 ? n_parts : 1); i++, part.q += 32, part.d++, part.sums += 2) {
        i32x8 sums[ROWS_AT_ONCE];
        UNROLL(8)
        for (size_t r = 0; r < ROWS_AT_ONCE; r++)
            sums[r] = i8_dot_u(codes(g->p + g->stride * r, g->part < 0 ? i : (size_t)g->part), i8x32_load(part.q));
        acc = group_add(&part, i32x8_sums8(sums), 1, d, acc);
    }
    return acc;
}

I8_INLINE f32x8 group_q1_0(const struct group *g, f32x8 acc)
{
    return group_parts(g, acc, codes_q1_0, 4);
}

I8_INLINE f32x8 group_q2_0(const struct group *g, f32x8 acc)
{
    return group_parts(g, acc, codes_q2_0, 2);
}
