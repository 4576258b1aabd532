"""The package flash-linear-attention: when it runs, and how it is called.

Its kernels are for CUDA and for half precision: in float32 they multiply in tf32, or refuse.
Shape suffixes: as in :mod:`.chunks`.
"""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Literal

import torch

from mecheval.errors import UsageError, require

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
    fusable = v_BTHV.is_cuda and v_BTHV.dtype in _HALF
    if kernel == "reference":
        return "reference"
    if kernel == "fused" and not fusable:
        raise UsageError(
            "kernel=fused runs linear attention and the delta rule on a CUDA device in float16 or "
            "bfloat16 only. Use kernel=auto, which takes it where it can."
        )
    return "fla" if kernel == "fused" or (fusable and has_fla()) else "torch"


@functools.cache
def has_fla() -> bool:
    """Say whether the package flash-linear-attention can be imported."""
    try:
        importlib.import_module(f"{PACKAGE}.ops")
    except ImportError:
        return False
    return True


def fused_linear_attention(
    q_BTHK: Tensor,
    k_BTHK: Tensor,
    v_BTHV: Tensor,
    log_decay: Tensor | None,
    state_BHKV: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Call the package's chunked kernel; see :func:`.linear.linear_attention`."""
    name = "gla" if log_decay is not None and log_decay.ndim == 4 else "simple_gla"
    decay = None if log_decay is None else log_decay.float()
    return _call(name, q_BTHK, k_BTHK, v_BTHV, g=decay, initial_state=state_BHKV)


def fused_delta_rule(
    q_BTHK: Tensor,
    k_BTHK: Tensor,
    v_BTHV: Tensor,
    beta_BTH: Tensor,
    log_decay_BTH: Tensor | None,
    state_BHKV: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Call the package's chunked kernel; see :func:`.delta.delta_rule`."""
    name, gates = "delta_rule", {"beta": beta_BTH.to(v_BTHV.dtype)}
    if log_decay_BTH is not None:
        name, gates["g"] = "gated_delta_rule", log_decay_BTH.float()
    return _call(name, q_BTHK, k_BTHK, v_BTHV, **gates, initial_state=state_BHKV)


def fused_dplr_delta_rule(
    q_BTHK: Tensor,
    k_BTHK: Tensor,
    v_BTHV: Tensor,
    *,
    direction_BTHK: Tensor,
    removal_BTHK: Tensor,
    log_decay_BTHK: Tensor,
    state_BHKV: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Call the package's chunked kernel; see :mod:`.dplr_delta_rule`. It adds along ``b``."""
    return _call(
        "dplr_delta_rule", q_BTHK, k_BTHK, v_BTHV,
        a=direction_BTHK.to(v_BTHV.dtype), b=-removal_BTHK.to(v_BTHV.dtype),
        gk=log_decay_BTHK.float(), initial_state=state_BHKV,
    )  # fmt: skip


def _call(
    name: str,
    q_BTHK: Tensor,
    k_BTHK: Tensor,
    v_BTHV: Tensor,
    *,
    initial_state: Tensor | None,
    **gates: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Call an operation of the package; it scales queries unless told not to."""
    module = require(f"{PACKAGE}.ops.{_MODULES.get(name, name)}", extra="cuda")
    return getattr(module, f"chunk_{name}")(
        q_BTHK.to(v_BTHV.dtype), k_BTHK.to(v_BTHV.dtype), v_BTHV, **gates, scale=1.0,
        initial_state=None if initial_state is None else initial_state.float(),
        output_final_state=True,
    )  # fmt: skip
