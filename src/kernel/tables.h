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
#endif

#endif
