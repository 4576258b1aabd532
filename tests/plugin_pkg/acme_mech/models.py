"""Average: every channel is a decaying average of the past.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mecheval.models.stack.architecture import Architecture, model
from mecheval.models.stack.residual import Mixer, projection
from mecheval.training.recipe import Recipe


class DecayingAverage(Mixer):
    """An average of the inputs that forgets, then a linear map."""

    def __init__(self, width: int, scale: float) -> None:
        """Start all channels at a rate of one half."""
        super().__init__()
        self.rate_D = nn.Parameter(torch.zeros(width))
        self.out = projection(width, width, scale=scale)

    def mix(self, normed_BTD: Tensor) -> tuple[Tensor, Tensor]:
        """Run over all positions; return the outputs and the last state."""
        state_BD, outputs = self.start(len(normed_BTD)), []
        for normed_BD in normed_BTD.unbind(1):
            output_BD, state_BD = self.step(normed_BD, state_BD)
            outputs.append(output_BD)
        return torch.stack(outputs, 1), state_BD

    def start(self, batch_size: int) -> Tensor:
        """Return the empty average, ``(B, D)``."""
        return self.rate_D.new_zeros(batch_size, len(self.rate_D))

    def step(self, normed_BD: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read one position; return its output and the new average."""
        state_BD = torch.lerp(normed_BD, state, self.rate_D.sigmoid())
        return self.out(state_BD), state_BD


@model(
    name="average",
    reference="none",
    architecture="recurrent network",
    sizes={"tiny": {"layers": 2, "width": 32}},
    recipes={"tiny": Recipe(lr=1e-2)},
)
@dataclass(frozen=True, kw_only=True)
class Average(Architecture):
    """Every channel is a decaying average of the past."""

    def mixer(self, layer: int) -> DecayingAverage:
        """Build the mixer of a layer."""
        return DecayingAverage(self.width, self.residual_scale)
