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

from torch import Tensor, nn

from mecheval.models.stack.architecture import Architecture, model
from mecheval.models.stack.residual import Mixer
from mecheval.training.recipe import Recipe


class GatedRecurrentUnit(Mixer):
    """One GRU layer; its output is what is added to the stream."""

    def __init__(self, width: int) -> None:
        """Draw the weights from N(0, 1 / width); biases are 0."""
        super().__init__()
        self.gru = nn.GRU(width, width, batch_first=True)
        for name, parameter in self.gru.named_parameters():
            if name.startswith("weight"):
                nn.init.normal_(parameter, std=width**-0.5)
            else:
                nn.init.zeros_(parameter)

    def mix(self, normed_BTD: Tensor) -> tuple[Tensor, Tensor]:
        """Run over all positions from a state of zeros; the state is ``(1, B, D)``."""
        self.kernels = ("gru:cudnn" if normed_BTD.is_cuda else "gru:torch",)
        return self.gru(normed_BTD)

    def start(self, batch_size: int) -> Tensor:
        """Return zeros."""
        weight = next(self.gru.parameters())
        return weight.new_zeros(1, batch_size, self.gru.hidden_size)

    def step(self, normed_BD: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Run one position."""
        output_B1D, state = self.gru(normed_BD[:, None], state)
        return output_B1D[:, 0], state


@model(
    name="gru",
    reference="Cho et al. 2014, arXiv:1406.1078",
    architecture="recurrent network",
    sizes={"tiny": {"layers": 4, "width": 32}, "formal": {"layers": 4, "width": 128}},
    recipes={
        "tiny": Recipe(lr=1e-2),
        "formal": Recipe(lr=3e-3, warmup=100, steps=5000),
    },
)
@dataclass(frozen=True, kw_only=True)
class Gru(Architecture):
    """One GRU layer per block of the residual stack."""

    def mixer(self, layer: int) -> GatedRecurrentUnit:
        """Build the recurrent layer."""
        return GatedRecurrentUnit(self.width)
