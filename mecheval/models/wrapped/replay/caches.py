"""Caches of transformers: one layer's part taken from another cache.

Caches hold what each layer remembers in lists, mappings or a last axis with one entry per layer.
That these are found shows when all of them, exchanged one by one, are the other cache.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

KEYS_VALUES = {"keys", "values"}
"""Names of what attention alone remembers, which is no short convolution's."""


def tells_recent(cache: Any) -> bool:
    """Say whether names tell the last inputs of short convolutions from the rest of a cache."""
    names = set(_names(cache, ""))
    return "" not in names and (names <= KEYS_VALUES or any(map(_is_recent, names)))


def _names(part: Any, name: str) -> Iterator[str]:
    """Yield the name that every tensor of a cache lies under, empty for those that have none."""
    if isinstance(part, Tensor):
        yield name
    elif isinstance(part, list | tuple):
        for item in part:
            yield from _names(item, name)
    elif isinstance(part, Mapping):
        for key, item in part.items():
            yield from _names(item, key if isinstance(key, str) else name)
    elif hasattr(part, "__dict__") and not isinstance(part, nn.Module | type):
        for key, item in vars(part).items():
            yield from _names(item, key)


def _is_recent(name: Any) -> bool:
    return isinstance(name, str) and "conv" in name


def with_layer_of(cache: Any, donor: Any, layer: int, n_layers: int, *, recent: bool = True) -> Any:
    """Return a cache with what one layer remembers taken from another cache of the same form.

    Args:
        cache: The cache; it is not changed.
        donor: The other one.
        layer: The layer.
        n_layers: Number of layers.
        recent: Whether the last inputs of short convolutions are taken too, where names tell.
    """
    if isinstance(cache, Tensor):
        return _with_slice(cache, donor, layer, n_layers)

    def inside(own: Any, other: Any) -> Any:
        return with_layer_of(own, other, layer, n_layers, recent=recent)

    if isinstance(cache, list | tuple):
        if len(cache) == n_layers:
            taken = _taken(cache[layer], donor[layer], recent=recent)
            items = [*cache[:layer], taken, *cache[layer + 1 :]]
        else:
            items = [inside(*pair) for pair in zip(cache, donor, strict=True)]
        return type(cache)(*items) if hasattr(cache, "_fields") else type(cache)(items)
    if isinstance(cache, Mapping):
        changed = copy.copy(cache)
        for key, own in cache.items():
            changed[key] = (  # pyright: ignore[reportIndexIssue] - copies of caches are mutable
                _taken(own, donor[key], recent=recent) if key == layer else inside(own, donor[key])
            )
        return changed
    if hasattr(cache, "__dict__") and not isinstance(cache, nn.Module | type):
        changed = copy.copy(cache)
        for name, value in vars(cache).items():
            if name in vars(donor) and (recent or not _is_recent(name)):
                object.__setattr__(changed, name, inside(value, vars(donor)[name]))
        return changed
    return cache


def _taken(own: Any, other: Any, *, recent: bool) -> Any:
    """Return what another cache keeps of a layer, if wanted with its own recent inputs."""
    kept = [] if recent else [name for name in getattr(own, "__dict__", ()) if _is_recent(name)]
    if not kept:
        return other
    changed = copy.copy(other)
    for name in kept:
        object.__setattr__(changed, name, vars(own)[name])
    return changed


def _with_slice(own: Tensor, other: Tensor, layer: int, n_layers: int) -> Tensor:
    """Exchange one entry of the last axis, if that runs over the layers."""
    if own.dim() < 2 or own.shape[-1] != n_layers:
        return own
    changed = own.clone()
    changed[..., layer] = other[..., layer]
    return changed


@dataclass(frozen=True)
class CacheState:
    """A model's own cache after some tokens.

    Attributes:
        cache: What the model returned, None before the first token.
        length: Number of tokens that were read.
    """

    cache: Any = None
    length: int = 0
