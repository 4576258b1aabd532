"""A module that only runs from the start: taken up at any position by running it on all before.

Nothing is known of it but that it is causal, so that its memory is all that it was given so far.
Other parts of the model are still run on the later positions alone, and earlier blocks not at all.

Shape suffixes: ``B`` examples, ``N`` positions that go on, ``T`` positions from the start, ``D``
width of the stream, ``X`` of that with what is given of the tokens behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mecheval.models.hooks import stream_output, visiting
from mecheval.models.mixing import Edit, Only, Signals, State, at, unchanged
from mecheval.models.wrapped.decomposition.called import CalledModule
from mecheval.models.wrapped.recording.module_state import left_as_found

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from mecheval.models.contract import Tap
    from mecheval.models.wrapped.decomposition.start_context import StartContext


class FromStart(CalledModule):
    """A causal module of which nothing is known; the state is its inputs so far, ``(B, S, D)``."""

    opaque = from_start = True
    tells_recent = False
    remembers = ("inputs",)

    def __init__(
        self, context: StartContext, number: int, *, stream_BTD: Tensor, taps: Mapping[str, Tap]
    ) -> None:
        """Take the module; see :class:`CalledModule`.

        Raises:
            Inseparable: It is given something that depends on the tokens.
        """
        super().__init__(context, number, stream_BTD=stream_BTD, taps=taps)
        self.context = context
        context.varying(number)

    def mix(self, signals: Signals, state: State) -> tuple[Tensor, State]:
        """Run the module from the start."""
        return self.output(signals, state), self.advance(signals, state)

    def advance(self, signals: Signals, state: State) -> State:
        """Keep the inputs."""
        return (torch.cat([*state, signals["input"]], 1),)

    def output(
        self, signals: Signals, state: State, *, only: Only = None, edit: Edit = unchanged
    ) -> Tensor:
        """Run the module from the start, with hooks on its sites where something is edited."""
        n_positions = signals["input"].shape[1]
        # Put together anew, because a module may write into its input, which can be a base run's.
        input_BTX = torch.cat([*state, signals["input"]], 1)
        stream_BTD = input_BTX[..., : self.width].contiguous().to(self.dtype)
        given = self.context.given(self.number, input_BTX[..., self.width :])
        with visiting(self.shown(edit, n_positions)), left_as_found(self.module):
            output_BTD = stream_output(given.call(self.module, stream_BTD))
        return at(output_BTD[:, -n_positions:], only)
