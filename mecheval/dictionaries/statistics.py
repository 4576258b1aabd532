"""What is fixed before a dictionary is trained: which rows count, their middle and their spread.

Shape suffixes: ``N`` rows, ``D`` dimensions, ``B`` rows of a block, ``G`` groups, ``U`` rows that
count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mecheval.errors import UnvariedError

if TYPE_CHECKING:
    from mecheval.dictionaries.rows import Rows

OUTLYING = 10.0
"""How many medians of norms are too many: first positions and attention sinks are such rows."""


@dataclass(frozen=True)
class Statistics:
    """Statistics of training rows, which stay as they are.

    Attributes:
        kept_U: The rows whose norm is no more than the limit.
        norm_limit: Ten medians of the norms; infinite where the median is 0.
        mean_D: Mean of the rows that count, float32.
        means_GD: With groups, the means of groups 0 to G - 2 in float32; and last the mean of all
            rows, which is that of any other group, and of those without a row.
        scale: Root of the mean square of what is left of an entry when the mean, of its group where
            there are groups, is taken off.
    """

    kept_U: np.ndarray
    norm_limit: float
    mean_D: Tensor
    means_GD: Tensor | None
    scale: float

    @classmethod
    def of(cls, rows: Rows, device: torch.device) -> Statistics:
        """Measure rows, in two passes; sums are in float64.

        Raises:
            UsageError: Rows are not finite.
            UnvariedError: Nothing is left of them without their mean.
        """
        norms_N = np.concatenate(
            [b_BD.norm(dim=1).cpu().numpy() for _, b_BD in rows.blocks(device)]
        )
        limit = norm_limit(norms_N)
        sums = Sums.of(rows, limit, device)
        mean_D, means_GD = sums.mean_D, sums.means_GD
        left = sums.squares - sums.squares_of_groups
        if not left > 1e-12 * sums.squares:
            raise UnvariedError(
                "A dictionary cannot be trained on rows that are all equal to their mean, or to "
                "that of their group: give more rows, or other groups."
            )
        return cls(
            np.flatnonzero(norms_N <= limit),
            limit,
            mean_D.float(),
            None if rows.groups_N is None else torch.cat([means_GD, mean_D[None]]).float(),
            (left / sums.n_rows / rows.n_dimensions) ** 0.5,
        )


def norm_limit(norms_N: np.ndarray) -> float:
    """Return the norm above which a row is left out."""
    return OUTLYING * float(np.median(norms_N)) or float("inf")


@dataclass(frozen=True)
class Sums:
    """Sums over the rows that count, in float64.

    Attributes:
        sums_GD: Of the rows of each group; of all of them where there are no groups.
        counts_G: Their number.
        squares: Of all numbers.
    """

    sums_GD: Tensor
    counts_G: Tensor
    squares: float

    @classmethod
    def of(cls, rows: Rows, limit: float, device: torch.device) -> Sums:
        """Add up the rows whose norm is no more than the limit."""
        group_N = np.zeros(len(rows), np.int64) if rows.groups_N is None else rows.groups_N
        shape = int(group_N.max()) + 1, rows.n_dimensions
        sums_GD = torch.zeros(shape, dtype=torch.float64, device=device)
        counts_G, squares = sums_GD.new_zeros(shape[0]), 0.0
        for where, block_BD in rows.blocks(device):
            kept_B = block_BD.norm(dim=1) <= limit
            kept_BD = block_BD[kept_B].double()
            group_B = torch.from_numpy(group_N[where]).to(device)[kept_B]
            sums_GD.index_add_(0, group_B, kept_BD)
            counts_G += torch.bincount(group_B, minlength=len(counts_G))
            squares += float(kept_BD.square().sum())
        return cls(sums_GD, counts_G, squares)

    @property
    def n_rows(self) -> int:
        """Return how many rows count."""
        return int(self.counts_G.sum())

    @property
    def mean_D(self) -> Tensor:
        """Return the mean of all rows."""
        return self.sums_GD.sum(0) / max(1, self.n_rows)

    @property
    def means_GD(self) -> Tensor:
        """Return the means of groups; that of all rows where a group has none."""
        means_GD = self.sums_GD / self.counts_G.clamp(min=1)[:, None]
        return torch.where((self.counts_G > 0)[:, None], means_GD, self.mean_D)

    @property
    def squares_of_groups(self) -> float:
        """Return what the sum of squares would be if each row were the mean of its group."""
        return float((self.counts_G[:, None] * self.means_GD.square()).sum())

    @property
    def squares_of_mean(self) -> float:
        """Return what the sum of squares would be if each row were the mean of all."""
        return self.n_rows * float(self.mean_D.square().sum())
