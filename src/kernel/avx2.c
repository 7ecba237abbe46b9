/* avx2.c - the table for AVX2, FMA and F16C. Empty on other processors. */
#include "kernel/tables.h"

#ifdef __x86_64__

#include "kernel/f32x8_avx2.h"
#include "kernel/i8_avx2.h"
#include "kernel/i8_grid_x86.h"
#include "kernel/kv_avx2.h"
#include "kernel/matmul_float_x8.inc.h"

#include "kernel/matmul.inc.h"
#include "kernel/ops.inc.h"

#include "kernel/attention.inc.h"
#include "kernel/kv_store.inc.h"

const struct kernel_table kernel_table_avx2 = KERNEL_TABLE("avx2");

#endif
