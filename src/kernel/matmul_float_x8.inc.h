/* matmul_float_x8.inc.h - what matmul_float.inc.h needs beside f32v where that is f32x8, included before. */
#include "kernel/f32v_f32x8.inc.h"
#include "kernel/inline.h"

/* How many sums are held in registers: of rows x tokens, and of one row for some tokens. */
#define FLOAT_ROWS    4
#define FLOAT_COLUMNS 3
#define FLOAT_DIRECT  3

#define f32v_load_bf16 f32x8_load_bf16
#define f32v_sum       f32x8_sum

/* to[c][r] = the sum of v[c][r]; n_columns is a constant. */
I8_INLINE void f32v_sum_columns(float to[FLOAT_COLUMNS][4], f32v v[FLOAT_COLUMNS][4], size_t n_columns)
{
    UNROLL(16)
    for (size_t c = 0; c < n_columns; c++)
        f32x8_sum4(to[c], v[c][0], v[c][1], v[c][2], v[c][3]);
}
