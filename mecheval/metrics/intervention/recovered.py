"""What comes back in one component of a grid, laid out by role and by position; pure, on arrays.

Shape suffixes: ``P`` pairs, ``L`` layers, ``T`` positions, ``R`` resamples, ``G`` roles.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval.metrics import resampling
from mecheval.metrics.intervention import patching
from mecheval.metrics.results import profile

if TYPE_CHECKING:
    from mecheval.interventions import AttributionGrid, RecoveryGrid
    from mecheval.reports.schema import Profile
    from mecheval.tasks import Pairs

    Grid = RecoveryGrid | AttributionGrid

ROLES = ("changed", "middle", "readout")


@dataclass(frozen=True)
class Recovered:
    """Recovery of one component on the kept pairs; ``n_not_finite`` have logits of NaN."""

    recovery_LTP: np.ndarray
    known_LTP: np.ndarray
    clean_P: np.ndarray
    corrupted_P: np.ndarray
    role_GP: np.ndarray
    n_dropped: int
    n_not_finite: int

    @property
    def trivial_LTP(self) -> np.ndarray:
        return ~np.isnan(self.known_LTP)

    def at_roles(self, values_LTP: np.ndarray) -> np.ndarray:
        """Return values at the roles, ``(L, G, P)``."""
        return np.stack([patching.at_positions(values_LTP, role_P) for role_P in self.role_GP], 1)

    @property
    def has_middle_P(self) -> np.ndarray:
        return self.role_GP[1] != patching.NOWHERE


def recovered(
    grid: Grid, pairs: Pairs, kept_P: np.ndarray, component: str, direction: str
) -> Recovered:
    """Return the recovery of one component of a grid, of the pairs that are kept."""
    patched_LTP = grid.component(component)
    changed_P, readout_P = pairs.changed_P, pairs.readout_P
    role_GP = np.stack([changed_P, patching.middle(changed_P, readout_P), readout_P])
    recovery_LTP = patching.recovery(grid.clean, grid.corrupted, patched_LTP)
    if direction == "noising":
        recovery_LTP = 1 - recovery_LTP
    known_LTP = patching.by_construction(pairs, component, len(patched_LTP))
    return Recovered(
        recovery_LTP[..., kept_P],
        known_LTP[:, : patched_LTP.shape[1], kept_P],
        grid.clean[kept_P],
        grid.corrupted[kept_P],
        role_GP[:, kept_P],
        int((~kept_P).sum()),
        int((~np.isfinite(grid.clean + grid.corrupted)).sum()),
    )


def means(weight_RP: np.ndarray, values_LGP: np.ndarray) -> np.ndarray:
    """Return means over the pairs that have a value, ``(R, L, G)``."""
    n_layers, n_roles, n_pairs = values_LGP.shape
    flat = values_LGP.reshape(-1, n_pairs).T
    return resampling.mean_ignoring_nan(weight_RP, flat).reshape(-1, n_layers, n_roles)


def median(values_P: np.ndarray) -> np.ndarray:
    """Return the median over the last axis, without the pairs that have no value."""
    with warnings.catch_warnings():
        # A component that a layer does not have is NaN for every pair: so is its median.
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        return np.nanmedian(values_P, axis=-1)


def handover(means_LG: np.ndarray) -> dict[str, float]:
    """Find the layer at which the difference has left the changed token, and reached the readout.

    Both are the first layer whose input says so by half of the gap; L where none does.
    """
    n_layers = len(means_LG)
    left_L, arrived_L = means_LG[:, 0] < 0.5, means_LG[:, 2] >= 0.5
    return {
        "left_changed_at": int(left_L.argmax()) if left_L.any() else n_layers,
        "reached_readout_at": int(arrived_L.argmax()) if arrived_L.any() else n_layers,
    }


def trivial_error(part: Recovered) -> float | None:
    """Return the largest deviation from the recoveries that are known by construction."""
    error = np.abs(part.recovery_LTP - part.known_LTP)
    return None if np.isnan(error).all() else float(np.nanmax(error))


def grid_profile(part: Recovered) -> Profile:
    """Lay out the mean and median over pairs at absolute positions.

    A cell is marked trivial if it is so in every pair; ``nontrivial_pairs`` counts the others.
    """
    n_layers, n_positions, n_pairs = part.recovery_LTP.shape
    flat = part.recovery_LTP.reshape(-1, n_pairs).T
    mean = resampling.mean_ignoring_nan(np.ones((1, n_pairs)), flat)
    return profile(
        {"layer": range(n_layers), "position": range(n_positions)},
        mean.reshape(n_layers, n_positions),
        marks={"trivial": part.trivial_LTP.all(-1)},
        series={
            "median": median(part.recovery_LTP),
            "nontrivial_pairs": (~part.trivial_LTP).sum(-1),
        },
    )
