"""Bootstrap of ratios and of group means by weights, vectorised over many statistics.

A resample is written as the number of times that it holds each unit, so that a statistic over all
resamples is one matrix product. Shape suffixes: ``U`` units, ``R`` resamples, ``V`` statistics,
``S`` groups of units (classes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval import stats

if TYPE_CHECKING:
    from collections.abc import Callable

    from mecheval.stats import Interval


def weights(n_units: int, rng: np.random.Generator) -> np.ndarray:
    """Return how often each resample holds each unit, shape ``(R, U)``."""

    def counts(index_RU: np.ndarray) -> np.ndarray:
        offset_R1 = n_units * np.arange(len(index_RU))[:, None]
        flat = np.bincount((index_RU + offset_R1).ravel(), minlength=index_RU.size)
        return flat.reshape(index_RU.shape).astype(np.float64)

    return stats.resamples(counts, n_units, rng)


def ratio(weight_RU: np.ndarray, above_UV: np.ndarray, below_UV: np.ndarray) -> np.ndarray:
    """Return weighted sums of one quantity over those of another, ``(R, V)``; NaN for 0/0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weight_RU @ above_UV) / (weight_RU @ below_UV)


def halves(n_units: int) -> np.ndarray:
    """Return which units are in either half, ``(2, U)`` of 0 and 1: every second one.

    What is chosen on one half and measured on the other is not favoured by the noise that it was
    chosen for, as the largest of several statistics is on the units that it was chosen on.
    """
    odd_U = np.arange(n_units) % 2
    return np.stack([1 - odd_U, odd_U]).astype(np.float64)


def largest_elsewhere(score_of: Callable[[np.ndarray], np.ndarray], n_units: int) -> np.ndarray:
    """Return for every unit which statistic is largest on the half that the unit is not in.

    Args:
        score_of: Maps weights ``(R, U)`` to statistics ``(R, V)``; NaN is never the largest.
        n_units: Number of units.

    Returns:
        Indices of statistics, ``(U,)``.
    """
    own_2U = halves(n_units)
    score_2V = score_of(own_2U)
    best_2 = np.where(np.isnan(score_2V), -np.inf, score_2V).argmax(1)
    return np.where(own_2U[0] == 1, best_2[1], best_2[0])


def contributions(above_U: np.ndarray, below_U: np.ndarray) -> np.ndarray:
    """Return what every unit adds to a ratio of sums: numbers whose mean is the ratio.

    They are r + (above - r below) / mean(below) with the ratio r, so that the variance of their
    mean is that of the ratio up to terms of second order (the delta method). A unit with nothing
    above and below, because it does not count, contributes the ratio itself.
    """
    ratio_ = above_U.sum() / below_U.sum()
    return ratio_ + (above_U - ratio_ * below_U) / below_U.mean()


def jackknifed(statistic: Callable[[np.ndarray], np.ndarray], n_units: int) -> np.ndarray:
    """Return what every unit adds to a statistic of any kind: numbers whose mean is the statistic.

    They are s + (n - 1) (mean over units of s without one unit - s without this unit), so that the
    variance of their mean is that of the jackknife (Tukey 1958).

    Args:
        statistic: Maps weights ``(R, U)`` to values ``(R,)``.
        n_units: Number of units.
    """
    without_U = statistic(1.0 - np.eye(n_units))
    plain = statistic(np.ones((1, n_units)))[0]
    return plain + (n_units - 1) * (without_U.mean() - without_U)


def mean_ignoring_nan(weight_RU: np.ndarray, values_UV: np.ndarray) -> np.ndarray:
    """Return weighted means over the units that have a value, ``(R, V)``."""
    has_UV = ~np.isnan(values_UV)
    return ratio(weight_RU, np.where(has_UV, values_UV, 0.0), has_UV.astype(np.float64))


def balanced_accuracy(
    weight_RU: np.ndarray, correct_UV: np.ndarray, class_U: np.ndarray
) -> np.ndarray:
    """Return the mean recall over classes of several classifiers on the same units.

    Args:
        weight_RU: Weights of the units; a row of ones gives the plain value.
        correct_UV: Whether classifier V is right on unit U.
        class_U: The right class, as small integers.

    Returns:
        Shape ``(R, V)``; a class that a resample does not hold is left out of its mean.
    """
    classes = np.unique(class_U)
    total = np.zeros((len(weight_RU), correct_UV.shape[1]))
    present_R1 = np.zeros((len(weight_RU), 1))
    for value in classes:
        units = class_U == value
        size_R1 = weight_RU[:, units].sum(1, keepdims=True)
        hits_RV = weight_RU[:, units] @ correct_UV[units].astype(np.float64)
        total += np.where(size_R1 > 0, hits_RV / np.maximum(size_R1, 1.0), 0.0)
        present_R1 += size_R1 > 0
    return total / present_R1


def ratio_interval(
    above_U: np.ndarray, below_U: np.ndarray, rng: np.random.Generator, *, unit: str
) -> Interval:
    """Return the interval of a ratio of sums that lies in [0, 1].

    Bootstrap over units; Wilson when the ratio is 0 or 1, where the bootstrap has no width.
    """
    if above_U.sum() in (0.0, below_U.sum()):
        n = len(above_U)
        return stats.wilson(n * float(above_U.sum() > 0), n, unit=unit)
    values_R1 = ratio(weights(len(above_U), rng), above_U[:, None], below_U[:, None])
    return stats.percentile_interval(values_R1[:, 0], unit=unit)


def proportion_bounds(
    value_V: np.ndarray, value_RV: np.ndarray, n_units: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return pointwise ends of the intervals of proportions; Wilson at 0 and 1."""
    low_V, high_V = bounds(value_RV)
    for place in np.flatnonzero((value_V == 0) | (value_V == 1)):
        interval = stats.wilson(float(value_V[place]) * n_units, n_units, unit="")
        low_V[place], high_V[place] = interval.low, interval.high
    return low_V, high_V


def bounds(value_RV: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pointwise percentile ends over resamples; NaN where no resample has a value."""
    low_V = np.full(value_RV.shape[1:], np.nan)
    high_V = low_V.copy()
    defined_V = ~np.isnan(value_RV).all(0)
    if defined_V.any():
        quantiles = [(1 - stats.LEVEL) / 2, (1 + stats.LEVEL) / 2]
        ends = np.nanquantile(value_RV[:, defined_V], quantiles, axis=0)
        low_V[defined_V], high_V[defined_V] = ends
    return low_V, high_V


def mapped(interval: Interval, function: Callable[[float], Any]) -> Interval:
    """Return the interval of an increasing function of the value."""
    return interval._replace(low=float(function(interval.low)), high=float(function(interval.high)))
