"""Mutual nearest neighbours: the share of each row's ten nearest that both sides have in common.

``mean_i |NN_X(i) and NN_Y(i)| / k``, nearest by cosine, a row itself and rows of its own document
left out (Huh et al. 2024, arXiv:2405.07987). Where rows are equally near and only some of them can
be among the nearest, each counts for an equal part, and both sides share the smaller part: so the
score of a side with itself is 1, and the order of rows has no say.

Shape suffixes: ``M`` drawn rows, ``D`` columns, ``E`` neighbours of all rows, ``P`` permutations,
``B`` blocks of documents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array

from mecheval.likeness.representations.score import Found

if TYPE_CHECKING:
    from torch import Tensor

K = 10
N_ROWS = 2000
MIN_CANDIDATES = 4 * K
"""Rows of other documents that every row must choose its neighbours from."""

_TIE = 1e-10  # cosines that are nearer to each other are equal but for rounding


def mutual_neighbours(
    x_MD: Tensor, y_MD: Tensor, document_M: np.ndarray, partner_PM: list[np.ndarray],
    block_M: np.ndarray | None,
) -> Found:  # fmt: skip
    """Return the share of neighbours in common, also of permuted rows, and without blocks.

    It takes ``2 M M D`` operations a side, and next to nothing for a permutation or a block: the
    neighbours are named anew, or their rows not counted.

    Args:
        x_MD: Rows of one side, none of them zero.
        y_MD: Rows of the other.
        document_M: The document of each row; different ones for all where there are none.
        partner_PM: For each permutation the row of Y beside each row of X.
        block_M: The block of documents of each row, if there are documents.
    """
    n_rows, largest = len(x_MD), int(np.unique(document_M, return_counts=True)[1].max(initial=0))
    if n_rows - largest < MIN_CANDIDATES:
        return Found(
            None,
            f"a row has {n_rows - largest} rows of other documents beside it, and must choose its "
            f"{K} nearest among {MIN_CANDIDATES} at least",
            n=n_rows,
        )
    nearest_x, nearest_y = (nearest(side_MD, document_M) for side_MD in (x_MD, y_MD))
    shared_M = _shared(nearest_x, nearest_y)
    null_P = [_shared(nearest_x, _renamed(nearest_y, at_M)).mean() for at_M in partner_PM]
    without_B = rows_B = None
    if block_M is not None:
        rows_B = np.bincount(block_M)
        without_B = (shared_M.sum() - np.bincount(block_M, shared_M)) / (n_rows - rows_B)
    return Found(float(shared_M.mean()), "", np.array(null_P), without_B, rows_B, n=n_rows)


def nearest(rows_MD: Tensor, document_M: np.ndarray) -> csr_array:
    """Return how much each row counts among the nearest of each, ``(M, M)``; rows sum to k.

    Args:
        rows_MD: The rows.
        document_M: The document of each; rows of the same are no neighbours.
    """
    unit_MD = rows_MD / rows_MD.norm(dim=1, keepdim=True)
    cosine_MM = (unit_MD @ unit_MD.T).cpu().numpy()
    cosine_MM[document_M[:, None] == document_M] = -np.inf
    least_M = np.partition(cosine_MM, -K, axis=1)[:, -K]
    row_E, other_E = np.nonzero(cosine_MM >= least_M[:, None] - _TIE)
    above_E = cosine_MM[row_E, other_E] > least_M[row_E] + _TIE
    n_above_M = np.bincount(row_E[above_E], minlength=len(cosine_MM))
    n_tied_M = np.bincount(row_E[~above_E], minlength=len(cosine_MM))
    part_E = np.where(above_E, 1.0, ((K - n_above_M) / n_tied_M)[row_E])
    return csr_array((part_E, (row_E, other_E)), shape=cosine_MM.shape)


def _shared(one: csr_array, other: csr_array) -> np.ndarray:
    """Return the share of each row's neighbours that both have, ``(M,)``."""
    return np.asarray(one.minimum(other).sum(axis=1)).reshape(-1) / K


def _renamed(found: csr_array, partner_M: np.ndarray) -> csr_array:
    """Return neighbours of rows that are given other places: row ``partner[i]`` stands at i."""
    place_M = np.argsort(partner_M)
    entries = found.tocoo()
    at = place_M[entries.row], place_M[entries.col]
    return csr_array((entries.data, at), shape=found.shape)
