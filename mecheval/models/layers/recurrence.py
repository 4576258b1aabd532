"""Gated recurrent cells, one position at a time: what fused layers do, for weights of any stack.

``torch.func.vmap`` cannot stack the fused layers of torch, and many small models take their steps
faster together like this than one after another there. Of the GRU torch has no fused layer for a
CPU, and autograd follows every operation of every position: :func:`train_gru` writes the gradient
out.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width, ``G`` all gates side by side, a ``4``
what the recurrence gives to the candidate, the reset gate, the update gate, and what the input
gives to the candidate, ``X`` any axes before the last.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from mecheval.models.mixing import State


def draw(layer: nn.RNNBase) -> None:
    """Draw the weights of a layer from N(0, 1 / width), with biases of 0."""
    for name, parameter in layer.named_parameters():
        if name.startswith("weight"):
            nn.init.normal_(parameter, std=1 / math.sqrt(layer.hidden_size))
        else:
            nn.init.zeros_(parameter)


def is_half_on_cpu(layer: nn.RNNBase) -> bool:
    """Say whether weights are in half precision on a CPU: not all of these run torch's layer."""
    weight = cast("Tensor", layer.weight_hh_l0)
    return weight.device.type == "cpu" and weight.dtype in (torch.bfloat16, torch.float16)


def given_to_gates(
    layer: nn.RNNBase, normed_BTD: Tensor, output_BTD: Tensor, state: State
) -> tuple[Tensor, Tensor]:
    """Return what goes into all gates of a run at every position, ``(B, T, G)`` each.

    Args:
        layer: The layer.
        normed_BTD: Its inputs.
        output_BTD: Its outputs.
        state: Its state before the first position.

    Returns:
        What the inputs give, and what the outputs of the positions before do.
    """
    first_BD = state[0] if state else torch.zeros_like(output_BTD[:, 0])
    before_BTD = torch.cat([first_BD[:, None], output_BTD[:, :-1]], 1)
    from_input_BTG, back = _input_and_back(layer, normed_BTD)
    return from_input_BTG, back(before_BTD)


def run_lstm(layer: nn.LSTM, normed_BTD: Tensor, state: State) -> tuple[Tensor, State]:
    """Run an LSTM layer on; return its outputs ``(B, T, D)``, and its last output and cell."""
    h_BD, c_BD = state or (torch.zeros_like(normed_BTD[:, 0]),) * 2
    from_input_BTG, back = _input_and_back(layer, normed_BTD)
    outputs = []
    for raw_BG in from_input_BTG.unbind(1):
        i_BD, f_BD, g_BD, o_BD = lstm_gates(raw_BG + back(h_BD))
        c_BD = f_BD * c_BD + i_BD * g_BD
        h_BD = o_BD * c_BD.tanh()
        outputs.append(h_BD)
    return torch.stack(outputs, 1), (h_BD, c_BD)


def lstm_gates(given_XG: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return input gate, forget gate, candidate and output gate, from what they are given."""
    i_XD, f_XD, g_XD, o_XD = given_XG.chunk(4, -1)
    return i_XD.sigmoid(), f_XD.sigmoid(), g_XD.tanh(), o_XD.sigmoid()


def run_gru(layer: nn.GRU, normed_BTD: Tensor, state: State) -> tuple[Tensor, State]:
    """Run a GRU layer on; return its outputs ``(B, T, D)``, and the last of them."""
    (h_BD,) = state or (torch.zeros_like(normed_BTD[:, 0]),)
    from_input_BTG, back = _input_and_back(layer, normed_BTD)
    outputs = []
    for raw_BG in from_input_BTG.unbind(1):
        z_BD, candidate_BD = gru_gates(raw_BG, back(h_BD))
        h_BD = torch.lerp(candidate_BD, h_BD, z_BD)
        outputs.append(h_BD)
    return torch.stack(outputs, 1), (h_BD,)


def gru_gates(from_input_XG: Tensor, back_XG: Tensor) -> tuple[Tensor, Tensor]:
    """Return update gate and candidate ``(..., D)``, from what input and last output give."""
    r_in, z_in, n_in = from_input_XG.chunk(3, -1)
    r_back, z_back, n_back = back_XG.chunk(3, -1)
    reset_XD = (r_in + r_back).sigmoid()
    return (z_in + z_back).sigmoid(), (n_in + reset_XD * n_back).tanh()


def train_gru(layer: nn.GRU, normed_BTD: Tensor, state: State) -> tuple[Tensor, State]:
    """Do as :func:`run_gru`, in fewer operations, and with a gradient that has none itself."""
    (h_BD,) = state or (torch.zeros_like(normed_BTD[:, 0]),)
    w_in_GD, w_back_GD, b_in_G, b_back_G = _weights(layer)
    from_input_TBG = functional.linear(normed_BTD.transpose(0, 1), w_in_GD, b_in_G)
    output_TBD = cast("Tensor", _Gru.apply(from_input_TBG, w_back_GD, b_back_G, h_BD))
    return output_TBD.transpose(0, 1), (output_TBD[-1],)


class _Gru(torch.autograd.Function):
    """A GRU, given what the inputs give to its gates.

    In the backward pass all that does not depend on later positions is computed for all positions
    at once; so are the gradients of the weights, behind the loop.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        from_input_TBG, w_GD, b_G, h_BD = inputs
        n, width = len(from_input_TBG), h_BD.shape[-1]
        back_TBG = torch.empty_like(from_input_TBG, memory_format=torch.contiguous_format)
        gates_TBG = torch.empty_like(back_TBG)
        all_TBD = h_BD.new_empty(n + 1, *h_BD.shape)
        all_TBD[0] = h_BD
        sizes = (2 * width, width)
        parts = (
            *(back_TBG, *back_TBG.split(sizes, -1), *from_input_TBG.split(sizes, -1)),
            *(gates_TBG.split(sizes, -1)[0], *gates_TBG.chunk(3, -1)),
            *(all_TBD[:-1], all_TBD[1:]),
        )
        w_DG = w_GD.T.contiguous()
        for back, rz_back, n_back, rz_in, n_in, rz, r, z, n_, before, after in zip(
            *(part.unbind(0) for part in parts), strict=True
        ):
            torch.addmm(b_G, before, w_DG, out=back)
            torch.add(rz_in, rz_back, out=rz).sigmoid_()
            torch.addcmul(n_in, r, n_back, out=n_).tanh_()
            torch.lerp(n_, before, z, out=after)
        ctx.save_for_backward(w_GD, gates_TBG, back_TBG[..., 2 * width :], all_TBD)
        return all_TBD[1:]

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, d_TBD: Tensor
    ) -> tuple[Tensor | None, ...]:
        w_GD, gates_TBG, n_back_TBD, all_TBD = ctx.saved_tensors
        r_TBD, z_TBD, n_TBD = gates_TBG.chunk(3, -1)
        before_TBD = all_TBD[:-1]
        # How the output of a position depends on what is given to its gates.
        n_in_TBD = (1 - z_TBD) * (1 - n_TBD * n_TBD)
        back_TBD = n_in_TBD * r_TBD
        reset_TBD = back_TBD * (1 - r_TBD) * n_back_TBD
        update_TBD = (before_TBD - n_TBD) * z_TBD * (1 - z_TBD)
        d_TB4D = torch.stack([back_TBD, reset_TBD, update_TBD, n_in_TBD], 2)
        d_TBX = d_TB4D.flatten(2)
        width = z_TBD.shape[-1]
        recurrent_TBG, given_TBG = d_TBX[..., : 3 * width], d_TBX[..., width:]
        turned_GD = w_GD.roll(width, 0)
        dh_BD = torch.zeros_like(d_TBD[0])
        for d_BD, d_B4D, recurrent_BG, z_BD in zip(
            *(part.unbind(0)[::-1] for part in (d_TBD, d_TB4D, recurrent_TBG, z_TBD)), strict=True
        ):
            dh_BD = dh_BD + d_BD
            d_B4D.mul_(dh_BD[:, None])
            dh_BD = (dh_BD * z_BD).addmm_(recurrent_BG, turned_GD)
        dw_GD = db_G = None
        if ctx.needs_input_grad[1]:
            dw_GD = recurrent_TBG.flatten(0, 1).T @ before_TBD.flatten(0, 1)
            dw_GD, db_G = dw_GD.roll(-width, 0), recurrent_TBG.sum((0, 1)).roll(-width)
        return given_TBG, dw_GD, db_G, dh_BD


def _weights(layer: nn.RNNBase) -> tuple[Tensor, ...]:
    """Return the matrices of the input and of the last output, and the biases of both."""
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    return tuple(cast("Tensor", getattr(layer, name)) for name in names)


def _input_and_back(
    layer: nn.RNNBase, normed_BTD: Tensor
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return what the inputs give to all gates, and what maps an output to them."""
    w_in_GD, w_back_GD, b_in_G, b_back_G = _weights(layer)
    from_input_BTG = functional.linear(normed_BTD, w_in_GD, b_in_G)
    return from_input_BTG, lambda h_BD: functional.linear(h_BD, w_back_GD, b_back_G)
