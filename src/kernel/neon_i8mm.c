/* neon_i8mm.c - the table for aarch64 processors with SMMLA (ARMv8.6 and later, some earlier). Empty on others. */
#include "kernel/tables.h"

#ifdef KERNEL_HAS_I8MM

#ifndef __ARM_FEATURE_MATMUL_INT8
#pragma GCC target("arch=armv8.2-a+dotprod+i8mm")
#endif

#include "kernel/f32x8_neon.h"
#include "kernel/i8_grid_neon.h"
#include "kernel/i8_tile_neon.h"
#include "kernel/kv_neon.h"
#include "kernel/matmul_float_x8.inc.h"

#include "kernel/matmul.inc.h"
#include "kernel/ops.inc.h"

#include "kernel/attention.inc.h"
#include "kernel/kv_store.inc.h"

const struct kernel_table kernel_table_i8mm = KERNEL_TABLE("i8mm");

#endif
