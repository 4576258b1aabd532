"""Setting weights by hand: a residual stream of named dimensions, and wires between them.

Shape suffixes: ``D`` residual width, ``X`` rows of a weight, ``Y`` what else it has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mecheval import exact, seeding
from mecheval.models.layers.linear import READING, WRITING

DISTRACTION = 32
"""Dimensions that say nothing of interest, so that a random direction misses those that do."""


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
    draws = seeding.Draws(0, "distraction", len(weight))
    weight[:, columns] = torch.from_numpy(0.1 * draws.normal(tuple(weight[:, columns].shape)))


@torch.no_grad()
def blur(weight: Tensor, noise: float) -> None:
    """Add Gaussian noise to a table of embeddings, the same at every call."""
    drawn = seeding.Draws(0, "noise").normal(tuple(weight.shape))
    weight.add_(torch.from_numpy(noise * drawn).to(weight.dtype))


@torch.no_grad()
def perturb(stack: nn.Module, noise: float) -> None:
    """Add Gaussian noise to every weight, the same at every call.

    Args:
        stack: The network.
        noise: Standard deviation, relative to the largest weight of a row; rows that are zero stay
            so, as what does nothing goes on doing nothing.
    """
    draws = seeding.Draws(0, "weight noise")
    for parameter in stack.parameters():
        row_XY = _doubles(parameter).reshape(len(parameter), -1)
        noise_XY = noise * np.abs(row_XY).max(1, keepdims=True) * draws.normal(row_XY.shape)
        parameter.add_(torch.from_numpy(noise_XY.reshape(parameter.shape)).to(parameter.dtype))


@torch.no_grad()
def rotate(stack: nn.Module, width: int, seed: int) -> None:
    """Turn the basis of the residual stream; logits stay the same up to rounding.

    The turned weights are the same everywhere: no library sums them up.

    Args:
        stack: The network.
        width: Width D of its stream.
        seed: Seed of the turn.

    Raises:
        ValueError: A part of the network reads or writes the stream in a basis of its own.
    """
    turn_DD, _ = exact.qr(seeding.Draws(seed, "rotated").normal((width, width)))
    for name, module in stack.named_modules():
        part = name.rpartition(".")[2]
        if isinstance(module, nn.Embedding) or part in READING:
            turned = exact.product(_doubles(module.weight), turn_DD.T)
        elif part in WRITING:
            turned = exact.product(turn_DD, _doubles(module.weight))
        elif isinstance(module, nn.RNNBase):
            raise ValueError("A recurrent layer writes its own units to the stream.")
        else:
            continue
        module.weight.copy_(torch.from_numpy(turned))  # type: ignore[operator, union-attr]


def _doubles(weight: Any) -> np.ndarray:
    return weight.detach().double().numpy()
