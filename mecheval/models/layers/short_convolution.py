"""The short causal convolution as a module, with a recurrent form.

Shape suffixes: ``B`` examples, ``T`` positions, ``E`` channels, ``K`` taps.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mecheval.models.kernels.convolution import causal_convolution

if TYPE_CHECKING:
    from mecheval.models.kernels.scan import Implementation


class ShortConvolution(nn.Module):
    """Every channel sees its own last ``taps`` values.

    With one tap it is a scale and a bias per channel, which looks at the present only; with none it
    passes its input on unchanged.
    """

    def __init__(self, channels: int, taps: int) -> None:
        """Draw weights and biases from U(-taps^-1/2, taps^-1/2), as ``nn.Conv1d`` does."""
        super().__init__()
        self.channels, self.taps = channels, taps
        if taps:
            bound = 1 / math.sqrt(taps)
            self.weight = nn.Parameter(torch.empty(channels, 1, taps).uniform_(-bound, bound))
            self.bias = nn.Parameter(torch.empty(channels).uniform_(-bound, bound))

    def forward(
        self, x_BTE: Tensor, implementation: Implementation, before_BKE: Tensor | None = None
    ) -> Tensor:
        """Convolve all positions at once.

        Args:
            x_BTE: The inputs.
            implementation: See :func:`causal_convolution`.
            before_BKE: What :meth:`tail` returned for the positions before; zeros without it.
        """
        if not self.taps:
            return x_BTE
        return causal_convolution(
            x_BTE, self.weight[:, 0], self.bias, implementation=implementation,
            before_BKE=before_BKE,
        )  # fmt: skip

    def start(self, batch_size: int, like: Tensor) -> Tensor:
        """Return the inputs before the start, all zero, ``(B, K - 1, E)``."""
        return like.new_zeros(batch_size, max(self.taps - 1, 0), self.channels)

    def tail(self, x_BTE: Tensor, before_BKE: Tensor | None = None) -> Tensor:
        """Return the last inputs ``(B, K - 1, E)``, which the next position will need.

        Args:
            x_BTE: The inputs.
            before_BKE: What this returned for the positions before; zeros without it.
        """
        kept, positions = max(self.taps - 1, 0), x_BTE.shape[1]
        if positions >= kept:
            # A copy, because a view would keep the inputs at all positions in memory.
            return x_BTE[:, positions - kept :].clone()
        if before_BKE is None:
            before_BKE = self.start(len(x_BTE), x_BTE)
        return torch.cat([before_BKE[:, positions:], x_BTE], 1)

    def step(self, x_BE: Tensor, tail_BKE: Tensor) -> tuple[Tensor, Tensor]:
        """Convolve one position; return the output ``(B, E)`` and the new tail."""
        if not self.taps:
            return x_BE, tail_BKE
        window_BKE = torch.cat([tail_BKE, x_BE[:, None]], 1)
        y_BE = self.bias + (window_BKE * self.weight[:, 0].T).sum(1)
        return y_BE, window_BKE[:, 1:]
