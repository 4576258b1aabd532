"""The package flash-linear-attention: when it runs, and how it is called.

Its kernels are for CUDA and for half precision: in float32 they multiply in tf32, or refuse.
Shape suffixes: as in :mod:`.chunks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

from mecheval.errors import require
from mecheval.models.kernels.scan import takes_fused

if TYPE_CHECKING:
    from torch import Tensor

    from mecheval.models.kernels.scan import Kernel

LinearImplementation = Literal["reference", "torch", "fla"]

PACKAGE = "fla"
"""The name to import, for :func:`mecheval.models.kernels.scan.check_kernel`."""

_HALF = (torch.float16, torch.bfloat16)
_MODULES = {"dplr_delta_rule": "generalized_delta_rule"}  # where it is not the operation's name


def choose_linear(kernel: Kernel, v_BTHV: Tensor) -> LinearImplementation:
    """Choose the implementation of linear attention or a delta rule for values where they lie.

    Args:
        kernel: What the user asked for.
        v_BTHV: The values.

    Raises:
        UsageError: ``fused`` was asked for and cannot run here.
    """
    if kernel == "reference":
        return "reference"
    fusable = v_BTHV.is_cuda and v_BTHV.dtype in _HALF
    where = "linear attention and the delta rule on a CUDA device in float16 or bfloat16"
    return "fla" if takes_fused(kernel, f"{PACKAGE}.ops", fusable=fusable, where=where) else "torch"


def fused(
    name: str,
    q_BTHK: Tensor,
    k_BTHK: Tensor,
    v_BTHV: Tensor,
    state_BHKV: Tensor | None,
    **gates: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Call one of the package's chunked kernels; it scales queries unless told not to.

    Args:
        name: The operation's name, such as ``delta_rule``.
        q_BTHK: Queries.
        k_BTHK: Keys.
        v_BTHV: Values.
        state_BHKV: The state before the first position; zeros without one.
        **gates: The rest by the package's names. Logarithms of decays, ``g`` and ``gk``, are taken
            in float32, all else in the type of the values; None is left out.
    """
    module = require(f"{PACKAGE}.ops.{_MODULES.get(name, name)}", extra="cuda")
    given = {
        key: value.float() if key in ("g", "gk") else value.to(v_BTHV.dtype)
        for key, value in gates.items()
        if value is not None
    }
    return getattr(module, f"chunk_{name}")(
        q_BTHK.to(v_BTHV.dtype), k_BTHK.to(v_BTHV.dtype), v_BTHV, **given, scale=1.0,
        initial_state=None if state_BHKV is None else state_BHKV.float(),
        output_final_state=True,
    )  # fmt: skip
