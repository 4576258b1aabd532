"""A module that goes on from the model's own cache, but for single positions, which it does wrong.

Modules know a way of their own for one token. Where that is another computation, as in the RWKV of
transformers, which adds up the examples there, the module is called for two positions or more: the
memory lags behind by one or two, whose inputs are kept and run again.

Shape suffixes: ``B`` examples, ``N`` positions that go on, ``M`` those before them that wait, too,
``D`` width of the stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mecheval.models.hooks import visiting
from mecheval.models.mixing import Edit, Only, Signals, State, at, unchanged
from mecheval.models.wrapped.decomposition.own_cache import OwnCache

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from mecheval.models.contract import Tap
    from mecheval.models.wrapped.decomposition.cache_context import CacheContext

FEWEST = 2
"""Positions of a call, at least."""


class SeveralAtOnce(OwnCache):
    """A module that goes on from the cache with several positions.

    The state is a counter of the positions that the memory holds, ``(B, 1)``, the inputs of those
    behind them, ``(B, M, D)``, and the memory, if it holds any.
    """

    tells_recent = False

    def __init__(
        self, context: CacheContext, number: int, *, stream_BTD: Tensor, taps: Mapping[str, Tap]
    ) -> None:
        """Look what the module keeps; see :class:`OwnCache`."""
        super().__init__(context, number, stream_BTD=stream_BTD, taps=taps)
        position, *kept = self.remembers
        self.remembers = (position, "inputs", *kept)
        self.n_recent = 0

    def mix(self, signals: Signals, state: State) -> tuple[Tensor, State]:
        """Call the module for the output, and for the memory, which ends before."""
        return self.output(signals, state), self.advance(signals, state)

    def advance(self, signals: Signals, state: State) -> State:
        """Take all positions but the last into the memory, if these are enough for a call."""
        first, waiting_BMD, memory = self._waiting(signals["input"], state)
        n_read = waiting_BMD.shape[1] - 1
        n_read = 0 if n_read < FEWEST else n_read
        if n_read:
            _, memory = self.run(waiting_BMD[:, :n_read], first, memory)
        n_examples = len(waiting_BMD)
        counter_B1 = torch.full((n_examples, 1), first + n_read, device=waiting_BMD.device)
        return counter_B1, waiting_BMD[:, n_read:], *memory

    def output(
        self, signals: Signals, state: State, *, only: Only = None, edit: Edit = unchanged
    ) -> Tensor:
        """Call the module on the positions that wait, and on these, and on another one if alone."""
        first, waiting_BMD, memory = self._waiting(signals["input"], state)
        n_positions, n_waiting = signals["input"].shape[1], waiting_BMD.shape[1]
        n_behind = max(0, FEWEST - n_waiting)  # no later position changes an earlier one
        if n_behind:
            waiting_BMD = torch.cat([waiting_BMD, waiting_BMD[:, -1:]], 1)
        with visiting(self.shown(edit, n_positions, n_behind)):
            output_BMD, _ = self.run(waiting_BMD, first, memory)
        return at(output_BMD[:, n_waiting - n_positions : n_waiting], only)

    def _waiting(self, input_BND: Tensor, state: State) -> tuple[int, Tensor, State]:
        """Return how many positions the memory holds, the inputs of all others, and the memory."""
        if not state:
            return 0, input_BND, ()
        counter_B1, before_BMD, *memory = state
        return int(counter_B1[0, 0]), torch.cat([before_BMD, input_BND], 1), tuple(memory)
