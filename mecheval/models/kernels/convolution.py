"""The short causal convolution of Mamba and its kin: every channel on its own.

Shape suffixes: ``B`` examples, ``T`` positions, ``E`` channels, ``K`` taps, the last the present
(in ``before_BKE`` the K - 1 inputs before the first position).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from mecheval.models.kernels.c.functions import CausalConvolution
from mecheval.models.kernels.scan import needs_gradient
from mecheval.models.kernels.vmap_rules import one_by_one

if TYPE_CHECKING:
    from torch import Tensor

    from mecheval.models.kernels.scan import Implementation


def causal_convolution(
    x_BTE: Tensor,
    weight_EK: Tensor,
    bias_E: Tensor | None,
    *,
    implementation: Implementation,
    before_BKE: Tensor | None = None,
) -> Tensor:
    """Return ``y_t = bias + sum_k weight_k x_{t - K + 1 + k}``.

    Args:
        x_BTE: The inputs.
        weight_EK: A weight per channel and tap, the oldest first.
        bias_E: A bias per channel, or none.
        implementation: ``c``, in float32, which has no gradient of ``before_BKE`` and leaves one
            that needs it to torch; anything else is torch's own convolution.
        before_BKE: The K - 1 inputs before the first position, the oldest first; zeros without.

    Raises:
        UsageError: ``c`` was asked for float64, or the shapes do not fit.
    """
    if implementation == "c" and not needs_gradient(before_BKE):
        bias_E = weight_EK.new_zeros(len(weight_EK)) if bias_E is None else bias_E
        parts = (x_BTE, before_BKE, weight_EK.T, bias_E)
        # Half precision becomes float32; float64 is refused, which would lose half of its digits.
        given = (x if x is None or x.dtype == torch.float64 else x.float() for x in parts)
        return one_by_one(CausalConvolution.apply, *given).to(x_BTE.dtype)
    x_BET = x_BTE.transpose(1, 2)
    if before_BKE is None:
        padded_BET = functional.pad(x_BET, (weight_EK.shape[1] - 1, 0))
    else:
        padded_BET = torch.cat([before_BKE.to(x_BTE.dtype).transpose(1, 2), x_BET], 2)
    y_BET = functional.conv1d(padded_BET, weight_EK[:, None], bias_E, groups=len(weight_EK))
    return y_BET.transpose(1, 2)


def last_inputs(x_BTE: Tensor, taps: int, before_BKE: Tensor | None = None) -> Tensor:
    """Return the last K - 1 inputs, ``(B, K - 1, E)``, which the next position will need.

    Args:
        x_BTE: The inputs.
        taps: Number of taps K.
        before_BKE: What this returned for the positions before; zeros without it.
    """
    kept, positions = max(taps - 1, 0), x_BTE.shape[1]
    if positions >= kept:
        # A copy, because a view would keep the inputs at all positions in memory.
        return x_BTE[:, positions - kept :].clone()
    if before_BKE is not None:
        return torch.cat([before_BKE[:, positions:], x_BTE], 1)
    return functional.pad(x_BTE, (0, 0, kept - positions, 0))
