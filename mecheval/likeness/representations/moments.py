"""Sums over rows from which four of the scores are made, however many rows there are.

Centred CKA, its debiased form, Procrustes and SVCCA ask of activations X and Y only the sums of
``x x'``, ``y y'`` and ``x y'`` over rows, and, where the bias is taken off, those of ``|x|^4``,
``|y|^4`` and ``|x|^2 |y|^2``. So one pass over blocks of rows is enough, sums of parts add up, and
what is of one network alone can be kept and serve every pair that it is in.

Shape suffixes: ``D``, ``E`` columns of the two sides, ``B`` rows of a block.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import torch

from mecheval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

_SHIFTS = ("shift_D", "shift_E")


@dataclass(frozen=True)
class Moments:
    """Sums over the rows of two sides, or of one side with itself.

    With ``z = x - shift_D``, ``w = y - shift_E``; the shifts keep sums from cancelling, and what is
    made of them here is the same for any.

    Attributes:
        n: Number of rows.
        shift_D: Near the mean of ``x``.
        shift_E: Near the mean of ``y``.
        sum_D: Sum of ``z``.
        sum_E: Sum of ``w``.
        product_DE: Sum of ``z w'``.
        square_x: Sum of ``|z|^2``.
        square_y: Sum of ``|w|^2``.
        weighted_D: Sum of ``|w|^2 z``.
        weighted_E: Sum of ``|z|^2 w``.
        fourth: Sum of ``|z|^2 |w|^2``.

    Examples:
        >>> import torch
        >>> from mecheval.likeness.representations import Moments, scores_of_moments
        >>> x_ND = torch.arange(60.0).view(20, 3).sin()
        >>> chunks = list(x_ND.split(8))
        >>> own = Moments.of_chunks(zip(chunks, chunks))  # kept for every pair with x
        >>> both = Moments.of_chunks((x_BD, 2 * x_BD) for x_BD in chunks)
        >>> twice = Moments.of_chunks((2 * x_BD, 2 * x_BD) for x_BD in chunks)
        >>> round(scores_of_moments(own, twice, both)["debiased_cka"].value, 6)
        1.0
    """

    n: Tensor
    shift_D: Tensor
    shift_E: Tensor
    sum_D: Tensor
    sum_E: Tensor
    product_DE: Tensor
    square_x: Tensor
    square_y: Tensor
    weighted_D: Tensor
    weighted_E: Tensor
    fourth: Tensor

    @classmethod
    def of(cls, x_BD: Tensor, y_BE: Tensor, shift_D: Tensor, shift_E: Tensor) -> Moments:
        """Return the sums of one block of rows, in float64."""
        z_BD, w_BE = x_BD.double() - shift_D, y_BE.double() - shift_E
        z2_B, w2_B = z_BD.square().sum(1), w_BE.square().sum(1)
        return cls(
            n=torch.tensor(float(len(z_BD)), dtype=torch.float64, device=z_BD.device),
            shift_D=shift_D,
            shift_E=shift_E,
            sum_D=z_BD.sum(0),
            sum_E=w_BE.sum(0),
            product_DE=z_BD.T @ w_BE,
            square_x=z2_B.sum(),
            square_y=w2_B.sum(),
            weighted_D=w2_B @ z_BD,
            weighted_E=z2_B @ w_BE,
            fourth=z2_B @ w2_B,
        )

    @classmethod
    def of_chunks(cls, chunks: Iterable[tuple[Tensor, Tensor]]) -> Moments:
        """Return the sums over blocks of rows, each read once: pairs ``(B, D)``, ``(B, E)``.

        Raises:
            UsageError: There is no block, or the two of a pair have different numbers of rows.
        """
        found: Moments | None = None
        for x_BD, y_BE in chunks:
            if len(x_BD) != len(y_BE):
                raise UsageError(
                    f"A block has {len(x_BD)} rows on one side and {len(y_BE)} on the other; give "
                    f"the same tokens of both."
                )
            if found is None:
                found = cls.of(x_BD, y_BE, x_BD.double().mean(0), y_BE.double().mean(0))
            else:
                found = found + cls.of(x_BD, y_BE, found.shift_D, found.shift_E)
        if found is None:
            raise UsageError("Moments need one block of rows at least; got none.")
        return found

    def __add__(self, other: Moments) -> Moments:
        """Return the sums over the rows of both, which have the same shifts."""
        added = {name: getattr(self, name) + getattr(other, name) for name in SUMS}
        return replace(self, **added)

    def __sub__(self, other: Moments) -> Moments:
        """Return the sums without some of the rows, whose moments have the same shifts."""
        left = {name: getattr(self, name) - getattr(other, name) for name in SUMS}
        return replace(self, **left)

    @property
    def mean_D(self) -> Tensor:
        """Return the mean of ``x``, less the shift."""
        return self.sum_D / self.n

    @property
    def mean_E(self) -> Tensor:
        """Return the mean of ``y``, less the shift."""
        return self.sum_E / self.n

    @property
    def centred_DE(self) -> Tensor:
        """Return the sum of ``x y'`` of centred rows."""
        return self.product_DE - torch.outer(self.sum_D, self.mean_E)

    @property
    def centred_fourth(self) -> Tensor:
        """Return the sum of ``|x|^2 |y|^2`` of centred rows, those of ``z - d`` and ``w - e``."""
        d_D, e_E = self.mean_D, self.mean_E
        d2, e2 = d_D @ d_D, e_E @ e_E
        of_x = self.fourth - 2 * d_D @ self.weighted_D + d2 * self.square_y
        of_y = -2 * e_E @ self.weighted_E + e2 * self.square_x
        return of_x + of_y + 4 * d_D @ self.product_DE @ e_E - 3 * self.n * d2 * e2


SUMS = tuple(field.name for field in fields(Moments) if field.name not in _SHIFTS)
"""What of moments adds up."""
