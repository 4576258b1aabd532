"""What comes back in one component of a grid, at the roles and at every position; on arrays.

Shape suffixes: ``P`` pairs, ``L`` layers, ``T`` positions, ``X`` positions or roles, ``G`` roles,
``R`` resamples.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mecheval.metrics import resampling
from mecheval.metrics.intervention import patching
from mecheval.metrics.results import profile

if TYPE_CHECKING:
    from mecheval.reports.schema import Profile
    from mecheval.tasks import Pairs

ROLES = ("changed", "middle", "readout")
CHANGED, MIDDLE, READOUT = range(3)


@dataclass(frozen=True)
class Counted:
    """Which pairs count, and why the others do not.

    Attributes:
        kept_P: Whether a pair counts.
        role_GP: Where its roles are; ``NOWHERE`` for a pair that has no middle.
        n_wrong: Pairs that the model does not answer rightly.
        n_close: Pairs of the others whose two readouts are too close to each other.
        n_not_finite: Pairs with a readout that is no number.
    """

    kept_P: np.ndarray
    role_GP: np.ndarray
    n_wrong: int
    n_close: int
    n_not_finite: int

    @property
    def n_kept(self) -> int:
        """Return the number of pairs that count."""
        return int(self.kept_P.sum())

    @property
    def n_scored(self) -> int:
        """Return how many of them have a middle."""
        return int((self.role_GP[MIDDLE, self.kept_P] != patching.NOWHERE).sum())


def roles_of(pairs: Pairs) -> np.ndarray:
    """Return the positions of :data:`ROLES`, ``(G, P)``."""
    changed_P, readout_P = pairs.changed_P, pairs.readout_P
    return np.stack([changed_P, patching.middle(changed_P, readout_P), readout_P])


def counted(
    pairs: Pairs,
    right_P: np.ndarray,
    clean_P: np.ndarray,
    corrupted_P: np.ndarray,
    *,
    min_gap: float,
) -> Counted:
    """Choose the pairs that count.

    Args:
        pairs: The pairs.
        right_P: Whether the model answers a pair rightly.
        clean_P: Readouts of the clean runs.
        corrupted_P: Readouts of the corrupted runs.
        min_gap: Least difference of the two.
    """
    finite_P = np.isfinite(clean_P + corrupted_P)
    apart_P = finite_P & (np.abs(clean_P - corrupted_P) >= min_gap)
    return Counted(
        kept_P=right_P & apart_P,
        role_GP=roles_of(pairs),
        n_wrong=int((finite_P & ~right_P).sum()),
        n_close=int((finite_P & right_P & ~apart_P).sum()),
        n_not_finite=int((~finite_P).sum()),
    )


@dataclass(frozen=True)
class Recovered:
    """Recovery of one component, of the pairs that count.

    Attributes:
        role_LGP: At :data:`ROLES`; NaN where a pair has no such role or a layer no such component.
        known_LGP: What it must be there by construction, NaN where the model decides.
        grid_LTP: At every position; None where only the roles were asked for.
        known_LTP: What it must be there by construction.
    """

    role_LGP: np.ndarray
    known_LGP: np.ndarray
    grid_LTP: np.ndarray | None
    known_LTP: np.ndarray

    @cached_property
    def trivial_LG(self) -> np.ndarray:
        """Say which cells are known in at least one pair: none of these is a headline."""
        return np.asarray((~np.isnan(self.known_LGP)).any(-1))

    @property
    def error(self) -> float | None:
        """Return how far recoveries are at most from what they must be by construction."""
        off_LGP = np.abs(self.role_LGP - self.known_LGP)
        off = [off_LGP.ravel()]
        if self.grid_LTP is not None:
            off.append(np.abs(self.grid_LTP - self.known_LTP).ravel())
        found = np.concatenate(off)
        return None if np.isnan(found).all() else float(np.nanmax(found))

    @property
    def open(self) -> np.ndarray:
        """Return the recoveries that the model decides, ``(L, X, P)``; NaN for the others."""
        if self.grid_LTP is None:
            return np.where(np.isnan(self.known_LGP), self.role_LGP, np.nan)
        return np.where(np.isnan(self.known_LTP), self.grid_LTP, np.nan)

    def means(self, weight_RP: np.ndarray | None = None) -> np.ndarray:
        """Return means over the pairs that have a value, ``(R, L, G)``; each once by default."""
        n_layers, n_roles, n_pairs = self.role_LGP.shape
        weight_RP = np.ones((1, n_pairs)) if weight_RP is None else weight_RP
        flat_PV = self.role_LGP.reshape(-1, n_pairs).T
        return resampling.mean_ignoring_nan(weight_RP, flat_PV).reshape(-1, n_layers, n_roles)


def recovered(
    patched_LXP: np.ndarray,
    known_LTP: np.ndarray,
    ends: tuple[np.ndarray, np.ndarray],
    pairs: Counted,
    *,
    at_roles: bool,
    noising: bool,
) -> Recovered:
    """Turn the patched readouts of one component into recoveries.

    Args:
        patched_LXP: Readouts at every position, or at the roles alone.
        known_LTP: Recoveries that are known by construction.
        ends: Readouts of the clean and of the corrupted runs, ``(P,)``.
        pairs: Which pairs count.
        at_roles: Whether they are at the roles alone.
        noising: Whether corrupted activations were put into the clean runs.
    """
    value_LXP = patching.recovery(*ends, patched_LXP)
    if noising:
        value_LXP = 1 - value_LXP
    known_LTP = known_LTP[..., pairs.kept_P]
    value_LXP, role_GP = value_LXP[..., pairs.kept_P], pairs.role_GP[:, pairs.kept_P]

    def chosen(value_LTP: np.ndarray) -> np.ndarray:
        return np.stack([patching.at_positions(value_LTP, role_P) for role_P in role_GP], 1)

    role_LGP = value_LXP if at_roles else chosen(value_LXP)
    # Of a component that a layer does not have nothing is known.
    known_LGP = np.where(np.isnan(role_LGP), np.nan, chosen(known_LTP))
    known_LTP = known_LTP[:, : value_LXP.shape[1]]
    if at_roles:
        return Recovered(role_LGP, known_LGP, None, known_LTP)
    known_LTP = np.where(np.isnan(value_LXP), np.nan, known_LTP)
    return Recovered(role_LGP, known_LGP, value_LXP, known_LTP)


def role_profile(part: Recovered, means_RLG: np.ndarray) -> Profile:
    """Lay out the mean at the roles with pointwise intervals, and the median.

    A cell is marked trivial if it is known by construction in some pair.
    """
    return profile(
        {"layer": range(len(part.role_LGP)), "role": ROLES},
        part.means()[0],
        resampling.bounds(means_RLG),
        marks={"trivial": part.trivial_LG},
        series={"median": _median(part.role_LGP)},
    )


def grid_profile(grid_LTP: np.ndarray, known_LTP: np.ndarray) -> Profile:
    """Lay out the mean and median over pairs at absolute positions.

    A cell is marked trivial if it is so in every pair; ``nontrivial_pairs`` counts the others.
    """
    n_layers, n_positions, n_pairs = grid_LTP.shape
    flat_PV = grid_LTP.reshape(-1, n_pairs).T
    mean_1V = resampling.mean_ignoring_nan(np.ones((1, n_pairs)), flat_PV)
    open_LTP = np.isnan(known_LTP)
    return profile(
        {"layer": range(n_layers), "position": range(n_positions)},
        mean_1V.reshape(n_layers, n_positions),
        marks={"trivial": ~open_LTP.any(-1)},
        series={"median": _median(grid_LTP), "nontrivial_pairs": open_LTP.sum(-1)},
    )


def _median(values_P: np.ndarray) -> np.ndarray:
    """Return the median over the last axis, without the pairs that have no value."""
    with warnings.catch_warnings():
        # A component that a layer does not have is NaN for every pair: so is its median.
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        return np.nanmedian(values_P, axis=-1)
