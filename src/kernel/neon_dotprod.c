/* neon_dotprod.c - the table for aarch64 processors with SDOT (ARMv8.2 and later, most of them). Empty on others. */
#include "kernel/tables.h"

#ifdef KERNEL_HAS_DOTPROD

#ifndef __ARM_FEATURE_DOTPROD
#pragma GCC target("arch=armv8.2-a+dotprod")
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

const struct kernel_table kernel_table_dotprod = KERNEL_TABLE("dotprod");

#endif
