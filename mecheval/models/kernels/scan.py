"""What a state-space scan is given, and which implementation runs it.

The scan of Mamba and Mamba-2, with the papers' letters:

    Delta_t = softplus(delta_t + bias)
    a_t = exp(Delta_t A), or 2 exp(Delta_t A) - 1 for eigenvalues in [-1, 1] (arXiv:2411.12537)
    h_t = a_t h_{t-1} + Delta_t x_t B_t
    y_t = (C_t . h_t + D x_t) silu(z_t)

Shape suffixes: ``B`` examples, ``T`` positions, ``E`` channels, ``N`` states per channel.
In Mamba-2 delta, A, D and bias have one entry per head ``H`` of ``E / H`` channels.
"""

from __future__ import annotations

import functools
import importlib
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from mecheval.errors import UsageError, require
from mecheval.models.kernels.c.compile import library

Kernel = Literal["auto", "reference", "fused"]
KERNELS: tuple[Kernel, ...] = ("auto", "reference", "fused")

Implementation = Literal["reference", "torch", "c", "mamba_ssm"]


class Scan(NamedTuple):
    """The inputs of a scan.

    Attributes:
        x_BTE: What is written.
        delta_BTE: Step size before the bias and softplus; ``(B, T, H)`` in Mamba-2.
        z_BTE: Gate before SiLU.
        B_BTN: Where it is written.
        C_BTN: Where it is read.
        A_EN: Negative rates of decay; ``(H,)`` in Mamba-2, ``(E, 1)`` after :meth:`per_channel`.
        D_E: Weight of the skip connection; ``(H,)`` in Mamba-2.
        bias_E: Bias of the step size; ``(H,)`` in Mamba-2.
        signed: Whether the eigenvalues lie in [-1, 1] instead of [0, 1].
        going_on: Whether the last state is wanted.
        reading: Whether the output is wanted; where not, gates and C are not looked at.
    """

    x_BTE: Tensor
    delta_BTE: Tensor
    z_BTE: Tensor
    B_BTN: Tensor
    C_BTN: Tensor
    A_EN: Tensor
    D_E: Tensor
    bias_E: Tensor
    signed: bool = False
    going_on: bool = True
    reading: bool = True

    @property
    def columns(self) -> tuple[Tensor, ...]:
        """Return what every position has of its own: x, delta, z, B and C."""
        return self[:5]

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """Return what all positions share: A, D and the bias."""
        return self[5:8]

    def per_channel(self) -> Scan:
        """Repeat what each head of Mamba-2 has for all of its channels."""
        width = self.x_BTE.shape[-1]
        delta, A_E, D_E, bias_E = (
            repeated(value, width) for value in (self.delta_BTE, self.A_EN, self.D_E, self.bias_E)
        )
        return self._replace(delta_BTE=delta, A_EN=A_E[:, None], D_E=D_E, bias_E=bias_E)


def choose(kernel: Kernel, x_BTE: Tensor, *, signed: bool = False) -> Implementation:
    """Choose the implementation that scans a tensor where it lies.

    Args:
        kernel: What the user asked for.
        x_BTE: The input of the scan.
        signed: Whether the eigenvalues lie in [-1, 1], which the fused kernels cannot do.

    Raises:
        UsageError: ``fused`` was asked for and cannot run here.
    """
    if kernel == "reference":
        return "reference"
    fusable = x_BTE.is_cuda and not signed and x_BTE.dtype != torch.float64
    where = "on a CUDA device, below float64 and with eigenvalues=[0,1]"
    if takes_fused(kernel, "mamba_ssm", fusable=fusable, where=where):
        return "mamba_ssm"
    native = x_BTE.device.type == "cpu" and x_BTE.dtype != torch.float64
    return "c" if native and library().functions is not None else "torch"


def takes_fused(kernel: Kernel, package: str, *, fusable: bool, where: str) -> bool:
    """Say whether a package's fused kernel runs: where it can, if it is there or asked for.

    Raises:
        UsageError: It was asked for and cannot run here.
    """
    if kernel == "fused" and not fusable:
        raise UsageError(
            f"kernel=fused runs {where} only. Use kernel=auto, which takes it where it can."
        )
    return kernel == "fused" or (fusable and can_import(package))


def check_kernel(kernel: Kernel, package: str = "mamba_ssm") -> None:
    """Check a kernel argument before anything is built.

    Args:
        kernel: The argument.
        package: What ``fused`` needs.

    Raises:
        UsageError: It is not one of :data:`KERNELS`, or needs a package that is not installed.
    """
    if kernel not in KERNELS:
        raise UsageError(f"There is no kernel={kernel!r}; choose one of {', '.join(KERNELS)}.")
    if kernel == "fused":
        require(package, extra="cuda")


@functools.cache
def can_import(name: str) -> bool:
    """Say whether a package of fused kernels can be imported."""
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def needs_gradient(state: Tensor | None) -> bool:
    """Say whether a gradient with respect to a state may be asked for."""
    return state is not None and state.requires_grad and torch.is_grad_enabled()


def repeated(value_H: Tensor, width: int) -> Tensor:
    """Repeat every entry of the last axis, heads, for its share of ``width`` channels."""
    heads = value_H.shape[-1]
    return value_H[..., None].expand(*value_H.shape, width // heads).flatten(-2)


def skip_and_gate(sum_BTE: Tensor, x_BTE: Tensor, D_E: Tensor, z_BTE: Tensor) -> Tensor:
    """Finish a scan: ``(sum + D x) silu(z)``."""
    return torch.addcmul(sum_BTE, x_BTE, D_E) * functional.silu(z_BTE)
