/* encode_avx512.c - the quantizers for AVX-512. Empty on other processors. */
#include "format/encode_tables.h"

#ifdef __x86_64__

#include "format/encode_blocks.inc.h"

const struct encode_table encode_table_avx512 = {"avx512", encode};

#endif
