"""A sequence mixer taken apart: what each position signals, and what memory makes of the signals.

A mixer is the part of a block that carries information between positions. Taken apart it is

    signals_t = project(input_t)              of every position (nearly) alone
    memory_t  = memory_{t-1} + written_t      what the position writes is part of its signals
    z_t       = mix(signals_t, memory_t)      what is read from memory
    output_t  = out(z_t)                      of every position alone: W_O of attention

with the state of the memory as a tuple of tensors, batch first, so that a run can be taken up at
any position: keys and values of attention, the cell of an LSTM, the matrix of a state-space model.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width of the stream, ``Z`` width of what is
read, ``R`` examples again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final

import torch
from torch import Tensor

State = tuple[Tensor, ...]
"""Memory after some position, every tensor with the examples first; ``()`` before the first one."""

Signals = Mapping[str, Tensor]
"""What the positions signal, ``(B, T, ...)`` each."""

Written = tuple[Tensor, ...]
"""What the positions write into memory, ``(B, T, ...)`` each."""


class Which(Enum):
    """The same one of some positions for all examples."""

    LAST = "last"


LAST: Final = Which.LAST
Only = Tensor | Which | None
"""At which positions something is wanted: one per example ``(B,)``, the last one, or all of them.

That it is the last one for all examples, as where an answer is read at the end, is told apart,
because earlier positions then matter by what they write alone.
"""

Edit = Callable[[str, Tensor], Tensor]
"""Is shown every inner component by name, ``(B, T, width)``, and returns what to go on with."""


def unchanged(component: str, value_BTD: Tensor) -> Tensor:
    """Go on with the value as it is."""
    return value_BTD


class Mixing(ABC):
    """A sequence mixer taken apart.

    A mixer writes :meth:`project` and :meth:`mix`, and has an ``out`` if anything follows what it
    reads. All else comes from these, and is written anew only where that is cheaper.

    Attributes:
        out: A module or a method that maps what is read ``(B, T, Z)`` to the output ``(B, T, D)``,
            each position alone. Without it what is read is the output.
        reach: Number of positions, its own included, whose signals depend on one position's input:
            the taps of a short convolution, 1 without one.
        n_recent: How many leading tensors of the state hold recent inputs of a short convolution
            rather than long-range memory.
        inner: Components inside the mixer that have a site: of those that :meth:`project` shows to
            ``edit``, and ``z``, which :meth:`output` does.
        tells_recent: Whether recent inputs are told from long-range memory, so that this alone can
            be exchanged.
        remembers: Names of the tensors of the state; ``recent`` and ``state`` where there are none.
        writes: Names of what a position writes; empty if it writes nothing beyond a short
            convolution, None if that is not defined for this mixer.
        gated: Whether what a position writes depends on the memory before it, as in a nonlinear
            recurrence.
        late: Those of ``inner`` that :meth:`output` shows though later positions can depend on
            them; ``edit`` goes there together with the signals of the run as it was.
        opaque: Whether nothing is known of the mixer but what it returns: not on which positions
            its signals and its memory depend.
        from_start: Whether it is run from the start for every output.
    """

    reach: int = 1
    n_recent: int = 0
    tells_recent: bool = True
    inner: tuple[str, ...] = ()
    remembers: tuple[str, ...] = ()
    writes: tuple[str, ...] | None = None
    gated: bool = False
    late: tuple[str, ...] = ()
    opaque: bool = False
    from_start: bool = False

    @abstractmethod
    def project(self, normed_BTD: Tensor, state: State, *, edit: Edit = unchanged) -> Signals:
        """Return the signals of positions that follow the state; ``edit`` sees inner components."""

    @abstractmethod
    def mix(self, signals: Signals, state: State) -> tuple[Tensor, State]:
        """Run the memory on from a state.

        Args:
            signals: Signals of the positions that follow the state.
            state: Memory before them; it is not changed.

        Returns:
            What each of them reads from memory, ``(B, T, Z)``, and the state after the last one.
        """

    def read_at(self, signals: Signals, state: State, only: Only) -> Tensor:
        """Return what :meth:`mix` reads, for callers who do not go on from there.

        A mixer that can leave work out writes it anew: one query is cheaper than all of them. Here
        earlier positions are not read, if the last one is all that is wanted and nobody asks for a
        gradient, which states do not carry.

        Args:
            signals: Signals of the positions that follow the state.
            state: Memory before them.
            only: Where it is wanted among those positions, counted from the state on.

        Returns:
            ``(B, T, Z)``, or ``(B, 1, Z)`` with ``only``.
        """
        n_before = length_of(signals) - 1
        cheaper = type(self).advance is not Mixing.advance and not torch.is_grad_enabled()
        if only is LAST and n_before and cheaper:
            state = self.advance(cut(signals, slice(n_before)), state)
            signals = cut(signals, slice(n_before, None))
        return at(self.mix(signals, state)[0], only)

    def read(self, signals: Signals, state: State) -> tuple[Tensor, State]:
        """Return the output ``(B, T, D)`` of positions that follow a state, and the state after."""
        z_BTZ, after = self.mix(signals, state)
        return self._out(z_BTZ), after

    def output(
        self, signals: Signals, state: State, *, only: Only = None, edit: Edit = unchanged
    ) -> Tensor:
        """Return the output alone.

        Args:
            signals: Signals of the positions that follow the state.
            state: Memory before them.
            only: Where the output is wanted among those positions.
            edit: Is shown what is read as ``z``.

        Returns:
            ``(B, T, D)``, or ``(B, 1, D)`` with ``only``.
        """
        return self._out(edit("z", self.read_at(signals, state, only)))

    def output_from(self, normed_BTD: Tensor, state: State, *, only: Only = None) -> Tensor:
        """Project and return the output: signals that nobody reads need not be made.

        Args:
            normed_BTD: The mixer's input at positions that follow a state.
            state: Memory before them.
            only: Where the output is wanted among those positions.
        """
        return self.output(self.project(normed_BTD, state), state, only=only)

    def output_of_both(
        self, near: Signals, far: Signals, state: State, *, only: Only = None
    ) -> Tensor:
        """Return the output of positions whose signals come in two parts, the one behind the other.

        As :meth:`output` does for both put together, without a copy of the second part.

        Args:
            near: Signals of the positions that follow the state.
            far: Signals of those that follow them.
            state: Memory before them.
            only: Where it is wanted among the positions of ``far``, counted from the state on.
        """
        if only is not None:
            far_only = only if only is LAST else only - length_of(near)
            return self.output(far, self.advance(near, state), only=far_only)
        near_BTD, after = self.read(near, state)
        return torch.cat([near_BTD, self.output(far, after)], 1)

    def output_at_once(
        self, near: Signals, far: Signals, state: State, *, only: Only = None
    ) -> Tensor:
        """Do as :meth:`output_of_both` with one call.

        That is the cheaper way where every call copies the whole past, or runs a module.
        """
        return self.output(behind_each_other(near, far), state, only=only)

    def advance(self, signals: Signals, state: State) -> State:
        """Return the state after positions whose output is not wanted."""
        return self.mix(signals, state)[1]

    def written(self, signals: Signals, state: State) -> Written:
        """Return what every position writes into memory, in the run that the signals are from.

        Raises:
            NotImplementedError: It is not defined for this mixer.
        """
        return tuple(signals[name] for name in self._writes())

    def reread(self, signals: Signals, written: Written, state: State) -> Tensor:
        """Return the output ``(B, T, D)`` if the positions had written something else.

        Everything but the memory is that of the run which the signals are from: queries, output
        gates and, in a nonlinear recurrence, the gates of every position.

        Raises:
            NotImplementedError: It is not defined for this mixer.
        """
        return self.output({**signals, **dict(zip(self._writes(), written, strict=True))}, state)

    def _out(self, z_BTZ: Tensor) -> Tensor:
        out = getattr(self, "out", None)
        return z_BTZ if out is None else out(z_BTZ)

    def _writes(self) -> tuple[str, ...]:
        if self.writes is None:
            raise NotImplementedError("abstract: what a position writes is not defined")
        return self.writes


def at(value_BTX: Tensor, only: Only) -> Tensor:
    """Return one position per example, ``(B, 1, ...)``; all of them where ``only`` is None."""
    if only is None:
        return value_BTX
    if only is LAST:
        return value_BTX[:, -1:]
    index_B = only.to(value_BTX.device)
    return value_BTX[torch.arange(len(index_B), device=index_B.device), index_B][:, None]


def cut(signals: Signals, positions: slice) -> Signals:
    """Return the signals of some positions."""
    return {name: value_BTX[:, positions] for name, value_BTX in signals.items()}


def picked(signals: Signals, rows: Tensor | slice, positions: slice) -> Signals:
    """Return the signals of some examples at some positions."""
    return {name: value_BTX[rows, positions] for name, value_BTX in signals.items()}


def length_of(signals: Signals) -> int:
    """Return the number of positions."""
    return next(iter(signals.values())).shape[1]


def behind_each_other(near: Signals, far: Signals) -> Signals:
    """Return the signals of positions in two parts as those of one."""
    return {name: torch.cat([value_BTX, far[name]], 1) for name, value_BTX in near.items()}
