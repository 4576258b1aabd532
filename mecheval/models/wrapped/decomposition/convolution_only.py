"""A mixer that sees as far as its short convolution: it has no other memory than recent inputs.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width, ``K`` taps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mecheval.models.hooks import stream_output, visiting
from mecheval.models.mixing import Edit, Mixing, Signals, State, unchanged
from mecheval.models.wrapped.recording.arguments import Arguments
from mecheval.models.wrapped.recording.calls import Call, reach

if TYPE_CHECKING:
    from mecheval.models.contract import Tap


def find_convolution(call: Call, tap: Tap | None) -> Mixing | None:
    """Return a recorded mixer taken apart, if it carries nothing beyond its convolution."""
    calls = [call, *call.descendants()]
    convolutions: list[Any] = [module for part in calls for module, *_ in part.convolved]
    taps = [module.weight.shape[2] for module in convolutions]
    given, _ = Arguments.of(call.args, call.kwargs)
    if len(taps) != 1 or tap is None or given.tensors or reach(call) >= taps[0]:
        return None
    return Convolved(call, given, tap=tap, taps=taps[0])


class Convolved(Mixing):
    """The real module on the positions at hand and the few before them that it can see."""

    n_recent = 1
    inner = ("conv_out",)
    writes = ()

    def __init__(self, call: Call, given: Arguments, *, tap: Tap, taps: int) -> None:
        """Take the mixer.

        Args:
            call: Its recorded call.
            given: What it is given beside its input.
            tap: Its convolution's output.
            taps: Number of positions that the convolution sees, K.
        """
        self.module, self.given, self.tap, self.reach = call.module, given, tap, taps

    def project(self, normed_BTD: Tensor, state: State, *, edit: Edit = unchanged) -> Signals:
        """Return the inputs, and the output that their short past makes of them."""
        seen_BTD = torch.cat([*state, normed_BTD], 1).contiguous()
        earlier = seen_BTD.shape[1] - normed_BTD.shape[1]

        def visit(conv_BTE: Tensor) -> Tensor:
            edited_BTE = edit("conv_out", conv_BTE[:, earlier:])
            return torch.cat([conv_BTE[:, :earlier], edited_BTE], 1)

        with visiting({} if edit is unchanged else {self.tap: visit}):
            mixed_BTD = stream_output(self.given.call(self.module, seen_BTD))
        return {"normed": normed_BTD, "mixed": mixed_BTD[:, earlier:]}

    def mix(self, signals: Signals, state: State) -> tuple[Tensor, State]:
        """Return the outputs as they are; the state is the last K - 1 inputs, or all if fewer."""
        return signals["mixed"], self.advance(signals, state)

    def advance(self, signals: Signals, state: State) -> State:
        """Keep the last inputs."""
        kept = self.reach - 1
        seen_BTD = torch.cat([part[:, -kept:] for part in (*state, signals["normed"])], 1)
        return (seen_BTD[:, -kept:].clone(),)
