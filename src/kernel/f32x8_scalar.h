/* f32x8_scalar.h - eight float lanes in plain C: the definition of the vocabulary.
 *
 * Three files define these names, one per instruction set, and a kernel file includes one of them; loops over the
 * vocabulary (ops.inc.h and others) are then written once. Every word rounds once, to nearest even, in every
 * file, so the same words in the same order give the same bits everywhere, subnormals and infinities included.
 * A NaN stays a NaN; its sign and payload are not part of the promise.
 *
 *   max, min          a > b ? a : b and a < b ? a : b: the second operand when one is a NaN or both are zeros
 *   fma, fnma         a * b + c and c - a * b, one rounding
 *   sum, hmax         the fixed tree ((0,4),(2,6)),((1,5),(3,7)); sum4 writes the sums of four vectors
 *   exponent          the bits of x shifted into the exponent, plus `bias`, as a float (for 2^n, see math.inc.h)
 *   load_pairs        lanes from p[0], p[2] ... p[14] and from p[1], p[3] ... p[15]; store_pairs is its inverse
 * Words for tails, with n lanes in memory: f32x8_tail.inc.h.
 */
#ifndef STILE_KERNEL_F32X8_SCALAR_H
#define STILE_KERNEL_F32X8_SCALAR_H

#include "base/bytes.h"

#include <math.h>

typedef struct {
    float lane[8];
} f32x8;

static inline f32x8 f32x8_set1(float x)
{
    return (f32x8){{x, x, x, x, x, x, x, x}};
}

static inline f32x8 f32x8_zero(void)
{
    return f32x8_set1(0.0f);
}

static inline f32x8 f32x8_load(const float *p)
{
    f32x8 r;
    memcpy(r.lane, p, sizeof r.lane);
    return r;
}

static inline void f32x8_store(float *p, f32x8 a)
{
    memcpy(p, a.lane, sizeof a.lane);
}

static inline f32x8 f32x8_load_f16(const uint16_t *p)
{
    f32x8 r;
    for (int l = 0; l < 8; l++)
        r.lane[l] = f32_from_f16(p[l]);
    return r;
}

static inline f32x8 f32x8_load_bf16(const uint16_t *p)
{
    f32x8 r;
    for (int l = 0; l < 8; l++)
        r.lane[l] = f32_from_bf16(p[l]);
    return r;
}

static inline void f32x8_store_f16(uint16_t *p, f32x8 a)
{
    for (int l = 0; l < 8; l++)
        p[l] = f16_from_f32(a.lane[l]);
}

static inline void f32x8_load_pairs(const float *p, f32x8 *even, f32x8 *odd)
{
    for (int l = 0; l < 8; l++) {
        even->lane[l] = p[2 * l];
        odd->lane[l] = p[2 * l + 1];
    }
}

static inline void f32x8_store_pairs(float *p, f32x8 even, f32x8 odd)
{
    for (int l = 0; l < 8; l++) {
        p[2 * l] = even.lane[l];
        p[2 * l + 1] = odd.lane[l];
    }
}

static inline f32x8 f32x8_add(f32x8 a, f32x8 b)
{
    for (int l = 0; l < 8; l++)
        a.lane[l] += b.lane[l];
    return a;
}

static inline f32x8 f32x8_sub(f32x8 a, f32x8 b)
{
    for (int l = 0; l < 8; l++)
        a.lane[l] -= b.lane[l];
    return a;
}

static inline f32x8 f32x8_mul(f32x8 a, f32x8 b)
{
    for (int l = 0; l < 8; l++)
        a.lane[l] *= b.lane[l];
    return a;
}

static inline f32x8 f32x8_div(f32x8 a, f32x8 b)
{
    for (int l = 0; l < 8; l++)
        a.lane[l] /= b.lane[l];
    return a;
}

static inline f32x8 f32x8_fma(f32x8 a, f32x8 b, f32x8 c)
{
    for (int l = 0; l < 8; l++)
        c.lane[l] = fmaf(a.lane[l], b.lane[l], c.lane[l]);
    return c;
}

static inline f32x8 f32x8_fnma(f32x8 a, f32x8 b, f32x8 c)
{
    for (int l = 0; l < 8; l++)
        c.lane[l] = fmaf(-a.lane[l], b.lane[l], c.lane[l]);
    return c;
}

static inline f32x8 f32x8_max(f32x8 a, f32x8 b)
{
    for (int l = 0; l < 8; l++)
        b.lane[l] = a.lane[l] > b.lane[l] ? a.lane[l] : b.lane[l];
    return b;
}

static inline f32x8 f32x8_min(f32x8 a, f32x8 b)
{
    for (int l = 0; l < 8; l++)
        b.lane[l] = a.lane[l] < b.lane[l] ? a.lane[l] : b.lane[l];
    return b;
}

static inline f32x8 f32x8_abs(f32x8 a)
{
    for (int l = 0; l < 8; l++)
        a.lane[l] = fabsf(a.lane[l]);
    return a;
}

/* |a| with the sign of b */
static inline f32x8 f32x8_copysign(f32x8 a, f32x8 b)
{
    for (int l = 0; l < 8; l++)
        a.lane[l] = copysignf(a.lane[l], b.lane[l]);
    return a;
}

static inline f32x8 f32x8_exponent(f32x8 x, uint32_t bias)
{
    for (int l = 0; l < 8; l++)
        x.lane[l] = f32_from_bits((f32_bits(x.lane[l]) << 23) + bias);
    return x;
}

static inline float f32x8_sum(f32x8 a)
{
    const float *x = a.lane;
    return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}

static inline void f32x8_sum4(float *p, f32x8 a, f32x8 b, f32x8 c, f32x8 d)
{
    p[0] = f32x8_sum(a);
    p[1] = f32x8_sum(b);
    p[2] = f32x8_sum(c);
    p[3] = f32x8_sum(d);
}

static inline float f32x8_hmax(f32x8 a)
{
    for (int half = 4; half > 0; half /= 2) {
        for (int l = 0; l < half; l++)
            a.lane[l] = a.lane[l] > a.lane[l + half] ? a.lane[l] : a.lane[l + half];
    }
    return a.lane[0];
}

#include "kernel/f32x8_tail.inc.h"

#endif
