"""CKA, debiased CKA, Procrustes and SVCCA, of moments.

With centred X, Y of n rows, ``|.|`` the Frobenius norm and ``|.|_*`` the sum of singular values:

* CKA is ``|X'Y|^2 / (|X'X| |Y'Y|)`` (Kornblith et al. 2019, arXiv:1905.00414).
* Debiased CKA is ``h(X, Y) / sqrt(h(X, X) h(Y, Y))`` with the unbiased estimate h of the
  Hilbert-Schmidt independence criterion (Song et al. 2012, JMLR 13, 1393-1434), here of the linear
  kernel. Its n x n matrices come down to sums over rows, ``a_i = |x_i|^2`` and ``b_i = |y_i|^2``:
  ``n (n - 3) h = |X'Y|^2 + sum a sum b / ((n - 1) (n - 2)) - n / (n - 2) sum a b``.
* Procrustes is ``|X'Y|_* / (|X| |Y|)``, the cosine of the angle between both after the best
  rotation (Williams et al. 2021, arXiv:2110.14739); the angle itself is a metric.
* SVCCA is the mean canonical correlation between the principal directions of X and of Y that hold
  99 % of the variance of each (Raghu et al. 2017, arXiv:1706.05806).

Shape suffixes: ``D``, ``E`` columns of X and Y, ``K`` principal directions, ``N`` rows, ``B``
blocks of documents or rows of a block, ``P`` permutations, ``S`` the four scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from mecheval.likeness.representations.arrays import NOTHING, slices
from mecheval.likeness.representations.moments import Moments
from mecheval.likeness.representations.score import Found

if TYPE_CHECKING:
    from torch import Tensor

    from mecheval.likeness.representations.arrays import Rows

NAMES: tuple[str, ...] = ("cka", "debiased_cka", "procrustes", "svcca")
VARIANCE = 0.99  # that the directions of SVCCA hold
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Side:
    """What the scores ask of one side alone.

    Attributes:
        n: Number of rows.
        square_DD: Sum of ``x x'`` of centred rows.
        fourth: Sum of ``|x|^4`` of centred rows.
    """

    n: float
    square_DD: Tensor
    fourth: float

    @classmethod
    def of(cls, own: Moments) -> Side:
        """Take the moments of a side with itself."""
        return cls(float(own.n), own.centred_DE, float(own.centred_fourth))

    @cached_property
    def trace(self) -> float:
        """Sum of the squares of all entries."""
        return float(self.square_DD.trace())

    @cached_property
    def norm(self) -> float:
        """Frobenius norm of X'X."""
        return float(self.square_DD.norm())

    @cached_property
    def hsic(self) -> float:
        """The unbiased estimate, of the side with itself."""
        return _hsic(self, self, self.norm**2, self.fourth)

    @cached_property
    def whitening_DK(self) -> Tensor:
        """Directions of 99 % of the variance, each divided by the norm of what X has along it."""
        square_K, axes_DK = torch.linalg.eigh(self.square_DD)
        square_K, axes_DK = square_K.flip(0).clamp(min=0.0), axes_DK.flip(1)
        share_K = square_K.cumsum(0) / square_K.sum()
        n_kept = int((share_K < VARIANCE - _ROUNDING).sum()) + 1
        return axes_DK[:, :n_kept] / square_K[:n_kept].sqrt()

    @property
    def is_constant(self) -> bool:
        """Whether nothing but rounding is left of rows whose largest entry was 1."""
        return self.trace <= NOTHING * self.n * len(self.square_DD)


def scores(x: Side, y: Side, product_DE: Tensor, fourth: float) -> dict[str, float]:
    """Return the four scores; NaN where one is undefined.

    Args:
        x: One side.
        y: The other.
        product_DE: Sum of ``x y'`` of centred rows.
        fourth: Sum of ``|x|^2 |y|^2`` of centred rows.
    """
    found = dict.fromkeys(NAMES, math.nan)
    if x.is_constant or y.is_constant:
        return found
    square = float(product_DE.square().sum())
    found["cka"] = square / (x.norm * y.norm)
    if x.hsic > 0 and y.hsic > 0:
        found["debiased_cka"] = _hsic(x, y, square, fourth) / math.sqrt(x.hsic * y.hsic)
    found["procrustes"] = _nuclear(product_DE) / math.sqrt(x.trace * y.trace)
    if _too_few_for_svcca(x, y) is None:
        shared_KK = x.whitening_DK.T @ product_DE @ y.whitening_DK
        found["svcca"] = _nuclear(shared_KK) / min(shared_KK.shape)
    return found


def reasons(x: Side, y: Side, beyond: str = "") -> dict[str, str]:
    """Say of each score that is undefined why.

    Args:
        x: One side.
        y: The other.
        beyond: What was taken off before, such as "beyond the means of its groups".
    """
    for name, side in (("X", x), ("Y", y)):
        if side.is_constant:
            return dict.fromkeys(NAMES, f"{name} has no variance {beyond}".rstrip())
    found = {}
    if not (x.hsic > 0 and y.hsic > 0):
        found["debiased_cka"] = (
            "without its bias the likeness of X or Y to itself is not above 0: there are too few "
            "rows for so many columns"
        )
    if (few := _too_few_for_svcca(x, y)) is not None:
        found["svcca"] = few
    return found


def linear_scores(
    x: Rows,
    y: Rows,
    partner_PN: list[np.ndarray],
    block_N: np.ndarray | None,
    *,
    beyond: str = "",
) -> dict[str, Found]:
    """Return the four scores of centred rows, of permuted ones, and without each block of them.

    It takes ``2 n D E`` operations per permutation and ``2 n (D + E)^2`` for all blocks together;
    and decompositions of matrices as large as the rows are wide for each.

    Args:
        x: Centred rows of one side.
        y: Centred rows of the other.
        partner_PN: For each permutation the row of Y beside each row of X.
        block_N: The block of documents of each row, if there are documents.
        beyond: What was taken off before the scores, for reasons.
    """
    sums = _Sums.of(x, y, None)
    own_x, own_y = sums.sides
    why = reasons(own_x, own_y, beyond)
    if set(why) == set(NAMES):
        return {name: Found(None, why[name], n=len(x)) for name in NAMES}
    square_x, square_y = (rows.norms(centred=False) * rows.width for rows in (x, y))

    def permuted(partner_N: np.ndarray) -> list[float]:
        fourth = float(square_x @ square_y[partner_N])
        return [*scores(own_x, own_y, _product(x, y, partner_N), fourth).values()]

    value_S, null_PS = sums.scores(), np.array([permuted(partner_N) for partner_N in partner_PN])
    without_BS = rows_B = None
    if block_N is not None:
        rows_B = np.bincount(block_N)
        parts = (np.flatnonzero(block_N == block) for block in range(len(rows_B)))
        without_BS = np.array([sums.minus(_Sums.of(x, y, rows)).scores() for rows in parts])
    return {
        name: Found(
            None if name in why else min(1.0, value_S[i]),
            why.get(name, ""),
            null_PS[:, i] if len(null_PS) else None,
            None if without_BS is None else without_BS[:, i],
            rows_B,
            lowest=-1.0 if name == "debiased_cka" else 0.0,
            n=len(x),
        )
        for i, name in enumerate(NAMES)
    }


class _Sums(NamedTuple):
    """Moments of each side with itself, and of both."""

    own_x: Moments
    own_y: Moments
    both: Moments

    @classmethod
    def of(cls, x: Rows, y: Rows, rows_B: np.ndarray | None) -> _Sums:
        """Return the moments of some rows, or of all."""
        at = slices(len(x)) if rows_B is None else (rows_B[s] for s in slices(len(rows_B)))
        zero_D, zero_E = (rows.means_GD.new_zeros(rows.width) for rows in (x, y))

        def part(x_BD: Tensor, y_BE: Tensor) -> _Sums:
            return cls(
                Moments.of(x_BD, x_BD, zero_D, zero_D),
                Moments.of(y_BE, y_BE, zero_E, zero_E),
                Moments.of(x_BD, y_BE, zero_D, zero_E),
            )

        return reduce(_Sums.plus, (part(x.at(rows), y.at(rows)) for rows in at))

    def plus(self, other: _Sums) -> _Sums:
        """Return the moments of the rows of both."""
        return _Sums(*(a + b for a, b in zip(self, other, strict=True)))

    def minus(self, other: _Sums) -> _Sums:
        """Return the moments without some of the rows."""
        return _Sums(*(a - b for a, b in zip(self, other, strict=True)))

    @property
    def sides(self) -> tuple[Side, Side]:
        """What the scores ask of each side."""
        return Side.of(self.own_x), Side.of(self.own_y)

    def scores(self) -> list[float]:
        """Return the four scores."""
        fourth = float(self.both.centred_fourth)
        return [*scores(*self.sides, self.both.centred_DE, fourth).values()]


def _product(x: Rows, y: Rows, partner_N: np.ndarray) -> Tensor:
    parts = (x.at(rows).T @ y.at(partner_N[rows]) for rows in slices(len(x)))
    total_DE = next(parts)
    for part_DE in parts:
        total_DE += part_DE
    return total_DE


def _hsic(x: Side, y: Side, square: float, fourth: float) -> float:
    """Return n (n - 3) times the unbiased estimate."""
    n = x.n
    if n < 4:
        return math.nan
    return square + x.trace * y.trace / ((n - 1) * (n - 2)) - n / (n - 2) * fourth


def _nuclear(matrix_DE: Tensor) -> float:
    return float(torch.linalg.svdvals(matrix_DE).sum())


def _too_few_for_svcca(x: Side, y: Side) -> str | None:
    n_x, n_y = x.whitening_DK.shape[1], y.whitening_DK.shape[1]
    if x.n - 1 >= n_x + n_y:
        return None
    return (
        f"{x.n:.0f} rows are too few: {n_x} and {n_y} directions hold {VARIANCE:.0%} of the "
        f"variance, and more than {n_x + n_y} rows are needed that they do not meet in any case"
    )
