"""What modules note down while they run, beside weights and cache; a pass leaves it as it was.

A rotary table grows with the longest text that it has seen, a router counts its tokens, a layer
keeps its last state: the same tokens would get other logits after another text. So what a pass
changes in the buffers of a module and in the attributes of its parts is put back behind it. Tensors
that are changed in place are told by their version, so that nothing is copied twice where nothing
changes.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mecheval.models.kept import Kept

if TYPE_CHECKING:
    from collections.abc import Iterator

STATE = "_mecheval_state"
"""Attribute of a module that holds where it can note something down."""

_MISSING = object()


@contextmanager
def left_as_found(module: nn.Module) -> Iterator[None]:
    """Put back what a module notes down while the context is open.

    Nothing is put back in training mode, where running statistics are to be kept, and nothing where
    weights were changed too: a module that rewrites its weights once notes that it has done so.
    """
    if module.training:
        yield
        return
    if module.__dict__.get(STATE) is None:
        module.__dict__[STATE] = Kept(_State(module))
    found = module.__dict__[STATE].value.found()
    try:
        yield
    finally:
        found.put_back()


class _State:
    """The parts of a module that can note something down, and copies of the tensors there."""

    def __init__(self, module: nn.Module) -> None:
        self.parts = [part for part in module.modules() if not _notes_nothing(part)]
        self.weights = list(module.parameters())
        self.copies: dict[int, tuple[Tensor, int, Tensor]] = {}

    def found(self) -> _Found:
        """Look at everything."""
        places = []
        for part in self.parts:
            places += [part.__dict__, part._buffers]
        tensors = [value for place in places for value in place.values() if _is_tensor(value)]
        self.copies = {id(tensor): self._copy(tensor) for tensor in tensors}
        before = [(place, dict(place)) for place in places]
        return _Found(before, self.copies, [(weight, _version(weight)) for weight in self.weights])

    def _copy(self, tensor: Tensor) -> tuple[Tensor, int, Tensor]:
        kept = self.copies.get(id(tensor))
        if kept is not None and kept[0] is tensor and kept[1] == _version(tensor) >= 0:
            return kept
        return tensor, _version(tensor), tensor.detach().clone()


class _Found:
    """What was there before a pass."""

    def __init__(
        self,
        before: list[tuple[dict[str, Any], dict[str, Any]]],
        copies: dict[int, tuple[Tensor, int, Tensor]],
        weights: list[tuple[Tensor, int]],
    ) -> None:
        self.before, self.copies, self.weights = before, copies, weights

    def put_back(self) -> None:
        """Put back what is another one, and what is in another one of what was there."""
        if any(_version(weight) != version for weight, version in self.weights):
            return
        for place, values in self.before:
            for name in [name for name in place if name not in values]:
                del place[name]
            for name, value in values.items():
                if place.get(name, _MISSING) is not value:
                    place[name] = value
        for tensor, version, copied in self.copies.values():
            if _version(tensor) != version or version < 0:
                with torch.inference_mode():  # only there such tensors can be written to
                    tensor.copy_(copied)


def _notes_nothing(part: nn.Module) -> bool:
    """Say whether a part is one of torch's own without buffers: these keep nothing."""
    return type(part).__module__.startswith("torch.nn.") and not part._buffers


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) and not isinstance(value, nn.Parameter)


def _version(tensor: Tensor) -> int:
    """Return how often a tensor was changed in place; -1 where torch does not count that."""
    return -1 if tensor.is_inference() else tensor._version
