"""Systems of equations in which every unknown depends on earlier ones only.

Shape suffixes: ``L`` unknowns (``S`` those that an equation takes away), ``V`` right sides, ``...``
any axes of independent systems.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mecheval.models.kernels.vmap_rules import folded

if TYPE_CHECKING:
    from collections.abc import Iterator


def unit_inverse(factors_LS: Tensor) -> Tensor:
    """Return the inverse of ``I + A``, by substitution, without a gradient.

    Substitution is safe where unknowns depend on each other strongly, where powers of A are not.

    Args:
        factors_LS: A, ``(..., L, L)``, below its diagonal; the rest is not looked at.
    """
    factors_LS = factors_LS.detach()
    identity_LS = torch.eye(factors_LS.shape[-1], dtype=factors_LS.dtype, device=factors_LS.device)
    # From the right, because the solver then works row by row, without transposed copies.
    with _one_thread(factors_LS.device):
        return torch.linalg.solve_triangular(
            factors_LS, identity_LS, upper=False, left=False, unitriangular=True
        )


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    """Solve on one thread of a CPU: several share every small system, and take longer for it.

    The number of threads is that of the calling thread, as in all of torch; one that calls torch
    for the first time at this moment starts out with one.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def substituted(factors_LS: Tensor, inverse_LS: Tensor, right_LV: Tensor) -> Tensor:
    """Return the x ``(..., L, V)`` of ``x_l + sum_{s<l} A_ls x_s = right_l``.

    Args:
        factors_LS: A, ``(..., L, L)``; what is not below its diagonal is not looked at.
        inverse_LS: What :func:`unit_inverse` made of it.
        right_LV: The right sides, ``(..., L, V)``.
    """
    return folded(_Substituted.apply, factors_LS, inverse_LS, right_LV)


class _Substituted(torch.autograd.Function):
    """The solution, whose backward needs no second substitution: it has the inverse."""

    @staticmethod
    def forward(ctx: Any, _: Tensor, inverse_LS: Tensor, right_LV: Tensor) -> Tensor:
        solved_LV = inverse_LS @ right_LV
        ctx.save_for_backward(inverse_LS, solved_LV)
        return solved_LV

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dsolved_LV: Tensor
    ) -> tuple[Tensor, None, Tensor]:
        inverse_LS, solved_LV = ctx.saved_tensors
        dright_LV = inverse_LS.transpose(-1, -2) @ dsolved_LV
        dfactors_LS = dright_LV @ solved_LV.transpose(-1, -2)
        return dfactors_LS.neg_().tril_(-1), None, dright_LV
