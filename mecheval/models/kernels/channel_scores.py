"""Scores within a chunk when every channel of the keys decays on its own.

Gated linear attention (arXiv:2312.06635) has ``score_ls = sum_k q_lk k_sk a_s+1,k ... a_lk``. The
usual form divides cumulated decays, and overflows where they are strong. Here the keys of a chunk
are decayed from one position to the next, so that no factor exceeds 1.
Shape suffixes: as in :mod:`.chunks`; ``X`` some positions of a chunk.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from mecheval.models.kernels.decays import Decays
from mecheval.models.kernels.members import folded


def channel_scores(
    q_BCHLK: Tensor, k_BCHLK: Tensor, log_decay_BCHLK: Tensor
) -> tuple[Tensor, Decays]:
    """Score the keys of each chunk.

    Returns:
        The scores of every position for itself and earlier ones, 0 for later ones
        ``(B, C, H, L, L)``; and the decays from and to the ends of the chunk.
    """
    scores_BCHLS: Tensor = folded(_Scores.apply, q_BCHLK, k_BCHLK, log_decay_BCHLK)
    before_BCHLK = log_decay_BCHLK.cumsum(-2).exp()
    # The sum over later positions, and not a difference: its gradient must not cancel either.
    later_BCHLK = functional.pad(log_decay_BCHLK[..., 1:, :], (0, 0, 0, 1))
    after_BCHLK = later_BCHLK.flip(-2).cumsum(-2).flip(-2).exp()
    return scores_BCHLS, Decays(before_BCHLK, after_BCHLK, before_BCHLK[..., -1, :])


class _Scores(torch.autograd.Function):
    """The scores, from keys that are decayed step by step.

    With ``P`` for the decay from s to l, score_ls depends on the log decays from s + 1 to l by
    ``q_l P k_s`` in every channel. So the gradient with respect to the log decay at t is the sum of
    ``q dq - k dk`` from t on, without what a position gets from itself.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        q_BCHLK, k_BCHLK, log_decay_BCHLK = (value.contiguous() for value in inputs)
        a_BCHLK = log_decay_BCHLK.exp()
        ctx.save_for_backward(q_BCHLK, k_BCHLK, a_BCHLK)
        length = q_BCHLK.shape[-2]
        scores_BCHLS = q_BCHLK.new_zeros(*q_BCHLK.shape[:-1], length)
        scores_BCHLS.diagonal(0, -2, -1).copy_((q_BCHLK * k_BCHLK).sum(-1))
        decayed_BCHLK = k_BCHLK.clone()
        for t in range(1, length):
            earlier_BCHXK = decayed_BCHLK[..., :t, :].mul_(a_BCHLK[..., t : t + 1, :])
            scores_BCHLS[..., t, :t] = (earlier_BCHXK @ q_BCHLK[..., t, :, None])[..., 0]
        return scores_BCHLS

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dscores_BCHLS: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        q_BCHLK, k_BCHLK, a_BCHLK = ctx.saved_tensors
        dq_BCHLK, dk_BCHLK = torch.zeros_like(q_BCHLK), torch.zeros_like(k_BCHLK)
        decayed_BCHLK = k_BCHLK.clone()
        for t in range(1, q_BCHLK.shape[-2]):
            earlier_BCHXK = decayed_BCHLK[..., :t, :].mul_(a_BCHLK[..., t : t + 1, :])
            dq_BCHLK[..., t, :] = (dscores_BCHLS[..., t, None, :t] @ earlier_BCHXK)[..., 0, :]
        decayed_BCHLK.copy_(q_BCHLK)
        dscores_BCHSL = dscores_BCHLS.transpose(-1, -2).contiguous()
        for t in range(q_BCHLK.shape[-2] - 1, 0, -1):
            later_BCHXK = decayed_BCHLK[..., t:, :].mul_(a_BCHLK[..., t : t + 1, :])
            dk_BCHLK[..., t - 1, :] = (dscores_BCHSL[..., t - 1, None, t:] @ later_BCHXK)[..., 0, :]
        dsum_BCHLK = q_BCHLK * dq_BCHLK - k_BCHLK * dk_BCHLK
        own_BCHL1 = dscores_BCHLS.diagonal(0, -2, -1)[..., None]
        dq_BCHLK.addcmul_(own_BCHL1, k_BCHLK)
        dk_BCHLK.addcmul_(own_BCHL1, q_BCHLK)
        return dq_BCHLK, dk_BCHLK, dsum_BCHLK.flip(-2).cumsum(-2).flip(-2)
