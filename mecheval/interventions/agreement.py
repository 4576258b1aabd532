"""How well the grid of one half of the pairs predicts that of the other half.

What patching does varies much from input to input (arXiv:2510.00845): a picture of layers and
positions is worth as much as it would come out again with other pairs. The pairs are dealt into two
halves at random, many times; each time the mean effects of the two halves are correlated over the
cells. Half of the pairs are noisier than all of them, so that this understates the picture that is
shown: the reliability of a mean over twice as many pairs is 2 r / (1 + r) (Spearman 1910; Brown
1910).

Shape suffixes: ``P`` pairs, ``V`` cells, ``S`` splits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mecheval import seeding

N_SPLITS = 200
MIN_PAIRS = 4
"""Pairs that a cell needs to count, so that there are two in either half."""

MIN_CELLS = 3
"""Cells that are correlated at least: any two are correlated perfectly, or not at all."""

_EQUAL = 1e-9  # spread of cells, relative to the largest, that is no more than rounding
_NUMBERS = 2**22  # means held at a time


@dataclass(frozen=True)
class SplitHalf:
    """How well two halves of the pairs agree on a grid.

    Attributes:
        correlation: Pearson correlation over cells between the mean effects of two halves, as a
            mean over splits: 1 if they show the same picture, 0 if they have nothing in common.
            None where it is undefined.
        corrected: What it would be for two samples as large as all pairs (Spearman-Brown); None
            also where the halves do not agree at all, so that there is nothing to correct.
        n_pairs: Pairs that have a value in some cell.
        n_cells: Cells that count.
        n_splits: Splits.
        reason: Why it is undefined.

    Examples:
        >>> from mecheval.interventions import SplitHalf
        >>> print(SplitHalf(0.5, 0.667, n_pairs=8, n_cells=24, n_splits=9))
        halves of the pairs correlate by 0.50, 0.67 for all pairs (8 pairs, 24 cells, mean of 9 ...
        >>> print(SplitHalf(None, None, 3, 24, 200, "3 pairs, and 4 are needed"))
        undefined: 3 pairs, and 4 are needed
    """

    correlation: float | None
    corrected: float | None
    n_pairs: int
    n_cells: int
    n_splits: int
    reason: str | None = None

    def __str__(self) -> str:
        """Say it in a line."""
        if self.correlation is None:
            return f"undefined: {self.reason}"
        of = f"{self.n_pairs} pairs, {self.n_cells} cells, mean of {self.n_splits} splits"
        whole = "" if self.corrected is None else f", {self.corrected:.2f} for all pairs"
        return f"halves of the pairs correlate by {self.correlation:.2f}{whole} ({of})"


def split_half(effect_VP: np.ndarray, *, n_splits: int = N_SPLITS, seed: int = 0) -> SplitHalf:
    """Correlate the mean effects of two halves of the pairs over the cells.

    A common factor of all cells changes nothing, so that it does not matter whether effects are
    differences of a readout or shares of the gap between two runs.

    Args:
        effect_VP: What a patch does in every cell and pair, of any shape ``(..., P)``; NaN where a
            pair has no such cell, or where it is known by construction. A cell that fewer than
            :data:`MIN_PAIRS` pairs have is left out.
        n_splits: Number of random splits.
        seed: Seed of the splits.

    Examples:
        >>> import numpy as np
        >>> from mecheval.interventions import split_half
        >>> cell_V1, pair_P = np.array([[0.0], [1.0], [3.0]]), np.array([1.0, 2.0, 1.5, 0.5])
        >>> found = split_half(cell_V1 * pair_P)  # of one shape in every pair
        >>> round(found.correlation, 3), found.n_pairs, found.n_cells
        (1.0, 4, 3)
    """
    effect_VP = np.asarray(effect_VP, np.float64).reshape(-1, np.shape(effect_VP)[-1])
    effect_VP = np.where(np.isfinite(effect_VP), effect_VP, np.nan)
    has_VP = ~np.isnan(effect_VP)
    has_VP &= has_VP.sum(1, keepdims=True) >= MIN_PAIRS
    kept_V, kept_P = has_VP.any(1), has_VP.any(0)
    n_cells, n_pairs = int(kept_V.sum()), int((~np.isnan(effect_VP)).any(0).sum())

    def found(correlation: float | None, reason: str | None = None) -> SplitHalf:
        corrected = None
        if correlation is not None and correlation > 0:
            corrected = 2 * correlation / (1 + correlation)
        return SplitHalf(correlation, corrected, n_pairs, n_cells, n_splits, reason)

    if n_pairs < MIN_PAIRS:
        return found(None, f"{n_pairs} pairs, and {MIN_PAIRS} are needed")
    if n_cells < MIN_CELLS:
        return found(None, f"{n_cells} cells count, and {MIN_CELLS} are needed")
    correlation_S = _correlations(
        np.where(has_VP, effect_VP, 0.0)[kept_V][:, kept_P], has_VP[kept_V][:, kept_P],
        n_splits=n_splits, rng=seeding.stream(seed, "split_half"),
    )  # fmt: skip
    if np.isnan(correlation_S).all():
        return found(None, "the mean effects of a half do not vary from cell to cell")
    return found(float(np.nanmean(correlation_S)))


def _correlations(
    effect_VP: np.ndarray, has_VP: np.ndarray, *, n_splits: int, rng: np.random.Generator
) -> np.ndarray:
    """Return the correlation of every split, NaN where a half does not vary."""
    n_pairs = effect_VP.shape[1]
    dealt_SP = np.tile(np.arange(n_pairs) < n_pairs // 2, (n_splits, 1))
    own_SP = rng.permuted(dealt_SP, axis=1).astype(np.float64)
    size = max(1, _NUMBERS // len(effect_VP))
    found = []
    for first in range(0, n_splits, size):
        halves = own_SP[first : first + size], 1 - own_SP[first : first + size]
        with np.errstate(invalid="ignore", divide="ignore"):
            one_SV, other_SV = (
                (half_SP @ effect_VP.T) / (half_SP @ has_VP.T) for half_SP in halves
            )
        found.append(_correlated(one_SV, other_SV))
    return np.concatenate(found)


def _correlated(one_SV: np.ndarray, other_SV: np.ndarray) -> np.ndarray:
    """Correlate row by row over the columns that both have, ``(S,)``."""
    has_SV = ~np.isnan(one_SV + other_SV)
    n_S1 = has_SV.sum(1, keepdims=True)

    def centred(mean_SV: np.ndarray) -> np.ndarray:
        mean_SV = np.where(has_SV, mean_SV, 0.0)
        middle_S1 = mean_SV.sum(1, keepdims=True) / np.maximum(n_S1, 1)
        off_SV = np.where(has_SV, mean_SV - middle_S1, 0.0)
        scale_S1 = np.abs(mean_SV).max(1, keepdims=True)
        return np.where(np.abs(off_SV).max(1, keepdims=True) <= _EQUAL * scale_S1, 0.0, off_SV)

    one_SV, other_SV = centred(one_SV), centred(other_SV)
    norm_S = np.sqrt((one_SV**2).sum(1) * (other_SV**2).sum(1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(norm_S > 0, (one_SV * other_SV).sum(1) / norm_S, np.nan)
