/* f32xn_x8.inc.h - the vectors of matmul_float.inc.h where registers have fewer than sixteen lanes: those of f32x8_<isa>.h,
 * included before. */
#include "kernel/inline.h"

#define F32XN 8

/* How many sums are held in registers: of rows x tokens, and of one row for some tokens. */
#define FLOAT_ROWS    4
#define FLOAT_COLUMNS 3
#define FLOAT_DIRECT  3

#define f32xn           f32x8
#define f32xn_zero      f32x8_zero
#define f32xn_load      f32x8_load
#define f32xn_load_f16  f32x8_load_f16
#define f32xn_load_bf16 f32x8_load_bf16
#define f32xn_store     f32x8_store
#define f32xn_add       f32x8_add
#define f32xn_fma       f32x8_fma
#define f32xn_sum       f32x8_sum

/* to[c][r] = the sum of v[c][r]; n_columns is a constant. */
I8_INLINE void f32xn_sum_columns(float to[FLOAT_COLUMNS][4], f32xn v[FLOAT_COLUMNS][4], size_t n_columns)
{
    UNROLL(16)
    for (size_t c = 0; c < n_columns; c++)
        f32x8_sum4(to[c], v[c][0], v[c][1], v[c][2], v[c][3]);
}
