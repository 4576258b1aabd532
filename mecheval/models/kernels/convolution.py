"""The short causal convolution of Mamba and its kin: every channel on its own.

Shape suffixes: ``B`` examples, ``T`` positions, ``E`` channels, ``K`` taps, the last the present.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

from mecheval.models.kernels.native import CausalConvolution

if TYPE_CHECKING:
    from torch import Tensor

    from mecheval.models.kernels.scan import Implementation


def causal_convolution(
    x_BTE: Tensor, weight_EK: Tensor, bias_E: Tensor, *, implementation: Implementation
) -> Tensor:
    """Return ``y_t = bias + sum_k weight_k x_{t - K + 1 + k}``, with zeros before the start."""
    if implementation == "c":
        y_BTE = CausalConvolution.apply(x_BTE.float(), weight_EK.T.float(), bias_E.float())
        return y_BTE.to(x_BTE.dtype)  # pyright: ignore[reportOptionalMemberAccess]
    padded_BET = functional.pad(x_BTE.transpose(1, 2), (weight_EK.shape[1] - 1, 0))
    y_BET = functional.conv1d(padded_BET, weight_EK[:, None], bias_E, groups=len(weight_EK))
    return y_BET.transpose(1, 2)
