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
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from mecheval.models.kernels.decays import Decays

CHUNK = 32
"""Positions of a chunk: the fastest on a CPU for 32 to 512 positions."""


def upcast(v_BTHV: Tensor, *others: Tensor | None) -> list[Any]:
    """Return the tensors that there are in float32, or in float64 where the values are that."""
    dtype = torch.float64 if v_BTHV.dtype == torch.float64 else torch.float32
    return [None if value is None else value.to(dtype) for value in (v_BTHV, *others)]


def no_state(k_BTHK: Tensor, v_BTHV: Tensor) -> Tensor:
    """Return a state of zeros, ``(B, H, K, V)``."""
    examples, _, heads, width = k_BTHK.shape
    return v_BTHV.new_zeros(examples, heads, width, v_BTHV.shape[3])


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
