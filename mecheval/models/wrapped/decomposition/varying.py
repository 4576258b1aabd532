"""What of that which a module is given beside the stream counts examples or depends on the tokens.

A block can be given the embeddings anew, or the ids of the tokens: the same whatever earlier blocks
do. That is kept behind the stream, one row per position, and put back where the module takes it.

Shape suffixes: ``B`` examples, ``N`` positions, ``E`` width of what depends on the tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from mecheval.models.wrapped.recording.arguments import (
    Arguments,
    Place,
    growing_axes,
    widened,
)
from mecheval.models.wrapped.recording.inseparable import Inseparable

if TYPE_CHECKING:
    from torch import Tensor

SIZES = (2, 3)
"""Two numbers of examples to tell axes of examples from others."""


class _PerToken(NamedTuple):
    """What is given of every token: the shape of it, and the type of its numbers."""

    shape: torch.Size
    dtype: torch.dtype


class Varying:
    """What one module is given in any call, seen in a few.

    Attributes:
        axes: Along which axes a tensor counts examples, by its place.
        per_token: What depends on the tokens, by its place.
    """

    def __init__(self) -> None:
        """Begin with no call."""
        self.axes: dict[Place, tuple[int, ...]] = {}
        self.per_token: dict[Place, _PerToken] = {}

    def look(
        self, few: Arguments, many: Arguments, *, others: Arguments, noisy: Arguments, length: int
    ) -> None:
        """See how calls differ, all of which are on as many positions.

        Args:
            few: Arguments with the first of :data:`SIZES` examples.
            many: Arguments with the second one.
            others: As the first ones, with other tokens.
            noisy: As the first ones, with another stream before the first block.
            length: The number of positions.

        Raises:
            Inseparable: The module is given what depends on the stream in another way than by it,
                or on the tokens, but is not of a position each.
        """
        axes = growing_axes(few, many, SIZES)
        if not few.equals(noisy):
            raise Inseparable("it is given something else that depends on the stream")
        for place in few.differing(others):
            tensor = few.tensors[place]
            if axes[place] != (0,) or tensor.shape[:2] != (SIZES[0], length):
                raise Inseparable("it is given something that depends on the tokens")
            self.per_token[place] = _PerToken(tensor.shape[2:], tensor.dtype)
        if any(len(found) > 1 for found in axes.values()):
            raise Inseparable("it is given a tensor with two axes of examples")
        self.axes |= axes

    def taken(self, given: Arguments) -> Tensor:
        """Return what depends on the tokens, of one call, ``(B, N, E)``."""
        parts = [given.tensors[place] for place in self.per_token]
        if not all(part.is_floating_point() for part in parts):
            parts = [part.double() for part in parts]  # which holds every id as it is
        return torch.cat([part.reshape(*part.shape[:2], -1) for part in parts], -1)

    def put(self, given: Arguments, n_examples: int, beside_BNE: Tensor) -> Arguments:
        """Return the arguments of a call of one example for others, with their own tokens' part.

        Raises:
            RuntimeError: There is a tensor of which nothing is known.
        """
        given = widened(given, self.axes, n_examples)
        parts, first = {}, 0
        for place, (shape, dtype) in self.per_token.items():
            last = first + shape.numel()
            part_BNX = beside_BNE[..., first:last].reshape(*beside_BNE.shape[:2], *shape)
            parts[place] = part_BNX.to(dtype)
            first = last
        return given.changed(lambda place, tensor: parts.get(place, tensor)) if parts else given
