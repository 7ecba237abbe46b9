/* matmul_row_grid.inc.h - groups (matmul_row.inc.h) of codebooks, ternary codes and bits.
 *
 * A codebook's signs go to the activations, so that its magnitudes stay the unsigned side of the products.
 */

/* The sum of one super-block, still spread over lanes. */
I8_INLINE i32x8 grid_sum(const struct grid_block *b, const int8_t *table, int row_elements, const int8_t *q)
{
    i8_scales pairs = i8_scales_from(b->scales);
    i32x8 sum = i32x8_zero();
    UNROLL(8)
    for (int j = 0; j < 8; j++) {
        i8x32 x = i8x32_negate(i8x32_load(q + 32 * j), grid_signs_of(b, j));
        sum = i8_dot_scaled_u(sum, grid_rows(b, table, row_elements, j), x, pairs, j);
    }
    return sum;
}

/* Eight times the rows' sum, and a shift that is the same for 32 elements. */
I8_INLINE i32x8 grid_sum_iq1_s(const struct grid_block *b, const int8_t *q, const int16_t *sums)
{
    i8_scales pairs = i8_scales_from(b->scales);
    i32x8 sum = i32x8_zero();
    UNROLL(8)
    for (int j = 0; j < 8; j++)
        sum = i8_dot_scaled_s(sum, grid_rows(b, grid_iq1_s[0], 8, j), i8x32_load(q + 32 * j), pairs, j);
    for (int i = 0; i < 3; i++)
        sum = i32x8_add(sum, sum);
    return i8_scaled_sums(sum, b->shifts, sums, 1);
}

I8_INLINE i32x8 grid_sum_iq1_m(const struct grid_block *b, const int8_t *q)
{
    i8_scales pairs = i8_scales_from(b->scales);
    i32x8 sum = i32x8_zero();
    UNROLL(8)
    for (int j = 0; j < 8; j++)
        sum = i8_dot_scaled_s(sum, grid_shifted_rows(b, j), i8x32_load(q + 32 * j), pairs, j);
    return sum;
}

/* Codes 0, 1, 2 for -1, 0, 1; no sub-scales. */
I8_INLINE i32x8 ternary_sum(const uint8_t *block, i8x32 (*codes)(const uint8_t *, int), const int8_t *q)
{
    i32x8 sum = i32x8_zero();
    UNROLL(8)
    for (int j = 0; j < 8; j++)
        sum = i8_small_add(sum, codes(block, j), i8x32_load(q + 32 * j));
    return i8_small_sums(sum);
}

typedef i32x8 super_sum_fn(const uint8_t *block, const int8_t *q, const int16_t *sums);

/* sum: of one super-block; d: of the eight. */
I8_INLINE f32x8 group_super_of(const struct group *g, f32x8 acc, super_sum_fn *sum, f32x8 d)
{
    i32x8 part[ROWS_AT_ONCE];
    for (size_t r = 0; r < ROWS_AT_ONCE; r++)
        part[r] = sum(g->p + g->stride * r, g->q, g->sums);
    return f32x8_fma(f32x8_mul(d, f32x8_set1(*g->d)), f32x8_from_i32(i32x8_sums8(part)), acc);
}

#define GROUP_GRID(name, row_elements, factor)                                             \
    I8_INLINE i32x8 sum_##name(const uint8_t *block, const int8_t *q, const int16_t *sums) \
    {                                                                                      \
        struct grid_block b;                                                               \
        (void)sums;                                                                        \
        grid_spread_##name(block, &b);                                                     \
        return grid_sum(&b, grid_##name[0], row_elements, q);                              \
    }                                                                                      \
    I8_INLINE f32x8 group_##name(const struct group *g, f32x8 acc)                         \
    {                                                                                      \
        f32x8 d = f32x8_mul(f32x8_gather_f16(g->p, g->stride), f32x8_set1(factor));        \
        return group_super_of(g, acc, sum_##name, d);                                      \
    }

GROUP_GRID(iq2_xxs, 8, 0.125f)
GROUP_GRID(iq2_xs, 8, 0.125f)
GROUP_GRID(iq2_s, 8, 0.125f)
GROUP_GRID(iq3_xxs, 4, 0.25f)
GROUP_GRID(iq3_s, 4, 1.0f)

I8_INLINE i32x8 sum_iq1_s(const uint8_t *block, const int8_t *q, const int16_t *sums)
{
    struct grid_block b;
    grid_spread_iq1_s(block, &b);
    return grid_sum_iq1_s(&b, q, sums);
}

I8_INLINE f32x8 group_iq1_s(const struct group *g, f32x8 acc)
{
    f32x8 d = f32x8_mul(f32x8_gather_f16(g->p, g->stride), f32x8_set1(0.125f));
    return group_super_of(g, acc, sum_iq1_s, d);
}

I8_INLINE i32x8 sum_iq1_m(const uint8_t *block, const int8_t *q, const int16_t *sums)
{
    struct grid_block b;
    (void)sums;
    grid_spread_iq1_m(block, &b);
    return grid_sum_iq1_m(&b, q);
}

I8_INLINE f32x8 group_iq1_m(const struct group *g, f32x8 acc)
{
    uint16_t d[ROWS_AT_ONCE];
    UNROLL(8)
    for (size_t r = 0; r < ROWS_AT_ONCE; r++)
        d[r] = grid_d_iq1_m(g->p + g->stride * r);
    return group_super_of(g, acc, sum_iq1_m, f32x8_mul(f32x8_from_halves(d), f32x8_set1(0.125f)));
}

I8_INLINE i32x8 sum_tq1_0(const uint8_t *block, const int8_t *q, const int16_t *sums)
{
    return i8_scaled_sums(ternary_sum(block, codes_tq1_0, q), i16x16_set1(-1), sums, 1);
}

I8_INLINE f32x8 group_tq1_0(const struct group *g, f32x8 acc)
{
    return group_super_of(g, acc, sum_tq1_0, f32x8_gather_f16(g->p + 52, g->stride));
}

I8_INLINE i32x8 sum_tq2_0(const uint8_t *block, const int8_t *q, const int16_t *sums)
{
    return i8_scaled_sums(ternary_sum(block, codes_tq2_0, q), i16x16_set1(-1), sums, 1);
}

I8_INLINE f32x8 group_tq2_0(const struct group *g, f32x8 acc)
{
    return group_super_of(g, acc, sum_tq2_0, f32x8_gather_f16(g->p + 64, g->stride));
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
