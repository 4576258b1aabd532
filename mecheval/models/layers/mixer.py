"""The base of the sequence mixers of our own architectures.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width of the stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mecheval.models.mixing import Edit, Mixing, Signals, State, at, unchanged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mecheval.models.contract import Tap


class Mixer(nn.Module, Mixing):
    """The part of a block that carries information between positions.

    A subclass writes :meth:`mix`, and then its past inputs are its memory; or it writes
    :meth:`read`, and :meth:`project` if its signals are not its inputs.

    Attributes:
        kernels: Names of the kernels that the last run used.
    """

    kernels: tuple[str, ...] = ()

    def mix(self, normed_BTD: Tensor) -> Tensor:
        """Return the output ``(B, T, D)`` of a whole sequence."""
        return self.output(self.project(normed_BTD, ()), ())

    def forward(self, normed_BTD: Tensor) -> Tensor:
        """Return the output ``(B, T, D)``."""
        return self.mix(normed_BTD)

    def project(self, normed_BTD: Tensor, state: State, *, edit: Edit = unchanged) -> Signals:
        """Return the inputs as they are."""
        return {"normed": normed_BTD}

    def read(
        self,
        signals: Signals,
        state: State,
        *,
        only_B: Tensor | None = None,
        edit: Edit = unchanged,
    ) -> tuple[Tensor, State]:
        """Mix the past inputs and the new ones, and return the outputs of the new ones."""
        if type(self).mix is Mixer.mix:
            raise NotImplementedError("abstract: a mixer writes mix or read")
        past_BTD = torch.cat([*state, signals["normed"]], 1)
        first = past_BTD.shape[1] - signals["normed"].shape[1]
        return at(self.mix(past_BTD)[:, first:], only_B), (past_BTD,)

    def taps(self) -> Mapping[str, Tap]:
        """Return the inner components, with paths relative to the mixer."""
        return {}
