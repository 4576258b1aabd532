"""One number over pairs of networks: its mean, the interval of that, and why values are missing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval import stats
from mecheval.reports.collection.numbers import SEED, UNDEFINED, Number, bounds_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class OverPairs:
    """A number of two models, over pairs of their networks.

    Attributes:
        values: The number by the seeds of the two networks.
        reasons: Why it is missing, for how many pairs.
        mean: Its mean; None where no pair has it.
        low: Lower end of the interval; None where there is none.
        high: Upper end of it.
    """

    values: Mapping[tuple[int, int], float]
    reasons: Counter[str]
    mean: float | None = None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        """Return the mean, its interval, and over how many pairs it is where some are missing."""
        if self.mean is None:
            return "-"
        ends = "" if self.low is None else f" [{self.low:.3f}, {self.high:.3f}]"
        n, total = len(self.values), len(self.values) + self.reasons.total()
        return f"{self.mean:.3f}{ends}" + (f" ({n} of {total})" if n < total else "")


def mean_number(numbers: Sequence[Number]) -> Number:
    """Return the mean of the numbers that are there, or why there is none."""
    values = [number.value for number in numbers if number.value is not None]
    if values:
        return Number(float(np.mean(values)))
    return Number(reason=next((number.reason for number in numbers), UNDEFINED))


def over_pairs(numbers: Mapping[tuple[int, int], Number], *, same: bool) -> OverPairs:
    """Summarise a number over pairs of networks.

    Args:
        numbers: The number by the seeds of the two networks.
        same: Whether they are networks of one model, all pairs of which count: these share
            networks, so that the interval is a jackknife's. Of two models every network stands in
            one pair, and the interval is Student's.
    """
    there = {seeds: each for seeds, each in numbers.items() if each.value is not None}
    values = {seeds: float(each.value) for seeds, each in there.items() if each.value is not None}
    reasons = Counter(
        each.reason or UNDEFINED for seeds, each in numbers.items() if seeds not in there
    )
    if not values:
        return OverPairs(values, reasons)
    bounds = bounds_of(there.values())
    if same:
        interval = stats.pairwise_interval(values, unit=SEED, bounds=bounds)
    else:
        interval = stats.t_interval([*values.values()], unit=SEED, bounds=bounds)
    low, high = (interval.low, interval.high) if interval else (None, None)
    return OverPairs(values, reasons, float(np.mean([*values.values()])), low, high)
