"""Codes of one side, put in order by blocks of documents; and their sums over groups of rows.

Shape suffixes: ``N`` rows, ``M`` latents, ``G`` groups, ``B`` blocks of documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from mecheval.errors import UsageError

_DENSE = 2**23
"""Entries of a table of sums that is held densely: products with it are faster so."""


@dataclass(frozen=True)
class Firings:
    """Codes of one side.

    Attributes:
        by_block: The codes of each block of documents, ``(n, M)`` in float64.
        n_firings_M: In how many rows each latent fires.
    """

    by_block: tuple[sparse.csr_array, ...]
    n_firings_M: np.ndarray

    @classmethod
    def of(cls, csr: Any, block_N: np.ndarray) -> Firings:
        """Divide codes ``(N, M)``, sparse by rows, among blocks of documents."""
        parts = [csr[np.flatnonzero(block_N == b)] for b in range(int(block_N.max()) + 1)]
        return cls(tuple(parts), np.bincount(csr.indices, minlength=csr.shape[1]))

    @property
    def n_latents(self) -> int:
        """Return the number of latents."""
        return len(self.n_firings_M)

    @cached_property
    def turned(self) -> tuple[sparse.csr_array, ...]:
        """Return the codes of each block with latents as rows, ``(M, n)``."""
        return tuple(part.T.tocsr() for part in self.by_block)

    @cached_property
    def square_BM(self) -> np.ndarray:
        """Return the sum of squares of every latent over each block."""
        return np.stack(
            [np.bincount(p.indices, p.data**2, self.n_latents) for p in self.by_block]
        )  # fmt: skip


@dataclass(frozen=True)
class Means:
    """What the means of groups of rows explain of one side.

    Attributes:
        sums: For each block, the sums of every latent over the rows of each group, ``(G, M)``:
            dense where they are small, sparse where not.
        count_BG: Rows of each group in each block.
        square_BM: Sums of squares of every latent over each block.
    """

    sums: tuple[Any, ...]
    count_BG: np.ndarray
    square_BM: np.ndarray

    @classmethod
    def of(cls, side: Firings, group_N: np.ndarray, block_N: np.ndarray) -> Means:
        """Add up the codes of one side by groups."""
        n_groups, sums, counts = int(group_N.max()) + 1, [], []
        for b, part in enumerate(side.by_block):
            group_n = group_N[block_N == b]
            ends = np.arange(len(group_n) + 1)
            members = sparse.csr_array(
                (np.ones(len(group_n)), group_n, ends), shape=(len(group_n), n_groups)
            )
            total = members.T.tocsr() @ part
            small = n_groups * side.n_latents <= _DENSE
            sums.append(total.toarray() if small else total.tocsr())
            counts.append(np.bincount(group_n, minlength=n_groups))
        return cls(tuple(sums), np.stack(counts), side.square_BM)

    def over(self, blocks: np.ndarray) -> OverBlocks:
        """Return the same over some of the blocks together."""
        total = self.sums[blocks[0]]
        for b in blocks[1:]:
            total = total + self.sums[b]
        count_G = self.count_BG[blocks].sum(0)
        scale_G = 1.0 / np.maximum(count_G, 1)
        if isinstance(total, np.ndarray):
            scaled = total * scale_G[:, None]
            explained_M = (total * scaled).sum(0)
        else:
            scaled = (sparse.diags_array(scale_G) @ total).tocsr()
            explained_M = np.asarray(total.multiply(scaled).sum(0)).ravel()
            total = total.tocsc()
        return OverBlocks(total, scaled, self.square_BM[blocks].sum(0) - explained_M,
                          self.square_BM[blocks].sum(0))  # fmt: skip


@dataclass(frozen=True)
class OverBlocks:
    """Sums of one side over some blocks.

    Attributes:
        sums: By group and latent, ``(G, M)``.
        scaled: The same, each group's divided by its number of rows.
        left_M: Sum of squares of each latent that is left without the means of its groups.
        square_M: The sum of squares before.
    """

    sums: Any
    scaled: Any
    left_M: np.ndarray
    square_M: np.ndarray

    @property
    def norm_M(self) -> np.ndarray:
        """Return the root of what is left; NaN where that is nothing but rounding."""
        return np.sqrt(np.where(self.left_M > _NOTHING * self.square_M, self.left_M, np.nan))

    def explained_with(self, other: OverBlocks, latents: slice) -> np.ndarray:
        """Return the part of products that the means make, of some latents with all of another."""
        found = self.sums[:, latents].T @ other.scaled
        return found if isinstance(found, np.ndarray) else found.toarray()


_NOTHING = 1e-9


def as_codes(given: Any, name: str) -> Any:
    """Take the codes of a side: sparse or dense, or what holds them as ``csr``.

    Returns:
        A ``scipy.sparse.csr_array`` in float64, without zeros that are written out.

    Raises:
        UsageError: They are no finite numbers in two dimensions.
    """
    held = getattr(given, "csr", given)
    try:
        csr: Any = sparse.csr_array(held).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{name} must be codes of rows by latents: SparseCodes, a sparse or a dense array; got "
            f"{type(given).__name__}."
        ) from error
    if csr.ndim != 2 or 0 in csr.shape:
        raise UsageError(f"{name} must have rows and latents; got shape {csr.shape}.")
    if not np.isfinite(csr.data).all():
        raise UsageError(f"{name} holds NaN or infinity; leave these rows out of both.")
    csr.eliminate_zeros()
    return csr
