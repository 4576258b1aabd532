"""Representational similarity analysis: do the same pairs of rows lie far apart on both sides?

The distance of two rows is ``1 - r``, with Pearson's correlation r over columns; the score is
Spearman's correlation of the distances of all pairs on the one side and on the other (Kriegeskorte
et al. 2008, doi:10.3389/neuro.06.004.2008). Pairs of the same document are left out.

Shape suffixes: ``M`` drawn rows, ``D`` columns, ``P`` permutations, ``B`` blocks of documents,
``E`` pairs.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from mecheval.likeness.representations.score import Found

if TYPE_CHECKING:
    from torch import Tensor

N_ROWS = 800
MIN_PAIRS = 45
"""Fewest pairs of rows, those of ten rows, whose ranks are correlated."""

_DIGITS = 10  # beyond which distances differ by rounding alone, and are tied


def rank_similarity(
    x_MD: Tensor, y_MD: Tensor, document_M: np.ndarray, partner_PM: list[np.ndarray],
    block_M: np.ndarray | None,
) -> Found:  # fmt: skip
    """Return the rank correlation of distances, also of permuted rows, and without blocks.

    Ranks are those of all drawn rows also where rows are permuted or left out.

    Args:
        x_MD: Rows of one side, none of which is the same in all columns.
        y_MD: Rows of the other.
        document_M: The document of each row; different ones for all where there are none.
        partner_PM: For each permutation the row of Y beside each row of X.
        block_M: The block of documents of each row, if there are documents.
    """
    counted_MM = document_M[:, None] != document_M
    n_rows, n_pairs = len(x_MD), int(counted_MM.sum()) // 2
    if n_pairs < MIN_PAIRS:
        return Found(
            None,
            f"{n_rows} rows make {n_pairs} pairs of different documents, and {MIN_PAIRS} at least "
            f"are needed",
            n=n_rows,
        )
    x_MM, y_MM = (_ranks(side_MD, counted_MM) for side_MD in (x_MD, y_MD))
    for name, ranks_MM in (("X", x_MM), ("Y", y_MM)):
        if not ranks_MM.any():
            return Found(None, f"all pairs of rows of {name} are equally far apart", n=n_rows)
    null_P = [_permuted(x_MM, y_MM, counted_MM, at_M) for at_M in partner_PM]
    without_B = rows_B = None
    if block_M is not None:
        without_B, rows_B = _without(x_MM, y_MM, counted_MM, block_M), np.bincount(block_M)
    value = float((x_MM * y_MM).sum() / math.sqrt((x_MM**2).sum() * (y_MM**2).sum()))
    found = Found(min(1.0, value), "", np.array(null_P), without_B, rows_B, lowest=-1.0)
    return replace(found, n=n_rows)


def _ranks(rows_MD: Tensor, counted_MM: np.ndarray) -> np.ndarray:
    """Return the ranks of distances less their mean, ``(M, M)``; 0 for pairs that do not count."""
    centred_MD = rows_MD - rows_MD.mean(1, keepdim=True)
    unit_MD = centred_MD / centred_MD.norm(dim=1, keepdim=True)
    upper_MM = np.triu(counted_MM)
    distance_E = 1 - (unit_MD @ unit_MD.T).cpu().numpy()[upper_MM]
    rank_E = rankdata(distance_E.round(_DIGITS))
    found_MM = np.zeros(counted_MM.shape)
    found_MM[upper_MM] = rank_E - rank_E.mean()
    return found_MM + found_MM.T


def _permuted(
    x_MM: np.ndarray, y_MM: np.ndarray, counted_MM: np.ndarray, partner_M: np.ndarray
) -> float:
    """Correlate ranks of pairs that count on both sides, row ``partner[i]`` of Y beside i of X."""
    beside_MM = y_MM[partner_M[:, None], partner_M]
    if counted_MM.sum() == counted_MM.size - len(counted_MM):  # all pairs count wherever they stand
        x2, y2 = (x_MM**2).sum(), (y_MM**2).sum()
    else:
        x2 = (x_MM**2 * counted_MM[partner_M[:, None], partner_M]).sum()
        y2 = (beside_MM**2 * counted_MM).sum()
    return float((x_MM * beside_MM).sum() / math.sqrt(x2 * y2)) if x2 * y2 > 0 else math.nan


def _without(
    x_MM: np.ndarray, y_MM: np.ndarray, counted_MM: np.ndarray, block_M: np.ndarray
) -> np.ndarray:
    """Return the correlation over pairs of which none is in a block, for each block, ``(B,)``."""
    kept_BM = (np.arange(block_M.max() + 1)[:, None] != block_M).astype(np.float64)

    def over_pairs(of_MM: np.ndarray) -> np.ndarray:
        return ((kept_BM @ of_MM) * kept_BM).sum(1)

    with np.errstate(invalid="ignore", divide="ignore"):
        n_B = over_pairs(counted_MM.astype(np.float64))
        x_B, y_B = over_pairs(x_MM) / n_B, over_pairs(y_MM) / n_B
        xx_B, yy_B, xy_B = (
            over_pairs(one_MM * other_MM) / n_B
            for one_MM, other_MM in ((x_MM, x_MM), (y_MM, y_MM), (x_MM, y_MM))
        )
        return (xy_B - x_B * y_B) / np.sqrt((xx_B - x_B**2) * (yy_B - y_B**2))
