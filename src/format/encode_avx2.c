/* encode_avx2.c - the quantizers for AVX2. Empty on other processors. */
#include "format/encode_tables.h"

#ifdef __x86_64__

#include "format/encode_blocks.inc.h"

const struct encode_table encode_table_avx2 = {"avx2", encode};

#endif
