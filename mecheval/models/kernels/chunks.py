"""Linear attention over chunks: matrices within a chunk, a recurrence between chunks.

The form of Mamba-2 (arXiv:2405.21060, section 6), of gated linear attention (arXiv:2312.06635,
section 4) and of DeltaNet (arXiv:2406.06484, section 3). Shape suffixes: ``B`` examples, ``T``
positions, ``H`` heads, ``K`` width of keys, ``V`` width of values, ``C`` chunks, ``L`` positions of
a chunk (``S`` those read from).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from mecheval.models.kernels.vmap_rules import folded

if TYPE_CHECKING:
    from collections.abc import Callable

    from mecheval.models.kernels.decays import Decays

CHUNK, WIDE_CHUNK = 32, 48
"""Positions of a chunk of narrow heads, and of heads at least as wide as that."""


def upcast(v_BTHV: Tensor, *others: Tensor | None) -> list[Any]:
    """Return the tensors that there are in float32, or in float64 where the values are that."""
    dtype = torch.float64 if v_BTHV.dtype == torch.float64 else torch.float32
    return [None if value is None else value.to(dtype) for value in (v_BTHV, *others)]


def in_full(
    run: Callable[..., tuple[Tensor, Tensor]], v_BTHV: Tensor, *others: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Call with all tensors in full precision; return an output in the type of the values."""
    with torch.autocast(v_BTHV.device.type, enabled=False):
        y_BTHV, last_BHKV = run(*upcast(v_BTHV, *others))
    return y_BTHV.to(v_BTHV.dtype), last_BHKV


def started(state_BHKV: Tensor | None, k_BTHK: Tensor, v_BTHV: Tensor) -> Tensor:
    """Return the state, or one of zeros, ``(B, H, K, V)``."""
    if state_BHKV is not None:
        return state_BHKV
    examples, _, heads, width = k_BTHK.shape
    return v_BTHV.new_zeros(examples, heads, width, v_BTHV.shape[3])


def chunk_for(width: int) -> int:
    """Return the rough length of chunks that is fastest on a CPU for heads of a width.

    Longer chunks cost more per position, but there are fewer of them, and each has a state to
    write and read, which is as wide as the head.
    """
    return CHUNK if width < WIDE_CHUNK else WIDE_CHUNK


def chunk_length(n_positions: int, chunk: int) -> int:
    """Return the length of equal chunks of roughly ``chunk`` positions."""
    return math.ceil(n_positions / max(1, round(n_positions / chunk)))


def in_chunks(value_BTHX: Tensor, length: int) -> Tensor:
    """Cut ``(B, T, H, ...)`` into ``(B, C, H, L, ...)``; zeros fill the last chunk."""
    padding = -value_BTHX.shape[1] % length
    if padding:
        value_BTHX = functional.pad(value_BTHX, (0, 0) * (value_BTHX.ndim - 2) + (0, padding))
    return value_BTHX.unflatten(1, (-1, length)).transpose(2, 3)


def joined(value_BCHLX: Tensor, n_positions: int) -> Tensor:
    """Undo :func:`in_chunks`."""
    return value_BCHLX.transpose(2, 3).flatten(1, 2)[:, :n_positions]


def overlaps(read_LK: Tensor, keys_SK: Tensor, *, diagonal: int | None = None) -> Tensor:
    """Return the products of every row with every other.

    Args:
        read_LK: Rows, ``(B, ..., L, K)``.
        keys_SK: Other rows, ``(B, ..., S, K)``.
        diagonal: The last diagonal that is kept, as of :func:`torch.tril`; None keeps all.
    """
    return folded(_Overlaps.apply, read_LK, keys_SK, diagonal)


class _Overlaps(torch.autograd.Function):
    """A product with a transposed matrix, whose gradients are not transposed: copies take time."""

    @staticmethod
    def forward(ctx: Any, read_LK: Tensor, keys_SK: Tensor, diagonal: int | None) -> Tensor:
        # Views of one head among several are copied once here, not by every product.
        read_LK, keys_SK = read_LK.contiguous(), keys_SK.contiguous()
        ctx.save_for_backward(read_LK, keys_SK)
        ctx.diagonal = diagonal
        products_LS = read_LK @ keys_SK.transpose(-1, -2)
        return products_LS if diagonal is None else products_LS.tril_(diagonal)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dproducts_LS: Tensor
    ) -> tuple[Tensor, Tensor, None]:
        read_LK, keys_SK = ctx.saved_tensors
        if ctx.diagonal is not None:
            dproducts_LS = dproducts_LS.tril(ctx.diagonal)
        return dproducts_LS @ keys_SK, dproducts_LS.transpose(-1, -2) @ read_LK, None


def attend(
    scores_BCHLS: Tensor,
    v_BCHLV: Tensor,
    *,
    q_BCHLK: Tensor,
    k_BCHLK: Tensor,
    decays: Decays,
    state_BHKV: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Read the values of the own chunk by scores, and those of earlier chunks from the state.

    Args:
        scores_BCHLS: What each position reads of each value of its chunk; 0 for later ones.
        v_BCHLV: The values.
        q_BCHLK: The queries.
        k_BCHLK: The keys.
        decays: Those from and to the ends of the chunk.
        state_BHKV: The state before the first chunk; zeros without one.

    Returns:
        The sums ``(B, C, H, L, V)``, and the last state ``(B, H, K, V)``.
    """
    sum_BCHLV = scores_BCHLS @ v_BCHLV
    kept_BCHLK = k_BCHLK * decays.after_BCHLK
    written = (kept_BCHLK.transpose(-1, -2) @ v_BCHLV).unbind(1)
    if state_BHKV is None:
        if len(written) == 1:
            return sum_BCHLV, written[0]
        state_BHKV = torch.zeros_like(written[0])
    starts = []
    totals = decays.total_BCHK[..., None].unbind(1)
    for total_BHK1, written_BHKV in zip(totals, written, strict=True):
        starts.append(state_BHKV)
        state_BHKV = total_BHK1 * state_BHKV + written_BHKV
    read_BCHLV = (q_BCHLK * decays.before_BCHLK) @ torch.stack(starts, 1)
    return sum_BCHLV + read_BCHLV, state_BHKV
