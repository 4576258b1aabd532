"""The causal convolution with a filter as long as the sequence.

Shape suffixes: ``B`` examples, ``T`` positions (``N`` the last of them, ``S`` those summed over),
``D`` channels, ``F`` frequencies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from mecheval.models.kernels.chunks import upcast

if TYPE_CHECKING:
    from torch import Tensor

LONGEST_SUM = 256
"""Positions up to which a matrix per channel is multiplied; beyond, Fourier transforms."""


def long_convolution(u_BTD: Tensor, filter_TD: Tensor, *, n_last: int) -> Tensor:
    """Return ``y_t = sum_s filter_{t - s} u_s`` at the last positions.

    Args:
        u_BTD: What is convolved; its type is that of the output.
        filter_TD: The filter of every channel, from lag 0 to lag T - 1.
        n_last: At how many positions the output is wanted.

    Returns:
        The output ``(B, N, D)``.
    """
    run = _summed if u_BTD.shape[1] <= LONGEST_SUM else _transformed
    with torch.autocast(u_BTD.device.type, enabled=False):
        exact_BTD, exact_TD = upcast(u_BTD, filter_TD)
        return run(exact_BTD, exact_TD, n_last).to(u_BTD.dtype)


def _summed(u_BTD: Tensor, filter_TD: Tensor, n_last: int) -> Tensor:
    n_positions = u_BTD.shape[1]
    padded_XD = functional.pad(filter_TD, (0, 0, n_positions - 1, 0))
    # Row t has the filter from lag t - T + 1 up to lag t, so the inputs go from the last back.
    weights_NDS = padded_XD.unfold(0, n_positions, 1)[-n_last:]
    return torch.einsum("nds,bsd->bnd", weights_NDS, u_BTD.flip(1))


def _transformed(u_BTD: Tensor, filter_TD: Tensor, n_last: int) -> Tensor:
    """Multiply in the frequencies.

    With twice as many positions, so that the end of the sequence does not meet its start; and in
    float64, because rounding errors carry inputs to earlier outputs.
    """
    n_positions = u_BTD.shape[1]
    u_BFD = torch.fft.rfft(u_BTD.double(), 2 * n_positions, 1)
    filter_FD = torch.fft.rfft(filter_TD.double(), 2 * n_positions, 0)
    y_BTD = torch.fft.irfft(u_BFD * filter_FD, 2 * n_positions, 1)
    return y_BTD[:, n_positions - n_last : n_positions].to(u_BTD.dtype)
