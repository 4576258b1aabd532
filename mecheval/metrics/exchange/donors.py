"""Which sequences may give a position their activations: those of the same kind there.

The kind of a cell (a sequence, a position) is its position, its token and, where asked for, the
values of variables. Shape suffixes: ``S`` sequences of the pool, ``B`` sequences that get, ``T``
positions, ``C`` cells of the pool, ``K`` kinds of cells, ``J`` draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.tasks import Batch

NONE = -1
"""In the place of a donor where the pool has none: the cell keeps what is its own."""


@dataclass(frozen=True)
class Donors:
    """The cells of a pool by kind, and the kind of every cell that gets.

    Attributes:
        kind_ST: Kind of the pool's cells, numbered from 0.
        kind_BT: Kind of the cells that get; kinds that the pool does not have are among them.
    """

    kind_ST: np.ndarray
    kind_BT: np.ndarray

    @cached_property
    def _count_K(self) -> np.ndarray:
        n_kinds = 1 + max(self.kind_ST.max(), self.kind_BT.max())
        return np.bincount(self.kind_ST.ravel(), minlength=n_kinds)

    @cached_property
    def _by_kind_C(self) -> np.ndarray:
        """Return the sequences of the pool's cells, kind by kind."""
        small = self.kind_ST.astype(np.uint16) if len(self._count_K) <= 1 << 16 else self.kind_ST
        return small.ravel().argsort(kind="stable") // self.kind_ST.shape[1]

    @property
    def missing_BT(self) -> np.ndarray:
        """Say which cells have no donor."""
        return self._count_K[self.kind_BT] == 0

    @property
    def missing(self) -> float:
        """Return the share of positions behind the first one that have no donor."""
        return float(self.missing_BT[:, 1:].mean())

    def same_as(self, other: Donors) -> bool:
        """Say whether every cell has the same donors here as there."""
        return all(
            np.array_equal(own, others)
            for own, others in zip(vars_of(self), vars_of(other), strict=True)
        )

    def draw(self, rng: np.random.Generator, n_draws: int) -> np.ndarray:
        """Draw a sequence of the pool for every cell, each of its donors as likely.

        Args:
            rng: Decides the draws, which are independent.
            n_draws: Their number J.

        Returns:
            Indices into the pool, ``(J, B, T)``; :data:`NONE` for cells without a donor.
        """
        count_BT = self._count_K[self.kind_BT]
        first_K = self._count_K.cumsum() - self._count_K
        drawn_JBT = rng.integers(np.maximum(count_BT, 1), size=(n_draws, *count_BT.shape))
        place_JBT = np.minimum(first_K[self.kind_BT] + drawn_JBT, len(self._by_kind_C) - 1)
        return np.where(count_BT > 0, self._by_kind_C[place_JBT], NONE)

    def agreeing(self, label_ST: np.ndarray, label_BT: np.ndarray) -> np.ndarray:
        """Return by cell the share of its donors that have its label; NaN where it has none.

        Args:
            label_ST: Labels of the pool's cells, such as targets.
            label_BT: Those of the cells that get.
        """
        both = joined([(self.kind_ST, self.kind_BT), (label_ST, label_BT)])
        n_alike_BT = both._count_K[both.kind_BT]
        count_BT = self._count_K[self.kind_BT]
        return np.divide(
            n_alike_BT, count_BT, out=np.full(count_BT.shape, np.nan), where=count_BT > 0
        )


def vars_of(donors: Donors) -> tuple[np.ndarray, np.ndarray]:
    """Return both numberings."""
    return donors.kind_ST, donors.kind_BT


def donors_by(pool: Batch, getting: Batch, variables: Sequence[str]) -> Donors:
    """Find the donors of every cell: of its position, its token, and its values of variables.

    A variable that has no value at a cell has none at its donors.

    Args:
        pool: The sequences that may give. None of them should be one of those that get.
        getting: Sequences of the same length.
        variables: Names of the variables; none for donors of any state.
    """
    position_ST, position_BT = (
        np.broadcast_to(np.arange(batch.n_positions), batch.tokens_BT.shape)
        for batch in (pool, getting)
    )
    values = [(pool.variables[name], getting.variables[name]) for name in variables]
    return joined([(position_ST, position_BT), (pool.tokens_BT, getting.tokens_BT), *values])


def joined(columns: Sequence[tuple[np.ndarray, np.ndarray]]) -> Donors:
    """Number the cells so that two have the same number where all columns agree.

    Args:
        columns: Of each a label of the pool's cells ``(S, T)`` and of those that get ``(B, T)``.
    """
    n_pool = columns[0][0].size
    code_C = np.zeros(sum(part.size for part in columns[0]), np.int64)
    for parts in columns:
        label_C = _numbered(np.concatenate([part.ravel() for part in parts]))
        # Numbered again, so that products do not grow.
        code_C = _numbered(code_C * (label_C.max() + 1) + label_C)
    shapes = [part.shape for part in columns[0]]
    return Donors(code_C[:n_pool].reshape(shapes[0]), code_C[n_pool:].reshape(shapes[1]))


def _numbered(label_C: np.ndarray) -> np.ndarray:
    """Return labels as 0, 1, ... in their order; by a table where that is no longer than they."""
    least = label_C.min()
    n_labels = int(label_C.max()) - int(least) + 1
    if n_labels > len(label_C):
        return np.unique(label_C, return_inverse=True)[1]
    table = np.zeros(n_labels, bool)
    table[label_C - least] = True
    return (table.cumsum() - 1)[label_C - least]


def decides(batch: Batch, variables: Sequence[str], others: Sequence[str]) -> bool:
    """Say whether token, position and the variables leave one answer, and one value of others.

    As far as sequences show: no two of their cells of one kind differ.

    Args:
        batch: The sequences.
        variables: Names of the variables.
        others: Names of the others.
    """
    kind_BT = donors_by(batch, batch, variables).kind_ST
    further = [batch.targets_BT, *(batch.variables[name] for name in others)]
    finer = joined([(label_BT, label_BT) for label_BT in (kind_BT, *further)])
    return bool(finer.kind_ST.max() == kind_BT.max())
