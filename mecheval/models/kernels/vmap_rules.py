"""Kernels for several models of one shape at once, whose tensors ``torch.func.vmap`` has stacked.

``vmap`` cannot look into autograd functions of our own. While :func:`lifted` is in force, they are
called through the rules below: with the members folded into the batch, or member by member.
Shape suffixes: ``E`` members; the rest is the function's own.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Kernel = Callable[..., Any]

_LIFTED: ContextVar[bool] = ContextVar("lifted", default=False)


@contextmanager
def lifted() -> Iterator[None]:
    """Let kernels accept tensors that ``torch.func.vmap`` has stacked."""
    token = _LIFTED.set(True)
    try:
        yield
    finally:
        _LIFTED.reset(token)


def is_lifted() -> bool:
    """Return whether :func:`lifted` is in force."""
    return _LIFTED.get()


def folded(kernel: Kernel, *inputs: Any, axis: int = 0) -> Any:
    """Call a kernel, with members folded into an axis of all its tensors.

    Args:
        kernel: Returns a tensor or several; it treats the entries of the axis alike, each alone.
        inputs: Its arguments; what is no tensor is the same for all members.
        axis: The axis, of the inputs and of the outputs.
    """
    return _Folded.apply(kernel, axis, *inputs) if _LIFTED.get() else kernel(*inputs)


def one_by_one(kernel: Kernel, *inputs: Any) -> Any:
    """Call a kernel once per member, for one whose parameters are each member's own."""
    return _OneByOne.apply(kernel, *inputs) if _LIFTED.get() else kernel(*inputs)


class _Rule(torch.autograd.Function):
    """A function that exists under ``vmap`` only; its rule is recorded by autograd as usual."""

    @staticmethod
    def forward(*_: Any) -> Any:
        """Refuse: there is no stack."""
        raise RuntimeError("a kernel was lifted, and got no tensor of several members")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        """Keep nothing: it never runs."""


class _Folded(_Rule):
    @staticmethod
    def vmap(  # pyright: ignore[reportIncompatibleMethodOverride]
        info: Any, in_dims: tuple, kernel: Kernel, axis: int, *inputs: Any
    ) -> tuple[Any, Any]:
        """Move the members into the axis, call, and take them out."""
        size = info.batch_size

        def fold(value: Any, dim: int | None) -> Any:
            if not isinstance(value, Tensor):
                return value
            stacked = value.expand(size, *value.shape) if dim is None else value.movedim(dim, 0)
            return stacked.movedim(0, axis).flatten(axis, axis + 1)

        folded_inputs = [fold(*pair) for pair in zip(inputs, in_dims[2:], strict=True)]
        outputs = kernel(*folded_inputs)
        if isinstance(outputs, Tensor):
            return outputs.unflatten(axis, (size, -1)), axis
        return tuple(value.unflatten(axis, (size, -1)) for value in outputs), (axis,) * len(outputs)


class _OneByOne(_Rule):
    @staticmethod
    def vmap(  # pyright: ignore[reportIncompatibleMethodOverride]
        info: Any, in_dims: tuple, kernel: Kernel, *inputs: Any
    ) -> tuple[Any, Any]:
        """Call with the slices of every member, and stack what comes of it."""
        slices = [
            [value] * info.batch_size if dim is None else value.unbind(dim)
            for value, dim in zip(inputs, in_dims[1:], strict=True)
        ]
        outputs = [kernel(*member) for member in zip(*slices, strict=True)]
        if isinstance(outputs[0], Tensor):
            return torch.stack(outputs), 0
        return tuple(map(torch.stack, zip(*outputs, strict=True))), (0,) * len(outputs[0])
