"""Reading and replacing the activation at a tap, with plain forward hooks.

A block of any library takes the stream as its first floating-point tensor argument and returns it
as its output, or as the first item of it.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor

from mecheval.models.convolution_hooks import Convolving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import nn
    from torch.utils.hooks import RemovableHandle

    from mecheval.models.taps import Tap

    Visit = Callable[[Tensor], Tensor | None]
    """Sees an activation; returns its replacement, or None to leave it as it is."""


@contextmanager
def visiting(visits: Mapping[Tap, Visit]) -> Iterator[None]:
    """Call a function on the activation at every tap while the context is open.

    Raises:
        RuntimeError: A convolution was not seen: something else than plain torch ran it.
    """
    functions = {tap: visit for tap, visit in visits.items() if tap.side == "function"}
    with ExitStack() as stack:
        if functions:
            stack.enter_context(_convolving(functions))
        for tap, visit in visits.items():
            if tap not in functions:
                stack.enter_context(_registered(tap, visit))
        yield


@contextmanager
def _convolving(visits: Mapping[Tap, Visit]) -> Iterator[None]:
    seen = set()

    def see(tap: Tap, visit: Visit) -> Callable[[Tensor], Tensor | None]:
        def visited(output: Tensor) -> Tensor | None:
            seen.add(tap)
            return _visited(tap, visit, output)

        return visited

    with Convolving((tap.module, see(tap, visit)) for tap, visit in visits.items()):
        yield
    for tap in visits:
        if tap not in seen:
            raise RuntimeError(
                f"The convolution {tap.path} was not run by plain torch, so that its output can be "
                "neither read nor replaced: a fused kernel ran it, or nothing did."
            )


def _registered(tap: Tap, visit: Visit) -> RemovableHandle:
    """Return the hook that calls a visit; leaving it as a context removes it."""
    if tap.side == "input":

        def before(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
            place, stream = stream_argument(args, kwargs)
            changed = _visited(tap, visit, stream)
            if changed is None:
                return None
            if isinstance(place, int):
                return (*args[:place], changed, *args[place + 1 :]), kwargs
            return args, {**kwargs, place: changed}

        return tap.module.register_forward_pre_hook(before, with_kwargs=True)

    def after(module: nn.Module, args: tuple, output: Any) -> Any:
        changed = _visited(tap, visit, stream_output(output))
        return None if changed is None else with_stream_output(output, changed)

    return tap.module.register_forward_hook(after)


class _Aside(threading.local):
    active = False


_aside = _Aside()


@contextmanager
def unvisited() -> Iterator[None]:
    """Call no visit in this thread while the context is open: a model looks at itself."""
    before, _aside.active = _aside.active, True
    try:
        yield
    finally:
        _aside.active = before


def _visited(tap: Tap, visit: Visit, tensor: Tensor) -> Tensor | None:
    if _aside.active:
        return None
    if tap.layout is None:
        return visit(tensor)
    changed = visit(tap.layout.get(tensor))
    return None if changed is None else tap.layout.put(tensor, changed)


def stream_argument(args: tuple, kwargs: Mapping[str, Any]) -> tuple[int | str, Tensor]:
    """Find the stream among a module's arguments, at a position or under a keyword.

    Raises:
        LookupError: No argument is a floating-point tensor with three dimensions.
    """
    for place, value in [*enumerate(args), *kwargs.items()]:
        if isinstance(value, Tensor) and value.is_floating_point() and value.dim() == 3:
            return place, value
    raise LookupError("The module was called without a residual stream of shape (B, T, D).")


def stream_output(output: Any) -> Tensor:
    """Return the stream from a module's output: the output itself or its first item."""
    return output if isinstance(output, Tensor) else output[0]


def with_stream_output(output: Any, stream: Tensor) -> Any:
    """Return the output with its stream replaced."""
    if isinstance(output, Tensor):
        return stream
    if type(output) is tuple:
        return (stream, *output[1:])
    if isinstance(output, list):
        return [stream, *output[1:]]
    if isinstance(output, tuple):  # a named tuple
        return type(output)(stream, *output[1:])
    changed = type(output)(output)  # an ordered mapping that can be indexed, as ModelOutput
    changed[next(iter(changed))] = stream
    return changed
