"""Mamba-2's scan, whose states decay alike within a head (Dao and Gu 2024, arXiv:2405.21060).

``torch`` is the paper's chunked algorithm (section 6: matrices within a chunk, the recurrence
between chunks); ``reference`` and ``c`` are Mamba's, with one decay per channel; ``mamba_ssm`` is
the authors' Triton kernel. Suffixes: see :mod:`.scan`, and ``P`` channels of a head, ``K`` chunks,
``L`` positions of a chunk (``S`` those read from).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from mecheval.errors import require
from mecheval.models.kernels.scan import repeated, skip_and_gate
from mecheval.models.kernels.selective import selective_scan

if TYPE_CHECKING:
    from mecheval.models.kernels.scan import Implementation, Scan

CHUNK = 32
"""Positions of a chunk: the fastest on a CPU for 32 to 512 positions."""

_FUSED_CHUNK = 256
_SMALLEST = 1e-30  # keeps log|a| finite; a decay this small counts as 0


def dual_scan(
    scan: Scan, *, signed: bool, implementation: Implementation, chunk: int = CHUNK
) -> tuple[Tensor, Tensor]:
    """Run the scan from a state of zeros.

    Args:
        scan: Its inputs, with delta, A, D and bias per head.
        signed: Whether the eigenvalues lie in [-1, 1] instead of [0, 1].
        implementation: What :func:`mecheval.models.kernels.scan.choose` chose.
        chunk: Positions of a chunk, roughly: chunks are made of equal length.

    Returns:
        The output ``(B, T, E)`` in the type of the input, and the last state ``(B, E, N)``.
    """
    if implementation == "mamba_ssm":
        return _fused(scan)
    if implementation != "torch":
        return selective_scan(scan.per_channel(), signed=signed, implementation=implementation)
    with torch.autocast(scan.x_BTE.device.type, enabled=False):
        y_BTE, last_BEN = _chunked(scan.upcast(), signed=signed, chunk=chunk)
    return y_BTE.to(scan.x_BTE.dtype), last_BEN


def _chunked(scan: Scan, *, signed: bool, chunk: int) -> tuple[Tensor, Tensor]:
    _, n_positions, width = scan.x_BTE.shape
    heads = scan.delta_BTE.shape[2]
    chunks = max(1, round(n_positions / chunk))
    padding = -n_positions % chunks

    def in_chunks(value_BTX: Tensor) -> Tensor:
        padded_BTX = functional.pad(value_BTX, (0, 0, 0, padding)) if padding else value_BTX
        return padded_BTX.unflatten(1, (chunks, -1))

    delta_BTH = functional.softplus(scan.delta_BTE + scan.bias_E)
    input_BTHP = delta_BTH[..., None] * scan.x_BTE.unflatten(2, (heads, -1))
    input_BKHLP = in_chunks(input_BTHP.flatten(2)).unflatten(3, (heads, -1)).transpose(2, 3)
    exponent_BKHL = in_chunks(delta_BTH * scan.A_EN).transpose(2, 3)
    B_BKLN, C_BKLN = in_chunks(scan.B_BTN), in_chunks(scan.C_BTN)
    decays_BKHLS, first_BKH = _Decays.apply(exponent_BKHL, signed)  # pyright: ignore[reportGeneralTypeIssues]
    scores_BKLS = C_BKLN @ B_BKLN.transpose(-1, -2)
    sum_BKHLP = (scores_BKLS[:, :, None] * decays_BKHLS) @ input_BKHLP
    kept_BKHLP = input_BKHLP * decays_BKHLS[..., -1, :, None]
    state_BHPN, *later = (kept_BKHLP.transpose(-1, -2) @ B_BKLN[:, :, None]).unbind(1)
    if later:
        upto_BKHL1 = decays_BKHLS[..., :1] * first_BKH[..., None, None]
        starts = [torch.zeros_like(state_BHPN), state_BHPN]
        totals = upto_BKHL1[..., -1:, :].unbind(1)[1:]
        for total_BH11, written_BHPN in zip(totals, later, strict=True):
            starts.append(total_BH11 * starts[-1] + written_BHPN)
        state_BHPN = starts.pop()
        read_BKHLP = C_BKLN[:, :, None] @ torch.stack(starts, 1).transpose(-1, -2)
        sum_BKHLP = torch.addcmul(sum_BKHLP, read_BKHLP, upto_BKHL1)
    sum_BTE = sum_BKHLP.transpose(2, 3).flatten(3).flatten(1, 2)[:, :n_positions]
    y_BTE = skip_and_gate(sum_BTE, scan.x_BTE, repeated(scan.D_E, width), scan.z_BTE)
    return y_BTE, state_BHPN.flatten(1, 2)


class _Decays(torch.autograd.Function):
    """The decay from every position of a chunk to every later one, and that of its first position.

    Its own backward divides by no decay, which may be 0 or of either sign: the product without
    a_k is the product of the decays from s to before k and from k to l.
    """

    @staticmethod
    def forward(ctx: Any, exponent_BKHL: Tensor, signed: bool) -> tuple[Tensor, Tensor]:
        a_BKHL = exponent_BKHL.exp()
        log_BKHL, sign_BKHL = exponent_BKHL, None
        if signed:
            a_BKHL = 2 * a_BKHL - 1
            log_BKHL = a_BKHL.abs().clamp_min(_SMALLEST).log()
            sign_BKHL = torch.where(a_BKHL < 0, -1, 1).cumprod(-1)
        # In float64, because what is subtracted here can be much larger than the difference.
        sum_BKHL = log_BKHL.double().cumsum(-1)
        between_BKHLS = (sum_BKHL[..., :, None] - sum_BKHL[..., None, :]).to(a_BKHL.dtype)
        length = between_BKHLS.shape[-1]
        later_LS = torch.ones(length, length, dtype=torch.bool, device=a_BKHL.device).triu(1)
        decays_BKHLS = between_BKHLS.masked_fill_(later_LS, -torch.inf).exp_()
        if sign_BKHL is not None:
            decays_BKHLS.mul_(sign_BKHL[..., :, None]).mul_(sign_BKHL[..., None, :])
        ctx.save_for_backward(a_BKHL, decays_BKHLS)
        ctx.signed = signed
        return decays_BKHLS, a_BKHL[..., 0].clone()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, ddecays_BKHLS: Tensor, dfirst_BKH: Tensor
    ) -> tuple[Tensor, None]:
        a_BKHL, decays_BKHLS = ctx.saved_tensors
        onwards_BKHLS = decays_BKHLS.transpose(-1, -2) @ ddecays_BKHLS
        da_BKHL = torch.empty_like(a_BKHL)
        torch.sum(onwards_BKHLS[..., 1:, :] * decays_BKHLS[..., :-1, :], -1, out=da_BKHL[..., 1:])
        da_BKHL[..., 0] = dfirst_BKH
        return da_BKHL.mul_(a_BKHL + 1 if ctx.signed else a_BKHL), None


def _fused(scan: Scan) -> tuple[Tensor, Tensor]:
    """Call the authors' kernel."""
    interface = require("mamba_ssm.ops.triton.ssd_combined", extra="cuda")
    heads = scan.delta_BTE.shape[2]
    y_BTHP, last_BHPN = interface.mamba_chunk_scan_combined(
        scan.x_BTE.unflatten(2, (heads, -1)), scan.delta_BTE, scan.A_EN.float(),
        scan.B_BTN[:, :, None], scan.C_BTN[:, :, None], chunk_size=_FUSED_CHUNK, D=scan.D_E.float(),
        z=scan.z_BTE.unflatten(2, (heads, -1)), dt_bias=scan.bias_E.float(), dt_softplus=True,
        return_final_states=True,
    )  # fmt: skip
    return y_BTHP.flatten(2), last_BHPN.flatten(1, 2)
