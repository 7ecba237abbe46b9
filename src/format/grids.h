/* grids.h - the codebooks of the IQ formats: rows of 8 (IQ1, IQ2) or 4 (IQ3) weights, looked up by index.
 *
 * The tables are constants of the formats (ggml's ggml-common.h, chosen by their author as good subsets of a lattice);
 * grids.c is written by tools/make-grids.py, which checks their SHA-256. Magnitudes, except IQ1_S whose rows hold
 * -1, 0, 1; signs of the others are stored beside the index.
 */
#ifndef STILE_FORMAT_GRIDS_H
#define STILE_FORMAT_GRIDS_H

#include <stdint.h>

extern const int8_t grid_iq2_xxs[256][8]; /* 8, 25, 43 */
extern const int8_t grid_iq2_xs[512][8];
extern const int8_t grid_iq2_s[1024][8];
extern const int8_t grid_iq1_s[2048][8];  /* -1, 0, 1; IQ1_M uses it too */
extern const int8_t grid_iq3_xxs[256][4]; /* 4, 12, 20, 28, 36, 44, 52, 62 */
extern const int8_t grid_iq3_s[512][4];   /* 1, 3, ..., 15 */

/* Eight signs from the seven that are stored: bit k set means element k is negative, and the number of negatives is
 * even. Higher bits of the argument are ignored. */
static inline uint8_t grid_signs(uint32_t seven_bits)
{
    uint32_t s = seven_bits & 127u;
    return (uint8_t)(s | (uint32_t)__builtin_parity(s) << 7);
}

#endif
