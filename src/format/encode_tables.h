/* encode_tables.h - the quantizers of this build, one table for each instruction set: private to the format room, and
 * for tests, which compare the bytes of all. */
#ifndef STILE_FORMAT_ENCODE_TABLES_H
#define STILE_FORMAT_ENCODE_TABLES_H

#include "format/format.h"

/* One block of finite floats with a weight >= 0 each. */
typedef void encode_block(const float *x, const float *w, uint8_t *block);

struct encode_table {
    const char *isa;
    encode_block *encode[FORMAT_COUNT]; /* NULL: not a format of blocks */
};

extern const struct encode_table encode_table_base;
#ifdef __x86_64__
extern const struct encode_table encode_table_avx2, encode_table_avx512;
#endif

/* The tables this processor can run, best first; NULL after the last. */
const struct encode_table *encode_table_at(int i);

#endif
