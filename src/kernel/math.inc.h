/* math.inc.h - exp and tanh over f32v, for any instruction set; included after an f32v_*.h.
 *
 * Own polynomials, so that the bits do not depend on a library: x = n ln 2 + r with |r| <= ln(2)/2 (Cody and Waite:
 * ln 2 in two parts), e^r - 1 = r + r^2 q(r) with q of degree 4 (tools/make-exp.py: error below 2^-26 relative to
 * e^r - 1), e^x = 2^n e^r. Largest errors over every 61st float, in units of the last place: exp 1.02, tanh 2.48.
 */
#define MATH_LOG2_E   0x1.715476p+0f
#define MATH_LN2_HIGH 0x1.62e4p-1f /* 16 bits: n times it is exact */
#define MATH_LN2_LOW  0x1.7f7d1cp-20f
#define MATH_ROUNDER  0x1.8p23f /* x + this rounds x to an integer, which then lies in the lowest bits */

/* For |x| < 128: e^r - 1; *t is MATH_ROUNDER + n. */
static inline f32v math_exp_reduced(f32v x, f32v *t)
{
    const f32v rounder = f32v_set1(MATH_ROUNDER);
    *t = f32v_fma(x, f32v_set1(MATH_LOG2_E), rounder);
    f32v n = f32v_sub(*t, rounder);
    f32v r = f32v_fnma(n, f32v_set1(MATH_LN2_HIGH), x);
    r = f32v_fnma(n, f32v_set1(MATH_LN2_LOW), r);
    f32v q = f32v_set1(0x1.6b99d6p-10f);
    q = f32v_fma(q, r, f32v_set1(0x1.12253ap-7f));
    q = f32v_fma(q, r, f32v_set1(0x1.5556f4p-5f));
    q = f32v_fma(q, r, f32v_set1(0x1.5554b4p-3f));
    q = f32v_fma(q, r, f32v_set1(0x1.fffffep-2f));
    return f32v_fma(q, f32v_mul(r, r), r);
}

/* e^x. 0 below about -86.99 (2^-125.5: no result is subnormal), infinity where e^x rounds to it; a NaN stays one
 * because max and min return their second operand then. */
static inline f32v f32v_exp(f32v x)
{
    f32v t, one = f32v_set1(1.0f);
    x = f32v_max(f32v_set1(-87.3f), f32v_min(f32v_set1(89.0f), x));
    f32v p = f32v_add(math_exp_reduced(x, &t), one);
    /* n is in [-126, 128]: 2p times 2^(n-1), whose exponent field n + 126 is 0, and the product too, for n = -126 */
    return f32v_mul(f32v_add(p, p), f32v_exponent(t, 126u << 23));
}

/* tanh |x| = m / (m + 2) with m = e^(2|x|) - 1 = 2^n (e^r - 1) + (2^n - 1): no cancellation near 0. */
static inline f32v f32v_tanh(f32v x)
{
    f32v t, y = f32v_min(f32v_set1(10.0f), f32v_abs(x)); /* tanh 10 rounds to 1 */
    f32v e = math_exp_reduced(f32v_add(y, y), &t);
    f32v power = f32v_exponent(t, 127u << 23);
    f32v m = f32v_fma(power, e, f32v_sub(power, f32v_set1(1.0f)));
    return f32v_copysign(f32v_div(m, f32v_add(m, f32v_set1(2.0f))), x);
}
