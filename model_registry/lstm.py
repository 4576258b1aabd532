"""LSTM: a recurrent network with a gated cell (Hochreiter and Schmidhuber 1997).

Glossary (paper -> code): the cell's internal state s_c -> the second half of ``State``; its output
y^c -> the mixer's output and the first half of ``State``; input and output gate, the forget gate of
Gers et al. 2000 (doi:10.1162/089976600300015015), and the candidate g -> rows of ``nn.LSTM``'s
matrices, in the order input, forget, candidate, output.
Differences from the paper: gradients through all positions; one layer per block of the residual
stack, so that there is a stream after every layer; forget biases start at 1 (Jozefowicz et al.
2015, An Empirical Exploration of Recurrent Network Architectures).

Official implementation: none; ``torch.nn.LSTM`` is used, https://github.com/pytorch/pytorch

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from mecheval.models.stack.architecture import Architecture, model
from mecheval.models.stack.residual import Mixer
from mecheval.training.recipe import Recipe

State = tuple[Tensor, Tensor]
"""Output and cell of the last position, each ``(1, B, D)`` as ``nn.LSTM`` keeps them."""


class LongShortTermMemory(Mixer):
    """One LSTM layer; its output is what is added to the stream."""

    def __init__(self, width: int) -> None:
        """Draw the weights from N(0, 1 / width); biases are 0, those of the forget gate 1."""
        super().__init__()
        self.lstm = nn.LSTM(width, width, batch_first=True)
        for name, parameter in self.lstm.named_parameters():
            if name.startswith("weight"):
                nn.init.normal_(parameter, std=width**-0.5)
            else:
                nn.init.zeros_(parameter)
            if name.startswith("bias_ih"):
                nn.init.ones_(parameter[width : 2 * width])

    def mix(self, normed_BTD: Tensor) -> tuple[Tensor, State]:
        """Run over all positions from a state of zeros."""
        self.kernels = ("lstm:cudnn" if normed_BTD.is_cuda else "lstm:torch",)
        return self.lstm(normed_BTD)

    def start(self, batch_size: int) -> State:
        """Return zeros."""
        weight = next(self.lstm.parameters())
        zeros_1BD = weight.new_zeros(1, batch_size, self.lstm.hidden_size)
        return zeros_1BD, zeros_1BD

    def step(self, normed_BD: Tensor, state: State) -> tuple[Tensor, State]:
        """Run one position."""
        output_B1D, state = self.lstm(normed_BD[:, None], state)
        return output_B1D[:, 0], state


@model(
    name="lstm",
    reference="Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735",
    architecture="recurrent network",
    sizes={"tiny": {"layers": 4, "width": 32}, "formal": {"layers": 4, "width": 128}},
    recipes={
        "tiny": Recipe(lr=1e-2),
        "formal": Recipe(lr=3e-3, warmup=100, steps=5000),
    },
)
@dataclass(frozen=True, kw_only=True)
class Lstm(Architecture):
    """One LSTM layer per block of the residual stack."""

    def mixer(self, layer: int) -> LongShortTermMemory:
        """Build the recurrent layer."""
        return LongShortTermMemory(self.width)
