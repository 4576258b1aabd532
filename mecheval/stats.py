"""Intervals: bootstrap over the right unit, and Wilson where a proportion sits at its boundary.

Shape suffixes: ``U`` units that are resampled (pairs, sequences, seeds), ``R`` resamples.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

LEVEL = 0.95
N_RESAMPLES = 2000
_Z = 1.959963984540054  # standard normal quantile of (1 + LEVEL) / 2


class Interval(NamedTuple):
    """A two-sided interval and how it was made."""

    low: float
    high: float
    method: str
    unit: str
    level: float = LEVEL
    n_resamples: int | None = None


def wilson(successes: float, n: int, *, unit: str) -> Interval:
    """Wilson score interval of a proportion (Wilson 1927); never degenerate at 0 or 1.

    Args:
        successes: Number of units that succeeded, between 0 and ``n``.
        n: Number of independent units.
        unit: What was counted: "sequence", "pair".
    """
    share, z2 = successes / n, _Z * _Z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return Interval(max(0.0, centre - half), min(1.0, centre + half), "wilson", unit)


def resamples(
    statistic: Callable[[np.ndarray], np.ndarray],
    n_units: int,
    rng: np.random.Generator,
    *,
    n_resamples: int = N_RESAMPLES,
) -> np.ndarray:
    """Evaluate a statistic on bootstrap resamples of units.

    Args:
        statistic: Maps unit indices of shape ``(R, U)`` to values of shape ``(R, ...)``.
        n_units: Number of units.
        rng: Source of the resamples.
        n_resamples: Number of resamples R.
    """
    return statistic(rng.integers(n_units, size=(n_resamples, n_units)))


def percentile_interval(values_R: np.ndarray, *, unit: str) -> Interval:
    """Percentile interval of bootstrap values (Efron 1979); NaN values are left out."""
    low, high = np.nanquantile(values_R, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high), "bootstrap", unit, n_resamples=len(values_R))


def mean_interval(values_U: np.ndarray, rng: np.random.Generator, *, unit: str) -> Interval:
    """Bootstrap percentile interval of the mean over units."""
    means_R = resamples(lambda index_RU: values_U[index_RU].mean(-1), len(values_U), rng)
    return percentile_interval(means_R, unit=unit)


def proportion_interval(values_U: np.ndarray, rng: np.random.Generator, *, unit: str) -> Interval:
    """Interval of a mean of values in [0, 1].

    Bootstrap over units; Wilson when every unit has the same value 0 or 1, where the bootstrap
    would give an interval of width zero.
    """
    total = float(values_U.sum())
    if total in (0.0, float(len(values_U))):
        return wilson(total, len(values_U), unit=unit)
    return mean_interval(values_U, rng, unit=unit)
