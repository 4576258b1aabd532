"""What a module says of itself: its configuration, and the tree of its parts."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from mecheval.models.wrapped.discovery.structure import Structure


def context_limit(module: nn.Module, structure: Structure) -> int | None:
    """Return the most positions that a module accepts, None if unbounded."""
    config = getattr(module, "config", None)
    return positions_of(config) if hasattr(config, "get_text_config") else structure.positions


def positions_of(config: Any) -> int | None:
    """Return the most positions that a configuration of transformers allows, None if unbounded."""
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def kernels_of(module: nn.Module) -> tuple[str, ...]:
    """Return the kernels that a module chose."""
    chosen = getattr(getattr(module, "config", None), "_attn_implementation", None)
    return (f"attention: {chosen}",) if chosen and getattr(module, "_supports_sdpa", False) else ()


def experts_one_by_one(module: nn.Module) -> bool:
    """Let a module in float64 run its experts one by one.

    Torch's grouped products, by which transformers runs them all at once, know no such numbers.

    Returns:
        Whether anything had to be set.
    """
    if next((weight.dtype for weight in module.parameters()), None) != torch.float64:
        return False
    grouped: list[Any] = [
        part
        for part in module.modules()
        if hasattr(part, "set_experts_implementation")
        and getattr(part.config, "_experts_implementation", None) == "grouped_mm"
    ]
    for part in grouped:
        part.set_experts_implementation("eager")
    return bool(grouped)


def parts_of(module: nn.Module) -> Any:
    """Return what decides how a module comes apart, to be compared by ``==``.

    Its parts, their code, hooks and configuration; not the numbers in them, nor type and device.
    It is asked for before every grid, so that it must not take longer than a small forward pass.
    """
    found, todo, seen = [], [module], set()
    while todo:
        part = todo.pop()
        if part in seen:
            continue
        seen.add(part)
        inner = tuple(part._modules.items())  # the parts themselves: an address may come twice
        own = (*part._parameters.items(), *part._buffers.items())
        found.append((
            part, inner, type(part).forward, part.__dict__.get("forward"),
            (*part._forward_pre_hooks, *part._forward_hooks),
            [(name, None if tensor is None else tensor.shape) for name, tensor in own],
        ))  # fmt: skip
        todo += [child for _, child in inner if child is not None]
    config = getattr(module, "config", None)
    return str(getattr(config, "__dict__", None)), found


@contextmanager
def same_path_with_and_without_hooks() -> Iterator[None]:
    """Switch off torch's fused encoder layer, which it uses only where no hook is registered."""
    was_enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_enabled)
