/* smallfloat.h - 4- and 8-bit floats and the lookup tables that block formats share.
 *
 * E2M1 (FP4), E4M3 (OCP FP8, no infinities), E8M0 (power-of-two scale). Source: OCP MX specification 1.0;
 * IQ4_NL's table is ggml's format constant.
 */
#ifndef STILE_FORMAT_SMALLFLOAT_H
#define STILE_FORMAT_SMALLFLOAT_H

#include "base/bytes.h"

#include <stdint.h>

/* 2 x E2M1, by code 0..15 */
extern const int8_t smallfloat_e2m1_x2[16];
/* IQ4_NL and IQ4_XS, by code 0..15 */
extern const int8_t smallfloat_iq4_nl[16];

/* 2^(e - 127). e = 0 gives the subnormal 2^-127; 255 (NaN in the specification) gives 2^128 = infinity. */
static inline float f32_from_e8m0(uint8_t e)
{
    return e == 0 ? 0x1p-127f : f32_from_bits((uint32_t)e << 23);
}

/* NVFP4's block scale: E4M3 without its sign; 0x7f (NaN in the specification) counts as 0, as in GGUF. */
static inline float f32_from_ue4m3(uint8_t e)
{
    uint32_t exponent = e >> 3 & 15u, mantissa = e & 7u;
    if ((e & 0x7f) == 0x7f) return 0.0f;
    if (exponent == 0) return (float)mantissa * 0x1p-9f;
    return f32_from_bits((exponent + 120u) << 23 | mantissa << 20);
}

#endif
