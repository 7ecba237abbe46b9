/* ops.inc.h - everything of a kernel_table but quantize and matmul, for any instruction set.
 *
 * Included by each instruction set's .c file after its f32x8_*.h; the loops are written once, over that vocabulary,
 * so all tables give the same bits (a NaN result is a NaN everywhere, its bits are not promised). What kernel.h leaves
 * open is decided here: with r = 1 / sqrt(sum / n + eps) a norm is (x r) w; a rotation is fma(-x1, sin, x0 cos),
 * fma(x1, cos, x0 sin). Any n; lengths that are not multiples of 8 are padded with zeros in registers.
 */
#include "kernel/kernel.h"
#include "kernel/math.inc.h"

#include <math.h>
#include <string.h>

/* `rest` floats are in memory; lanes past them load as zero and are not stored. */
static inline f32x8 ops_load(const float *p, size_t rest)
{
    return rest >= 8 ? f32x8_load(p) : f32x8_load_n(p, rest);
}

static inline void ops_store(float *p, f32x8 a, size_t rest)
{
    if (rest >= 8)
        f32x8_store(p, a);
    else
        f32x8_store_n(p, a, rest);
}

static void ops_rms_norm(const float *x, const float *w, size_t n, float eps, float *out)
{
    f32x8 squares = f32x8_zero();
    for (size_t i = 0; i < n; i += 8) {
        f32x8 a = ops_load(x + i, n - i);
        squares = f32x8_fma(a, a, squares);
    }
    f32x8 r = f32x8_set1(1.0f / sqrtf(f32x8_sum(squares) / (float)n + eps));
    for (size_t i = 0; i < n; i += 8) {
        f32x8 a = f32x8_mul(ops_load(x + i, n - i), r);
        ops_store(out + i, f32x8_mul(a, ops_load(w + i, n - i)), n - i);
    }
}

static inline void ops_rotate(f32x8 *a, f32x8 *b, f32x8 cosine, f32x8 sine)
{
    f32x8 x0 = *a, x1 = *b;
    *a = f32x8_fnma(x1, sine, f32x8_mul(x0, cosine));
    *b = f32x8_fma(x1, cosine, f32x8_mul(x0, sine));
}

static void ops_rope_halves(float *x, size_t half, const float *cosines, const float *sines)
{
    for (size_t i = 0; i < half; i += 8) {
        f32x8 a = ops_load(x + i, half - i), b = ops_load(x + half + i, half - i);
        ops_rotate(&a, &b, ops_load(cosines + i, half - i), ops_load(sines + i, half - i));
        ops_store(x + i, a, half - i);
        ops_store(x + half + i, b, half - i);
    }
}

static void ops_rope_pairs(float *x, size_t half, const float *cosines, const float *sines)
{
    f32x8 a, b;
    size_t i = 0;
    for (; i + 8 <= half; i += 8) {
        f32x8_load_pairs(x + 2 * i, &a, &b);
        ops_rotate(&a, &b, f32x8_load(cosines + i), f32x8_load(sines + i));
        f32x8_store_pairs(x + 2 * i, a, b);
    }
    if (i == half) return;
    float pairs[16] = {0};
    memcpy(pairs, x + 2 * i, 2 * (half - i) * sizeof *x);
    f32x8_load_pairs(pairs, &a, &b);
    ops_rotate(&a, &b, f32x8_load_n(cosines + i, half - i), f32x8_load_n(sines + i, half - i));
    f32x8_store_pairs(pairs, a, b);
    memcpy(x + 2 * i, pairs, 2 * (half - i) * sizeof *x);
}

static void ops_rope(float *x, size_t n_rot, const float *cosines, const float *sines, bool neox)
{
    if (neox)
        ops_rope_halves(x, n_rot / 2, cosines, sines);
    else
        ops_rope_pairs(x, n_rot / 2, cosines, sines);
}

/* Both are x / (1 + e^-z), SiLU with z = x, GELU's tanh form with z = 2 sqrt(2/pi) (x + 0.044715 x^3), since
 * (1 + tanh(z/2)) / 2 = 1 / (1 + e^-z): one exp, and no cancellation for negative x. */
static inline f32x8 ops_activation(enum kernel_glu kind, f32x8 x)
{
    f32x8 minus_z;
    if (kind == GLU_SILU)
        minus_z = f32x8_sub(f32x8_zero(), x);
    else
        minus_z = f32x8_mul(x, f32x8_fma(f32x8_mul(x, x), f32x8_set1(-0.0713548163f), f32x8_set1(-1.59576912f)));
    return f32x8_div(x, f32x8_add(f32x8_set1(1.0f), f32x8_exp(minus_z)));
}

static void ops_glu(enum kernel_glu kind, const float *gate, const float *up, size_t n, float *out)
{
    for (size_t i = 0; i < n; i += 8) {
        f32x8 a = ops_activation(kind, ops_load(gate + i, n - i));
        ops_store(out + i, f32x8_mul(a, ops_load(up + i, n - i)), n - i);
    }
}

static void ops_add(float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i += 8)
        ops_store(x + i, f32x8_add(ops_load(x + i, n - i), ops_load(y + i, n - i)), n - i);
}

static void ops_scale(float *x, float factor, size_t n)
{
    for (size_t i = 0; i < n; i += 8)
        ops_store(x + i, f32x8_mul(ops_load(x + i, n - i), f32x8_set1(factor)), n - i);
}

static inline f32x8 ops_cap(f32x8 x, f32x8 cap)
{
    return f32x8_mul(cap, f32x8_tanh(f32x8_div(x, cap)));
}

static void ops_softcap(float *x, float cap, size_t n)
{
    for (size_t i = 0; i < n; i += 8)
        ops_store(x + i, ops_cap(ops_load(x + i, n - i), f32x8_set1(cap)), n - i);
}

static void ops_store_f16(const float *x, size_t n, uint16_t *out)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        f32x8_store_f16(out + i, f32x8_load(x + i));
    if (i < n) f32x8_store_f16_n(out + i, f32x8_load_n(x + i, n - i), n - i);
}

#include "kernel/attention.inc.h"
