"""Places in a module tree where activations can be read and replaced.

Shape suffixes: ``B`` batch, ``T`` position, ``D`` residual width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor, nn


class Layout(ABC):
    """How an activation ``(B, T, width)`` lies in the tensor that a module takes or returns."""

    @abstractmethod
    def get(self, tensor: Tensor) -> Tensor:
        """Return the activation ``(B, T, width)``."""

    @abstractmethod
    def put(self, tensor: Tensor, value_BTD: Tensor) -> Tensor:
        """Return a copy of the tensor with the activation replaced."""


@dataclass(frozen=True)
class Tap:
    """The place in the module tree where a site's activation can be read and replaced.

    Attributes:
        module: The module that is hooked.
        side: Whether the activation is the module's first tensor argument or its first output; or
            the output of the torch function that is given its weight, where the module itself is
            not called.
        path: The module's name in the real module tree.
        width: Size of the activation's last dimension.
        layout: How the activation lies in that tensor; None if it is the tensor.
        holds: What it holds, where that is another thing than its component says.
    """

    module: nn.Module
    side: Literal["input", "output", "function"]
    path: str
    width: int
    layout: Layout | None = None
    holds: str = ""
