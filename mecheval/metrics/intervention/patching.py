"""Recovery from patched readouts, on arrays: the ratio, and values at positions.

Shape suffixes: ``P`` pairs, ``L`` layers, ``T`` positions.
"""

from __future__ import annotations

import numpy as np

NOWHERE = -1
"""Middle position of a pair that has none."""


def recovery(clean_P: np.ndarray, corrupted_P: np.ndarray, patched_P: np.ndarray) -> np.ndarray:
    """Return (patched - corrupted) / (clean - corrupted), not clipped.

    Args:
        clean_P: Readout of the clean runs.
        corrupted_P: Readout of the corrupted runs.
        patched_P: Readout of the patched runs, ``(..., P)``.

    Returns:
        The shape of ``patched_P``; NaN for a pair without a gap, where 0/0 is undefined.
    """
    gap_P = clean_P - corrupted_P
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(gap_P == 0, np.nan, (patched_P - corrupted_P) / gap_P)


def middle(changed_P: np.ndarray, readout_P: np.ndarray) -> np.ndarray:
    """Return the position halfway from the changed one to the readout, strictly between them.

    Returns:
        Positions, :data:`NOWHERE` for pairs whose changed position touches the readout.
    """
    return np.where(readout_P - changed_P >= 2, (changed_P + readout_P) // 2, NOWHERE)


def at_positions(values_LTP: np.ndarray, position_P: np.ndarray) -> np.ndarray:
    """Return the values at one position per pair, ``(L, P)``; NaN where it is nowhere."""
    pair_P = np.arange(len(position_P))
    chosen_LP = values_LTP[:, np.maximum(position_P, 0), pair_P].astype(np.float64)
    return np.where(position_P == NOWHERE, np.nan, chosen_LP)
