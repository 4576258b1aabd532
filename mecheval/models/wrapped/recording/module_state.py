"""What modules note down while they run, beside weights and cache; a pass leaves it as it was.

A rotary table grows with the longest text that it has seen, a router counts its tokens, a layer
keeps its last state: the same tokens would get other logits after another text. So what a pass
changes in the buffers of a module and in the attributes of its parts is put back behind it. Tensors
that are changed in place are told by their version, so that nothing is copied twice where nothing
changes. A module that exchanges its own parts, as one that chooses its attention by the length of
the text, notes down which they are: that stays as it is.
"""

from __future__ import annotations

from contextlib import contextmanager
from operator import is_
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch import Tensor, nn

from mecheval.models.kept import Kept

if TYPE_CHECKING:
    from collections.abc import Iterator

STATE = "_mecheval_state"
"""Attribute of a module that holds where it can note something down."""

Places = list[tuple[nn.Module, dict[str, Any], dict[str, Any]]]
"""Parts, where they keep something, and what was there."""


@contextmanager
def left_as_found(module: nn.Module) -> Iterator[None]:
    """Put back what a module notes down while the context is open.

    Nothing is put back in training mode, where running statistics are to be kept, and nothing where
    weights or parts were changed too: a module that rewrites them once notes that it has done so.
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
        if not found.put_back():
            module.__dict__[STATE] = None


class _State:
    """The parts of a module that can note something down, and copies of the tensors there."""

    def __init__(self, module: nn.Module) -> None:
        self.parts = [part for part in module.modules() if not _notes_nothing(part)]
        self.known = set(module.modules())
        self.weights: list[Tensor] = list(module.parameters())
        self.copies: dict[int, tuple[Tensor, int, Tensor]] = {}

    def found(self) -> _Found:
        """Look at everything."""
        places = [(part, place) for part in self.parts for place in (part.__dict__, part._buffers)]
        tensors = [value for _, place in places for value in place.values() if _is_tensor(value)]
        self.copies = {id(tensor): self._copy(tensor) for tensor in tensors}
        before = [(part, place, dict(place)) for part, place in places]
        weights = [(weight, _version(weight)) for weight in self.weights]
        return _Found(self.known, before, self.copies, weights)

    def _copy(self, tensor: Tensor) -> tuple[Tensor, int, Tensor]:
        kept = self.copies.get(id(tensor))
        if kept is not None and kept[0] is tensor and kept[1] == _version(tensor) >= 0:
            return kept
        return tensor, _version(tensor), tensor.detach().clone()


class _Found:
    """What was there before a pass."""

    def __init__(
        self,
        known: set[nn.Module],
        before: Places,
        copies: dict[int, tuple[Tensor, int, Tensor]],
        weights: list[tuple[Tensor, int]],
    ) -> None:
        self.known = known
        self.before, self.copies, self.weights = before, copies, weights

    def put_back(self) -> bool:
        """Put back what is another one, and what is in another one of what was there.

        Returns:
            Whether the module has the parts that it had.
        """
        if any(_version(weight) != version for weight, version in self.weights):
            return True
        changed = [found for found in self.before if _differs(*found[1:])]
        inside = (inner for part, _, _ in changed for inner in part.modules())
        if any(inner not in self.known for inner in inside):
            return False
        for _, place, values in changed:
            for name in [name for name in place if name not in values]:
                del place[name]
            place.update(values)
        for tensor, version, copied in self.copies.values():
            if _version(tensor) != version or version < 0:
                with torch.inference_mode():  # only there such tensors can be written to
                    tensor.copy_(copied)
        return True


def _differs(place: dict[str, Any], values: dict[str, Any]) -> bool:
    """Say whether something else is kept in a place."""
    same = place.keys() == values.keys() and all(map(is_, place.values(), values.values()))
    return not same


def _notes_nothing(part: nn.Module) -> bool:
    """Say whether a part is one of torch's own without buffers: these keep nothing."""
    return type(part).__module__.startswith("torch.nn.") and not part._buffers


def _is_tensor(value: Any) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and not isinstance(value, nn.Parameter)


def _version(tensor: Tensor) -> int:
    """Return how often a tensor was changed in place; -1 where torch does not count that."""
    return -1 if tensor.is_inference() else tensor._version
