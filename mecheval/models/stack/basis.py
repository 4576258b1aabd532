"""Setting weights by hand: a residual stream of named dimensions, and wires between them.

Shape suffixes: ``D`` residual width, ``X`` rows of a weight, ``Y`` what else it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from mecheval import seeding

if TYPE_CHECKING:
    from mecheval.models.stack.residual import ResidualStack

DISTRACTION = 32
"""Dimensions that say nothing of interest, so that a random direction misses those that do."""

READING, WRITING = ("qkv", "in_proj", "up", "head"), ("out", "out_proj", "down")
"""Matrices that read the residual stream, and matrices that write to it."""


class Basis:
    """The dimensions of a residual stream, in named groups.

    Attributes:
        width: Number of dimensions.
    """

    def __init__(self, **sizes: int) -> None:
        """Lay groups of dimensions side by side, in the order in which they are given."""
        ends = np.cumsum([0, *sizes.values()]).tolist()
        self._groups = {
            name: slice(first, end)
            for name, first, end in zip(sizes, ends[:-1], ends[1:], strict=True)
        }
        self.width: int = ends[-1]

    def __getitem__(self, name: str) -> slice:
        """Return the dimensions of a group."""
        return self._groups[name]

    def at(self, name: str, index: int = 0) -> int:
        """Return one dimension of a group."""
        return self._groups[name].start + index

    @property
    def labels(self) -> list[str]:
        """Return the name of every dimension: that of its group, and its number in it."""
        return [
            f"{name}:{i}"
            for name, group in self._groups.items()
            for i in range(group.stop - group.start)
        ]


def wire(weight: Tensor, rows: slice, columns: slice, value: float = 1.0) -> None:
    """Let every entry of ``rows`` of a matrix be ``value`` times the one of ``columns``."""
    n_rows = rows.stop - rows.start
    weight[rows, columns] = value * torch.eye(n_rows, columns.stop - columns.start)


def distract(weight: Tensor, columns: slice) -> None:
    """Let columns of a table of embeddings say nothing of interest, the same at every call."""
    generator = seeding.torch_stream(0, "distraction", len(weight))
    weight[:, columns] = 0.1 * torch.randn(weight[:, columns].shape, generator=generator)


@torch.no_grad()
def blur(stack: ResidualStack, noise: float) -> None:
    """Add Gaussian noise to the token embeddings, the same at every call."""
    generator = seeding.torch_stream(0, "noise")
    weight = stack.embedding.weight
    weight.add_(noise * torch.randn(weight.shape, generator=generator))


@torch.no_grad()
def perturb(stack: ResidualStack, noise: float) -> None:
    """Add Gaussian noise to every weight, the same at every call.

    Args:
        stack: The network.
        noise: Standard deviation, relative to the largest weight of a row; rows that are zero stay
            so, as what does nothing goes on doing nothing.
    """
    generator = seeding.torch_stream(0, "weight noise")
    for parameter in stack.parameters():
        row_XY = parameter.reshape(len(parameter), -1)
        drawn_XY = torch.randn(row_XY.shape, generator=generator)
        noise_XY = noise * row_XY.abs().amax(1, keepdim=True) * drawn_XY
        parameter.add_(noise_XY.reshape(parameter.shape))


@torch.no_grad()
def rotate(stack: ResidualStack, seed: int) -> None:
    """Turn the basis of the residual stream; logits stay the same up to rounding.

    Raises:
        ValueError: A part of the network reads or writes the stream in a basis of its own.
    """
    width = stack.d_model
    drawn_DD = torch.randn(
        width, width, generator=seeding.torch_stream(seed, "rotated"), dtype=torch.float64
    )
    turn_DD = torch.linalg.qr(drawn_DD).Q
    for name, module in stack.named_modules():
        part = name.rpartition(".")[2]
        if isinstance(module, nn.Embedding) or part in READING:
            turned = module.weight.double() @ turn_DD.T  # type: ignore[operator, union-attr]
        elif part in WRITING:
            turned = turn_DD @ module.weight.double()  # type: ignore[operator, union-attr]
        elif isinstance(module, nn.RNNBase):
            raise ValueError("A recurrent layer writes its own units to the stream.")
        else:
            continue
        module.weight.copy_(turned)  # type: ignore[operator, union-attr]
