"""What a module says of itself: its configuration, and the tree of its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mecheval.models.wrapped.discovery.structure import Structure


def context_limit(module: nn.Module, structure: Structure) -> int | None:
    """Return the most positions that a module accepts, None if unbounded."""
    text_config = getattr(getattr(module, "config", None), "get_text_config", None)
    if text_config is not None:
        return getattr(text_config(), "max_position_embeddings", None)
    return structure.positions


def kernels_of(module: nn.Module) -> tuple[str, ...]:
    """Return the kernels that a module chose."""
    chosen = getattr(getattr(module, "config", None), "_attn_implementation", None)
    return (f"attention: {chosen}",) if chosen and getattr(module, "_supports_sdpa", False) else ()


def parts_of(module: nn.Module) -> Any:
    """Return what decides how a module comes apart, to be compared by ``==``.

    Its parts, their code, hooks and configuration; not the numbers in them, nor type and device.
    """
    config = getattr(module, "config", None)
    return str(getattr(config, "__dict__", None)), [
        (
            path,
            part,  # itself: an address may come twice
            type(part).forward,
            part.__dict__.get("forward"),
            [*part._forward_pre_hooks, *part._forward_hooks],
            [*map(_size, part._parameters.items()), *map(_size, part._buffers.items())],
        )
        for path, part in module.named_modules()
    ]  # fmt: skip


def _size(named: tuple[str, Tensor | None]) -> tuple[str, Any]:
    name, tensor = named
    return name, None if tensor is None else tensor.shape
