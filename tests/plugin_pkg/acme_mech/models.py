"""Average: every channel is a decaying average of the past.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mecheval.models.layers.linear import projection
from mecheval.models.layers.mixer import Mixer
from mecheval.models.stack.architecture import Architecture, model
from mecheval.recipe import Recipe

if TYPE_CHECKING:
    from mecheval.models.mixing import Signals, State


class DecayingAverage(Mixer):
    """An average of the inputs that forgets, then a linear map."""

    def __init__(self, width: int, scale: float) -> None:
        """Start all channels at a rate of one half."""
        super().__init__()
        self.rate_D = nn.Parameter(torch.zeros(width))
        self.out = projection(width, width, scale=scale)

    def mix(self, signals: Signals, state: State) -> tuple[Tensor, State]:
        """Read the positions that follow the state, which is the average so far."""
        rate_D, averages = self.rate_D.sigmoid(), []
        average_BD = state[0] if state else torch.zeros_like(signals["normed"][:, 0])
        for normed_BD in signals["normed"].unbind(1):
            average_BD = torch.lerp(normed_BD, average_BD, rate_D)
            averages.append(average_BD)
        return torch.stack(averages, 1), (average_BD,)


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
