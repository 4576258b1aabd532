"""LSTM: a recurrent network with a gated cell (Hochreiter and Schmidhuber 1997).

Glossary (paper -> code): the cell's internal state s_c -> the second half of the state; its output
y^c -> the mixer's output and the first half of the state; input and output gate, the forget gate of
Gers et al. 2000 (doi:10.1162/089976600300015015), and the candidate g -> rows of ``nn.LSTM``'s
matrices, in the order input, forget, candidate, output.
Differences from the paper: gradients through all positions; one layer per block of the residual
stack, so that there is a stream after every layer; forget biases start at 1 (Jozefowicz et al.
2015, An Empirical Exploration of Recurrent Network Architectures).

Official implementation: none; ``torch.nn.LSTM`` is used, https://github.com/pytorch/pytorch

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width, ``G`` all gates side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from mecheval.models.kernels.vmap_rules import is_lifted
from mecheval.models.layers.mixer import Mixer
from mecheval.models.layers.precision import full_precision_on_cpu
from mecheval.models.layers.recurrence import (
    draw,
    given_to_gates,
    is_half_on_cpu,
    lstm_gates,
    run_lstm,
)
from mecheval.models.stack.architecture import Architecture, model

if TYPE_CHECKING:
    from mecheval.models.mixing import Signals, State, Written


class LongShortTermMemory(Mixer):
    """One LSTM layer; its output is what is added to the stream."""

    writes = ("forget", "input")
    remembers = ("h", "c")
    gated = True

    def __init__(self, width: int) -> None:
        """Draw the weights from N(0, 1 / width); biases are 0, those of the forget gate 1."""
        super().__init__()
        self.lstm = nn.LSTM(width, width, batch_first=True)
        draw(self.lstm)
        bias_G = cast("Tensor", self.lstm.bias_ih_l0)
        nn.init.ones_(bias_G[width : 2 * width])

    def mix(self, signals: Signals, state: State) -> tuple[Tensor, State]:
        """Run on; the state is the output and the cell of the last position, ``(B, D)`` each."""
        if is_lifted() or is_half_on_cpu(self.lstm):
            return run_lstm(self.lstm, signals["normed"], state)
        self.kernels = ("lstm:cudnn" if signals["normed"].is_cuda else "lstm:torch",)
        before = tuple(part_BD[None].contiguous() for part_BD in state) or None
        with full_precision_on_cpu(signals["normed"]) as normed_BTD:
            output_BTD, (h_1BD, c_1BD) = self.lstm(normed_BTD, before)
        return output_BTD, (h_1BD[0], c_1BD[0])

    def written(self, signals: Signals, state: State) -> Written:
        """Return the forget gate, and the input gate times the candidate."""
        i_BTD, f_BTD, g_BTD, _ = self._gates(signals, state)
        return f_BTD, i_BTD * g_BTD

    def reread(self, signals: Signals, written: Written, state: State) -> Tensor:
        """Run the cell alone; output gates stay."""
        *_, o_BTD = self._gates(signals, state)
        c_BD = state[1] if state else torch.zeros_like(o_BTD[:, 0])
        cells = []
        for f_BD, added_BD in zip(*(part_BTD.unbind(1) for part_BTD in written), strict=True):
            c_BD = f_BD * c_BD + added_BD
            cells.append(c_BD)
        return o_BTD * torch.stack(cells, 1).tanh()

    def _gates(self, signals: Signals, state: State) -> tuple[Tensor, ...]:
        """Return input gate, forget gate, candidate and output gate of the run."""
        normed_BTD, output_BTD = signals["normed"], self.output(signals, state)
        from_input_BTG, back_BTG = given_to_gates(self.lstm, normed_BTD, output_BTD, state)
        return lstm_gates(from_input_BTG + back_BTG)


@model(
    name="lstm",
    reference="Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735",
    architecture="recurrent network",
)
@dataclass(frozen=True, kw_only=True)
class Lstm(Architecture):
    """One LSTM layer per block of the residual stack."""

    def mixer(self, layer: int) -> LongShortTermMemory:
        """Build the recurrent layer."""
        return LongShortTermMemory(self.width)
