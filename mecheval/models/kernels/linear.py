"""Linear attention, with or without decay.

    S_t = a_t S_{t-1} + k_t v_t^T          y_t = q_t S_t

Without decay (arXiv:2006.16236, unnormalised), with one decay per head as in RetNet
(arXiv:2307.08621) and Mamba-2, or one per channel of the keys as in gated linear attention
(arXiv:2312.06635). ``reference`` is the definition, one position at a time; ``torch`` works in
chunks; ``fla`` is the package flash-linear-attention. Shape suffixes: as in :mod:`.chunks`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mecheval.models.kernels import chunks
from mecheval.models.kernels.channel_scores import BLOCK, channel_scores
from mecheval.models.kernels.decays import head_decays, no_decay
from mecheval.models.kernels.fla import LinearImplementation, fused


def linear_attention(
    q_BTHK: Tensor | None,
    k_BTHK: Tensor,
    v_BTHV: Tensor,
    *,
    log_decay: Tensor | None = None,
    state_BHKV: Tensor | None = None,
    implementation: LinearImplementation,
) -> tuple[Tensor, Tensor]:
    """Run the recurrence.

    Args:
        q_BTHK: Queries, scaled as wanted; None where nobody reads. Then only the last state is
            computed, and what is returned in the place of outputs means nothing.
        k_BTHK: Keys.
        v_BTHV: Values.
        log_decay: The logarithms of the decays, finite and at most 0: ``(B, T, H)``, one for each
            head, or ``(B, T, H, K)``, one for each channel of the keys. None is no decay.
        state_BHKV: The state before the first position; zeros without one.
        implementation: What :func:`mecheval.models.kernels.fla.choose_linear` chose.

    Returns:
        The outputs ``(B, T, H, V)`` in the type of the values, and the last state
        ``(B, H, K, V)`` in float32 or float64.
    """
    if q_BTHK is None and implementation == "torch":
        return chunks.in_full(_written, v_BTHV, k_BTHK, log_decay, state_BHKV)
    q_BTHK = k_BTHK if q_BTHK is None else q_BTHK
    if implementation == "fla":
        name = "gla" if log_decay is not None and log_decay.ndim == 4 else "simple_gla"
        return fused(name, q_BTHK, k_BTHK, v_BTHV, state_BHKV, g=log_decay)
    run = _reference if implementation == "reference" else _chunked
    return chunks.in_full(run, v_BTHV, q_BTHK, k_BTHK, log_decay, state_BHKV)


def _reference(
    v_BTHV: Tensor,
    q_BTHK: Tensor,
    k_BTHK: Tensor,
    log_decay: Tensor | None,
    state_BHKV: Tensor | None,
) -> tuple[Tensor, Tensor]:
    a_BTHK = torch.ones_like(q_BTHK[..., :1]) if log_decay is None else log_decay.exp()
    a_BTHK = a_BTHK if a_BTHK.ndim == 4 else a_BTHK[..., None]
    last_BHKV = chunks.started(state_BHKV, k_BTHK, v_BTHV)
    outputs = []
    columns = zip(*(value.unbind(1) for value in (q_BTHK, k_BTHK, v_BTHV, a_BTHK)), strict=True)
    for q_BHK, k_BHK, v_BHV, a_BHK in columns:
        last_BHKV = a_BHK[..., None] * last_BHKV + k_BHK[..., None] * v_BHV[..., None, :]
        outputs.append((q_BHK[..., None, :] @ last_BHKV)[..., 0, :])
    return torch.stack(outputs, 1), last_BHKV


def _written(
    v_BTHV: Tensor,
    k_BTHK: Tensor,
    log_decay: Tensor | None,
    state_BHKV: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Sum up what is left at the end of all that is written: one product for all positions."""
    kept_BTHK, left = k_BTHK, None
    if log_decay is not None:
        log_BTHX = log_decay if log_decay.ndim == 4 else log_decay[..., None]
        onwards_BTHX = log_BTHX.flip(1).cumsum(1).flip(1)  # from each position's own decay on
        kept_BTHK = k_BTHK * (onwards_BTHX - log_BTHX).exp()
        left = onwards_BTHX[:, 0, :, :, None].exp()
    last_BHKV = kept_BTHK.permute(0, 2, 3, 1) @ v_BTHV.transpose(1, 2)
    if state_BHKV is not None:
        last_BHKV = last_BHKV + (state_BHKV if left is None else left * state_BHKV)
    return v_BTHV, last_BHKV


def _chunked(
    v_BTHV: Tensor,
    q_BTHK: Tensor,
    k_BTHK: Tensor,
    log_decay: Tensor | None,
    state_BHKV: Tensor | None,
) -> tuple[Tensor, Tensor]:
    n_positions = v_BTHV.shape[1]
    per_channel = log_decay is not None and log_decay.ndim == 4
    length = chunks.chunk_length(n_positions, chunks.chunk_for(k_BTHK.shape[3]))
    if per_channel:
        length += -length % BLOCK
    q_BCHLK, k_BCHLK, v_BCHLV = (
        chunks.in_chunks(value, length) for value in (q_BTHK, k_BTHK, v_BTHV)
    )
    exponent = None if log_decay is None else chunks.in_chunks(log_decay, length)
    if exponent is not None and per_channel:
        scores_BCHLS, decays = channel_scores(q_BCHLK, k_BCHLK, exponent)
    else:
        scores_BCHLS, decays = chunks.overlaps(q_BCHLK, k_BCHLK, diagonal=0), no_decay(v_BCHLV)
        if exponent is not None:
            between_BCHLS, decays = head_decays(exponent)
            scores_BCHLS = scores_BCHLS * between_BCHLS
    sum_BCHLV, last_BHKV = chunks.attend(
        scores_BCHLS, v_BCHLV, q_BCHLK=q_BCHLK, k_BCHLK=k_BCHLK, decays=decays,
        state_BHKV=state_BHKV,
    )  # fmt: skip
    return chunks.joined(sum_BCHLV, n_positions), last_BHKV
