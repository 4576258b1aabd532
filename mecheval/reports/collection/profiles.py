"""A profile over seeds: the mean of every cell, and its t interval.

Shape suffixes: ``S`` seeds; a profile's own axes, of any number, are written ``X``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval import stats

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mecheval.reports.results import MetricResult, Profile


@dataclass(frozen=True)
class ProfileOverSeeds:
    """A profile over seeds; NaN where there is no number.

    Attributes:
        axes: Name of every axis.
        index: Labels along every axis.
        mean_X: Mean over the seeds that have a value.
        low_X: Lower end of its 95 % t interval; of a single seed, of the report's own; NaN where
            there is none, as where all seeds are equal.
        high_X: Upper end of it.
        n_X: Number of seeds with a value.
        marks: Flags of the same shape, true where they are in every seed.
        values_SX: The seeds' own values.
    """

    axes: Sequence[str]
    index: Mapping[str, Sequence[int | str]]
    mean_X: np.ndarray
    low_X: np.ndarray
    high_X: np.ndarray
    n_X: np.ndarray
    marks: Mapping[str, np.ndarray]
    values_SX: np.ndarray


def profile_over_seeds(
    results: Mapping[int, MetricResult | None], name: str | None, series: str | None
) -> ProfileOverSeeds | None:
    """Average a profile, or one of its series, over seeds.

    Seeds whose axes are labelled otherwise than those of the first are left out.

    Returns:
        The mean; None where no seed has it.
    """
    there = [profile for result in results.values() if (profile := _profile(result, name))]
    there = [each for each in there if series is None or series in each.series]
    same = [each for each in there if (each.axes, each.index) == (there[0].axes, there[0].index)]
    if not same:
        return None
    values_SX = np.stack([_array(each.series[series] if series else each.value) for each in same])
    low_X, high_X = _ends(same, series, values_SX)
    n_X = np.isfinite(values_SX).sum(0)
    marks = {mark: np.all([each.marks[mark] for each in same if mark in each.marks], 0)
             for mark in same[0].marks}  # fmt: skip
    return ProfileOverSeeds(
        same[0].axes, same[0].index, _mean(values_SX), low_X, high_X, n_X, marks, values_SX
    )


def _profile(result: MetricResult | None, name: str | None) -> Profile | None:
    if result is None:
        return None
    return result.profile if name is None else result.profiles.get(name)


def _ends(
    profiles: Sequence[Profile], series: str | None, values_SX: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    low, high = _own_ends(profiles[0], series)
    if len(profiles) == 1 and low is not None and high is not None:
        return _array(low), _array(high)
    ends = [_interval(values_SX[:, *at]) for at in np.ndindex(values_SX.shape[1:])]
    low_X, high_X = np.array(ends).T.reshape(2, *values_SX.shape[1:])
    return low_X, high_X


def _own_ends(profile: Profile, series: str | None) -> tuple[Any, Any]:
    """Return the ends of the report's own intervals; None where it has none."""
    if series is None:
        return profile.low, profile.high
    return profile.series.get(f"{series}_low"), profile.series.get(f"{series}_high")


def _interval(values_S: np.ndarray) -> tuple[float, float]:
    interval = stats.t_interval(values_S[np.isfinite(values_S)], unit="seed")
    return (np.nan, np.nan) if interval is None else (interval.low, interval.high)


def _mean(values_SX: np.ndarray) -> np.ndarray:
    n_X = np.isfinite(values_SX).sum(0)
    return np.where(n_X > 0, np.nansum(values_SX, 0) / np.maximum(n_X, 1), np.nan)


def _array(values: Iterable[Any] | None) -> np.ndarray:
    return np.array(values, float)
