"""Recovery from patched readouts, on arrays: the ratio, the roles, the sites that are trivial.

Shape suffixes: ``P`` pairs, ``L`` layers, ``T`` positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mecheval.tasks import Pairs

NOWHERE = -1
"""Middle position of a pair that has none."""

LAST_TRIVIAL = ("q", "attn_out", "mixer_out", "mlp_out", "block_out")
FIRST_TRIVIAL = ("block_in", "mixer_in")


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


def by_construction(pairs: Pairs, component: str, n_layers: int) -> np.ndarray:
    """Return the recovery of the trivial cells, which is the same whatever the model does.

    0 before the changed position and behind the readout, in a causal model; 0 in what layer 0
    reads at an unchanged token; 0 in the last layer's outputs anywhere but at the readout, since
    nothing reads them there. 1 in the residual stream before layer 0 at the changed token if
    it is the only one, and after the last layer at the readout.

    Args:
        pairs: The pairs.
        component: The patched component.
        n_layers: Number of layers L.

    Returns:
        0 or 1 where it is known, NaN where the model decides, ``(L, T, P)``.
    """
    position_T1 = np.arange(pairs.clean.n_positions)[:, None]
    differs_TP = (pairs.clean.tokens_BT != pairs.corrupted.tokens_BT).T
    at_readout_TP = position_T1 == pairs.readout_P
    known_LTP = np.full((n_layers, *differs_TP.shape), np.nan)
    if component == "block_in":
        known_LTP[0][differs_TP & (differs_TP.sum(0) == 1)] = 1.0
    if component == "block_out":
        known_LTP[-1][at_readout_TP] = 1.0
    if component in FIRST_TRIVIAL:
        known_LTP[0][~differs_TP] = 0.0
    if component in LAST_TRIVIAL:
        known_LTP[-1][~at_readout_TP] = 0.0
    if component in ("state", "cache"):  # read by later positions alone
        known_LTP[:, at_readout_TP] = 0.0
    known_LTP[:, (position_T1 < pairs.changed_P) | (position_T1 > pairs.readout_P)] = 0.0
    return known_LTP


def at_positions(values_LTP: np.ndarray, position_P: np.ndarray) -> np.ndarray:
    """Return the values at one position per pair, ``(L, P)``; NaN where it is nowhere."""
    pair_P = np.arange(len(position_P))
    chosen_LP = values_LTP[:, np.maximum(position_P, 0), pair_P].astype(np.float64)
    return np.where(position_P == NOWHERE, np.nan, chosen_LP)
