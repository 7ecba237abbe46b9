/* neon_dotprod.c - the table for aarch64 processors with SDOT (ARMv8.2 and later, most of them). Empty on others. */
#include "kernel/tables.h"

#ifdef KERNEL_HAS_DOTPROD

#ifndef __ARM_FEATURE_DOTPROD
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif

#include "kernel/f32x8_neon.h"
#include "kernel/i8_neon.h"

#include "kernel/matmul.inc.h"
#include "kernel/ops.inc.h"

const struct kernel_table kernel_table_dotprod = {
    .isa = "dotprod",
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
