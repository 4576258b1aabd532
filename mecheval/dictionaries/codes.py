"""Codes of a dictionary: for every row the few latents that fire, and how strongly.

Shape suffixes: ``N`` rows, ``M`` latents, ``K`` places for latents that may fire in a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy import sparse

from mecheval.errors import StorageError, UsageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, eq=False)
class SparseCodes:
    """Firings of M latents at N rows.

    Attributes:
        csr: ``(N, M)``, float32 values above zero, int32 indices, columns in order.

    Examples:
        >>> import numpy as np
        >>> from mecheval.dictionaries import SparseCodes
        >>> codes = SparseCodes.from_topk(np.float32([[2, 1], [3, 0]]), [[4, 1], [1, 0]], width=6)
        >>> codes.shape, codes.l0, codes.firings().tolist()
        ((2, 6), 1.5, [0, 2, 0, 0, 1, 0])
    """

    csr: sparse.csr_array

    @classmethod
    def from_topk(cls, values_NK: ArrayLike, indices_NK: ArrayLike, width: int) -> SparseCodes:
        """Make codes of the chosen latents of every row; values of zero or less do not fire.

        Raises:
            UsageError: The shapes differ, or an index is not of a latent.
        """
        values_NK, indices_NK = np.asarray(values_NK, np.float32), np.asarray(indices_NK)
        if values_NK.ndim != 2 or values_NK.shape != indices_NK.shape:
            raise UsageError(
                f"Codes need values and indices of one shape (rows, k); these are of "
                f"{values_NK.shape} and {indices_NK.shape}."
            )
        if indices_NK.size and not 0 <= indices_NK.min() <= indices_NK.max() < width:
            raise UsageError(f"Indices of latents must be from 0 to {width - 1}.")
        fires_NK = values_NK > 0
        ends_N = np.concatenate([[0], np.cumsum(fires_NK.sum(1))])
        found = values_NK[fires_NK], indices_NK[fires_NK], ends_N
        return cls.of(sparse.csr_array(found, shape=(len(values_NK), width)))

    @classmethod
    def of(cls, csr: sparse.csr_array) -> SparseCodes:
        """Make codes of a sparse array, in the types and the order that are promised."""
        indices, ends = csr.indices.astype(np.int32), csr.indptr
        if csr.nnz <= np.iinfo(np.int32).max:
            ends = ends.astype(np.int32)
        made = sparse.csr_array((csr.data.astype(np.float32), indices, ends), shape=csr.shape)
        made.sort_indices()
        return cls(made)

    @property
    def shape(self) -> tuple[int, int]:
        """Return the numbers of rows and of latents."""
        n_rows, n_latents = self.csr.shape  # pyright: ignore[reportGeneralTypeIssues]
        return int(n_rows), int(n_latents)

    @property
    def l0(self) -> float:
        """Return how many latents fire in a row, on average."""
        return self.csr.nnz / max(1, self.shape[0])

    def firings(self) -> np.ndarray:
        """Return in how many rows each latent fires, int64 ``(M,)``."""
        return np.bincount(self.csr.indices, minlength=self.shape[1])

    def sums(self) -> np.ndarray:
        """Return the sum of each latent over rows, in float64 ``(M,)``."""
        return np.bincount(self.csr.indices, self.csr.data.astype(np.float64), self.shape[1])

    def squares(self) -> np.ndarray:
        """Return the sum of squares of each latent over rows, in float64 ``(M,)``."""
        return np.bincount(self.csr.indices, self.csr.data.astype(np.float64) ** 2, self.shape[1])

    def select(self, rows_N: ArrayLike) -> SparseCodes:
        """Return the codes of some rows, named by number or by a mask, in the order given."""
        return SparseCodes(self.csr[np.asarray(rows_N)])

    def save(self, path: str | Path) -> None:
        """Write a safetensors file.

        Raises:
            StorageError: It cannot be written.
        """
        parts = {"values": self.csr.data, "indices": self.csr.indices, "ends": self.csr.indptr}
        shape = {"shape": np.array(self.shape, np.int64)}
        try:
            save_file({**parts, **shape}, Path(path))
        except (OSError, SafetensorError) as error:
            raise StorageError(f"The codes cannot be written to '{path}': {error}.") from error

    @classmethod
    def load(cls, path: str | Path) -> SparseCodes:
        """Read what :meth:`save` wrote.

        Raises:
            StorageError: The file is not there, or holds no codes.
        """
        try:
            held = load_file(Path(path))
            parts = held["values"], held["indices"], held["ends"]
            n_rows, n_latents = held["shape"].tolist()
            csr = sparse.csr_array(parts, shape=(n_rows, n_latents))
            csr.check_format(full_check=True)
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise StorageError(f"'{path}' holds no codes of a dictionary: {error}.") from error
        return cls.of(csr)
