/* encode_tables.h - the quantizers of this build, one table for each instruction set: private to the format room, and
 * for tests, which compare the bytes of all. */
#ifndef STILE_FORMAT_ENCODE_TABLES_H
#define STILE_FORMAT_ENCODE_TABLES_H

#include "format/format.h"

struct encode_table {
    const char *isa;
    /* As format_encode, for formats of blocks. */
    void (*encode)(enum format format, const float *x, size_t n, const float *importance, uint8_t *out);
};

extern const struct encode_table encode_table_base;
#ifdef __x86_64__
extern const struct encode_table encode_table_avx2, encode_table_avx512;
#endif

/* The tables this processor can run, best first; NULL after the last. */
const struct encode_table *encode_table_at(int i);

#endif
