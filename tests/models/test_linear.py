"""Some columns of a matrix: as the whole one makes them, whatever hangs on it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import TorchDispatchMode

from mecheval.models.layers.linear import affine, projection, some_columns


@contextmanager
def hooked(linear: nn.Linear) -> Iterator[None]:
    with linear.register_forward_hook(lambda module, given, made: made + 1):
        yield


@contextmanager
def hooked_before(linear: nn.Linear) -> Iterator[None]:
    with linear.register_forward_pre_hook(lambda module, given: (given[0] + 1,)):
        yield


@contextmanager
def hooked_everywhere(linear: nn.Linear) -> Iterator[None]:
    with nn.modules.module.register_module_forward_hook(lambda module, given, made: made + 1):
        yield


@contextmanager
def another_forward(linear: nn.Linear) -> Iterator[None]:
    linear.forward = lambda input: nn.functional.linear(input, linear.weight) + 1
    yield


@contextmanager
def another_class(linear: nn.Linear) -> Iterator[None]:
    class Doubled(nn.Module):
        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            return 2 * weight

    parametrize.register_parametrization(linear, "weight", Doubled())
    yield


@contextmanager
def nothing(linear: nn.Linear) -> Iterator[None]:
    yield


CHANGES = [
    nothing, hooked, hooked_before, hooked_everywhere, another_forward, another_class,
]  # fmt: skip


@pytest.mark.parametrize("make", [projection, affine])
@pytest.mark.parametrize("columns", [slice(3), slice(3, None), slice(2, 5)])
@pytest.mark.parametrize("change", CHANGES)
def test_columns_are_those_of_the_whole(make: Callable, columns: slice, change: Callable) -> None:
    torch.manual_seed(0)
    linear, x_BTD = make(4, 7), torch.randn(2, 3, 4)
    if linear.bias is not None:
        nn.init.normal_(linear.bias)
    with change(linear):
        found = some_columns(linear, x_BTD, columns)
        torch.testing.assert_close(found, linear(x_BTD)[..., columns])


def test_the_other_columns_are_not_made() -> None:
    seen: list[tuple[int, ...]] = []

    class Watching(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            made = func(*args, **(kwargs or {}))
            if "mm" in str(func):
                seen.append(tuple(made.shape))
            return made

    linear = projection(4, 7)
    with torch.no_grad(), Watching():
        some_columns(linear, torch.randn(5, 4), slice(3))
    assert seen == [(5, 3)]
