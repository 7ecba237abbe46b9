/* neon.c - the table for any aarch64 processor. Empty on others. */
#include "kernel/tables.h"

#ifdef __aarch64__

#include "kernel/f32x8_neon.h"
#include "kernel/i8_neon.h"

#include "kernel/matmul.inc.h"
#include "kernel/ops.inc.h"

const struct kernel_table kernel_table_neon = {
    .isa = "neon",
    .quantize = quantize,
    .matmul = matmul,
    .attention = ops_attention,
    .rms_norm = ops_rms_norm,
    .rope = ops_rope,
    .glu = ops_glu,
    .add = ops_add,
    .scale = ops_scale,
    .softcap = ops_softcap,
    .store_f16 = ops_store_f16,
};

#endif
