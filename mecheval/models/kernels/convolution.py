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

_FEW_TAPS = 8
"""Up to as many, a pass over all inputs for each costs less than torch's convolution."""


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
            that needs it to torch; anything else is what torch does.
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
    if before_BKE is None:
        padded_BTE = functional.pad(x_BTE, (0, 0, weight_EK.shape[1] - 1, 0))
    else:
        padded_BTE = torch.cat([before_BKE.to(x_BTE.dtype), x_BTE], 1)
    # In half precision every product would be rounded, and not their sum alone.
    is_half = x_BTE.dtype.itemsize < 4
    if x_BTE.is_cuda or is_half or weight_EK.shape[1] > _FEW_TAPS:
        padded_BET = padded_BTE.transpose(1, 2)
        y_BET = functional.conv1d(padded_BET, weight_EK[:, None], bias_E, groups=len(weight_EK))
        return y_BET.transpose(1, 2)
    return _tap_by_tap(padded_BTE, weight_EK, bias_E)


def _tap_by_tap(padded_BTE: Tensor, weight_EK: Tensor, bias_E: Tensor | None) -> Tensor:
    """Add a product per tap: torch's convolution goes over groups, each of one channel here.

    At one position or in float64 this takes a hundredth to a half of its time on a CPU.
    """
    positions = padded_BTE.shape[1] - weight_EK.shape[1] + 1
    first_BTE, *others = (padded_BTE[:, k : k + positions] for k in range(weight_EK.shape[1]))
    weights = weight_EK.unbind(1)
    if bias_E is None:
        y_BTE = first_BTE * weights[0]
    else:
        y_BTE = torch.addcmul(bias_E, first_BTE, weights[0])
    for tap_BTE, weight_E in zip(others, weights[1:], strict=True):
        y_BTE = torch.addcmul(y_BTE, tap_BTE, weight_E)
    return y_BTE


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
