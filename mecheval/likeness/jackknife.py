"""Intervals of statistics that are made again without each of some groups of units.

Shape suffixes: ``B`` groups of units.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scipy.special import stdtrit

from mecheval.stats import LEVEL, Interval

if TYPE_CHECKING:
    import numpy as np

METHOD = "jackknife"


def delete_group_interval(
    value: float,
    without_B: np.ndarray,
    size_B: np.ndarray,
    *,
    unit: str,
    bounds: tuple[float, float],
) -> Interval:
    """Interval of a statistic by what it is without each of some groups of units.

    Student's t over the pseudo-values of the delete-m jackknife for groups of unequal size (Busing
    et al. 1999, Statistics and Computing 9, 3-8); cut off at what the statistic can be.

    Args:
        value: The statistic of all units.
        without_B: What it is without each group.
        size_B: How many units each group has.
        unit: What is left out: "document".
        bounds: Smallest and largest possible value.
    """
    n_groups, share_B = len(size_B), size_B / size_B.sum()
    pseudo_B = (value - (1 - share_B) * without_B) / share_B
    mean = n_groups * value - ((1 - share_B) * without_B).sum()
    variance = ((pseudo_B - mean) ** 2 * share_B / (1 - share_B)).mean()
    half = float(stdtrit(n_groups - 1, (1 + LEVEL) / 2)) * math.sqrt(variance)
    low, high = max(value - half, bounds[0]), min(value + half, bounds[1])
    return Interval(min(low, value), max(high, value), METHOD, unit)
