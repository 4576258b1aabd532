"""Anyone's activations, in memory or on a disk, as float32 a block at a time.

Shape suffixes: ``N`` rows, ``D`` dimensions, ``B`` rows of a block.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mecheval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK, _BLOCK_OF_GPU = 2**23, 2**28  # numbers at a time; 2**23 are 32 MB of float32


@dataclass(frozen=True)
class Rows:
    """Activations, with the group of each row where groups are given.

    Attributes:
        values_ND: Real numbers of any type; arrays that are mapped into memory stay on the disk.
        groups_N: Whole numbers from 0, int64.
    """

    values_ND: np.ndarray | Tensor
    groups_N: np.ndarray | None = None

    @classmethod
    def of(cls, values_ND: Any, groups_N: Any = None) -> Rows:
        """Take what a user gives.

        Raises:
            UsageError: The activations are no matrix of real numbers, or groups do not fit them.
        """
        if isinstance(values_ND, Tensor):
            values_ND = values_ND.detach()
            real = values_ND.layout == torch.strided and not values_ND.is_complex()
        else:
            values_ND = np.asanyarray(values_ND)
            real = values_ND.dtype.kind in "fiub"
        if values_ND.ndim != 2 or 0 in values_ND.shape or not real:
            raise UsageError(
                f"Activations must be a dense array of real numbers of shape (rows, dimensions), "
                f"neither of them 0; got {values_ND.dtype} of shape {tuple(values_ND.shape)}. "
                f"Flatten batches first: x.reshape(-1, x.shape[-1])."
            )
        return cls(values_ND, None if groups_N is None else _groups(groups_N, len(values_ND)))

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.values_ND)

    @property
    def n_dimensions(self) -> int:
        """Return how many numbers a row has."""
        return self.values_ND.shape[1]

    def at(self, rows_B: slice | np.ndarray, device: torch.device) -> Tensor:
        """Return some rows, float32 ``(B, D)``, contiguous."""
        if isinstance(self.values_ND, Tensor):
            return _of_tensor(self.values_ND, rows_B).to(device, torch.float32).contiguous()
        chosen_BD = np.array(self.values_ND[rows_B], np.float32, order="C")
        return torch.from_numpy(chosen_BD).to(device)

    def blocks(self, device: torch.device, width: int = 0) -> Iterator[tuple[slice, Tensor]]:
        """Yield all rows in their order, with where they are.

        Args:
            device: Where they are wanted.
            width: How many numbers are made of a row, where these are more than it has.

        Raises:
            UsageError: Some numbers are not finite.
        """
        for where in slices(len(self), max(width, self.n_dimensions), device):
            block_BD = self.at(where, device)
            bad = int((~block_BD.isfinite()).any(1).sum())
            if bad:
                raise UsageError(
                    f"Activations must be finite in float32: {bad} of rows {where.start} to "
                    f"{where.stop - 1} hold NaN or infinity. Leave these rows out."
                )
            yield where, block_BD

    def digest(self) -> str:
        """Return a hash of some of the rows, which tells one set of activations from another."""
        some_B = np.linspace(0, len(self) - 1, min(len(self), 256)).astype(np.int64)
        return hashlib.sha256(self.at(some_B, torch.device("cpu")).numpy().tobytes()).hexdigest()


def slices(n_rows: int, width: int, device: torch.device) -> Iterator[slice]:
    """Yield blocks of rows such that so many numbers of each fit into memory."""
    length = max(1, (_BLOCK if device.type == "cpu" else _BLOCK_OF_GPU) // width)
    for start in range(0, n_rows, length):
        yield slice(start, min(start + length, n_rows))


def _of_tensor(values_ND: Tensor, rows_B: slice | np.ndarray) -> Tensor:
    if isinstance(rows_B, slice):
        return values_ND[rows_B]
    return values_ND[torch.from_numpy(rows_B).to(values_ND.device)]


def _groups(groups_N: Any, n_rows: int) -> np.ndarray:
    """Return groups as int64.

    Raises:
        UsageError: They are not one whole number from 0 for each row.
    """
    found = groups_N.detach().cpu().numpy() if isinstance(groups_N, Tensor) else groups_N
    found = np.asarray(found)
    if found.shape != (n_rows,) or found.dtype.kind not in "iu" or found.min() < 0:
        raise UsageError(
            f"Groups must be a whole number from 0 for each of {n_rows} rows, such as its token; "
            f"got {found.dtype} of shape {found.shape}."
        )
    return found.astype(np.int64)
