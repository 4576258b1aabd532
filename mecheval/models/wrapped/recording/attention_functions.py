"""The attention functions of transformers, seen from outside and put out of the way for a while.

An attention module of transformers makes queries, keys and values, gives them to a function that it
looks up by the name of the implementation (``sdpa``, ``eager``, ...), and projects what that
returns. The function is looked up anew in every call, so another one can stand in its place.

Shape suffixes: ``B`` examples, ``T`` positions, ``H`` heads, ``K`` width of a head.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, MutableMapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor, nn

Attend = Callable[..., Any]
"""Takes (module, queries, keys, values, mask, ...); returns what the heads read, and weights."""

_INTERFACE, _EAGER = "ALL_ATTENTION_FUNCTIONS", "eager_attention_forward"
_replacing = threading.RLock()


class Caught(Exception):  # noqa: N818 - a way out of a forward pass, no error
    """Carries queries, keys and values ``(B, H, T, K)`` out of an attention module."""

    def __init__(self, *heads: Tensor) -> None:
        """Take what an attention function was given."""
        super().__init__()
        self.heads = heads


def attention_function(module: nn.Module) -> Attend:
    """Return the function that an attention module would call now.

    Raises:
        LookupError: It looks none up.
    """
    place = _place(module)
    if place is None:
        raise LookupError(f"{type(module).__name__} looks up no attention function.")
    functions, name = place
    return functions[name]


def implementation(module: nn.Module) -> str | None:
    """Return the name of the implementation that a module's configuration asks for."""
    return getattr(getattr(module, "config", None), "_attn_implementation", None)


@contextmanager
def watching(modules: Iterable[nn.Module], see: Callable[..., None]) -> Iterator[None]:
    """Show every call of an attention function: ``see(module, q, k, v, mask, kwargs, output)``."""

    def watched(original: Attend) -> Attend:
        def attend(module, query, key, value, attention_mask=None, *args, **kwargs) -> Any:
            output = original(module, query, key, value, attention_mask, *args, **kwargs)
            see(module, query, key, value, attention_mask, kwargs, output)
            return output

        return attend

    with _replaced(modules, watched):
        yield


@contextmanager
def catching(module: nn.Module) -> Iterator[None]:
    """Make an attention module raise :class:`Caught` where it would attend, in this thread."""

    def catch(query: Tensor, key: Tensor, value: Tensor) -> Any:
        raise Caught(query, key, value)

    with _instead(module, catch):
        yield


@contextmanager
def returning(module: nn.Module, read_BTHK: Tensor) -> Iterator[None]:
    """Make an attention module go on with what the heads are said to read, in this thread."""
    with _instead(module, lambda *heads: (read_BTHK, None)):
        yield


@contextmanager
def _instead(module: nn.Module, function: Callable[..., Any]) -> Iterator[None]:
    thread = threading.get_ident()

    def replace(original: Attend) -> Attend:
        def attend(caller, query, key, value, *args, **kwargs) -> Any:
            if caller is module and threading.get_ident() == thread:
                return function(query, key, value)
            return original(caller, query, key, value, *args, **kwargs)

        return attend

    with _replaced([module], replace):
        yield


@contextmanager
def _replaced(modules: Iterable[nn.Module], make: Callable[[Attend], Attend]) -> Iterator[None]:
    found = [place for module in modules if (place := _place(module)) is not None]
    places = {(id(functions), name): (functions, name) for functions, name in found}
    with _replacing, ExitStack() as stack:
        for functions, name in places.values():
            stack.enter_context(_put(functions, name, make(functions[name])))
        yield


@contextmanager
def _put(functions: MutableMapping[str, Attend], name: str, function: Attend) -> Iterator[None]:
    before = functions[name]
    functions[name] = function
    try:
        yield
    finally:
        if not isinstance(functions, dict):
            del functions[name]  # the library's interface keeps replacements apart
        if functions.get(name) is not before:
            functions[name] = before


def _place(module: nn.Module) -> tuple[MutableMapping[str, Attend], str] | None:
    """Find the mapping and the name under which a module's class looks its function up."""
    chosen = implementation(module)
    for cls in type(module).__mro__:
        names = getattr(sys.modules.get(cls.__module__), "__dict__", {})
        functions = names.get(_INTERFACE)
        if not isinstance(functions, MutableMapping):
            continue
        if chosen is not None and chosen in functions:
            return functions, chosen
        if _EAGER in names:
            return names, _EAGER
    return None
