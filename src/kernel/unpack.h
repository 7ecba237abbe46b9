/* unpack.h - every block format as one of a few canonical forms: int8 codes and their scales.
 *
 * A format is one row of unpack_table. The scalar matrix product reads the canonical forms and nothing else; the
 * others make them in their own way (unpack_codes.inc.h). Pieces are 256 consecutive elements of a row,
 * the last of a row may be shorter (for formats with blocks of less than 256).
 */
#ifndef STILE_KERNEL_UNPACK_H
#define STILE_KERNEL_UNPACK_H

#include "kernel/kernel.h"

enum unpack_class {
    UNPACK_NONE,  /* no matrix product: I8 ... I64, F64, gaps of the table */
    UNPACK_FLOAT, /* F32, F16, BF16: not unpacked */
    UNPACK_B32,   /* value = d[i/32] * code (+ m[i/32]) */
    UNPACK_NVFP4, /* value = d[i/16] * code */
    UNPACK_S256,  /* value = super_d * scales[i/16] * code (- super_min * mins[i/16]) */
};

enum { UNPACK_PIECE = 256 };

struct unpacked {
    _Alignas(64) int8_t codes[UNPACK_PIECE];
    _Alignas(64) float d[UNPACK_PIECE / 16]; /* B32: of each 32, the first 8; NVFP4: of each 16 */
    float m[UNPACK_PIECE / 32];
    int16_t scales[UNPACK_PIECE / 16];
    int16_t mins[UNPACK_PIECE / 16];
    float super_d, super_min;
};

struct unpack_format {
    enum unpack_class class;
    bool has_min;   /* m, or mins and super_min */
    uint8_t offset; /* code + offset is in [0, max] */
    uint8_t max;
    /* n elements: a multiple of the format's block, at most UNPACK_PIECE. The parts that the class lacks are not
     * written. */
    void (*unpack)(const uint8_t *blocks, size_t n, struct unpacked *out);
};

extern const struct unpack_format unpack_table[FORMAT_COUNT];

void unpack_iq2_xxs(const uint8_t *block, size_t n, struct unpacked *out);
void unpack_iq2_xs(const uint8_t *block, size_t n, struct unpacked *out);
void unpack_iq2_s(const uint8_t *block, size_t n, struct unpacked *out);
void unpack_iq3_xxs(const uint8_t *block, size_t n, struct unpacked *out);
void unpack_iq3_s(const uint8_t *block, size_t n, struct unpacked *out);
void unpack_iq1_s(const uint8_t *block, size_t n, struct unpacked *out);
void unpack_iq1_m(const uint8_t *block, size_t n, struct unpacked *out);
void unpack_iq4_xs(const uint8_t *block, size_t n, struct unpacked *out);

#endif
