"""Attention as a mixer: its memory is the keys and values of all positions, which only grow.

Shape suffixes: ``B`` examples, ``T`` positions that ask (``S`` those that are read), ``H`` heads,
``K`` width of a head, ``Z`` width of what all heads read.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import torch

from mecheval.models.mixing import LAST, Mixing, Only, Signals, State

if TYPE_CHECKING:
    from torch import Tensor


class KeyValueMixing(Mixing):
    """A mixer whose positions signal queries ``q``, and write keys ``k`` and values ``v``."""

    writes = ("k", "v")
    remembers = ("k", "v")

    @abstractmethod
    def attend(self, q_BTHK: Tensor, keys_BSHK: Tensor, values_BSHK: Tensor, only: Only) -> Tensor:
        """Return what the last T of S positions read, each from itself and all earlier ones.

        Args:
            q_BTHK: Their queries.
            keys_BSHK: Keys of all positions.
            values_BSHK: Values of all positions.
            only: Where it is wanted among the positions that ask.

        Returns:
            ``(B, T, Z)``, or ``(B, 1, Z)`` with ``only``.
        """

    def mix(self, signals: Signals, state: State) -> tuple[Tensor, State]:
        """Attend to the position itself and all earlier ones; the state is all keys and values."""
        keys_BSHK, values_BSHK = self.advance(signals, state)
        return self.attend(signals["q"], keys_BSHK, values_BSHK, None), (keys_BSHK, values_BSHK)

    def read_at(self, signals: Signals, state: State, only: Only) -> Tensor:
        """Ask only the queries whose answer is wanted."""
        keys_BSHK, values_BSHK = self.advance(signals, state)
        return self.attend(signals["q"], keys_BSHK, values_BSHK, only)

    def advance(self, signals: Signals, state: State) -> State:
        """Return all keys and values."""
        return self._grown(state, signals)

    def output_of_both(
        self, near: Signals, far: Signals, state: State, *, only: Only = None
    ) -> Tensor:
        """Put all keys and values together at once: every copy of them takes time."""
        keys_BSHK, values_BSHK = self._grown(state, near, far)
        q_BTHK = far["q"] if only is LAST else torch.cat([near["q"], far["q"]], 1)
        return self._out(self.attend(q_BTHK, keys_BSHK, values_BSHK, only))

    def _grown(self, state: State, *parts: Signals) -> State:
        columns = ([part[name] for part in parts] for name in self._writes())
        if not state:
            return tuple(new[0] if len(new) == 1 else torch.cat(new, 1) for new in columns)
        return tuple(torch.cat([old, *new], 1) for old, new in zip(state, columns, strict=True))
