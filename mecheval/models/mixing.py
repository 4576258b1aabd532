"""A sequence mixer taken apart: what each position signals, and what memory makes of the signals.

A mixer is the part of a block that carries information between positions. Taken apart it is

    signals_t = project(input_t)              of every position (nearly) alone
    memory_t  = memory_{t-1} + written_t      what the position writes is part of its signals
    output_t  = read(signals_t, memory_t)

with the state of the memory as a tuple of tensors, batch first, so that a run can be taken up at
any position: keys and values of attention, the cell of an LSTM, the matrix of a state-space model.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width of the stream, ``R`` examples again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from torch import Tensor

State = tuple[Tensor, ...]
"""Memory after some position, every tensor with the examples first; ``()`` before the first one."""

Signals = Mapping[str, Tensor]
"""What the positions signal, ``(B, T, ...)`` each."""

Written = tuple[Tensor, ...]
"""What the positions write into memory, ``(B, T, ...)`` each."""

Edit = Callable[[str, Tensor], Tensor]
"""Is shown every inner component by name, ``(B, T, width)``, and returns what to go on with."""


def unchanged(component: str, value_BTD: Tensor) -> Tensor:
    """Go on with the value as it is."""
    return value_BTD


class Mixing(ABC):
    """A sequence mixer taken apart.

    Attributes:
        reach: Number of positions, its own included, whose signals depend on one position's input:
            the taps of a short convolution, 1 without one.
        n_recent: How many leading tensors of the state hold recent inputs of a short convolution
            rather than long-range memory.
        inner: Components inside the mixer that :meth:`project` and :meth:`read` show to ``edit``.
        remembers: Names of the tensors of the state behind these.
        writes: Names of what a position writes; empty if that is not defined for this mixer.
        gated: Whether what a position writes depends on the memory before it, as in a nonlinear
            recurrence.
    """

    reach: int = 1
    n_recent: int = 0
    inner: tuple[str, ...] = ()
    remembers: tuple[str, ...] = ("state",)
    writes: tuple[str, ...] = ()
    gated: bool = False

    @abstractmethod
    def project(self, normed_BTD: Tensor, state: State, *, edit: Edit = unchanged) -> Signals:
        """Return the signals of positions that follow the state; ``edit`` sees inner components."""

    @abstractmethod
    def read(
        self,
        signals: Signals,
        state: State,
        *,
        only_B: Tensor | None = None,
        edit: Edit = unchanged,
    ) -> tuple[Tensor, State]:
        """Run the memory on from a state.

        Args:
            signals: Signals of the positions that follow the state.
            state: Memory before them; it is not changed.
            only_B: One of those positions per example, counted from the state on; the output is
                wanted there alone.
            edit: Is shown inner components.

        Returns:
            The output ``(B, T, D)``, or ``(B, 1, D)`` with ``only_B``; and the state after the
            last position.
        """

    def output(self, signals: Signals, state: State, *, only_B: Tensor | None = None) -> Tensor:
        """Return the output of :meth:`read` for callers who do not go on from there."""
        return self.read(signals, state, only_B=only_B)[0]

    def advance(self, signals: Signals, state: State) -> State:
        """Return the state after positions whose output is not wanted."""
        return self.read(signals, state)[1]

    def written(self, signals: Signals, state: State) -> Written:
        """Return what every position writes into memory, in the run that the signals are from.

        Raises:
            NotImplementedError: It is not defined for this mixer.
        """
        raise NotImplementedError("abstract: what a position writes is not defined")

    def reread(self, signals: Signals, written: Written, state: State) -> Tensor:
        """Return the output ``(B, T, D)`` if the positions had written something else.

        Everything but the memory is that of the run which the signals are from: queries, output
        gates and, in a nonlinear recurrence, the gates of every position.

        Raises:
            NotImplementedError: It is not defined for this mixer.
        """
        raise NotImplementedError("abstract: what a position writes is not defined")


def at(value_BTX: Tensor, only_B: Tensor | None) -> Tensor:
    """Return one position per example, ``(B, 1, ...)``; all of them where ``only_B`` is None."""
    if only_B is None:
        return value_BTX
    index_B = only_B.to(value_BTX.device)
    return value_BTX[index_B.new_tensor(range(len(index_B))), index_B][:, None]
