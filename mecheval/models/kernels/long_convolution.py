"""The causal convolution with a filter as long as the sequence.

Shape suffixes: ``B`` examples, ``T`` positions (``N`` the last of them, ``S`` those summed over),
``D`` channels, ``H`` filters, ``X`` rows that share a filter, ``L`` all positions and the
last ones, ``F`` frequencies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from mecheval.models.kernels.chunks import upcast

if TYPE_CHECKING:
    from torch import Tensor

LONGEST_SUM = 256
"""Outputs up to which many rows are multiplied by a matrix; beyond, Fourier transforms."""

MATRIX_ROWS = 8
"""Building the matrix takes as long as multiplying so many rows by it."""


def long_convolution(u_BTD: Tensor, filter_TD: Tensor, *, n_last: int) -> Tensor:
    """Return ``y_t = sum_s filter_{t - s} u_s`` at the last positions.

    Args:
        u_BTD: What is convolved; its type is that of the output.
        filter_TD: The filter of every channel, from lag 0 to lag T - 1.
        n_last: At how many positions the output is wanted.

    Returns:
        The output ``(B, N, D)``.
    """
    with torch.autocast(u_BTD.device.type, enabled=False):
        exact_BTD, exact_TD = upcast(u_BTD, filter_TD)
        y_DBN = rows_convolution(exact_BTD.permute(2, 0, 1), exact_TD.T, n_last=n_last)
        return y_DBN.permute(1, 2, 0).to(u_BTD.dtype)


def rows_convolution(u_HXT: Tensor, filter_HT: Tensor, *, n_last: int) -> Tensor:
    """Convolve several rows with every filter.

    Both in float32 or both in float64, with autocast off. A filter's matrix is built once for all
    of its rows.

    Args:
        u_HXT: The rows.
        filter_HT: The filters, from lag 0 to lag T - 1.
        n_last: At how many positions the output is wanted.

    Returns:
        The output ``(H, X, N)``.
    """
    rows = u_HXT.shape[1]
    short = n_last * (rows + MATRIX_ROWS) <= LONGEST_SUM * rows
    return (_summed if short else _transformed)(u_HXT, filter_HT, n_last)


def _summed(u_HXS: Tensor, filter_HS: Tensor, n_last: int) -> Tensor:
    """Multiply by the Toeplitz matrix M of the filter, ``M[t, s] = filter[t - s]``, 0 for s > t.

    Each row of a Toeplitz matrix is the one before, moved right by one. So one row that is repeated
    and then cut into rows which are one entry shorter than it gives the whole matrix: every row
    starts one entry earlier in the repeated one. Picking the entries by an index would be simpler,
    but its backward scatters; that of ``expand`` is a sum.
    """
    n = u_HXS.shape[2]
    # The first row: lags n - n_last, ... 0, then zeros for the inputs that are still to come, and
    # at its end the lags beyond n - n_last, which the rows below move in.
    row_HL = functional.pad(filter_HS.flip(1), (0, n_last)).roll(1 - n_last, 1)
    repeated_HX = row_HL[:, None].expand(-1, n_last, -1).flatten(1)
    shorter_HX = repeated_HX[:, : n_last * (n + n_last - 1)]
    matrix_HNS = shorter_HX.unflatten(1, (n_last, -1))[..., :n]
    return u_HXS @ matrix_HNS.mT


def _transformed(u_HXT: Tensor, filter_HT: Tensor, n_last: int) -> Tensor:
    """Multiply in the frequencies.

    With twice as many positions, so that the end of the sequence does not meet its start; and in
    float64, because rounding errors carry inputs to earlier outputs.
    """
    n = u_HXT.shape[2]
    u_HXF = torch.fft.rfft(u_HXT.double(), 2 * n)
    filter_HF = torch.fft.rfft(filter_HT.double(), 2 * n)
    y_HXT = torch.fft.irfft(u_HXF * filter_HF[:, None], 2 * n)
    return y_HXT[..., n - n_last : n].to(u_HXT.dtype)
