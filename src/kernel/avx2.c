/* avx2.c - the table for AVX2, FMA and F16C. Empty on other processors. */
#include "kernel/tables.h"

#ifdef __x86_64__

#include "kernel/f32x8_avx2.h"
#include "kernel/i8_avx2.h"

#include "kernel/matmul.inc.h"
#include "kernel/ops.inc.h"

const struct kernel_table kernel_table_avx2 = {
    .isa = "avx2",
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
