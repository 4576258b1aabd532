"""The C kernels as differentiable functions of float32 tensors on the CPU.

Shape suffixes: ``B`` examples, ``T`` positions, ``E`` channels, ``N`` states, ``K`` taps.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_long, c_void_p
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mecheval.models.kernels.library import library

if TYPE_CHECKING:
    from torch.autograd.function import FunctionCtx


class _Scan(ctypes.Structure):
    _fields_ = [
        *((name, c_long) for name in ("batch", "time", "width", "n", "decays", "signed_range")),
        *((name, c_long) for name in ("x_row", "raw_row", "z_row", "B_row", "C_row")),
        *((name, c_void_p) for name in ("x", "raw", "z", "B", "C", "A", "D", "bias")),
    ]


class _Gradients(ctypes.Structure):
    _fields_ = [(name, c_void_p) for name in ("x", "raw", "z", "B", "C", "A", "D", "bias")]


class _Convolution(ctypes.Structure):
    _fields_ = [
        *((name, c_long) for name in ("batch", "time", "width", "taps", "x_row")),
        *((name, c_void_p) for name in ("x", "w", "bias")),
    ]


def _functions() -> ctypes.CDLL:
    functions = library().functions
    if functions is None:
        raise RuntimeError(library().origin)
    functions.selective_scan_checkpoint_size.restype = c_long
    functions.selective_scan_scratch_size.restype = c_long
    return functions


def _pointer(tensor: Tensor) -> c_void_p:
    return c_void_p(tensor.data_ptr())


def _in_rows(tensor_BTE: Tensor) -> Tensor:
    """Return the tensor, copied unless its positions lie at one constant distance."""
    along_B, along_T, along_E = tensor_BTE.stride()
    if along_E == 1 and along_B == tensor_BTE.shape[1] * along_T:
        return tensor_BTE
    return tensor_BTE.clone(memory_format=torch.contiguous_format)


class SelectiveScan(torch.autograd.Function):
    """The scan of :mod:`mecheval.models.kernels.scan`, with ``A`` given as ``(N or 1, E)``."""

    @staticmethod
    def forward(ctx: Any, signed: bool, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return y ``(B, T, E)`` and the last state ``(B, N, E)``, which has no gradient."""
        rows = [_in_rows(value) for value in inputs[:5]]
        tensors = [*rows, *(value.contiguous() for value in inputs[5:])]
        functions, scan = _functions(), _described(tensors, signed)
        y_BTE = tensors[0].new_empty(tensors[0].shape)
        last_BNE = y_BTE.new_empty(scan.batch, scan.n, scan.width)
        kept = None
        if any(ctx.needs_input_grad):
            checkpoints = y_BTE.new_empty(functions.selective_scan_checkpoint_size(byref(scan)))
            ctx.save_for_backward(*tensors, checkpoints)
            kept = _pointer(checkpoints)
        functions.selective_scan_forward(byref(scan), _pointer(y_BTE), kept, _pointer(last_BNE))
        ctx.signed = signed
        ctx.mark_non_differentiable(last_BNE)
        return y_BTE, last_BNE

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dy_BTE: Tensor, _: Tensor
    ) -> tuple[Tensor | None, ...]:
        """Return the gradients of all inputs."""
        *tensors, checkpoints = ctx.saved_tensors
        functions, scan = _functions(), _described(tensors, ctx.signed)
        gradients = [
            value.new_empty(value.shape) if i < 5 else value.new_zeros(value.shape)
            for i, value in enumerate(tensors)
        ]
        dy_BTE = dy_BTE.contiguous()
        scratch = dy_BTE.new_empty(functions.selective_scan_scratch_size(byref(scan)))
        functions.selective_scan_backward(
            byref(scan), _pointer(dy_BTE), _pointer(checkpoints), _pointer(scratch),
            byref(_Gradients(*(value.data_ptr() for value in gradients))),
        )  # fmt: skip
        return (None, *gradients)


def _described(tensors: list[Tensor], signed: bool) -> _Scan:
    x_BTE, A_NE = tensors[0], tensors[5]
    return _Scan(
        *x_BTE.shape, tensors[3].shape[2], A_NE.shape[0], signed,
        *(value.stride(1) for value in tensors[:5]), *(value.data_ptr() for value in tensors),
    )  # fmt: skip


class CausalConvolution(torch.autograd.Function):
    """Depthwise causal convolution of x ``(B, T, E)`` with weights ``(K, E)``."""

    @staticmethod
    def forward(ctx: FunctionCtx, x_BTE: Tensor, weight_KE: Tensor, bias_E: Tensor) -> Tensor:
        """Return ``(B, T, E)``."""
        tensors = (_in_rows(x_BTE), weight_KE.contiguous(), bias_E)
        ctx.save_for_backward(*tensors)
        y_BTE = x_BTE.new_empty(x_BTE.shape)
        _functions().causal_convolution_forward(byref(_convolution(*tensors)), _pointer(y_BTE))
        return y_BTE

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dy_BTE: Tensor
    ) -> tuple[Tensor, ...]:
        """Return the gradients of all inputs."""
        tensors = ctx.saved_tensors
        gradients = [value.new_zeros(value.shape) for value in tensors]
        dy_BTE = dy_BTE.contiguous()
        _functions().causal_convolution_backward(
            byref(_convolution(*tensors)), _pointer(dy_BTE), *map(_pointer, gradients)
        )
        return tuple(gradients)


def _convolution(x_BTE: Tensor, weight_KE: Tensor, bias_E: Tensor) -> _Convolution:
    pointers = (value.data_ptr() for value in (x_BTE, weight_KE, bias_E))
    return _Convolution(*x_BTE.shape, len(weight_KE), x_BTE.stride(1), *pointers)
