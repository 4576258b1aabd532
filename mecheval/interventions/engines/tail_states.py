"""The memory of runs whose signals are known, advanced from position to position.

Shape suffixes: ``P`` runs, ``T`` positions, ``R`` rows, ``X`` any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval.models.mixing import cut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from mecheval.models.decomposition import Decomposition
    from mecheval.models.mixing import Signals, State


class TailStates:
    """The memory of every layer before one position, which only grows."""

    def __init__(self, decomposition: Decomposition, signals: Sequence[Signals]) -> None:
        """Start before the first position.

        Args:
            decomposition: The model in parts.
            signals: What the runs' positions signal, layer by layer.
        """
        self.mixings = [layer.mixing for layer in decomposition.layers]
        self.signals = list(signals)
        self.position = 0
        self.before: list[State] = [() for _ in self.mixings]

    def advance(self, position: int) -> None:
        """Go on to before a later position."""
        if position > self.position:
            self.before = [self._until(layer, position) for layer in range(len(self.mixings))]
            self.position = position

    def rows(self, layer: int, runs: Tensor | slice) -> State:
        """Return the memory of rows before the position."""
        return tuple(part[runs] for part in self.before[layer])

    def after(self, layer: int) -> State:
        """Return the memory of all runs after the position."""
        return self._until(layer, self.position + 1)

    def at(self, layer: int, component: str, position: int) -> State:
        """Return what the position writes, or the memory after it, for all runs."""
        mixing = self.mixings[layer]
        if component == "write":
            here = cut(self.signals[layer], slice(position, position + 1))
            return tuple(part[:, 0] for part in mixing.written(here, self.before[layer]))
        return self.after(layer)[mixing.n_recent if component == "state" else 0 :]

    def row_bytes(self) -> int:
        """Return the bytes that the memory of one row takes in its largest layer."""
        return max((sum(part[0].nbytes for part in state) for state in self.before), default=0)

    def _until(self, layer: int, position: int) -> State:
        signals = cut(self.signals[layer], slice(self.position, position))
        return self.mixings[layer].advance(signals, self.before[layer])
