/* avx512.c - the table for AVX-512 (F, BW, DQ, VL, VNNI). Empty on other processors. */
#include "kernel/tables.h"

#ifdef __x86_64__

#include "kernel/f32x8_avx2.h"
#include "kernel/i8_avx512.h"
#include "kernel/i8_grid_x86.h"
#include "kernel/kv_avx512.h"
#include "kernel/matmul_float_avx512.h"

#include "kernel/matmul.inc.h"
#include "kernel/ops.inc.h"

#include "kernel/attention.inc.h"
#include "kernel/kv_store.inc.h"

const struct kernel_table kernel_table_avx512 = KERNEL_TABLE("avx512");

#endif
