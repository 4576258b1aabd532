"""Scores within a chunk when every channel of the keys decays on its own.

Gated linear attention (arXiv:2312.06635) has ``score_ls = sum_k q_lk k_sk a_s+1,k ... a_lk``. The
usual form divides cumulated decays, ``(q_l g_l) . (k_s / g_s)`` with ``g_l = a_1 ... a_l``, and
overflows where they are strong: at a decay of 1/100, 1 / g is 1e64 after 32 positions. Here keys
are decayed from one block of positions to the next, and in all blocks at once from one position to
the next, so that no factor exceeds 1. For a chunk of three blocks, by what a score comes from:

            keys of block   0         1         2
    queries of block 0      within    0         0
                     1      between   within    0          between: steps are blocks
                     2      between   between   within     within: steps are positions of a block

Shape suffixes: as in :mod:`.chunks`; ``M`` sequences, which are the chunks of all heads, or all
their blocks; ``N`` steps of a sequence, which are blocks, or positions; ``X`` positions of a step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from mecheval.models.kernels.decays import Decays
from mecheval.models.kernels.vmap_rules import folded

BLOCK = 4
"""Positions of a block; chunks are whole blocks."""


def channel_scores(
    q_BCHLK: Tensor, k_BCHLK: Tensor, log_decay_BCHLK: Tensor
) -> tuple[Tensor, Decays]:
    """Score the keys of each chunk, whose length is a multiple of ``BLOCK``.

    Returns:
        The scores of every position for itself and earlier ones, 0 for later ones
        ``(B, C, H, L, L)``; and the decays from and to the ends of the chunk.
    """
    scores_BCHLS: Tensor = folded(_Scores.apply, q_BCHLK, k_BCHLK, log_decay_BCHLK)
    before_BCHLK = log_decay_BCHLK.cumsum(-2).exp()
    after_BCHLK = _after(log_decay_BCHLK)
    return scores_BCHLS, Decays(before_BCHLK, after_BCHLK, before_BCHLK[..., -1, :])


def _after(log_decay_LK: Tensor) -> Tensor:
    """Return the decays to the end.

    Sums are over later positions, and not differences: their gradients must not cancel either.
    """
    return _onwards(functional.pad(log_decay_LK[..., 1:, :], (0, 0, 0, 1))).exp()


def _onwards(value_LK: Tensor) -> Tensor:
    return value_LK.flip(-2).cumsum(-2).flip(-2)


class _Steps(NamedTuple):
    """Sequences of steps, each of which reads the keys of the steps before it.

    Attributes:
        q_MNXK: Queries, decayed from the start of their step.
        k_MNXK: Keys, decayed to the end of their step.
        total_MNK: The decays from the start to the end of each step.
    """

    q_MNXK: Tensor
    k_MNXK: Tensor
    total_MNK: Tensor


class _Factors(NamedTuple):
    """Decays of every position of every block, ``(M, N, X, K)``.

    Attributes:
        own: Its own.
        before: From the start of its block to it, its own included.
        after: From it to the end of its block.
    """

    own: Tensor
    before: Tensor
    after: Tensor


class _Scores(torch.autograd.Function):
    """The scores, between blocks and within blocks.

    With ``P`` for the decay from s to l, score_ls depends on the log decays from s + 1 to l by
    ``q_l P k_s`` in every channel. So the gradient with respect to the log decay at t is the sum of
    ``q dq - k dk`` from t on, without what a position gets from itself.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        shape = inputs[0].shape
        q_MNXK, k_MNXK, log_decay_MNXK = (
            value.reshape(-1, shape[-2] // BLOCK, BLOCK, shape[-1]) for value in inputs
        )
        before_MNXK = log_decay_MNXK.cumsum(-2).exp()
        factors = _Factors(log_decay_MNXK.exp(), before_MNXK, _after(log_decay_MNXK))
        ctx.save_for_backward(q_MNXK, k_MNXK, *factors)
        between, within = _between(q_MNXK, k_MNXK, factors), _within(q_MNXK, k_MNXK, factors)
        scores_MLS, own_MXX = _score(between), _score(within)
        # Steps read earlier steps only. Of its own write a position loses nothing: no decay here.
        own_MXX.diagonal(0, -2, -1).copy_((q_MNXK * k_MNXK).sum(-1).flatten(0, 1))
        _own_blocks(scores_MLS).copy_(own_MXX.view(*q_MNXK.shape[:2], BLOCK, BLOCK))
        return scores_MLS.view(*shape[:-1], shape[-2])

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dscores_BCHLS: Tensor
    ) -> tuple[Tensor, ...]:
        q_MNXK, k_MNXK, *rest = ctx.saved_tensors
        factors = _Factors(*rest)
        dscores_MLS = dscores_BCHLS.flatten(0, 2).contiguous()
        own_MXX = _own_blocks(dscores_MLS).flatten(0, 1)
        # Each of both scores knew its queries and keys decayed; here that is undone, by the same
        # factors, and the two are added. Only then is k dk what decays up to s have a part in, and
        # q dq what those up to l have; a position's score for itself has neither, and comes last.
        dq_MNXK, dk_MNXK = _gradients(_between(q_MNXK, k_MNXK, factors), dscores_MLS)
        inner = _gradients(_within(q_MNXK, k_MNXK, factors), own_MXX)
        dq_within_MNXK, dk_within_MNXK = (value.view_as(q_MNXK) for value in inner)
        dq_MNXK.mul_(factors.before).addcmul_(dq_within_MNXK, factors.own)
        dk_MNXK.mul_(factors.after).add_(dk_within_MNXK)
        dsum_BCHLK = q_MNXK * dq_MNXK - k_MNXK * dk_MNXK
        itself_MNX1 = own_MXX.diagonal(0, -2, -1).reshape(*q_MNXK.shape[:3], 1)
        dq_MNXK.addcmul_(itself_MNX1, k_MNXK)
        dk_MNXK.addcmul_(itself_MNX1, q_MNXK)
        shape = (*dscores_BCHLS.shape[:-1], q_MNXK.shape[-1])
        return dq_MNXK.view(shape), dk_MNXK.view(shape), _onwards(dsum_BCHLK.view(shape))


def _between(q_MNXK: Tensor, k_MNXK: Tensor, factors: _Factors) -> _Steps:
    return _Steps(q_MNXK * factors.before, k_MNXK * factors.after, factors.before[:, :, -1])


def _within(q_MNXK: Tensor, k_MNXK: Tensor, factors: _Factors) -> _Steps:
    q_MN1K, k_MN1K = ((value.flatten(0, 1)[:, :, None]) for value in (q_MNXK * factors.own, k_MNXK))
    return _Steps(q_MN1K, k_MN1K, factors.own.flatten(0, 1))


def _own_blocks(scores_MLS: Tensor) -> Tensor:
    """Return a view of the scores within blocks, ``(M, N, X, X)``."""
    in_blocks = scores_MLS.unflatten(-1, (-1, BLOCK)).unflatten(1, (-1, BLOCK))
    return in_blocks.diagonal(0, 1, 3).movedim(-1, 1)


def _score(steps: _Steps) -> Tensor:
    """Score the keys of earlier steps; return ``(M, L, L)``, 0 for those of the own step."""
    q_MNXK, k_MNXK, total_MNK = steps
    sequences, n_steps, size, _ = q_MNXK.shape
    scores_MLS = q_MNXK.new_zeros(sequences, n_steps * size, n_steps * size)
    decayed_MNXK = k_MNXK.clone()
    decayed_MLK = decayed_MNXK.flatten(1, 2)  # a view: it changes with what is decayed
    for i in range(1, n_steps):
        # Keys come decayed to the end of their own step. From there to the start of step i lie the
        # steps between, of which i - 1 is new; its own keys have none to go through.
        decayed_MNXK[:, : i - 1].mul_(total_MNK[:, i - 1, None, None])
        first = i * size
        earlier_MKS = decayed_MLK[:, :first].transpose(-1, -2)
        scores_MLS[:, first : first + size, :first] = q_MNXK[:, i] @ earlier_MKS
    return scores_MLS


def _gradients(steps: _Steps, dscores_MLS: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of the decayed queries and keys, ``(M, N, X, K)``."""
    q_MNXK, k_MNXK, total_MNK = steps
    n_steps, size = q_MNXK.shape[1:3]
    dq_MNXK, dk_MNXK = torch.zeros_like(q_MNXK), torch.zeros_like(k_MNXK)
    decayed_MNXK, later_MNXK = k_MNXK.clone(), q_MNXK.clone()
    decayed_MLK, later_MLK = decayed_MNXK.flatten(1, 2), later_MNXK.flatten(1, 2)
    for i in range(1, n_steps):
        decayed_MNXK[:, : i - 1].mul_(total_MNK[:, i - 1, None, None])
        first = i * size
        dq_MNXK[:, i] = dscores_MLS[:, first : first + size, :first] @ decayed_MLK[:, :first]
    # The same the other way round: queries of later steps, carried back to the end of step i.
    for i in reversed(range(n_steps - 1)):
        later_MNXK[:, i + 2 :].mul_(total_MNK[:, i + 1, None, None])
        first, last = i * size, (i + 1) * size
        drow_MXL = dscores_MLS[:, last:, first:last].transpose(-1, -2)
        dk_MNXK[:, i] = drow_MXL @ later_MLK[:, last:]
    return dq_MNXK, dk_MNXK
