"""The generalised delta rule of RWKV-7 (arXiv:2503.14456): decays and removals per channel.

    S_t = diag(w_t) S_{t-1} - c_t^T (p_t S_{t-1}) + k_t^T v_t          y_t = q_t S_t

What the direction p_t holds is taken out along c_t, and each channel of the keys decays on its own.
In the paper p is the removal key and c = a p with the rate a of every channel; DeltaNet has
p = k, c = beta k and writes beta v. ``reference`` is the definition, one position at a time;
``torch`` works in chunks; ``fla`` is the package flash-linear-attention. Shape suffixes: as in
:mod:`.chunks`.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mecheval.models.kernels import chunks
from mecheval.models.kernels.fla import LinearImplementation, fused
from mecheval.models.kernels.triangular_solve import substituted, unit_inverse
from mecheval.models.kernels.vmap_rules import folded


class Writes(NamedTuple):
    """What positions write, ``(B, T, H, K)`` each but for the values ``(B, T, H, V)``.

    Attributes:
        log_decay: The logarithms of the decays w, from -1 to 0: the chunks divide by decays.
        direction: What is read to be removed, p; as a rule of length 1.
        removal: Where it is removed, c.
        k: Keys.
        v: Values.
    """

    log_decay: Tensor
    direction: Tensor
    removal: Tensor
    k: Tensor
    v: Tensor


def dplr_delta_rule(
    q_BTHK: Tensor | None,
    writes: Writes,
    *,
    state_BHKV: Tensor | None = None,
    implementation: LinearImplementation,
) -> tuple[Tensor, Tensor]:
    """Run the recurrence.

    Args:
        q_BTHK: Queries, scaled as wanted; None where nobody reads. Then only the last state is
            computed, and what is returned in the place of outputs means nothing.
        writes: What positions write.
        state_BHKV: The state before the first position; zeros without one.
        implementation: What :func:`mecheval.models.kernels.fla.choose_linear` chose.

    Returns:
        The outputs ``(B, T, H, V)`` in the type of the values, and the last state
        ``(B, H, K, V)`` in float32 or float64.
    """
    reading, q_BTHK = q_BTHK is not None, writes.k if q_BTHK is None else q_BTHK
    if implementation == "fla":
        return fused(
            "dplr_delta_rule", q_BTHK, writes.k, writes.v, state_BHKV,
            a=writes.direction, b=-writes.removal, gk=writes.log_decay,  # it adds along b
        )  # fmt: skip
    run = _reference if implementation == "reference" else partial(_chunked, reading=reading)
    return chunks.in_full(run, writes.v, state_BHKV, q_BTHK, *writes[:-1])


def _reference(
    v_BTHV: Tensor, state_BHKV: Tensor | None, q_BTHK: Tensor, *others: Tensor
) -> tuple[Tensor, Tensor]:
    last_BHKV = chunks.started(state_BHKV, q_BTHK, v_BTHV)
    outputs = []
    columns = (value.unbind(1) for value in (q_BTHK, *others, v_BTHV))
    for q_BHK, log_decay_BHK, p_BHK, c_BHK, k_BHK, v_BHV in zip(*columns, strict=True):
        held_BHV = (p_BHK[..., None, :] @ last_BHKV)[..., 0, :]
        last_BHKV = (
            log_decay_BHK.exp()[..., None] * last_BHKV
            - c_BHK[..., None] * held_BHV[..., None, :]
            + k_BHK[..., None] * v_BHV[..., None, :]
        )
        outputs.append((q_BHK[..., None, :] @ last_BHKV)[..., 0, :])
    return torch.stack(outputs, 1), last_BHKV


def _chunked(
    v_BTHV: Tensor, state_BHKV: Tensor | None, q_BTHK: Tensor, *others: Tensor, reading: bool
) -> tuple[Tensor, Tensor]:
    """Find what each position removes, u_t = p_t S_{t-1}, for a chunk at a time.

    With g_t, the product of the decays of a chunk up to t, these solve for a chunk that starts
    from S ``u_t + sum_{s<t} (p_t g_{t-1} / g_s . c_s) u_s = (p_t g_{t-1}) S + sum_{s<t}
    (p_t g_{t-1} / g_s . k_s) v_s``. The matrices of all chunks are inverted at once.
    """
    n_positions = q_BTHK.shape[1]
    length = chunks.chunk_length(n_positions, chunks.chunk_for(q_BTHK.shape[3]))
    v_BCHLV, *given = (chunks.in_chunks(value, length) for value in (v_BTHV, q_BTHK, *others))
    q_BCHLK, p_BCHLK, c_BCHLK, k_BCHLK, left_BCHK, middle_BCHK = folded(_Decayed.apply, *given)
    factors_BCHLS = chunks.overlaps(p_BCHLK, c_BCHLK)
    inverse_BCHLS = unit_inverse(factors_BCHLS)
    right_BCHLV = chunks.overlaps(p_BCHLK, k_BCHLK, diagonal=-1) @ v_BCHLV
    if reading:
        scores_BCHLS = chunks.overlaps(q_BCHLK, c_BCHLK, diagonal=0)
        sum_BCHLV = chunks.overlaps(q_BCHLK, k_BCHLK, diagonal=0) @ v_BCHLV
    else:
        scores_BCHLS = sum_BCHLV = right_BCHLV
    written_BCHKV = k_BCHLK.transpose(-1, -2) @ v_BCHLV
    c_BCHKL = c_BCHLK.transpose(-1, -2)
    starts: list[Tensor] = []
    if state_BHKV is None and v_BCHLV.shape[1] == 1:
        removed_BCHLV = substituted(factors_BCHLS, inverse_BCHLS, right_BCHLV)
        last_BHKV = (left_BCHK[..., None] * (written_BCHKV - c_BCHKL @ removed_BCHLV))[:, 0]
    else:
        last_BHKV, removed = chunks.started(state_BHKV, q_BTHK, v_BTHV), []
        columns = (
            factors_BCHLS, inverse_BCHLS, right_BCHLV, p_BCHLK, c_BCHKL, written_BCHKV,
            left_BCHK[..., None], middle_BCHK[..., None],
        )  # fmt: skip
        for factors_BHLS, inverse_BHLS, right, p_BHLK, c_BHKL, written_BHKV, left, middle in zip(
            *(value.unbind(1) for value in columns), strict=True
        ):
            starts.append(middle * last_BHKV)
            right_BHLV = right + p_BHLK @ starts[-1]
            removed.append(substituted(factors_BHLS, inverse_BHLS, right_BHLV))
            last_BHKV = left * (starts[-1] + written_BHKV - c_BHKL @ removed[-1])
        removed_BCHLV = torch.stack(removed, 1)
    if not reading:
        return v_BTHV, last_BHKV
    if starts:
        sum_BCHLV = sum_BCHLV + q_BCHLK @ torch.stack(starts, 1)
    return chunks.joined(sum_BCHLV - scores_BCHLS @ removed_BCHLV, n_positions), last_BHKV


class _Decayed(torch.autograd.Function):
    """What positions read and write, decayed from and to the middle of their chunk.

    Only the quotients of decays matter, so the middle counts as a constant. With its own, none of
    the factors vanishes or overflows in a chunk, since no decay is below 1 / e.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return q, p, c and k, and the decays from the middle to the end, and to the middle.

        Args:
            ctx: Keeps what the backward needs.
            inputs: Queries, the logarithms of the decays, p, c and k, ``(B, C, H, L, K)`` each.
        """
        q_BCHLK, log_decay_BCHLK, p_BCHLK, c_BCHLK, k_BCHLK = inputs
        to_BCHLK = log_decay_BCHLK.cumsum(-2)
        middle_BCH1K = to_BCHLK[..., to_BCHLK.shape[-2] // 2, None, :].clone()
        forth_BCHLK = to_BCHLK.sub_(middle_BCH1K).exp_()
        back_BCHLK = forth_BCHLK.reciprocal()
        # What is held at a position is decayed up to the one before: it is read before the decay
        # of its own position, unlike what queries read. The first has none before it in the chunk.
        held_BCHLK = torch.empty_like(p_BCHLK)
        torch.mul(p_BCHLK[..., 1:, :], forth_BCHLK[..., :-1, :], out=held_BCHLK[..., 1:, :])
        first_BCH1K = (-middle_BCH1K).exp_()
        torch.mul(p_BCHLK[..., :1, :], first_BCH1K, out=held_BCHLK[..., :1, :])
        ctx.save_for_backward(*inputs, forth_BCHLK, back_BCHLK, first_BCH1K)
        middle_BCHK = middle_BCH1K[..., 0, :].exp_()
        ctx.mark_non_differentiable(middle_BCHK)
        left_BCHK = forth_BCHLK[..., -1, :].clone()
        return (
            q_BCHLK * forth_BCHLK, held_BCHLK, c_BCHLK * back_BCHLK, k_BCHLK * back_BCHLK,
            left_BCHK, middle_BCHK,
        )  # fmt: skip

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,
        dq_BCHLK: Tensor,
        dp_BCHLK: Tensor,
        dc_BCHLK: Tensor,
        dk_BCHLK: Tensor,
        dleft_BCHK: Tensor,
        _: Tensor,
    ) -> tuple[Tensor, ...]:
        """Return the gradients of all inputs."""
        q_BCHLK, _, p_BCHLK, c_BCHLK, k_BCHLK, forth_BCHLK, back_BCHLK, first = ctx.saved_tensors
        dheld_BCHLK = torch.empty_like(p_BCHLK)
        torch.mul(dp_BCHLK[..., 1:, :], forth_BCHLK[..., :-1, :], out=dheld_BCHLK[..., 1:, :])
        torch.mul(dp_BCHLK[..., :1, :], first, out=dheld_BCHLK[..., :1, :])
        dq_BCHLK, dc_BCHLK, dk_BCHLK = (
            dq_BCHLK * forth_BCHLK, dc_BCHLK * back_BCHLK, dk_BCHLK * back_BCHLK,
        )  # fmt: skip
        dto_BCHLK = q_BCHLK * dq_BCHLK
        dto_BCHLK.addcmul_(c_BCHLK, dc_BCHLK, value=-1).addcmul_(k_BCHLK, dk_BCHLK, value=-1)
        dto_BCHLK[..., :-1, :].addcmul_(p_BCHLK[..., 1:, :], dheld_BCHLK[..., 1:, :])
        dto_BCHLK[..., -1, :].addcmul_(forth_BCHLK[..., -1, :], dleft_BCHK)
        dlog_BCHLK = dto_BCHLK.flip(-2).cumsum(-2).flip(-2)
        return dq_BCHLK, dlog_BCHLK, dheld_BCHLK, dc_BCHLK, dk_BCHLK
