/* format.h - the number formats of weights: one table, and the scalar decoder that is the truth.
 *
 * A format stores rows of numbers in blocks of `block_elements`, each `block_bytes` long, packed without
 * padding. The decoder here defines what a block means; every kernel is checked against it.
 * Ids are GGUF's (ggml enum ggml_type). Sources: docs/formats.md.
 */
#ifndef STILE_FORMAT_FORMAT_H
#define STILE_FORMAT_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum format {
    FORMAT_F32 = 0,
    FORMAT_F16 = 1,
    FORMAT_Q4_0 = 2,
    FORMAT_Q4_1 = 3,
    FORMAT_Q5_0 = 6,
    FORMAT_Q5_1 = 7,
    FORMAT_Q8_0 = 8,
    FORMAT_Q2_K = 10,
    FORMAT_Q3_K = 11,
    FORMAT_Q4_K = 12,
    FORMAT_Q5_K = 13,
    FORMAT_Q6_K = 14,
    FORMAT_IQ2_XXS = 16,
    FORMAT_IQ2_XS = 17,
    FORMAT_IQ3_XXS = 18,
    FORMAT_IQ1_S = 19,
    FORMAT_IQ4_NL = 20,
    FORMAT_IQ3_S = 21,
    FORMAT_IQ2_S = 22,
    FORMAT_IQ4_XS = 23,
    FORMAT_I8 = 24,
    FORMAT_I16 = 25,
    FORMAT_I32 = 26,
    FORMAT_I64 = 27,
    FORMAT_F64 = 28,
    FORMAT_IQ1_M = 29,
    FORMAT_BF16 = 30,
    FORMAT_TQ1_0 = 34,
    FORMAT_TQ2_0 = 35,
    FORMAT_MXFP4 = 39,
    FORMAT_NVFP4 = 40,
    FORMAT_Q1_0 = 41,
    FORMAT_Q2_0 = 42,
    FORMAT_COUNT = 43,
};

struct format_info {
    const char *name; /* "Q4_K"; NULL: no such format (a gap or a retired id) */
    uint32_t block_elements;
    uint32_t block_bytes;
    /* Decodes n_blocks blocks to floats; NULL for formats that hold no weights (I8 ... I64, F64). */
    void (*decode)(const void *blocks, size_t n_blocks, float *out);
};

/* NULL for an id outside the table, a gap or a retired id. */
const struct format_info *format_info(uint32_t id);
/* By name, case ignored; NULL when there is none. */
const struct format_info *format_by_name(const char *name, enum format *format);
/* What a retired or private id was called (for error messages): "Q4_2 (retired)"; NULL when unknown. */
const char *format_retired_name(uint32_t id);

/* Bytes of a row of n elements; false when n is not a multiple of the block or the size overflows. */
bool format_row_bytes(enum format format, uint64_t n, uint64_t *bytes);
/* Decodes a row of n elements (a multiple of the block). The format must have a decoder. */
void format_decode(enum format format, const void *row, size_t n, float *out);

#endif
