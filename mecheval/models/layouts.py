"""How activations lie in the tensors of modules that hold more, or hold it otherwise.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width of the activation, ``X`` of the tensor,
``H`` heads, ``K`` width of a head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mecheval.models.contract import Layout


@dataclass(frozen=True)
class Columns(Layout):
    """Some columns of the last axis, in the order of the activation's entries.

    Attributes:
        columns: Their numbers.
    """

    columns: tuple[int, ...]

    def get(self, tensor: Tensor) -> Tensor:
        """Return these columns."""
        return tensor[..., self._index(tensor)]

    def put(self, tensor: Tensor, value_BTD: Tensor) -> Tensor:
        """Return a copy with these columns replaced."""
        return tensor.index_copy(-1, self._index(tensor), value_BTD.to(tensor.dtype))

    def _index(self, tensor: Tensor) -> Tensor:
        return torch.tensor(self.columns, device=tensor.device)


@dataclass(frozen=True)
class ChannelsFirst(Layout):
    """A tensor ``(B, D, T + extra)``, as convolutions have it.

    Attributes:
        extra: Positions at the end that are not the sequence's.
    """

    extra: int = 0

    def get(self, tensor: Tensor) -> Tensor:
        """Return ``(B, T, D)``."""
        return tensor[..., : tensor.shape[-1] - self.extra].transpose(1, 2)

    def put(self, tensor: Tensor, value_BTD: Tensor) -> Tensor:
        """Return a copy with the sequence's positions replaced."""
        rest = tensor[..., tensor.shape[-1] - self.extra :]
        return torch.cat([value_BTD.transpose(1, 2).to(tensor.dtype), rest], -1)


@dataclass(frozen=True)
class Heads(Layout):
    """A tensor with an axis of heads, ``(B, T, H, K)`` or ``(B, H, T, K)``.

    Attributes:
        first: Whether the heads come before the positions.
    """

    first: bool

    def get(self, tensor: Tensor) -> Tensor:
        """Return ``(B, T, D)``, the heads side by side."""
        return (tensor.transpose(1, 2) if self.first else tensor).flatten(2)

    def put(self, tensor: Tensor, value_BTD: Tensor) -> Tensor:
        """Return a tensor of the same layout with the activation in it."""
        value_BTHK = value_BTD.unflatten(-1, (-1, tensor.shape[-1]))
        # Filled in, so that the strides stay, on which a kernel's order of summation may depend.
        value = value_BTHK.transpose(1, 2) if self.first else value_BTHK
        return torch.empty_like(tensor).copy_(value)
