"""Muon: momentum whose matrices are made orthogonal before each step.

Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon); step size matched to AdamW's as in
Liu et al. 2025, arXiv:2502.16982. The optimizer of torch works in bfloat16, one matrix at a time;
small matrices on a CPU take fourteen times as long that way. This one works in the matrices' own
type, and on all matrices of a shape at once.

Shape suffixes: ``N`` matrices, ``R`` rows (no more than columns), ``C`` columns.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic whose iteration takes singular values to between 0.7 and 1.2."""

ITERATIONS = 5
SMALLEST_NORM = 1e-7


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, made orthogonal, with decoupled weight decay."""

    def __init__(
        self, params: Iterable[Tensor], *, lr: float, weight_decay: float, momentum: float = 0.95
    ) -> None:
        """Take over the matrices.

        Args:
            params: Matrices.
            lr: Learning rate; a step has the root mean square of AdamW's at the same rate.
            weight_decay: Share of a matrix that a step of learning rate 1 would take away.
            momentum: Share of the momentum that a step keeps.
        """
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take one step from the gradients; there is nothing to evaluate again."""
        for group in self.param_groups:
            by_shape: dict[tuple[Any, ...], list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[*parameter.shape, parameter.dtype, parameter.device].append(parameter)
            for matrices in by_shape.values():
                self._step_together(matrices, group)

    def _step_together(self, matrices: list[Tensor], group: dict[str, Any]) -> None:
        ahead = torch.stack([self._ahead(matrix, group["momentum"]) for matrix in matrices])
        rate = 0.2 * max(matrices[0].shape) ** 0.5 * group["lr"]
        for matrix, change in zip(matrices, orthogonal(ahead), strict=True):
            matrix.mul_(1 - group["lr"] * group["weight_decay"]).add_(change, alpha=-rate)

    def _ahead(self, matrix: Tensor, momentum: float) -> Tensor:
        """Add the gradient to the momentum, and return where that leads in one more step."""
        state = self.state[matrix]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        kept = state["momentum_buffer"].mul_(momentum).add_(matrix.grad)
        return kept.mul(momentum).add_(matrix.grad)


def orthogonal(matrices: Tensor) -> Tensor:
    """Return the nearest orthogonal matrices, roughly: singular values become 0.7 to 1.2.

    Args:
        matrices: Of any one shape, the first axis counting them.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x_NRC = matrices.mT if tall else matrices
    a, b, c = COEFFICIENTS
    x_NRC = x_NRC / x_NRC.norm(dim=(-2, -1), keepdim=True).clamp(min=SMALLEST_NORM)
    for _ in range(ITERATIONS):
        gram_NRR = x_NRC @ x_NRC.mT
        gram_NRR = torch.baddbmm(gram_NRR, gram_NRR, gram_NRR, beta=b, alpha=c)
        x_NRC = torch.baddbmm(x_NRC, gram_NRR, x_NRC, beta=a)
    return x_NRC.mT if tall else x_NRC
