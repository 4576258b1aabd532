"""Functions of doubles with the same bits on every processor, system and version of a library.

IEEE 754 says bit for bit what +, -, *, / and the square root of doubles are, and every processor
that NumPy runs on follows it. It does not say what a logarithm or an exponential is: their last
bit differs between C libraries, between the vector units of one processor, and between versions. A
sum or a matrix product has another last bit in another order of summation, and whoever sums chooses
that order by the vector unit and the number of threads. So everything here is made of those five
operations, each in a call of its own, so that no compiler can fuse it with the next into one that
rounds otherwise, and in an order that stands here; and of moves of bits (``frexp``, ``ldexp``,
rounding to whole numbers), which are exact.

Shape suffixes: ``X`` any shape, ``N``, ``M``, ``D`` sizes of matrices.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

LN2 = 0.6931471805599453
LN2_HIGH = float.fromhex("0x1.62e42fee00000p-1")
LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
"""ln 2 in two parts: whole numbers below 2^20 times the first are exact."""

_LOG = tuple(1.0 / (2 * n + 1) for n in range(12))
_EXP = tuple(1.0 / math.factorial(n) for n in range(1, 15))

# Numerators and denominators of Wichura's AS241 (Applied Statistics 37, 1988, PPND16), from the
# constant term upwards: near the middle, in the tails, and far out in the tails.
_MIDDLE = (
    (
        3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
        1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
        3.3430575583588128105e4, 2.5090809287301226727e3,
    ),
    (
        1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
        2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4,
        5.2264952788528545610e3,
    ),
)  # fmt: skip
_TAIL = (
    (
        1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
        3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
        2.27238449892691845833e-2, 7.74545014278341407640e-4,
    ),
    (
        1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
        1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4,
        1.05075007164441684324e-9,
    ),
)  # fmt: skip
_FAR = (
    (
        6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0,
        2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
        2.71155556874348757815e-5, 2.01033439929228813265e-7,
    ),
    (
        1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
        7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7,
        2.04426310338993978564e-15,
    ),
)  # fmt: skip
_MIDDLE_HALF = 0.425  # half the width of the middle, as a probability
_FAR_FROM = 5.0


def log(x_X: np.ndarray | float) -> np.ndarray:
    """Return the natural logarithm, to three units in the last place.

    By x = m 2^e with m next to 1, and log m = 2 artanh((m - 1) / (m + 1)) as a series.
    """
    x_X = np.asarray(x_X, np.float64)
    m_X, e_X = np.frexp(x_X)
    low_X = m_X < math.sqrt(0.5)
    m_X, e_X = np.where(low_X, 2 * m_X, m_X), (e_X - low_X).astype(np.float64)
    with np.errstate(all="ignore"):
        s_X = (m_X - 1.0) / (m_X + 1.0)
        found_X = 2.0 * s_X * _polynomial(s_X * s_X, _LOG) + e_X * LN2_LOW
        found_X = found_X + e_X * LN2_HIGH
    return np.select([x_X > 0, x_X == 0], [np.where(np.isinf(x_X), x_X, found_X), -np.inf], np.nan)


def log1p(x_X: np.ndarray | float) -> np.ndarray:
    """Return log(1 + x), also for small x: the rounding of the sum is divided out again."""
    x_X = np.asarray(x_X, np.float64)
    sum_X = 1.0 + x_X
    lost_X = (sum_X == 1.0) | ~np.isfinite(sum_X)
    with np.errstate(all="ignore"):
        return np.where(lost_X, x_X, log(sum_X) * x_X / (sum_X - 1.0))


def exp(x_X: np.ndarray | float) -> np.ndarray:
    """Return the exponential, to one unit in the last place."""
    rest_X, power_X = _small_expm1(x_X)
    with np.errstate(over="ignore", under="ignore"):
        return np.ldexp(1.0 + rest_X, power_X)


def expm1(x_X: np.ndarray | float) -> np.ndarray:
    """Return exp(x) - 1, also for small x."""
    rest_X, power_X = _small_expm1(x_X)
    with np.errstate(over="ignore", under="ignore"):
        return np.ldexp(rest_X, power_X) + (np.ldexp(1.0, power_X) - 1.0)


def power(x_X: np.ndarray | float, y_X: np.ndarray | float) -> np.ndarray:
    """Return x to the power of y, for x of at least 0; NaN for others.

    By exp(y log x), whose relative error is that of a double times y log x.
    """
    x_X, y_X = np.broadcast_arrays(np.asarray(x_X, np.float64), np.asarray(y_X, np.float64))
    with np.errstate(all="ignore"):
        return np.where(y_X == 0, 1.0, exp(y_X * log(x_X)))


def normal_quantile(p_X: np.ndarray | float) -> np.ndarray:
    """Return where the standard normal distribution reaches a probability between 0 and 1.

    Wichura's AS241, with a relative error of about 1e-16.
    """
    p_X = np.asarray(p_X, np.float64)
    return _quantile(p_X - 0.5, p_X)


def erfinv(x_X: np.ndarray | float) -> np.ndarray:
    """Return the inverse of the error function, for x from -1 to 1; NaN beyond."""
    half_X = np.asarray(x_X, np.float64) / 2
    return _quantile(half_X, half_X + 0.5) / math.sqrt(2)


def total(x_NX: np.ndarray) -> np.ndarray:
    """Return the sum along the first axis, halves of it added to each other until one is left."""
    part_NX = np.asarray(x_NX, np.float64)
    if not len(part_NX):
        return np.zeros(part_NX.shape[1:])
    while len(part_NX) > 1:
        half = len(part_NX) // 2
        odd_NX = part_NX[2 * half :]
        part_NX = np.concatenate([part_NX[:half] + part_NX[half : 2 * half], odd_NX])
    return part_NX[0].copy()


def product(left_NM: np.ndarray, right_MD: np.ndarray) -> np.ndarray:
    """Return the matrix product ``(N, D)``, its terms added in their order."""
    found_ND = np.zeros((left_NM.shape[0], right_MD.shape[1]))
    for left_N, right_D in zip(left_NM.T, right_MD, strict=True):
        found_ND += left_N[:, None] * right_D
    return found_ND


def qr(matrix_NM: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the QR decomposition of a matrix with N >= M, R's diagonal made positive.

    Q ``(N, M)`` of a matrix of independent normal numbers is distributed evenly over all matrices
    with orthonormal columns (Mezzadri 2007, arXiv:math-ph/0609050). By reflections (Householder).
    """
    n_rows, n_columns = matrix_NM.shape
    r_NM, axes = np.array(matrix_NM, np.float64), []
    for i in range(n_columns):
        axis_N = r_NM[i:, i].copy()
        length = np.sqrt(total(axis_N * axis_N))
        axis_N[0] += length if axis_N[0] >= 0 else -length
        square = total(axis_N * axis_N)
        axes.append((axis_N, 2.0 / square if square > 0 else 0.0))
        r_NM[i:] = _reflected(r_NM[i:], *axes[-1])
    q_NM = np.eye(n_rows, n_columns)
    for i in reversed(range(n_columns)):
        q_NM[i:] = _reflected(q_NM[i:], *axes[i])
    sign_M = np.where(np.diag(r_NM) < 0, -1.0, 1.0)
    return q_NM * sign_M, np.triu(r_NM[:n_columns] * sign_M[:, None])


def _reflected(rows_NM: np.ndarray, axis_N: np.ndarray, scale: float) -> np.ndarray:
    return rows_NM - axis_N[:, None] * (total(axis_N[:, None] * rows_NM) * scale)


def _small_expm1(x_X: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Return exp(r) - 1 and k, of x = r + k ln 2 with a small r."""
    # Beyond these ends the exponential is 0 or infinite.
    x_X = np.clip(np.asarray(x_X, np.float64), -800.0, 800.0)
    k_X = np.rint(x_X * (1.0 / LN2))
    r_X = (x_X - k_X * LN2_HIGH) - k_X * LN2_LOW
    with np.errstate(invalid="ignore"):
        return r_X * _polynomial(r_X, _EXP), k_X.astype(np.int32)


def _quantile(q_X: np.ndarray, p_X: np.ndarray) -> np.ndarray:
    """Return the quantile of p, which is q + 1/2; q is exact in the upper half, p in the lower."""
    flat_X = np.ascontiguousarray(q_X).reshape(-1)
    found_X = _ratio(0.180625 - flat_X * flat_X, _MIDDLE)
    found_X *= flat_X
    outer_N = np.flatnonzero(~(np.abs(flat_X) <= _MIDDLE_HALF))
    if len(outer_N):
        q_N = flat_X[outer_N]
        tail_N = np.where(q_N < 0, np.ascontiguousarray(p_X).reshape(-1)[outer_N], 0.5 - q_N)
        depth_N = _tail_quantile(tail_N)
        found_X[outer_N] = np.where(q_N < 0, -depth_N, depth_N)
    return found_X.reshape(q_X.shape)


def _tail_quantile(p_N: np.ndarray) -> np.ndarray:
    """Return how far out a tail of small probability begins."""
    with np.errstate(invalid="ignore"):
        depth_N = np.sqrt(-log(p_N))
        found_N = _ratio(depth_N - 1.6, _TAIL)
        far_N = np.flatnonzero(depth_N > _FAR_FROM)
        if len(far_N):
            found_N[far_N] = _ratio(depth_N[far_N] - _FAR_FROM, _FAR)
    return np.where(np.isinf(depth_N), np.inf, found_N)


def _ratio(x_X: np.ndarray, of: tuple[Sequence[float], Sequence[float]]) -> np.ndarray:
    top_X = _polynomial(x_X, of[0])
    top_X /= _polynomial(x_X, of[1])
    return top_X


def _polynomial(x_X: np.ndarray, coefficients: Sequence[float]) -> np.ndarray:
    """Evaluate a polynomial by Horner's rule; coefficients from the constant term upwards."""
    sum_X = x_X * coefficients[-1]
    for coefficient in coefficients[-2:0:-1]:
        sum_X += coefficient
        sum_X *= x_X
    sum_X += coefficients[0]
    return sum_X
