"""How many rows one pass may have: a number of bytes that halves when the device has less."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor


class Budget:
    """Bytes for the activations of one pass.

    Attributes:
        memory: Bytes that a pass may take.
        halvings: How often the device had less.
        largest: Most rows that were in one pass.
    """

    def __init__(self, memory: int) -> None:
        """Start with what the user allows."""
        self.memory = memory
        self.halvings = 0
        self.largest = 0

    def rows(self, row_bytes: int) -> int:
        """Return how many rows of that size fit, at least one."""
        return max(1, self.memory // max(row_bytes, 1))

    def halve(self, failed: int) -> None:
        """Allow half of what a failed pass took, or half of what was allowed if that is less."""
        self.memory = max(1, min(self.memory, failed) // 2)
        self.halvings += 1

    def note(self, n_rows: int) -> None:
        """Take note of a pass that succeeded."""
        self.largest = max(self.largest, n_rows)


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that the device has no memory left; CPUs have no error type."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "allocate memory" in str(error)
    )


def fitting(
    n_rows: int, rows: int, compute: Callable[[slice], Tensor], budget: Budget
) -> Iterator[tuple[slice, Tensor]]:
    """Compute rows in passes of at most ``rows``, and of ever fewer where memory runs out.

    Raises:
        RuntimeError: It runs out with one row.
    """
    first = 0
    while first < n_rows:
        part = slice(first, min(first + rows, n_rows))
        try:
            value = compute(part)
        except RuntimeError as error:
            rows = (part.stop - first) // 2
            if rows == 0 or not is_out_of_memory(error):
                raise
            budget.halvings += 1
            continue
        budget.note(part.stop - first)
        yield part, value
        first = part.stop
