/* neon.c - the table for any aarch64 processor. Empty on others. */
#include "kernel/tables.h"

#ifdef __aarch64__

#include "kernel/f32x8_neon.h"
#include "kernel/i8_grid_neon.h"
#include "kernel/i8_tile_neon.h"
#include "kernel/kv_neon.h"
#include "kernel/matmul_float_x8.inc.h"

#include "kernel/matmul.inc.h"
#include "kernel/ops.inc.h"

#include "kernel/attention.inc.h"
#include "kernel/kv_store.inc.h"

const struct kernel_table kernel_table_neon = KERNEL_TABLE("neon");

#endif
