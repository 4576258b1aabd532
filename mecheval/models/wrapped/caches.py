"""Caches of transformers: one layer's part, some of the runs, and the first positions.

Caches hold what each layer remembers in lists, mappings or a last axis with one entry per layer.
That these are found shows when all of them, exchanged one by one, are the other cache.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mecheval.models.wrapped.structure import probe_tokens


def cache_argument(module: nn.Module) -> str | None:
    """Find the output of a model that can be given back as an argument of the same name."""
    known = inspect.signature(module.forward).parameters
    if not hasattr(getattr(module, "config", None), "use_cache"):
        return None
    output = module(probe_tokens(module)[:, :1], use_cache=True)
    given_back = [
        name
        for name, value in (output.items() if hasattr(output, "items") else ())
        if name in known and not isinstance(value, Tensor)
    ]
    return given_back[0] if given_back else None


def beginning(cache: Any, n_forgotten: int) -> Any:
    """Return what a cache held before its last positions, at least one.

    Raises:
        AttributeError: The cache cannot forget.
    """
    shorter = copy.deepcopy(cache)
    shorter.crop(-n_forgotten)  # versions of transformers agree on the negative form alone
    return shorter


def with_rows(cache: Any, layer: int, row_R: Tensor) -> Any:
    """Return a cache whose keys and values of one layer are those of some runs.

    A block that adds to it leaves the given cache as it is.

    Raises:
        AttributeError: The cache does not hold keys and values in layers.
    """
    chosen = copy.copy(cache)
    chosen.layers = list(cache.layers)
    own = chosen.layers[layer] = copy.copy(cache.layers[layer])
    own.keys, own.values = own.keys[row_R], own.values[row_R]
    return chosen


def with_layer_of(cache: Any, donor: Any, layer: int, n_layers: int) -> Any:
    """Return a cache with what one layer remembers taken from another cache of the same form.

    Args:
        cache: The cache; it is not changed.
        donor: The other one.
        layer: The layer.
        n_layers: Number of layers.
    """
    if isinstance(cache, Tensor):
        return _with_slice(cache, donor, layer, n_layers)
    if isinstance(cache, list | tuple):
        if len(cache) == n_layers:
            items = [donor[i] if i == layer else item for i, item in enumerate(cache)]
        else:
            pairs = zip(cache, donor, strict=True)
            items = [with_layer_of(*pair, layer, n_layers) for pair in pairs]
        return type(cache)(*items) if hasattr(cache, "_fields") else type(cache)(items)
    if isinstance(cache, Mapping):
        changed = copy.copy(cache)
        for key, value in cache.items():
            other = donor[key]
            changed[key] = (  # pyright: ignore[reportIndexIssue] - copies of caches are mutable
                other if key == layer else with_layer_of(value, other, layer, n_layers)
            )
        return changed
    if hasattr(cache, "__dict__") and not isinstance(cache, nn.Module | type):
        changed = copy.copy(cache)
        for name, value in vars(cache).items():
            if name in vars(donor):
                part = with_layer_of(value, vars(donor)[name], layer, n_layers)
                object.__setattr__(changed, name, part)
        return changed
    return cache


def _with_slice(own: Tensor, other: Tensor, layer: int, n_layers: int) -> Tensor:
    """Exchange one entry of the last axis, if that runs over the layers."""
    if own.dim() < 2 or own.shape[-1] != n_layers:
        return own
    changed = own.clone()
    changed[..., layer] = other[..., layer]
    return changed
