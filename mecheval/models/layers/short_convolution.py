"""The short causal convolution as a module, with a recurrent form.

Shape suffixes: ``B`` examples, ``T`` positions, ``E`` channels, ``K`` taps.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mecheval.models.kernels.convolution import causal_convolution, last_inputs
from mecheval.models.kernels.scan import choose

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
        self,
        x_BTE: Tensor,
        implementation: Implementation | None = None,
        before_BKE: Tensor | None = None,
    ) -> Tensor:
        """Convolve all positions at once.

        Args:
            x_BTE: The inputs.
            implementation: See :func:`causal_convolution`; the fastest there is if None.
            before_BKE: What :meth:`tail` returned for the positions before; zeros without it.
        """
        if not self.taps:
            return x_BTE
        return causal_convolution(
            x_BTE, self.weight[:, 0], self.bias, before_BKE=before_BKE,
            implementation=implementation or choose("auto", x_BTE),
        )  # fmt: skip

    def tail(self, x_BTE: Tensor, before_BKE: Tensor | None = None) -> Tensor:
        """Return the last inputs: see :func:`.convolution.last_inputs`."""
        return last_inputs(x_BTE, self.taps, before_BKE)
