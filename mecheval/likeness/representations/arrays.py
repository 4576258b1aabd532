"""Anyone's activations as rows of doubles: what is refused, and what is taken off.

Shape suffixes: ``N`` rows, ``D`` columns, ``B`` rows of a block, ``G`` groups; ``X`` any shape.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mecheval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 4096  # rows at a time, of doubles
_SMALL = 2**25  # entries up to which all rows are kept as doubles, a quarter of a gigabyte
NOTHING = 1e-26
"""Mean square, of entries whose largest is 1, below which there is nothing but rounding."""


@dataclass(frozen=True)
class Rows:
    """Rows of numbers that are made doubles when they are asked for, a block at a time.

    Attributes:
        values_ND: The numbers as they were given.
        scale: What they are divided by, so that squares of squares neither overflow nor vanish.
        means_GD: What is then taken off: the means of the groups, of one for all rows, or zero.
        group_N: The group of each row, where there are several.
    """

    values_ND: Tensor
    scale: float
    means_GD: Tensor
    group_N: Tensor | None = None

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.values_ND)

    @property
    def width(self) -> int:
        """Return how many columns there are."""
        return self.values_ND.shape[1]

    def at(self, rows: slice | np.ndarray) -> Tensor:
        """Return some of the rows, ``(B, D)`` doubles."""
        index = rows if isinstance(rows, slice) else self._index(rows)
        block_BD = self.values_ND[index].double() / self.scale
        return block_BD - (
            self.means_GD if self.group_N is None else self.means_GD[self.group_N[index]]
        )

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield all rows in their order, with where they are."""
        for rows in slices(len(self)):
            yield rows, self.at(rows)

    def chosen(self, rows_B: np.ndarray) -> Rows:
        """Return some of the rows, none of which is taken off its own mean already."""
        return (
            self
            if len(rows_B) == len(self)
            else replace(self, values_ND=self.values_ND[self._index(rows_B)])
        )

    def centred(self, group_N: np.ndarray | None = None) -> Rows:
        """Return the rows less the mean of all of them, or of those of the same group."""
        label_N = np.zeros(len(self), np.int64) if group_N is None else group_N
        index_N = self._index(label_N)
        sums_GD = self.means_GD.new_zeros(int(label_N.max()) + 1, self.width)
        for rows, block_BD in self.blocks():
            sums_GD.index_add_(0, index_N[rows], block_BD)
        means_GD = sums_GD / torch.bincount(index_N)[:, None] + self.means_GD
        found = replace(self, means_GD=means_GD, group_N=None if group_N is None else index_N)
        return found._kept()

    def norms(self, *, centred: bool) -> np.ndarray:
        """Return the mean square of each row's entries, or their variance, ``(N,)``."""
        parts = [
            (block_BD.var(1, correction=0) if centred else block_BD.square().mean(1))
            for _, block_BD in self.blocks()
        ]
        return torch.cat(parts).cpu().numpy()

    def _kept(self) -> Rows:
        """Make few rows doubles once and for all."""
        if self.values_ND.numel() > _SMALL:
            return self
        values_ND = torch.cat([block_BD for _, block_BD in self.blocks()])
        return Rows(values_ND, 1.0, self.means_GD.new_zeros(1, self.width))

    def _index(self, rows_B: np.ndarray) -> Tensor:
        return torch.from_numpy(rows_B).to(self.values_ND.device)


def slices(n_rows: int) -> Iterator[slice]:
    """Yield the blocks of so many rows."""
    for start in range(0, n_rows, BLOCK):
        yield slice(start, min(start + BLOCK, n_rows))


def as_pair(X_ND: Any, Y_ND: Any) -> tuple[Rows, Rows]:
    """Take two networks' activations of the same rows.

    They are computed with where the first is if that is a CUDA device, on the CPU if not.

    Raises:
        UsageError: They are no finite numbers in two dimensions, or of different numbers of rows.
    """
    x_ND, y_ND = _tensor(X_ND, "X"), _tensor(Y_ND, "Y")
    if len(x_ND) != len(y_ND):
        raise UsageError(
            f"X has {len(x_ND)} rows and Y has {len(y_ND)}; row i of both must be of the same "
            f"token: give the same tokens, in the same order."
        )
    device = x_ND.device if x_ND.is_cuda else torch.device("cpu")
    return _rows(x_ND.to(device), "X"), _rows(y_ND.to(device), "Y")


def as_labels(labels_N: Any, n_rows: int, name: str) -> np.ndarray:
    """Take a label for every row; return whole numbers from 0, ``(N,)``.

    Raises:
        UsageError: They are not one number or word per row.
    """
    given_N = labels_N.detach().cpu().numpy() if isinstance(labels_N, Tensor) else labels_N
    given_N = np.asarray(given_N)
    if given_N.shape != (n_rows,):
        raise UsageError(
            f"{name} needs one label per row, of shape ({n_rows},); got {given_N.shape}."
        )
    try:
        return np.unique(given_N, return_inverse=True)[1].reshape(-1).astype(np.int64)
    except TypeError:
        raise UsageError(
            f"{name} holds labels that cannot be ordered; give whole numbers, or words."
        ) from None


def _rows(values_ND: Tensor, name: str) -> Rows:
    """Find the scale of rows.

    Raises:
        UsageError: Some are not finite.
    """
    largest, bad = 0.0, 0
    for rows in slices(len(values_ND)):
        block_BD = values_ND[rows].double()
        bad += int((~block_BD.isfinite()).any(1).sum())
        largest = max(largest, float(block_BD.abs().max()))
    if bad:
        raise UsageError(
            f"{name} holds NaN or infinity in {bad} of {len(values_ND)} rows; leave these rows out "
            f"of both."
        )
    means_GD = torch.zeros(1, values_ND.shape[1], dtype=torch.float64, device=values_ND.device)
    return Rows(values_ND, largest or 1.0, means_GD)


def _tensor(given: Any, name: str) -> Tensor:
    """Take an array of anyone's as a tensor of real numbers, not copied where that can be.

    Raises:
        UsageError: It is not one, or not of two dimensions.
    """
    found = given.detach() if isinstance(given, Tensor) else _from_numpy(given, name)
    if found.is_complex() or found.layout != torch.strided or found.is_quantized:
        raise UsageError(
            f"{name} must be a dense array of real numbers; got a tensor of {found.dtype}, "
            f"{found.layout}."
        )
    if found.ndim != 2 or 0 in found.shape:
        raise UsageError(
            f"{name} must have two dimensions, rows and columns, none of them empty; got shape "
            f"{tuple(found.shape)}. Flatten batches first: x.reshape(-1, x.shape[-1])."
        )
    return found


def _from_numpy(given: Any, name: str) -> Tensor:
    try:
        array_X = np.asarray(given)
        known = array_X.dtype.kind in "fiub" or array_X.dtype.name == "bfloat16"
    except (ValueError, TypeError):
        known, array_X = False, np.empty(0)
    if not known:
        raise UsageError(
            f"{name} must be an array of real numbers, of NumPy or torch; got "
            f"{type(given).__name__} of {array_X.dtype}."
        )
    if array_X.dtype.kind != "f":
        array_X = array_X.astype(np.float32 if array_X.dtype.name == "bfloat16" else np.float64)
    kind = array_X.dtype.newbyteorder("=") if array_X.itemsize <= 8 else np.dtype(np.float64)
    # Torch takes no array that may not be written to, and none that runs backwards.
    fit = array_X.flags.writeable and min(array_X.strides, default=0) >= 0
    return torch.from_numpy(array_X.astype(kind, copy=not fit))
