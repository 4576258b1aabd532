"""Caches of transformers: one layer's part taken from another cache.

Caches hold what each layer remembers in lists, mappings or a last axis with one entry per layer.
That these are found shows when all of them, exchanged one by one, are the other cache.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from mecheval.models.wrapped.recording.cache_tensors import is_recent, tensors

KEYS_VALUES = {"keys", "values"}
"""Names of what attention alone remembers, which is no short convolution's."""


def tells_recent(cache: Any) -> bool:
    """Say whether names tell the last inputs of short convolutions from the rest of a cache."""
    paths = tensors(cache)
    named = [[step for step in path if isinstance(step, str)] for path in paths]
    if not all(named):
        return False
    return {names[-1] for names in named} <= KEYS_VALUES or any(map(is_recent, paths))


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
            if name in vars(donor) and (recent or not is_recent((name,))):
                object.__setattr__(changed, name, inside(value, vars(donor)[name]))
        return changed
    return cache


def _taken(own: Any, other: Any, *, recent: bool) -> Any:
    """Return what another cache keeps of a layer, if wanted with its own recent inputs."""
    kept = [] if recent else [n for n in getattr(own, "__dict__", ()) if is_recent((n,))]
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
