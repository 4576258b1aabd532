"""Gated recurrent cells, one position at a time: what fused layers do, for weights of any stack.

``torch.func.vmap`` cannot stack the fused layers of torch, and many small models take their steps
faster together like this than one after another there.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width, ``G`` all gates side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from mecheval.models.mixing import State


def run_lstm(layer: nn.LSTM, normed_BTD: Tensor, state: State) -> tuple[Tensor, State]:
    """Run an LSTM layer on; return its outputs ``(B, T, D)``, and its last output and cell."""
    h_BD, c_BD = state or (torch.zeros_like(normed_BTD[:, 0]),) * 2
    from_input_BTG, back = _input_and_back(layer, normed_BTD)
    outputs = []
    for raw_BG in from_input_BTG.unbind(1):
        raw_BG = raw_BG + back(h_BD)
        i_BD, f_BD, g_BD, o_BD = raw_BG.chunk(4, -1)
        c_BD = f_BD.sigmoid() * c_BD + i_BD.sigmoid() * g_BD.tanh()
        h_BD = o_BD.sigmoid() * c_BD.tanh()
        outputs.append(h_BD)
    return torch.stack(outputs, 1), (h_BD, c_BD)


def run_gru(layer: nn.GRU, normed_BTD: Tensor, state: State) -> tuple[Tensor, State]:
    """Run a GRU layer on; return its outputs ``(B, T, D)``, and the last of them."""
    (h_BD,) = state or (torch.zeros_like(normed_BTD[:, 0]),)
    from_input_BTG, back = _input_and_back(layer, normed_BTD)
    outputs = []
    for raw_BG in from_input_BTG.unbind(1):
        r_in, z_in, n_in = raw_BG.chunk(3, -1)
        back_BG = back(h_BD)
        r_back, z_back, n_back = back_BG.chunk(3, -1)
        candidate_BD = (n_in + (r_in + r_back).sigmoid() * n_back).tanh()
        h_BD = torch.lerp(candidate_BD, h_BD, (z_in + z_back).sigmoid())
        outputs.append(h_BD)
    return torch.stack(outputs, 1), (h_BD,)


def _input_and_back(
    layer: nn.RNNBase, normed_BTD: Tensor
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return what the inputs give to all gates, and what maps an output to them."""
    w_in_GD, w_back_GD, b_in_G, b_back_G = (
        cast("Tensor", getattr(layer, name))
        for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    )
    from_input_BTG = functional.linear(normed_BTD, w_in_GD, b_in_G)
    return from_input_BTG, lambda h_BD: functional.linear(h_BD, w_back_GD, b_back_G)
