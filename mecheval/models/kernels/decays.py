"""How much of what is written at one position of a chunk is left at another.

Shape suffixes: as in :mod:`.chunks`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mecheval.models.kernels.vmap_rules import folded

_SMALLEST = 1e-30  # keeps log|a| finite; a decay this small counts as 0


class Decays(NamedTuple):
    """The decays of the state of a head, ``K`` wide or, if they are alike in all channels, 1 wide.

    Attributes:
        before_BCHLK: From the state before the chunk to every position.
        after_BCHLK: From every position to the end of the chunk.
        total_BCHK: From the state before the chunk to its end.
    """

    before_BCHLK: Tensor
    after_BCHLK: Tensor
    total_BCHK: Tensor


def head_decays(log_decay_BCHL: Tensor, *, signed: bool = False) -> tuple[Tensor, Decays]:
    """Multiply up the decays ``a = exp(log_decay)``, or ``2 exp(log_decay) - 1`` if signed.

    Returns:
        The decay from every position to every later one ``(B, C, H, L, L)``, 1 to itself and 0 to
        earlier ones; and those from and to the ends of the chunk.
    """
    between_BCHLS, first_BCH = folded(_Between.apply, log_decay_BCHL, signed)
    before_BCHL1 = between_BCHLS[..., :1] * first_BCH[..., None, None]
    after_BCHL1 = between_BCHLS[..., -1, :, None]
    return between_BCHLS, Decays(before_BCHL1, after_BCHL1, before_BCHL1[..., -1, :])


def no_decay(v_BCHLV: Tensor) -> Decays:
    """Return the decays where nothing decays, for all examples and heads."""
    one_1CH11 = v_BCHLV.new_ones(1, v_BCHLV.shape[1], 1, 1, 1)
    return Decays(one_1CH11, one_1CH11, one_1CH11[..., 0])


class _Between(torch.autograd.Function):
    """The decay from every position of a chunk to every later one, and that of its first position.

    Its own backward divides by no decay, which may be 0 or of either sign: the product without
    a_l is the product of the decays from s to before l and from l on.
    """

    @staticmethod
    def forward(ctx: Any, exponent_BCHL: Tensor, signed: bool) -> tuple[Tensor, Tensor]:
        a_BCHL = exponent_BCHL.exp()
        log_BCHL, sign_BCHL = exponent_BCHL, None
        if signed:
            a_BCHL = 2 * a_BCHL - 1
            log_BCHL = a_BCHL.abs().clamp_min(_SMALLEST).log()
            sign_BCHL = torch.where(a_BCHL < 0, -1, 1).cumprod(-1)
        # In float64, because what is subtracted here can be much larger than the difference.
        sum_BCHL = log_BCHL.double().cumsum(-1)
        between_BCHLS = (sum_BCHL[..., :, None] - sum_BCHL[..., None, :]).to(a_BCHL.dtype)
        length = between_BCHLS.shape[-1]
        later_LS = torch.ones(length, length, dtype=torch.bool, device=a_BCHL.device).triu(1)
        decays_BCHLS = between_BCHLS.masked_fill_(later_LS, -torch.inf).exp_()
        if sign_BCHL is not None:
            decays_BCHLS.mul_(sign_BCHL[..., :, None]).mul_(sign_BCHL[..., None, :])
        ctx.save_for_backward(a_BCHL, decays_BCHLS)
        ctx.signed = signed
        return decays_BCHLS, a_BCHL[..., 0].clone()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, ddecays_BCHLS: Tensor, dfirst_BCH: Tensor
    ) -> tuple[Tensor, None]:
        a_BCHL, decays_BCHLS = ctx.saved_tensors
        onwards_BCHLS = decays_BCHLS.transpose(-1, -2) @ ddecays_BCHLS
        da_BCHL = torch.empty_like(a_BCHL)
        torch.sum(onwards_BCHLS[..., 1:, :] * decays_BCHLS[..., :-1, :], -1, out=da_BCHL[..., 1:])
        da_BCHL[..., 0] = dfirst_BCH
        return da_BCHL.mul_(a_BCHL + 1 if ctx.signed else a_BCHL), None
