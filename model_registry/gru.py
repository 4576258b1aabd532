"""GRU: a recurrent network with a reset and an update gate (Cho et al. 2014, arXiv:1406.1078).

Glossary (paper -> code): h -> the mixer's output and its state; reset gate r, update gate z,
candidate h~ -> rows of ``nn.GRU``'s matrices, in that order; z weighs the old state, 1 - z the
candidate, as in the paper.
Differences from the paper: the reset gate acts after the recurrent matrix, as in cuDNN; one layer
per block of the residual stack, so that there is a stream after every layer.

Official implementation: none; ``torch.nn.GRU`` is used, https://github.com/pytorch/pytorch

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mecheval.models.kernels.vmap_rules import is_lifted
from mecheval.models.layers.mixer import Mixer
from mecheval.models.layers.precision import full_precision_on_cpu
from mecheval.models.layers.recurrence import (
    draw,
    given_to_gates,
    gru_gates,
    is_half_on_cpu,
    run_gru,
    train_gru,
)
from mecheval.models.stack.architecture import Architecture, model

if TYPE_CHECKING:
    from mecheval.models.mixing import Signals, State, Written


class GatedRecurrentUnit(Mixer):
    """One GRU layer; its output is what is added to the stream."""

    writes = ("update", "candidate")
    gated = True

    def __init__(self, width: int) -> None:
        """Draw the weights from N(0, 1 / width); biases are 0."""
        super().__init__()
        self.gru = nn.GRU(width, width, batch_first=True)
        draw(self.gru)

    def mix(self, signals: Signals, state: State) -> tuple[Tensor, State]:
        """Run on; the state is the output of the last position, ``(B, D)``."""
        if is_lifted() or is_half_on_cpu(self.gru):
            return run_gru(self.gru, signals["normed"], state)
        self.kernels = ("gru:cudnn" if signals["normed"].is_cuda else "gru:torch",)
        before_1BD = state[0][None].contiguous() if state else None
        with full_precision_on_cpu(signals["normed"]) as normed_BTD:
            if torch.is_grad_enabled() and normed_BTD.device.type == "cpu":
                return train_gru(self.gru, normed_BTD, state)
            output_BTD, h_1BD = self.gru(normed_BTD, before_1BD)
        return output_BTD, (h_1BD[0],)

    def written(self, signals: Signals, state: State) -> Written:
        """Return the update gate and the candidate."""
        normed_BTD, output_BTD = signals["normed"], self.output(signals, state)
        return gru_gates(*given_to_gates(self.gru, normed_BTD, output_BTD, state))

    def reread(self, signals: Signals, written: Written, state: State) -> Tensor:
        """Weigh old state and candidate with these gates."""
        h_BD = state[0] if state else torch.zeros_like(written[0][:, 0])
        outputs = []
        for z_BD, n_BD in zip(*(part_BTD.unbind(1) for part_BTD in written), strict=True):
            h_BD = torch.lerp(n_BD, h_BD, z_BD)
            outputs.append(h_BD)
        return torch.stack(outputs, 1)


@model(
    name="gru",
    reference="Cho et al. 2014, arXiv:1406.1078",
    architecture="recurrent network",
)
@dataclass(frozen=True, kw_only=True)
class Gru(Architecture):
    """One GRU layer per block of the residual stack."""

    def mixer(self, layer: int) -> GatedRecurrentUnit:
        """Build the recurrent layer."""
        return GatedRecurrentUnit(self.width)
