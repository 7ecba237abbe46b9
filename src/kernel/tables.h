/* tables.h - the tables of this build, for kernel.c. */
#ifndef STILE_KERNEL_TABLES_H
#define STILE_KERNEL_TABLES_H

#include "kernel/kernel.h"

extern const struct kernel_table kernel_table_scalar;
#if defined __x86_64__
extern const struct kernel_table kernel_table_avx2;
extern const struct kernel_table kernel_table_avx512;
#elif defined __aarch64__
extern const struct kernel_table kernel_table_neon;
/* clang has SDOT and SMMLA only in files compiled for them, gcc switches them on inside the file. */
#if !defined __clang__ || defined __ARM_FEATURE_DOTPROD
#define KERNEL_HAS_DOTPROD
extern const struct kernel_table kernel_table_dotprod;
#endif
#if !defined __clang__ || defined __ARM_FEATURE_MATMUL_INT8
#define KERNEL_HAS_I8MM
extern const struct kernel_table kernel_table_i8mm;
#endif
#endif

/* A table of the functions that matmul.inc.h (or scalar.c), ops.inc.h, kv_store.inc.h and attention.inc.h (or
 * attention_scalar.inc.h) defined in this file. */
#define KERNEL_TABLE(name)                                                                                   \
    {                                                                                                        \
        .isa = (name), .quantize = quantize, .matmul = matmul, .kv_store = kv_store, .attention = attention, \
        .attention_part = attention_part, .attention_join = attention_join, .rms_norm = ops_rms_norm,        \
        .rope = ops_rope, .glu = ops_glu, .add = ops_add, .scale = ops_scale, .softcap = ops_softcap,        \
        .softmax = ops_softmax                                                                               \
    }

#endif
