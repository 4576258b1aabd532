"""The tensors inside a cache of transformers, whatever its form: found, and put in a copy.

Caches hold what layers remember in lists, mappings or attributes, beside numbers and flags that
say how far they are. A tensor is known by its path: attributes, keys and indices on the way to it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mecheval.models.wrapped.recording.inseparable import Inseparable

Path = tuple[Any, ...]
"""The way to a tensor from the cache."""


def tensors(cache: Any) -> dict[Path, Tensor]:
    """Return all tensors of a cache by their paths."""
    return dict(_found(cache, (), set()))


def is_recent(path: Path) -> bool:
    """Say whether a name on the way to a tensor says that it holds a short convolution's inputs."""
    return any(isinstance(step, str) and "conv" in step for step in path)


def copies(cache: Any) -> dict[Path, Tensor]:
    """Return copies of all tensors, to see later what was written into them."""
    return {path: tensor.clone() for path, tensor in tensors(cache).items()}


def changed_paths(
    before: Mapping[Path, Tensor], after: Mapping[Path, Tensor], n_examples: int
) -> list[Path]:
    """Return the paths of tensors that are new or others, recent inputs first.

    Raises:
        Inseparable: One of them does not hold one row per example.
    """
    found = [path for path, tensor in after.items() if not _same(before.get(path), tensor)]
    if any(after[path].dim() < 2 or len(after[path]) != n_examples for path in found):
        raise Inseparable("it keeps something that is not one row per example")
    return sorted(found, key=lambda path: not is_recent(path))


def _same(one: Tensor | None, other: Tensor) -> bool:
    return one is not None and one.shape == other.shape and torch.equal(one, other)


def with_tensors(cache: Any, changed: Mapping[Path, Tensor]) -> Any:
    """Return a copy of a cache with other tensors at some paths.

    The copy shares all that belongs to other tensors with the cache, which is not changed as long
    as nobody adds to those.
    """
    found = tensors(cache)
    replaced = {id(found[path]): tensor for path, tensor in changed.items() if path in found}
    memo: dict[int, Any] = {}
    _keep_others(cache, set(replaced), memo)
    # A deep copy takes what stands in its memo for the copy of an object.
    return copy.deepcopy(cache, {**memo, **replaced})


def _keep_others(value: Any, own: set[int], memo: dict[int, Any]) -> tuple[bool, bool]:
    """Note what need not be copied; say whether a value holds own tensors, and any at all."""
    if isinstance(value, Tensor):
        return id(value) in own, True
    found = [(child, *_keep_others(child, own, memo)) for _, child in _children(value)]
    holds_own = any(is_own for _, is_own, _ in found)
    if holds_own:
        # Flags and numbers beside own tensors are copied, because modules set them.
        memo.update({id(child): child for child, is_own, some in found if some and not is_own})
    return holds_own, any(some for _, _, some in found)


def _found(value: Any, path: Path, seen: set[int]) -> Iterator[tuple[Path, Tensor]]:
    if isinstance(value, Tensor):
        yield path, value
    elif id(value) not in seen:
        seen.add(id(value))
        for step, child in _children(value):
            yield from _found(child, (*path, step), seen)


def _children(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, list | tuple):
        return list(enumerate(value))
    if isinstance(value, Mapping):
        return list(value.items())
    if hasattr(value, "__dict__") and not isinstance(value, nn.Module | type):
        return list(vars(value).items())
    return []
