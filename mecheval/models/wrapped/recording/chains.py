"""Modules that lead from one recorded tensor to another, each working on what the one before gave.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from mecheval.models.wrapped.recording.calls import Call, first_item

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Chain:
    """Some modules in a row; none of them gives its input back.

    Attributes:
        modules: The modules.
        dtypes: The type that each is given, where that is not the one of the value before.
    """

    modules: tuple[nn.Module, ...] = ()
    dtypes: tuple[torch.dtype | None, ...] = ()

    def __call__(self, value_BTD: Tensor) -> Tensor:
        """Run the modules."""
        for module, dtype in zip(self.modules, self.dtypes, strict=True):
            given_BTD = value_BTD if dtype is None else value_BTD.to(dtype)
            # Contiguous, because modules that see another shape in it may insist.
            value_BTD = first_item(module(given_BTD.contiguous()))
        return value_BTD


def find_chain(calls: Iterable[Call], start: Tensor, end: Tensor) -> Chain | None:
    """Find modules that made one tensor of another in a recorded run, the largest that fit.

    Args:
        calls: The calls to choose from, each before those that it made.
        start: The tensor that the first module was given.
        end: The tensor that the last one returned.
    """
    found = _found(list(calls), start, end)
    if found is None:
        return None
    made = [start, *(call.output for call in found)]
    given = [cast("Tensor", only_input(call)) for call in found]
    dtypes = [
        None if one.dtype == other.dtype else other.dtype
        for one, other in zip(made, given, strict=False)
    ]
    return Chain(tuple(call.module for call in found), tuple(dtypes))


def same(made: Tensor, given: Tensor) -> bool:
    """Say whether one tensor is what another was made of, but for its type and leading axes."""
    if made.numel() != given.numel() or made.shape[-1:] != given.shape[-1:]:
        return False
    return torch.equal(made.reshape(given.shape).to(given.dtype), given)


def _found(calls: list[Call], start: Tensor, end: Tensor) -> list[Call] | None:
    if same(start, end):
        return []
    for number, call in enumerate(calls):
        value = only_input(call)
        if value is None or not isinstance(call.output, Tensor) or not same(call.output, end):
            continue
        before = None if same(value, call.output) else _found(calls[:number], start, value)
        if before is not None:
            return [*before, call]
    return None


def only_input(call: Call) -> Tensor | None:
    """Return what a call was given if that is one tensor and nothing else."""
    values = [*call.args, *call.kwargs.values()]
    return values[0] if len(values) == 1 and isinstance(values[0], Tensor) else None
