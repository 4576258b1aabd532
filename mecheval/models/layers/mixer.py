"""The base of the sequence mixers of our own architectures.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width of the stream, ``Z`` width of what
is read from memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mecheval.models.mixing import Edit, Mixing, Only, Signals, State, unchanged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mecheval.models.contract import Tap


class Mixer(nn.Module, Mixing):
    """The part of a block that carries information between positions.

    A subclass writes :meth:`forward`, and then its past inputs are its memory; or it writes
    :meth:`mix`, and :meth:`project` if its signals are not its inputs.

    Attributes:
        kernels: Names of the kernels that the last run used.
    """

    kernels: tuple[str, ...] = ()

    def forward(self, normed_BTD: Tensor) -> Tensor:
        """Return the output ``(B, T, D)`` of a whole sequence."""
        return self.output(self.project(normed_BTD, ()), ())

    def project(self, normed_BTD: Tensor, state: State, *, edit: Edit = unchanged) -> Signals:
        """Return the inputs as they are."""
        return {"normed": normed_BTD}

    def mix(self, signals: Signals, state: State) -> tuple[Tensor, State]:
        """Run the past inputs and the new ones, and return the outputs of the new ones."""
        if type(self).forward is Mixer.forward:
            raise NotImplementedError("abstract: a mixer writes forward or mix")
        past_BTD = torch.cat([*state, signals["normed"]], 1)
        first = past_BTD.shape[1] - signals["normed"].shape[1]
        return self.forward(past_BTD)[:, first:], (past_BTD,)

    def output_of_both(
        self, near: Signals, far: Signals, state: State, *, only: Only = None
    ) -> Tensor:
        """Run a mixer that writes no more than :meth:`forward` once, over all of its past."""
        if type(self).mix is Mixer.mix:
            return self.output_at_once(near, far, state, only=only)
        return super().output_of_both(near, far, state, only=only)

    def _out(self, z_BTZ: Tensor) -> Tensor:
        if type(self).mix is Mixer.mix:
            return z_BTZ  # of forward, which has used ``out`` if there is one
        return super()._out(z_BTZ)

    def taps(self) -> Mapping[str, Tap]:
        """Return the inner components, with paths relative to the mixer.

        A stack takes its mixers' ``inner`` from here.
        """
        return {}
