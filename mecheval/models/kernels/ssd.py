"""Mamba-2's scan, whose states decay alike within a head (Dao and Gu 2024, arXiv:2405.21060).

``torch`` is the paper's chunked algorithm (section 6: matrices within a chunk, the recurrence
between chunks); ``reference`` and ``c`` are Mamba's, with one decay per channel; ``mamba_ssm`` is
the authors' Triton kernel. Suffixes: see :mod:`.scan`, and ``P`` channels of a head, ``C`` chunks,
``L`` positions of a chunk (``S`` those read from).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from torch.nn import functional

from mecheval.errors import require
from mecheval.models.kernels.chunks import CHUNK, attend, chunk_length, in_chunks, joined
from mecheval.models.kernels.decays import head_decays
from mecheval.models.kernels.scan import needs_gradient, repeated, skip_and_gate
from mecheval.models.kernels.selective import in_full, selective_scan

if TYPE_CHECKING:
    from torch import Tensor

    from mecheval.models.kernels.scan import Implementation, Scan

_FUSED_CHUNK = 256


def dual_scan(
    scan: Scan,
    *,
    implementation: Implementation,
    chunk: int = CHUNK,
    state_BEN: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run the scan.

    Args:
        scan: Its inputs, with delta, A, D and bias per head.
        implementation: What :func:`mecheval.models.kernels.scan.choose` chose. ``torch`` takes the
            place of ``c`` where the state needs a gradient.
        chunk: Positions of a chunk, roughly: chunks are made of equal length.
        state_BEN: The state before the first position; zeros without one.

    Returns:
        The output ``(B, T, E)`` in the type of the input, and the last state ``(B, E, N)`` in
        float32 or float64, which carries no gradient in ``c``. What is not wanted of the two is
        left empty by ``c``, and made all the same by others.
    """
    if implementation == "mamba_ssm":
        return _fused(scan, state_BEN)
    if implementation == "c" and needs_gradient(state_BEN):
        implementation = "torch"
    if implementation != "torch":
        return selective_scan(
            scan.per_channel(), implementation=implementation, state_BEN=state_BEN
        )  # fmt: skip
    return in_full(partial(_chunked, chunk=chunk), scan, state_BEN)


def _chunked(scan: Scan, state_BEN: Tensor | None, *, chunk: int) -> tuple[Tensor, Tensor]:
    _, n_positions, width = scan.x_BTE.shape
    heads, length = scan.delta_BTE.shape[2], chunk_length(n_positions, chunk)
    delta_BTH = functional.softplus(scan.delta_BTE + scan.bias_E)
    input_BTHP = delta_BTH[..., None] * scan.x_BTE.unflatten(2, (heads, -1))
    between_BCHLS, decays = head_decays(
        in_chunks(delta_BTH * scan.A_EN, length), signed=scan.signed
    )
    B_BC1LN, C_BC1LN = (in_chunks(value[:, :, None], length) for value in (scan.B_BTN, scan.C_BTN))
    start_BHNP = None
    if state_BEN is not None:
        start_BHNP = state_BEN.unflatten(1, (heads, -1)).transpose(-1, -2)
    sum_BCHLP, last_BHNP = attend(
        (C_BC1LN @ B_BC1LN.transpose(-1, -2)) * between_BCHLS,
        in_chunks(input_BTHP, length),
        q_BCHLK=C_BC1LN,
        k_BCHLK=B_BC1LN,
        decays=decays,
        state_BHKV=start_BHNP,
    )
    sum_BTE = joined(sum_BCHLP, n_positions).flatten(2)
    y_BTE = skip_and_gate(sum_BTE, scan.x_BTE, repeated(scan.D_E, width), scan.z_BTE)
    return y_BTE, last_BHNP.transpose(-1, -2).flatten(1, 2)


def _fused(scan: Scan, state_BEN: Tensor | None) -> tuple[Tensor, Tensor]:
    """Call the authors' kernel."""
    interface = require("mamba_ssm.ops.triton.ssd_combined", extra="cuda")
    heads = scan.delta_BTE.shape[2]
    start_BHPN = None
    if state_BEN is not None:
        start_BHPN = state_BEN.float().unflatten(1, (heads, -1)).contiguous()
    y_BTHP, last_BHPN = interface.mamba_chunk_scan_combined(
        scan.x_BTE.unflatten(2, (heads, -1)), scan.delta_BTE, scan.A_EN.float(),
        scan.B_BTN[:, :, None], scan.C_BTN[:, :, None], chunk_size=_FUSED_CHUNK, D=scan.D_E.float(),
        z=scan.z_BTE.unflatten(2, (heads, -1)), dt_bias=scan.bias_E.float(), dt_softplus=True,
        initial_states=start_BHPN, return_final_states=True,
    )  # fmt: skip
    return y_BTHP.flatten(2), last_BHPN.flatten(1, 2)
