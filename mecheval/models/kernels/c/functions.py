"""The C kernels as differentiable functions of float32 tensors on the CPU.

Shape suffixes: ``B`` examples, ``T`` positions, ``E`` channels, ``N`` states, ``K`` taps.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_int, c_long, c_void_p
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mecheval.errors import UsageError
from mecheval.models.kernels.c.compile import library

_SMALLEST_SHARE = 1 << 20
"""Steps of a scan, positions times channels times states, that are worth a thread: half a
millisecond."""

_SMALLEST_CONVOLUTION = 1 << 19
"""The same for a convolution: positions times channels."""


class _Rows(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("example", c_long), ("position", c_long)]


class _Scan(ctypes.Structure):
    _fields_ = [
        *((name, c_long) for name in ("batch", "time", "width", "n", "decays", "signed_range")),
        *((name, _Rows) for name in ("x", "raw", "z", "B", "C")),
        *((name, c_void_p) for name in ("A", "D", "bias")),
    ]


class _Gradients(ctypes.Structure):
    _fields_ = [(name, c_void_p) for name in ("x", "raw", "z", "B", "C", "A", "D", "bias")]


class _Convolution(ctypes.Structure):
    _fields_ = [
        *((name, c_long) for name in ("batch", "time", "width", "taps")),
        ("x", _Rows),
        *((name, c_void_p) for name in ("before", "w", "bias")),
    ]


def _functions() -> ctypes.CDLL:
    functions = library().functions
    if functions is None:
        raise RuntimeError(library().origin)
    functions.selective_scan_checkpoint_size.restype = c_long
    functions.selective_scan_scratch_size.restype = c_long
    return functions


def _check(kernel: str, **tensors: tuple[Tensor | None, tuple[int, ...]]) -> None:
    """Check what C code reads by its address alone; strides are seen to where it is called.

    Args:
        kernel: Its name, for the message.
        **tensors: Every tensor that there is, and the shape that it must have.

    Raises:
        UsageError: One is of another type or shape, or lies elsewhere.
    """
    for name, (tensor, shape) in tensors.items():
        if tensor is None:
            continue
        found = (tensor.dtype, tensor.device.type, tuple(tensor.shape))
        if found != (torch.float32, "cpu", shape):
            dtype, device = str(tensor.dtype).removeprefix("torch."), tensor.device.type
            raise UsageError(
                f"The C kernel {kernel} takes {name} in float32 on the CPU, of shape {shape}; it "
                f"was given {dtype} on {device}, of shape {found[2]}. Convert it, or use "
                "implementation='torch'."
            )


def _pointer(tensor: Tensor | None) -> c_void_p | None:
    return None if tensor is None else c_void_p(tensor.data_ptr())


def _in_rows(tensor_BTE: Tensor) -> Tensor:
    """Return the tensor, copied unless its last axis is contiguous."""
    if tensor_BTE.stride(2) == 1:
        return tensor_BTE
    return tensor_BTE.clone(memory_format=torch.contiguous_format)


def _rows(tensor_BTE: Tensor) -> _Rows:
    return _Rows(tensor_BTE.data_ptr(), *tensor_BTE.stride()[:2])


class SelectiveScan(torch.autograd.Function):
    """The scan of :mod:`mecheval.models.kernels.scan`, with ``A`` given as ``(N or 1, E)``."""

    @staticmethod
    def forward(
        ctx: Any,
        signed: bool,
        going_on: bool,
        reading: bool,
        start_BNE: Tensor | None,
        *inputs: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return y ``(B, T, E)`` and the last state ``(B, N, E)``, which has no gradient.

        Neither has the state before the first position, ``start_BNE``. The last state of no
        examples is returned unless one is ``going_on``, and likewise y unless one is ``reading``.
        """
        _check_scan(start_BNE, *inputs)
        rows = [_in_rows(value) for value in inputs[:5]]
        tensors = [*rows, *(value.contiguous() for value in inputs[5:])]
        functions, scan = _functions(), _described(tensors, signed)
        y_BTE = tensors[0].new_empty(scan.batch if reading else 0, scan.time, scan.width)
        last_BNE = y_BTE.new_empty(scan.batch if going_on else 0, scan.n, scan.width)
        start_BNE = None if start_BNE is None else start_BNE.contiguous()
        checkpoints = None
        if any(ctx.needs_input_grad):
            size = functions.selective_scan_checkpoint_size(byref(scan))
            checkpoints = y_BTE.new_empty(scan.batch, size // max(scan.batch, 1))
            ctx.save_for_backward(*tensors, checkpoints)
        threads = _threads(scan.batch, scan.time * scan.width * scan.n, _SMALLEST_SHARE)
        functions.selective_scan_forward(
            byref(scan), threads, _pointer(start_BNE), _pointer(y_BTE if reading else None),
            _pointer(checkpoints), _pointer(last_BNE if going_on else None),
        )  # fmt: skip
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
        return (None, None, None, None, *gradients)


def _check_scan(start_BNE: Tensor | None, *inputs: Tensor) -> None:
    x_BTE, delta_BTE, z_BTE, B_BTN, C_BTN, A_NE, D_E, bias_E = inputs
    rows, width, states = tuple(x_BTE.shape), x_BTE.shape[-1], B_BTN.shape[-1]
    decays = 1 if len(A_NE) == 1 else states
    _check(
        "selective_scan", x=(x_BTE, rows), delta=(delta_BTE, rows), z=(z_BTE, rows),
        B=(B_BTN, (*rows[:2], states)), C=(C_BTN, (*rows[:2], states)), A=(A_NE, (decays, width)),
        D=(D_E, (width,)), bias=(bias_E, (width,)), state=(start_BNE, (rows[0], states, width)),
    )  # fmt: skip


def _threads(batch: int, work: int, smallest: int) -> c_int:
    """Return whether examples are shared out among torch's threads: all of them, or one.

    A team of some of them would end the others, which torch would have to start anew.

    Args:
        batch: How many examples there are.
        work: Steps for one of them.
        smallest: Steps that are worth a thread.
    """
    threads = torch.get_num_threads()
    return c_int(threads if batch > 1 and batch * work >= 2 * smallest else 1)


def _described(tensors: list[Tensor], signed: bool) -> _Scan:
    x_BTE, A_NE = tensors[0], tensors[5]
    return _Scan(
        *x_BTE.shape, tensors[3].shape[2], A_NE.shape[0], signed,
        *map(_rows, tensors[:5]), *map(_pointer, tensors[5:]),
    )  # fmt: skip


class CausalConvolution(torch.autograd.Function):
    """Depthwise causal convolution of x ``(B, T, E)`` with weights ``(K, E)``."""

    @staticmethod
    def forward(ctx: Any, x_BTE: Tensor, before_BKE: Tensor | None, *parameters: Tensor) -> Tensor:
        """Return ``(B, T, E)``; the K - 1 inputs before the first have no gradient."""
        taps, width = parameters[0].shape
        before = (len(x_BTE), taps - 1, width)
        _check(
            "causal_convolution", x=(x_BTE, (*x_BTE.shape[:2], width)), before=(before_BKE, before),
            weight=(parameters[0], (taps, width)), bias=(parameters[1], (width,)),
        )  # fmt: skip
        before_BKE = None if before_BKE is None else before_BKE.contiguous()
        x_BTE, parameters = _in_rows(x_BTE), tuple(value.contiguous() for value in parameters)
        ctx.save_for_backward(x_BTE, before_BKE, *parameters)
        y_BTE = x_BTE.new_empty(x_BTE.shape)
        described = _convolution(x_BTE, before_BKE, *parameters)
        threads = _threads(len(x_BTE), x_BTE.shape[1] * width, _SMALLEST_CONVOLUTION)
        _functions().causal_convolution_forward(byref(described), threads, _pointer(y_BTE))
        return y_BTE

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dy_BTE: Tensor
    ) -> tuple[Tensor | None, ...]:
        """Return the gradients of all inputs."""
        x_BTE, before_BKE, *parameters = ctx.saved_tensors
        gradients = [value.new_zeros(value.shape) for value in (x_BTE, *parameters)]
        dy_BTE = dy_BTE.contiguous()
        _functions().causal_convolution_backward(
            byref(_convolution(x_BTE, before_BKE, *parameters)),
            _pointer(dy_BTE), *map(_pointer, gradients),
        )  # fmt: skip
        return gradients[0], None, *gradients[1:]


def _convolution(
    x_BTE: Tensor, before_BKE: Tensor | None, weight_KE: Tensor, bias_E: Tensor
) -> _Convolution:
    pointers = map(_pointer, (before_BKE, weight_KE, bias_E))
    return _Convolution(*x_BTE.shape, len(weight_KE), _rows(x_BTE), *pointers)
