/* kernel_check_ops.c - the small vector operations of a kernel_table.
 *
 * Each op of a table against the scalar one, bit for bit (a NaN must be a NaN); against arithmetic in long double,
 * within bounds derived below; and the scalar results against a recorded hash, so that two machines that cannot
 * be compared side by side (x86 and ARM) are known to agree.
 *
 * Bounds: u = 2^-24 is the relative error of one rounding; n roundings in a row are taken as (n + 1) u, the extra one
 * covering higher orders. exp is within 1.25 units in the last place, tanh within 2.75: 3 u and 6 u. Results near the
 * smallest normal number get an absolute allowance, TINY times the size of what they are multiplied with.
 */
#include "kernel_check.h"

#include "kernel/f32x8_scalar.h"

#include "kernel/f32v_f32x8.inc.h"
#include "kernel/math.inc.h"

#include <float.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define U    0x1p-24L
#define TINY 0x1p-120L

/* Of all outputs of the scalar table below, in order. A change of the numbers on purpose changes it: copy the new one
 * from the failure's message, and say so in the commit. */
static const uint64_t expected_hash = 0xc4d689a2d423211a;

enum op { OP_NORM, OP_ROPE_HALVES, OP_ROPE_PAIRS, OP_SILU, OP_GELU, OP_ADD, OP_SCALE, OP_SOFTCAP, OP_SOFTMAX, N_OPS };
static const char *const op_names[N_OPS] = {"rms_norm", "rope halves", "rope pairs", "silu",   "gelu",
                                            "add",      "scale",       "softcap",    "softmax"};
static const float factor = 0.37f, cap = 2.5f, epsilon = 1e-5f;

static uint64_t random_state, hash;

static uint32_t random_u32(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33 ^ random_state >> 27);
}

/* Multiples of 2^-22 in [-8, 8), more of them near 0. */
static float random_ordinary(void)
{
    int32_t wide = (int32_t)(random_u32() >> 6) - (1 << 25);
    return (float)(wide >> random_u32() % 8) * 0x1p-22f;
}

static float random_extreme(void)
{
    static const float special[] = {0.0f,     -0.0f,   0x1p-149f, -0x1p-149f, FLT_MIN,   -FLT_MIN, 1.0f,
                                    -1.0f,    FLT_MAX, -FLT_MAX,  INFINITY,   -INFINITY, NAN,      88.72f,
                                    -88.72f,  -86.98f, 9.01f,     -9.01f,     -87.0f,    89.0f,    65519.0f,
                                    65520.0f, 1e-40f,  3e-8f,     -5.97e-8f,  1e19f,     -1e19f};
    uint32_t r = random_u32();
    if (r % 4 == 0) return special[r / 4 % (sizeof special / sizeof *special)];
    if (r % 4 == 1) return f32_from_bits(random_u32());
    return random_ordinary();
}

static float *floats(size_t n)
{
    return check_guarded(n * sizeof(float));
}

static void floats_free(float *p, size_t n)
{
    check_guarded_free(p, n * sizeof *p);
}

static float *random_floats(size_t n, bool extreme)
{
    float *p = floats(n);
    for (size_t i = 0; i < n; i++)
        p[i] = extreme ? random_extreme() : random_ordinary();
    return p;
}

static void hash_add(uint32_t bits)
{
    hash = (hash ^ bits) * 0x100000001b3u;
    hash ^= hash >> 29;
}

/* The bits, one pattern for all NaNs. */
static uint32_t canonical(float x)
{
    return isnan(x) ? 0x7fc00000u : f32_bits(x);
}

static void hash_floats(const float *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        hash_add(canonical(p[i]));
}

static bool near(const char *isa, const char *what, size_t i, float got, long double truth, long double bound)
{
    bool ok = fabsl((long double)got - truth) <= bound || (isinf(got) && fabsl(truth) + bound > (long double)FLT_MAX);
    if (!ok)
        check_result(false, "%s: %s: [%zu] is %a, true value %La, difference %.3Lg times the bound", isa, what, i,
                     (double)got, truth, fabsl((long double)got - truth) / bound);
    return ok;
}

/* One op on n elements; a and b are its other inputs, n each. out may be x (or a, for the gated ones). */
static void op_run(const struct kernel_table *table, enum op op, const float *x, const float *a, const float *b,
                   size_t n, float *out)
{
    if (op == OP_ROPE_HALVES || op == OP_ROPE_PAIRS || op == OP_ADD || op == OP_SCALE || op == OP_SOFTCAP ||
        op == OP_SOFTMAX)
        memmove(out, x, n * sizeof *x);
    switch (op) {
    case OP_NORM: table->rms_norm(x, a, n, epsilon, out); break;
    case OP_ROPE_HALVES: table->rope(out, n / 2 * 2, a, b, true); break;
    case OP_ROPE_PAIRS: table->rope(out, n / 2 * 2, a, b, false); break;
    case OP_SILU: table->glu(GLU_SILU, x, a, n, out); break;
    case OP_GELU: table->glu(GLU_GELU, x, a, n, out); break;
    case OP_ADD: table->add(out, a, n); break;
    case OP_SCALE: table->scale(out, factor, n); break;
    case OP_SOFTCAP: table->softcap(out, cap, n); break;
    case OP_SOFTMAX: table->softmax(out, n); break;
    case N_OPS: break;
    }
}

/* The other element of i's pair, and whether i is the first of the two. */
static size_t rope_partner(enum op op, size_t i, size_t n, bool *first)
{
    size_t half = n / 2;
    *first = op == OP_ROPE_HALVES ? i < half : i % 2 == 0;
    if (op == OP_ROPE_HALVES) return *first ? i + half : i - half;
    return i ^ 1u;
}

/* Output i in long double, and the bound of the error. */
static long double op_truth(enum op op, const float *x, const float *a, const float *b, size_t n, size_t i,
                            long double *bound)
{
    long double value = x[i], z, e, sum = 0, largest = x[0];
    size_t other, angle;
    bool first;
    switch (op) {
    case OP_NORM:
        /* the sum of squares has n/8 + 3 roundings, halved by the root (as those of the division and of the addition of
         * eps); root, inverse, two products */
        for (size_t j = 0; j < n; j++)
            sum += (long double)x[j] * x[j];
        value = value / sqrtl(sum / (long double)n + (long double)epsilon) * a[i];
        *bound = ((long double)(n / 8 + 6) / 2 + 5) * U * fabsl(value) + TINY * fabsl((long double)a[i]);
        return value;
    case OP_ROPE_HALVES:
    case OP_ROPE_PAIRS:
        *bound = 0;
        if (i >= n / 2 * 2) return value;
        other = rope_partner(op, i, n, &first);
        angle = op == OP_ROPE_PAIRS ? i / 2 : first ? i : other;
        sum = (long double)x[other] * b[angle];
        value = value * a[angle];
        *bound = 2 * U * (fabsl(value) + fabsl(sum)) + TINY;
        return first ? value - sum : value + sum;
    case OP_SILU:
    case OP_GELU:
        /* z is exact, or has two rounded constants and three roundings, and its error is multiplied by e/(1+e) <= 1 in
         * the result; exp 3 u, 1 + e, division, product */
        z = op == OP_SILU ? value : 2 * sqrtl(2 / acosl(-1)) * (value + 0.044715L * value * value * value);
        e = expl(-z);
        *bound = fabsl(value / (1 + e) * a[i]) * ((op == OP_SILU ? 0 : 6 * fabsl(z)) + 3 + 3 + 1) * U +
                 TINY * (1 + fabsl((long double)a[i])) * (1 + fabsl(value));
        return value / (1 + e) * a[i];
    case OP_ADD: *bound = U * fabsl(value + a[i]); return value + a[i];
    case OP_SCALE: *bound = U * fabsl(value * (long double)factor) + TINY; return value * (long double)factor;
    case OP_SOFTCAP:
        /* division (tanh does not enlarge a relative error), tanh 6 u, product */
        value = (long double)cap * tanhl(value / (long double)cap);
        *bound = (1 + 6 + 1 + 1) * U * fabsl(value) + TINY;
        return value;
    case OP_SOFTMAX:
        /* the difference has one rounding, which exp multiplies by its size; exp 3 u; n/8 + 3 roundings of the sum, whose
         * terms have the error of an exp with a difference of at most 16; division */
        for (size_t j = 0; j < n; j++)
            largest = fmaxl(largest, x[j]);
        for (size_t j = 0; j < n; j++)
            sum += expl(x[j] - largest);
        *bound = expl(value - largest) / sum * (2 * (16 + 3) + (long double)(n / 8 + 3) + 2) * U + TINY;
        return expl(value - largest) / sum;
    default: return 0;
    }
}

static void check_op(const struct kernel_table *truth, const struct kernel_table *table, enum op op, size_t n,
                     bool extreme)
{
    float *x = random_floats(n, extreme), *a = random_floats(n, extreme), *b = random_floats(n, extreme);
    float *expected = floats(n), *got = floats(n);
    bool ok = true;
    op_run(truth, op, x, a, b, n, expected);
    op_run(table, op, x, a, b, n, got);
    hash_floats(expected, n);
    check_result(check_same(expected, got, n), "%s: %s of %zu", table->isa, op_names[op], n);
    for (size_t i = 0; i < n && ok && !extreme && !check_quick; i++) {
        long double bound, value = op_truth(op, x, a, b, n, i, &bound);
        ok = near(table->isa, op_names[op], i, got[i], value, bound);
    }
    check_result(ok, "%s: %s of %zu: too far from the formula", table->isa, op_names[op], n);
    /* in place, where the contract allows it */
    if (op == OP_SILU || op == OP_GELU) {
        memcpy(got, a, n * sizeof *a);
        op_run(table, op, x, got, b, n, got);
        check_result(check_same(expected, got, n), "%s: %s of %zu over its factor", table->isa, op_names[op], n);
    }
    op_run(table, op, x, a, b, n, x);
    check_result(check_same(expected, x, n), "%s: %s of %zu in place", table->isa, op_names[op], n);
    floats_free(x, n);
    floats_free(a, n);
    floats_free(b, n);
    floats_free(expected, n);
    floats_free(got, n);
}

static long double ulp(long double x)
{
    return x == 0 ? 0 : fmaxl(scalbnl(1, ilogbl(x) - 23), 0x1p-149L);
}

/* Below 2^-125.5 (0x1.6bp-126) exp is 0, above the largest float it is infinity. */
static bool exp_ok(float x, float got)
{
    long double truth = expl(x);
    if (isnan(x)) return isnan(got);
    if (truth < 0x1.6ap-126L) return f32_bits(got) == 0;
    if (truth < 0x1.6bp-126L && got == 0.0f) return true;
    if (truth > FLT_MAX) return got == INFINITY;
    return fabsl(got - truth) <= 1.25L * ulp(truth);
}

static bool tanh_ok(float x, float got)
{
    long double truth = tanhl(x);
    if (isnan(x)) return isnan(got);
    return fabsl(got - truth) <= 2.75L * ulp(truth) && !signbit(got) == !signbit(x) && fabsf(got) <= 1.0f;
}

/* exp and tanh, straight from math.inc.h, of every 997th float. */
static void check_math(void)
{
    float x[8], e[8], t[8];
    for (uint64_t bits = 0; bits < 0x100000000u; bits += 997 * 8) {
        for (unsigned l = 0; l < 8; l++)
            x[l] = f32_from_bits((uint32_t)(bits + 997 * l));
        f32x8_store(e, f32v_exp(f32x8_load(x)));
        f32x8_store(t, f32v_tanh(f32x8_load(x)));
        hash_floats(e, 8);
        hash_floats(t, 8);
        for (unsigned l = 0; l < 8 && !check_quick; l++) {
            check_result(exp_ok(x[l], e[l]), "exp %a is %a", (double)x[l], (double)e[l]);
            check_result(tanh_ok(x[l], t[l]), "tanh %a is %a", (double)x[l], (double)t[l]);
        }
    }
}

int kernel_check_ops(const struct kernel_table *truth, const struct kernel_table *table)
{
    static const size_t real_sizes[] = {128, 576, 1536, 2049};
    size_t failures = check_failures();
    random_state = 2026; /* the same inputs whatever ran before: the hash is one number */
    hash = 0xcbf29ce484222325u;
    for (size_t i = 1; i <= 70 + sizeof real_sizes / sizeof *real_sizes; i++) {
        size_t n = i <= 70 ? i : real_sizes[i - 71];
        for (int extreme = 0; extreme < 4; extreme++) {
            for (int op = 0; op < N_OPS; op++)
                check_op(truth, table, (enum op)op, n, extreme != 0);
        }
    }
    check_math();
    check_result(hash == expected_hash, "scalar results: hash 0x%016" PRIx64 ", recorded 0x%016" PRIx64, hash,
                 expected_hash);
    return (int)(check_failures() - failures);
}
