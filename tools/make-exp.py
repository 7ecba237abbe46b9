#!/usr/bin/env python3
"""Coefficients of src/kernel/math.inc.h: e^r = 1 + r + r^2 q(r) for |r| <= ln(2)/2, q of degree 4.

Minimises the largest error relative to e^r - 1 (which serves e^r and the cancellation-free e^r - 1 that tanh needs):
Lawson's iteratively reweighted least squares, in extended precision. Coefficients are rounded to binary32 from the
lowest upward, the others fitted again after each rounding, so that the rounding errors are mostly absorbed.
Needs numpy with an 80-bit long double (x86).
"""
import math
import numpy as np

DEGREE = 4
X = np.longdouble
half_ln2 = X(math.log(2)) / 2 * X(1.0001)  # a hair wider: range reduction rounds
n = 2001
r = half_ln2 * np.cos(np.pi * (np.arange(n, dtype=X) + X(0.5)) / n)

# q(r) = sum r^k / (k+2)!, exact to extended precision without cancellation
q = np.zeros(n, X)
for k in range(24, -1, -1):
    q = q * r + X(1) / X(math.factorial(k + 2))
expm1 = r + r * r * q
weight = np.abs(r * r / expm1)


def c_float(x):
    mantissa, exponent = float(np.float32(x)).hex().split("p")
    return f"{mantissa.rstrip('0')}p{exponent}f"


def solve(a, b):
    """Least squares by QR (modified Gram-Schmidt) in extended precision: numpy.linalg works in double."""
    a, m = a.copy(), a.shape[1]
    tri, rhs = np.zeros((m, m), X), np.zeros(m, X)
    for j in range(m):
        tri[j, j] = np.sqrt(np.sum(a[:, j] ** 2))
        a[:, j] /= tri[j, j]
        for k in range(j + 1, m):
            tri[j, k] = np.sum(a[:, j] * a[:, k])
            a[:, k] -= tri[j, k] * a[:, j]
        rhs[j] = np.sum(a[:, j] * b)
        b = b - rhs[j] * a[:, j]
    x = np.zeros(m, X)
    for j in range(m - 1, -1, -1):
        x[j] = (rhs[j] - np.sum(tri[j, j + 1:] * x[j + 1:])) / tri[j, j]
    return x


def fit(target, powers):
    """Minimax fit of target by the given powers of r under `weight`."""
    basis = np.stack([r**k for k in powers], axis=1) * weight[:, None]
    lawson = np.ones(n, X) / n
    for _ in range(400):
        root = np.sqrt(lawson)
        c = solve(basis * root[:, None], target * weight * root)
        error = np.abs(basis @ c - target * weight)
        lawson = lawson * error
        lawson /= lawson.sum()
    return c, error.max()


rounded, rest = [], q.copy()
for k in range(DEGREE + 1):
    c, worst = fit(rest, list(range(k, DEGREE + 1)))
    if k == 0:
        print(f"minimax error 2^{math.log2(worst):.2f}")
    rounded.append(np.float32(c[0]))
    rest = rest - X(rounded[k]) * r**k
value = sum(X(c) * r**k for k, c in enumerate(rounded))
print(f"after rounding 2^{math.log2(np.max(np.abs(value - q) * weight)):.2f}")
for k, c in enumerate(rounded):
    print(f"EXP_Q{k} {c_float(c)}")

ln2 = X("0.693147180559945309417232121458176568")
high = X(math.floor(ln2 * 2**16)) / 2**16  # 16 bits: n * high is exact for |n| <= 256
print(f"LN2_HIGH {c_float(high)}\nLN2_LOW {c_float(ln2 - high)}\nLOG2_E {c_float(1 / ln2)}")
