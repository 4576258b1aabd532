"""What a module is given beside the stream, kept to call it again on another one.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width of the stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mecheval.models.hooks import stream_argument
from mecheval.models.wrapped.recording.calls import is_same, nested
from mecheval.models.wrapped.recording.inseparable import Inseparable

STREAM = object()
"""Stands where the stream was; attention can be given it more than once."""

Place = tuple[str | int, ...]
"""Where a tensor stands: the name of an argument or its number, and the way on inside of it."""

Change = Callable[[Place, Tensor], Tensor]
"""Is shown a tensor with its place, and returns what to give instead."""


@dataclass(frozen=True)
class Arguments:
    """The arguments of a call, without the stream.

    Attributes:
        args: Positional arguments.
        kwargs: Keyword arguments.
    """

    args: tuple
    kwargs: Mapping[str, Any]

    @classmethod
    def of(cls, args: tuple, kwargs: Mapping[str, Any]) -> tuple[Arguments, Tensor]:
        """Take a call's arguments apart into the stream ``(B, T, D)`` and the rest.

        Raises:
            LookupError: No argument is a floating-point tensor with three dimensions.
        """
        _, stream_BTD = stream_argument(args, kwargs)

        def left_out(at: Place, tensor: Tensor) -> Any:
            return STREAM if is_same(tensor, stream_BTD) else tensor

        return cls(_mapped(args, left_out), _mapped(dict(kwargs), left_out)), stream_BTD

    @property
    def tensors(self) -> dict[Place, Tensor]:
        """Return the tensors beside the stream, by place: an argument can be None at times."""
        found: dict[Place, Tensor] = {}

        def keep(place: Place, tensor: Tensor) -> Tensor:
            found[place] = tensor
            return tensor

        self.changed(keep)
        return found

    def equals(self, other: Arguments) -> bool:
        """Say whether another call was given the same tensors beside its stream."""
        return set(self.tensors) == set(other.tensors) and not self.differing(other)

    def differing(self, other: Arguments) -> list[Place]:
        """Return where another call with tensors at the same places was given other ones."""
        own, others = self.tensors, other.tensors
        return [place for place in own if not torch.equal(own[place], others[place])]

    def changed(self, change: Change) -> Arguments:
        """Return the same arguments with other tensors beside the stream."""

        def put(place: Place, value: Any) -> Any:
            return value if value is STREAM else change(place, value)

        return Arguments(_mapped(self.args, put), _mapped(dict(self.kwargs), put))

    def swapped(self, old: object, new: object) -> Arguments:
        """Return the same arguments with one object, that is no tensor, replaced by another."""
        return Arguments(swapped(self.args, old, new), swapped(dict(self.kwargs), old, new))

    def call(self, function: Callable[..., Any], stream_BTD: Tensor) -> Any:
        """Call a module on a stream."""

        def put(place: Place, value: Any) -> Any:
            return stream_BTD if value is STREAM else value

        return function(*_mapped(self.args, put), **_mapped(dict(self.kwargs), put))


def growing_axes(
    one: Arguments, other: Arguments, sizes: tuple[int, int]
) -> dict[Place, tuple[int, ...]]:
    """Find along which axes the tensors of two calls grow with a size, or with a multiple of it.

    Returns:
        The axes of every tensor, by place.

    Args:
        one: Arguments with the first size.
        other: Arguments with the second size.
        sizes: The two sizes.

    Raises:
        Inseparable: The calls differ in something else.
    """
    small, large = one.tensors, other.tensors
    ranks = ({place: tensor.dim() for place, tensor in found.items()} for found in (small, large))
    if next(ranks) != next(ranks):
        raise Inseparable("a part is given other arguments in a longer or larger run")
    found = {}
    for place, tensor in small.items():
        lengths = list(zip(tensor.shape, large[place].shape, strict=True))
        axes = tuple(axis for axis, (short, long) in enumerate(lengths) if short != long)
        # In proportion, because heads can stand beside the examples in one axis.
        if any(lengths[axis][0] * sizes[1] != lengths[axis][1] * sizes[0] for axis in axes):
            raise Inseparable("a part is given a tensor without axes of examples and positions")
        found[place] = axes
    return found


def widened(given: Arguments, axes: Mapping[Place, tuple[int, ...]], n_examples: int) -> Arguments:
    """Return what a call of one example is given, for several alike.

    Args:
        given: Arguments of the call.
        axes: Along which axes its tensors count examples.
        n_examples: The number of examples.

    Raises:
        RuntimeError: It is not known of a tensor.
    """

    def repeated(place: Place, tensor: Tensor) -> Tensor:
        if place not in axes:
            raise RuntimeError("A module is given something that is not known from elsewhere.")
        for axis in axes[place]:
            repeats = [1] * tensor.dim()
            repeats[axis] = n_examples  # examples come first where heads stand beside them
            tensor = tensor.repeat(repeats)
        return tensor

    return given.changed(repeated)


@contextmanager
def receiving(
    modules: Sequence[nn.Module], see: Callable[[int, Arguments, Tensor], Tensor | None]
) -> Iterator[None]:
    """Show what modules are given, by number; what is returned replaces the stream."""

    def watcher(number: int) -> Callable[..., Any]:
        def before(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> Any:
            given, stream_BTD = Arguments.of(args, kwargs)
            changed_BTD = see(number, given, stream_BTD)
            return None if changed_BTD is None else given.call(_as_given, changed_BTD)

        return before

    with ExitStack() as stack:
        for number, module in enumerate(modules):
            handle = module.register_forward_pre_hook(watcher(number), with_kwargs=True)
            stack.enter_context(handle)
        yield


def _as_given(*args: Any, **kwargs: Any) -> tuple[tuple, dict[str, Any]]:
    return args, kwargs


def _mapped(value: Any, change: Callable[[Place, Any], Any], place: Place = ()) -> Any:
    """Return a nested value with every tensor, and whatever stands for the stream, changed."""
    if isinstance(value, Tensor) or value is STREAM:
        return change(place, value)
    if isinstance(value, tuple | list):
        items = [_mapped(item, change, (*place, i)) for i, item in enumerate(value)]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if type(value) is dict:
        return {name: _mapped(item, change, (*place, name)) for name, item in value.items()}
    return value


def swapped(value: Any, old: object, new: object) -> Any:
    """Return a nested value with one object, that is no tensor, replaced by another."""
    return nested(value, lambda item: new if item is old else item)
