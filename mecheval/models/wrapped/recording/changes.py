"""Whether weights were changed, told by the counters that torch keeps of writes into tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn


def n_writes(parameters: Iterable[nn.Parameter]) -> int:
    """Return how often parameters were written into; those made in inference mode do not tell."""
    return sum(p._version for p in parameters if not p.is_inference())


def outside_of(module: nn.Module, parts: Iterable[nn.Module]) -> list[nn.Parameter]:
    """Return the parameters of a module that none of its parts holds."""
    inside = {id(p) for part in parts for p in part.parameters()}
    return [p for p in module.parameters() if id(p) not in inside]
