"""Sums and differences of numbers over seeds, of one model and task or of several.

Terms of one task are paired by seed: there a seed is one network, or several that learned from the
same words and are tested on the same ones. Networks of different tasks share nothing but a number,
so such terms are independent samples. Of one task the interval is Student's, of the seeds'
differences; of several it is Welch's (:func:`mecheval.stats.welch_interval`). A paired interval
would hold there as well, with fewer degrees of freedom.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from mecheval import stats
from mecheval.reports.collection.numbers import (
    SEED,
    Number,
    OverSeeds,
    bounds_of,
    over_seeds,
    weighted,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Term(NamedTuple):
    """A number over seeds, and how often it is added.

    Attributes:
        weight: -1 where it is subtracted.
        numbers: The number by seed.
        of: What it is of, in words.
        sample: What the seeds are a sample of: terms that share it are paired.
    """

    weight: float
    numbers: Mapping[int, Number]
    of: str
    sample: str


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number over seeds that may come from several samples of them.

    Attributes:
        parts: The sum of the terms of every task, over its seeds; the number is their sum.
        mean: The number; None where a part has none.
        low: Lower end of its 95 % interval; None where there is none.
        high: Upper end of it.
        over: What the interval is over: seed, or where all seeds are equal what the reports
            resampled.
        brackets: Of a :func:`signed_least`, the two numbers.
    """

    parts: Sequence[OverSeeds] = ()
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    over: str | None = None
    brackets: Sequence[Estimate] = field(default=())

    @property
    def values(self) -> Mapping[int, float]:
        """Return the number by seed; empty where seeds of several tasks cannot be paired."""
        return self.parts[0].values if len(self.parts) == 1 else {}

    @property
    def n(self) -> int:
        """Return how many seeds the smallest sample has."""
        samples = [part.n for part in self.parts] + [each.n for each in self.brackets]
        return min(samples, default=0)

    def p(self, against: float) -> float | None:
        """Return the p value of the t test that the number is ``against``; None without one.

        Of a :func:`signed_least` against 0 it is the larger one of the brackets' own.
        """
        if self.brackets:
            found = [p for each in self.brackets if (p := each.p(against)) is not None]
            return max(found, default=None)
        samples = [[*part.values.values()] for part in self.parts]
        if len(samples) == 1:
            return stats.t_test(samples[0], against=against)
        return stats.welch_test(samples, against=against)


def by_seed(terms: Sequence[Term]) -> dict[int, Number]:
    """Return the sum of terms by seed of the first one."""
    found = {}
    for seed in terms[0].numbers:
        lacking = [term.of for term in terms if seed not in term.numbers]
        if lacking:
            found[seed] = Number(reason=f"{lacking[0]} has no seed {seed}")
        else:
            found[seed] = weighted([(term.weight, term.numbers[seed]) for term in terms])
    return found


def contrast(terms: Sequence[Term]) -> Estimate:
    """Return a sum of terms over seeds.

    Args:
        terms: The numbers, with their signs.
    """
    by_sample: dict[str, list[Term]] = {}
    for term in terms:
        by_sample.setdefault(term.sample, []).append(term)
    return summed([by_seed(same) for same in by_sample.values()])


def summed(samples: Sequence[Mapping[int, Number]]) -> Estimate:
    """Return the sum of the means of independent samples.

    Args:
        samples: Numbers by seed; those that are subtracted come with their sign turned.
    """
    parts = [over_seeds(sample) for sample in samples]
    if len(parts) == 1:
        (only,) = parts
        return Estimate(
            parts=parts, mean=only.mean, low=only.low, high=only.high, over=only.over
        )  # fmt: skip
    means = [part.mean for part in parts if part.mean is not None]
    if len(means) < len(parts):
        return Estimate(parts=parts)
    there = [[each for each in sample.values() if each.value is not None] for sample in samples]
    whole = weighted([(1, _hull(part, of)) for part, of in zip(parts, there, strict=True)])
    interval = stats.welch_interval(
        [[*part.values.values()] for part in parts], unit=SEED, bounds=whole.bounds
    )
    low, high, over = (
        (whole.low, whole.high, whole.unit) if interval is None
        else (interval.low, interval.high, interval.unit)
    )  # fmt: skip
    return Estimate(parts=parts, mean=sum(means), low=low, high=high, over=over)


def signed_least(a: Estimate, b: Estimate) -> Estimate:
    """Return the smaller one of two numbers, below zero where their signs differ.

    That is sign(ab) min(|a|, |b|), which has the sign of the product, and the unit of its factors.
    Its 95 % interval leaves out 0 just where those of both do, so that its sign is decided where
    both signs are (an intersection-union test: Berger 1982, Technometrics 24, 295-300).

    It is also how much nearer a number is to one than to another, |x| - |y| of x = s - p and
    y = s - q: that is the smaller one of x - y = q - p and x + y = 2s - p - q.
    """
    if a.mean is None or b.mean is None:
        return Estimate(brackets=(a, b))
    ends = (a.low, a.high, b.low, b.high)
    low = high = None
    if None not in ends:
        a_low, a_high, b_low, b_high = (end or 0.0 for end in ends)
        low = max(min(a_low, b_low), min(-a_high, -b_high))
        high = -max(min(a_low, -b_high), min(-a_high, b_low))
    mean = max(min(a.mean, b.mean), min(-a.mean, -b.mean))
    over = next((each.over for each in (a, b) if each.over != SEED), SEED)
    return Estimate(mean=mean, low=low, high=high, over=over, brackets=(a, b))


def _hull(part: OverSeeds, numbers: Sequence[Number]) -> Number:
    """Return a part as a number: its interval is that of its seeds, or if equal of its reports."""
    return Number(part.mean, part.low, part.high, part.over, part.method, bounds_of(numbers))
