"""One number over seeds: its mean, the interval of that, and why values are missing.

The interval is Student's t interval over seeds. It does not exist for a single seed, nor where all
seeds have the same value (such as 1), which says more about the measure than about seeds: there the
interval is the hull of the reports' own, over examples, and ``over`` says so. Where the reports
have none, there is no interval.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mecheval import stats
from mecheval.reports.lookup import interval_at, number_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mecheval.reports.results import MetricResult

SEED = "seed"
VERDICT = "verdict"
"""The path that leads to a result's verdict in place of a number."""

NOT_MEASURED, UNDEFINED = "not measured", "undefined"


class Number(NamedTuple):
    """A number in one report, or why it is not there.

    Attributes:
        value: The number; None where it is missing.
        low: Lower end of the report's own interval, over examples; None where it has none.
        high: Upper end of it.
        unit: What that interval is over: sequence, pair.
        method: How it was made: bootstrap, wilson.
        bounds: Smallest and largest value that is possible.
        reason: Why the number is missing.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str | None = None
    method: str | None = None
    bounds: tuple[float | None, float | None] = (None, None)
    reason: str | None = None

    def within(self, bounds: tuple[float | None, float | None], *, otherwise: str = "") -> Number:
        """Return the number with its bounds, and with why it is missing where nothing says so."""
        unsaid = self.value is None and self.reason == UNDEFINED
        return self._replace(
            bounds=bounds, reason=otherwise or self.reason if unsaid else self.reason
        )


@dataclass(frozen=True, kw_only=True)
class OverSeeds:
    """A number over seeds.

    Attributes:
        values: The number by seed, where it is there.
        reasons: Why it is missing, by seed.
        mean: Its mean; None where no seed has it.
        low: Lower end of the interval; None where there is none.
        high: Upper end of it.
        over: What the interval is over: seed, or what the reports resampled: sequence, pair.
        method: How it was made: t, or as the reports say.
        verdicts: Number of seeds by verdict, most frequent first, for results that have one.
    """

    values: Mapping[int, float] = field(default_factory=dict)
    reasons: Mapping[int, str] = field(default_factory=dict)
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    over: str | None = None
    method: str | None = None
    verdicts: Mapping[str, int] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Return the number of seeds that have a value or a verdict."""
        return sum(self.verdicts.values()) or len(self.values)

    @property
    def n_seeds(self) -> int:
        """Return the number of seeds that should have one."""
        return self.n + len(self.reasons)


def number_of(result: MetricResult | None, at: str = "") -> Number:
    """Return the number of a result at a path as :mod:`mecheval.reports.lookup` reads it."""
    if result is None:
        return Number(reason=NOT_MEASURED)
    path = at.split()
    found = number_at(result, path)
    if found is None or isinstance(found, str):
        return Number(reason=found or result.reason or UNDEFINED)
    interval, own = interval_at(result, path), result.uncertainty
    low, high = interval or (None, None)
    unit, method = (own.resampled_unit, own.method) if own else ("example", "of the report")
    return Number(
        found, low, high, unit if interval else None, method if interval else None,
        (None, None) if path else result.bounds,
    )  # fmt: skip


def difference(a: Number, b: Number) -> Number:
    """Return b - a; its own interval is what two independent ones leave open, which is wide."""
    return weighted([(1, b), (-1, a)])


def weighted(terms: Sequence[tuple[float, Number]]) -> Number:
    """Return a weighted sum of numbers, with the widest interval that their own leave open.

    Args:
        terms: The numbers with their weights. Where several are missing, the last says why.
    """
    values, missing = [], None
    for weight, number in terms:
        if number.value is None:
            missing = number
        else:
            values.append(weight * number.value)
    if missing is not None:
        return Number(reason=missing.reason)
    low, high = _ends((weight, (number.low, number.high)) for weight, number in terms)
    first = terms[0][1]
    unit, method = (None, None) if None in (low, high) else (first.unit, first.method)
    bounds = _ends((weight, number.bounds) for weight, number in terms)
    return Number(sum(values), low, high, unit, method, bounds)


def _ends(
    terms: Iterable[tuple[float, tuple[float | None, float | None]]],
) -> tuple[float | None, float | None]:
    """Return the ends of a weighted sum of intervals; None where one of them is open."""
    lows: list[float | None] = []
    highs: list[float | None] = []
    for weight, ends in terms:
        low, high = (None if end is None else weight * end for end in ends)
        lows.append(low if weight > 0 else high)
        highs.append(high if weight > 0 else low)
    return _sum(lows), _sum(highs)


def _sum(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) if len(there) == len(values) else None


def over_seeds(numbers: Mapping[int, Number]) -> OverSeeds:
    """Summarise a number over seeds.

    Args:
        numbers: The number in every seed's report.
    """
    there = {seed: each for seed, each in numbers.items() if each.value is not None}
    values = {seed: float(each.value) for seed, each in there.items() if each.value is not None}
    reasons = {
        seed: each.reason or UNDEFINED for seed, each in numbers.items() if seed not in there
    }
    if not values:
        return OverSeeds(reasons=reasons)
    interval = stats.t_interval([*values.values()], unit=SEED, bounds=bounds_of(there.values()))
    if interval is not None:
        low, high, over, method = interval.low, interval.high, interval.unit, interval.method
    else:
        low, high, over, method = hull(there.values())
    return OverSeeds(
        values=values, reasons=reasons, mean=float(np.mean([*values.values()])),
        low=low, high=high, over=over, method=method,
    )  # fmt: skip


def mean_of(numbers: Iterable[Number]) -> float:
    """Return the mean of numbers that are all there, without the interval of :func:`over_seeds`."""
    return float(np.mean([float(each.value) for each in numbers if each.value is not None]))


def common_range(numbers: Mapping[int, Number]) -> OverSeeds:
    """Return what lies in the intervals of all seeds' numbers; low is above high if nothing does.

    Args:
        numbers: The number in every seed's report, with its own interval.
    """
    there = {
        seed: (each.value, each.low, each.high)
        for seed, each in numbers.items()
        if each.value is not None and each.low is not None and each.high is not None
    }
    reasons = {s: each.reason or "no range" for s, each in numbers.items() if s not in there}
    if not there:
        return OverSeeds(reasons=reasons)
    values, lows, highs = zip(*there.values(), strict=True)
    return OverSeeds(
        values=dict(zip(there, values, strict=True)), reasons=reasons, mean=float(np.mean(values)),
        low=max(lows), high=min(highs), over=SEED, method="in all",
    )  # fmt: skip


def verdicts_of(results: Mapping[int, MetricResult | None], *, otherwise: str = "") -> OverSeeds:
    """Count the verdicts of a result over seeds; its mean is that of the values beside them.

    Args:
        results: The result by seed.
        otherwise: Why there is no verdict where the result does not say so.
    """
    found = {s: r.verdict for s, r in results.items() if r is not None and r.verdict is not None}
    reasons = {
        seed: (result.reason or otherwise or UNDEFINED) if result else NOT_MEASURED
        for seed, result in results.items()
        if seed not in found
    }
    counts = Counter(sorted(found.values()))
    values = {seed: number_of(results[seed]).value for seed in found}
    known = {seed: value for seed, value in values.items() if value is not None}
    return OverSeeds(
        values=known, reasons=reasons, verdicts=dict(counts.most_common()),
        mean=float(np.mean([*known.values()])) if known else None,
    )  # fmt: skip


class Paired(NamedTuple):
    """Units that count on both sides.

    Attributes:
        a: Mean of what they contribute on the first side.
        b: The same on the second side.
        difference_U: Second less first, by unit.
    """

    a: float
    b: float
    difference_U: np.ndarray


def paired_units(ours: Sequence[float | None], theirs: Sequence[float | None]) -> Paired | None:
    """Pair what units contribute on two sides; None where fewer than two count on both."""
    both_SU = np.array([ours, theirs], float)
    both_SU = both_SU[:, np.isfinite(both_SU).all(0)]
    if both_SU.shape[1] < 2:
        return None
    a, b = both_SU.mean(1)
    return Paired(float(a), float(b), both_SU[1] - both_SU[0])


def one_of(values_U: np.ndarray, which: str) -> float:
    """Return the least, the median, the mean or the greatest of several values."""
    chosen = {"least": np.min, "median": np.median, "mean": np.mean, "greatest": np.max}
    return float(chosen[which](values_U))


def hull(
    numbers: Iterable[Number],
) -> tuple[float | None, float | None, str | None, str | None]:
    """Return the least interval around the reports' own, what it is over, and how it was made."""
    own = [each for each in numbers if each.low is not None and each.high is not None]
    if not own:
        return None, None, None, None
    low, high = min(each.low or 0.0 for each in own), max(each.high or 0.0 for each in own)
    return low, high, own[0].unit, own[0].method


def bounds_of(numbers: Iterable[Number]) -> tuple[float | None, float | None]:
    """Return bounds that hold for all numbers."""
    lows, highs = zip(*(each.bounds for each in numbers), strict=True)
    return (
        None if None in lows else min(lows),
        None if None in highs else max(highs),
    )
