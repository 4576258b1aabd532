"""The reports of one model on one task by one recipe, over seeds: numbers, profiles, verdicts.

Shape suffixes: ``S`` seeds; a profile's own axes, of any number, are written ``X``.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import stdtrit

from mecheval.reports.labels import labels, model_labels, task_entry
from mecheval.reports.lookup import number_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.reports.schema import MetricResult, Profile, Report


class OverSeeds(NamedTuple):
    """A number over seeds: its values, their mean, and the 95 % t interval of that."""

    values: Mapping[int, float]
    mean: float | None
    low: float | None
    high: float | None


class ProfileOverSeeds(NamedTuple):
    """A profile over seeds; NaN where there is no number."""

    axes: Sequence[str]
    index: Mapping[str, Sequence[int | str]]
    mean_X: np.ndarray
    low_X: np.ndarray
    high_X: np.ndarray
    n_X: np.ndarray
    marks: Mapping[str, np.ndarray]
    values_SX: np.ndarray


class Name(NamedTuple):
    """What a model and a task are called among others."""

    row: str
    task: str


class Group(NamedTuple):
    """Reports that differ in their seeds."""

    name: Name
    reports: Sequence[Report]

    @property
    def gate(self) -> float | None:
        """Return the accuracy from which on the task counts as learned."""
        return self.reports[0].identity.recipe.get("gate")

    @property
    def seeds(self) -> tuple[int, ...]:
        """Return the seeds."""
        return tuple(sorted({report.identity.seed for report in self.reports}))

    @property
    def n_learned(self) -> int:
        """Return how many seeds passed the gate."""
        return len({r.identity.seed for r in self.reports if r.learned})

    def results(self, id: str) -> dict[int, MetricResult | None]:
        """Return a result by seed."""
        found: dict[int, MetricResult | None] = dict.fromkeys(self.seeds)
        for report in self.reports:
            for result in report.metrics:
                if result.id == id:
                    found[report.identity.seed] = result
        return found

    def verdicts(self, id: str) -> dict[str, int]:
        """Return the number of seeds by verdict, most frequent first."""
        found = [result.verdict for result in self.results(id).values() if result]
        return dict(Counter(sorted(filter(None, found))).most_common())

    def number(self, id: str, at: str = "") -> OverSeeds:
        """Return a number over seeds."""
        found = {s: number_at(r, at.split()) for s, r in self.results(id).items() if r}
        values = {seed: value for seed, value in found.items() if isinstance(value, float)}
        values_S = np.array([*values.values()])
        if not len(values_S):
            return OverSeeds({}, None, None, None)
        low, high = _interval(values_S)
        ends = (low, high) if np.isfinite(low) else (None, None)
        return OverSeeds(values, float(values_S.mean()), *ends)

    def profile(
        self, id: str, name: str | None = None, *, series: str | None = None
    ) -> ProfileOverSeeds | None:
        """Return a profile, or one of its series, over seeds; None where no seed has it."""
        found = [_profile(result, name) for result in self.results(id).values()]
        there = [p for p in found if p and (series is None or series in p.series)]
        same = [p for p in there if p.index == there[0].index]
        if not same:
            return None
        arrays = [p.value if series is None else p.series[series] for p in same]
        values_SX = np.stack([np.array(values, float) for values in arrays])
        n_X = np.isfinite(values_SX).sum(0)
        mean_X = np.where(n_X > 0, np.nansum(values_SX, 0) / np.maximum(n_X, 1), np.nan)
        marks = {m: np.all([p.marks[m] for p in same if m in p.marks], 0) for m in same[0].marks}
        low_X, high_X = _ends(same, series, values_SX)
        first = same[0]
        return ProfileOverSeeds(
            first.axes, first.index, mean_X, low_X, high_X, n_X, marks, values_SX
        )


def _profile(result: MetricResult | None, name: str | None) -> Profile | None:
    if result is None:
        return None
    return result.profile if name is None else result.profiles.get(name)


def _ends(
    same: Sequence[Profile], series: str | None, values_SX: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    first = same[0]
    if len(same) == 1 and series is None and first.low is not None and first.high is not None:
        return np.array(first.low, float), np.array(first.high, float)
    flat = values_SX.reshape(len(values_SX), -1).T
    ends = np.array([_interval(values_S[np.isfinite(values_S)]) for values_S in flat])
    low_X, high_X = ends.T.reshape(2, *values_SX.shape[1:])
    return low_X, high_X


def _interval(values_S: np.ndarray) -> tuple[float, float]:
    n = len(values_S)
    if n < 2:
        return np.nan, np.nan
    half = stdtrit(n - 1, 0.975) * values_S.std(ddof=1) / np.sqrt(n)
    return float(values_S.mean() - half), float(values_S.mean() + half)


def grouped(reports: Sequence[Report]) -> list[Group]:
    """Group the reports that were measured by model and task."""
    measured = [report for report in reports if report.status == "success"]
    tasks = labels([task_entry(report) for report in measured])
    found: dict[Name, list[Report]] = {}
    for report, row, task in zip(measured, model_labels(measured), tasks, strict=True):
        found.setdefault(Name(row, task), []).append(report)
    return [Group(name, same) for name, same in found.items()]
