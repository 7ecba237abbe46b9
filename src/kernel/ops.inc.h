/* ops.inc.h - the small vector operations of a kernel_table, for any instruction set.
 *
 * Included by each instruction set's .c file after its f32v_*.h; the loops are written once, over that vocabulary,
 * so all tables give the same bits (a NaN result is a NaN everywhere, its bits are not promised). What kernel.h leaves
 * open is decided here: with r = 1 / sqrt(sum / n + eps) a norm is (x r) w; a rotation is fma(-x1, sin, x0 cos),
 * fma(x1, cos, x0 sin). Any n; lengths that are not multiples of a vector are padded with zeros in registers.
 */
#include "kernel/kernel.h"
#include "kernel/math.inc.h"

#include <math.h>
#include <string.h>

/* `rest` floats are in memory; lanes past them load as zero and are not stored. */
static inline f32v ops_load(const float *p, size_t rest)
{
    return rest >= F32V_LANES ? f32v_load(p) : f32v_load_n(p, rest);
}

static inline void ops_store(float *p, f32v a, size_t rest)
{
    if (rest >= F32V_LANES)
        f32v_store(p, a);
    else
        f32v_store_n(p, a, rest);
}

static void ops_rms_norm(const float *x, const float *w, size_t n, float eps, float *out)
{
    f32x8 squares = f32x8_zero();
    for (size_t i = 0; i < n; i += 8) {
        f32x8 a = n - i >= 8 ? f32x8_load(x + i) : f32x8_load_n(x + i, n - i);
        squares = f32x8_fma(a, a, squares);
    }
    f32v r = f32v_set1(1.0f / sqrtf(f32x8_sum(squares) / (float)n + eps));
    for (size_t i = 0; i < n; i += F32V_LANES) {
        f32v a = f32v_mul(ops_load(x + i, n - i), r);
        ops_store(out + i, f32v_mul(a, ops_load(w + i, n - i)), n - i);
    }
}

static inline void ops_rotate(f32v *a, f32v *b, f32v cosine, f32v sine)
{
    f32v x0 = *a, x1 = *b;
    *a = f32v_fnma(x1, sine, f32v_mul(x0, cosine));
    *b = f32v_fma(x1, cosine, f32v_mul(x0, sine));
}

static void ops_rope_halves(float *x, size_t half, const float *cosines, const float *sines)
{
    for (size_t i = 0; i < half; i += F32V_LANES) {
        f32v a = ops_load(x + i, half - i), b = ops_load(x + half + i, half - i);
        ops_rotate(&a, &b, ops_load(cosines + i, half - i), ops_load(sines + i, half - i));
        ops_store(x + i, a, half - i);
        ops_store(x + half + i, b, half - i);
    }
}

static void ops_rope_pairs(float *x, size_t half, const float *cosines, const float *sines)
{
    f32v a, b;
    size_t i = 0;
    for (; i + F32V_LANES <= half; i += F32V_LANES) {
        f32v_load_pairs(x + 2 * i, &a, &b);
        ops_rotate(&a, &b, f32v_load(cosines + i), f32v_load(sines + i));
        f32v_store_pairs(x + 2 * i, a, b);
    }
    if (i == half) return;
    float pairs[2 * F32V_LANES] = {0};
    memcpy(pairs, x + 2 * i, 2 * (half - i) * sizeof *x);
    f32v_load_pairs(pairs, &a, &b);
    ops_rotate(&a, &b, f32v_load_n(cosines + i, half - i), f32v_load_n(sines + i, half - i));
    f32v_store_pairs(pairs, a, b);
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
static inline f32v ops_activation(enum kernel_glu kind, f32v x)
{
    f32v minus_z;
    if (kind == GLU_SILU)
        minus_z = f32v_sub(f32v_zero(), x);
    else
        minus_z = f32v_mul(x, f32v_fma(f32v_mul(x, x), f32v_set1(-0.0713548163f), f32v_set1(-1.59576912f)));
    return f32v_div(x, f32v_add(f32v_set1(1.0f), f32v_exp(minus_z)));
}

static void ops_glu(enum kernel_glu kind, const float *gate, const float *up, size_t n, float *out)
{
    for (size_t i = 0; i < n; i += F32V_LANES) {
        f32v a = ops_activation(kind, ops_load(gate + i, n - i));
        ops_store(out + i, f32v_mul(a, ops_load(up + i, n - i)), n - i);
    }
}

static void ops_add(float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i += F32V_LANES)
        ops_store(x + i, f32v_add(ops_load(x + i, n - i), ops_load(y + i, n - i)), n - i);
}

static void ops_scale(float *x, float factor, size_t n)
{
    for (size_t i = 0; i < n; i += F32V_LANES)
        ops_store(x + i, f32v_mul(ops_load(x + i, n - i), f32v_set1(factor)), n - i);
}

static inline f32v ops_cap(f32v x, f32v cap)
{
    return f32v_mul(cap, f32v_tanh(f32v_div(x, cap)));
}

static void ops_softcap(float *x, float cap, size_t n)
{
    for (size_t i = 0; i < n; i += F32V_LANES)
        ops_store(x + i, ops_cap(ops_load(x + i, n - i), f32v_set1(cap)), n - i);
}

static void ops_softmax(float *x, size_t n)
{
    float largest = x[0];
    f32x8 sums = f32x8_zero();
    for (size_t i = 1; i < n; i++)
        largest = x[i] > largest ? x[i] : largest;
    for (size_t i = 0; i < n; i += F32V_LANES)
        ops_store(x + i, f32v_exp(f32v_sub(ops_load(x + i, n - i), f32v_set1(largest))), n - i);
    for (size_t i = 0; i < n; i += 8)
        sums = f32x8_add(sums, n - i >= 8 ? f32x8_load(x + i) : f32x8_load_n(x + i, n - i));
    f32v sum = f32v_set1(f32x8_sum(sums));
    for (size_t i = 0; i < n; i += F32V_LANES)
        ops_store(x + i, f32v_div(ops_load(x + i, n - i), sum), n - i);
}
