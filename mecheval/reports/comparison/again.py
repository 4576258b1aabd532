"""A report held against the same cell measured again: which numbers came out, and by which rule.

On one kind of machine with one set of versions a cell gives the same numbers again, to the last
digit. Elsewhere training goes other ways after a while, and what comes out is as another seed would
be: a number is confirmed where its own interval and the one measured again overlap, or where it
lies where another seed of the same row is expected (the t prediction interval over its seeds, at
95 % for all numbers of the cell together by Bonferroni's correction). Data and what was asked for
must be equal everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mecheval import stats
from mecheval.reports.collection.columns import columns_of
from mecheval.reports.collection.numbers import VERDICT, Number, number_of
from mecheval.reports.comparison.circumstances import differing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mecheval.reports.collection import Column
    from mecheval.reports.reproduced import Rule
    from mecheval.reports.schema import MetricResult, Report

LEAST_SEEDS = 3
"""From as many seeds of a row on it is known where another one is to be expected."""

_PARTS = ("status", "learned", "metrics", "training", "data", "snapshots", "fidelity")
"""What of a report was measured."""

_TEXTS = ("status", "verdict", "weights_sha256", "test_sha256", "pairs_sha256")
"""Texts among it that say what came out, and not in which words."""

_RULES: Mapping[Rule, str] = {
    "equal": "every number equal",
    "within intervals": "numbers of tables within intervals or seeds",
}
_MUST_BE_EQUAL = ("status", "partial", "key")


@dataclass(frozen=True)
class NumberAgain:
    """A number as it was reported and as it came out again.

    Attributes:
        where: The result and the path in it, or the field.
        reported: What was reported: a number, a verdict, or why there is none.
        again: What came out.
        passed: Whether the one confirms the other.
        rule: By what: ``equal``, ``intervals``, ``seeds``; or what is missing.
    """

    where: str
    reported: Any
    again: Any
    passed: bool
    rule: str


@dataclass(frozen=True)
class Again:
    """A cell that was measured again.

    Attributes:
        rule: The rule that it is held to.
        why: Why that one.
        numbers: What was held against each other and is not equal; all else is.
        n_numbers: How many were.
        n_equal: How many of them are equal.
    """

    rule: Rule
    why: str
    numbers: Sequence[NumberAgain] = field(default_factory=tuple)
    n_numbers: int = 0
    n_equal: int = 0

    @property
    def passed(self) -> bool:
        """Say whether the report is reproduced."""
        return all(number.passed for number in self.numbers)

    def __str__(self) -> str:
        """Say it in a sentence."""
        failed = [number for number in self.numbers if not number.passed]
        rest = len(self.numbers) - len(failed)
        said = f"{self.n_equal} of {self.n_numbers} numbers equal"
        said += f", {rest} of those in tables within intervals or seeds" if rest else ""
        if failed:
            first = "; ".join(
                f"{n.where} was {_short(n.reported)} and is {_short(n.again)} ({n.rule})"
                for n in failed[:3]
            )
            more = f" and {len(failed) - 3} more" if len(failed) > 3 else ""
            said += f", {len(failed)} not reproduced: {first}{more}"
        return f"{said}; rule: {_RULES[self.rule]}, for {self.why}"


def held_against(reported: Report, again: Report, row: Sequence[Report]) -> Again:
    """Hold a report against the same cell measured again.

    Args:
        reported: The report.
        again: What came out now.
        row: All reports of the same model, task and recipe, of whatever seed.
    """
    others = differing(reported, again)
    rule: Rule = "within intervals" if others else "equal"
    why = f"other {', '.join(others)}" if others else "the same kind of machine and versions"
    ours, theirs = (dict(_leaves(_measured(report))) for report in (reported, again))
    places = [*ours, *(place for place in theirs if place not in ours)]
    unequal = [place for place in places if ours.get(place) != theirs.get(place)]
    counts = {"n_numbers": len(places), "n_equal": len(places) - len(unequal)}
    if not unequal or rule == "equal":
        numbers = [
            NumberAgain(place, ours.get(place), theirs.get(place), False, "must be equal")
            for place in unequal
        ]
    else:
        numbers = list(_within(reported, again, row))
    return Again(rule, why, tuple(numbers), **counts)


def _measured(report: Report) -> dict[str, Any]:
    return report.model_dump(mode="json", include=set(_PARTS))


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every number of nested mappings and lists, with its place, and verdicts and hashes.

    Results stand under their ids, so that one which is missing does not shift the others.
    """
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, f"{place}.{name}" if place else name)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            name = item["id"] if isinstance(item, dict) and "id" in item else number
            yield from _leaves(item, f"{place}[{name}]")
    elif isinstance(value, int | float) or place.rpartition(".")[2] in _TEXTS:
        yield place, value


def _within(reported: Report, again: Report, row: Sequence[Report]) -> Iterator[NumberAgain]:
    """Yield what must be equal, and the headline numbers, where they are not equal."""
    for name in _MUST_BE_EQUAL:
        yield from _equal(name, getattr(reported, name), getattr(again, name))
    ours, theirs = (report.data.model_dump() if report.data else {} for report in (reported, again))
    for name in sorted(ours.keys() | theirs.keys()):
        yield from _equal(f"data.{name}", ours.get(name), theirs.get(name))
    if reported.learned != again.learned:
        seen = {report.learned for report in row}
        yield _by_seeds("learned", reported.learned, again.learned, again.learned in seen)
    results = {metric.id: metric for metric in again.metrics}
    columns = columns_of([reported])
    for column in columns:
        before = next(metric for metric in reported.metrics if metric.id == column.id)
        seeds = [metric for report in row for metric in report.metrics if metric.id == column.id]
        yield from _number(column, before, results.get(column.id), seeds, n_columns=len(columns))


def _equal(where: str, reported: Any, again: Any) -> Iterator[NumberAgain]:
    if reported != again:
        yield NumberAgain(where, reported, again, False, "must be equal")


def _by_seeds(where: str, reported: Any, again: Any, known: bool) -> NumberAgain:
    rule = "seeds" if known else "no seed of the row has it"
    return NumberAgain(where, reported, again, known, rule)


def _number(
    column: Column,
    before: MetricResult,
    after: MetricResult | None,
    seeds: Sequence[MetricResult],
    *,
    n_columns: int,
) -> Iterator[NumberAgain]:
    where = f"{column.id} {column.at}".strip()
    if after is None:
        yield NumberAgain(where, before.value, None, False, "it was not measured again")
        return
    if column.at == VERDICT:
        if before.verdict != after.verdict:
            known = {each.verdict for each in seeds}
            yield _by_seeds(where, before.verdict, after.verdict, after.verdict in known)
        return
    ours, theirs = number_of(before, column.at), number_of(after, column.at)
    if ours.value == theirs.value:
        return
    values = [number_of(each, column.at).value for each in seeds]
    if ours.value is None or theirs.value is None:
        known = any((value is None) == (theirs.value is None) for value in values)
        yield _by_seeds(where, _said(ours), _said(theirs), known)
    elif _overlap(ours, theirs):
        yield NumberAgain(where, ours.value, theirs.value, True, "intervals")
    else:
        there = [value for value in values if value is not None]
        passed, rule = _expected(theirs.value, there, n_columns)
        yield NumberAgain(where, ours.value, theirs.value, passed, rule)


def _said(number: Number) -> Any:
    return number.reason if number.value is None else number.value


def _overlap(ours: Number, theirs: Number) -> bool:
    """Say whether the intervals of two numbers overlap; a number without one is a point."""
    ends = [
        (n.value if n.low is None else n.low, n.value if n.high is None else n.high)
        for n in (ours, theirs)
    ]
    (low, high), (other_low, other_high) = ends
    if None in (low, high, other_low, other_high):
        return False
    return low <= other_high and other_low <= high  # type: ignore[operator] - checked above


def _expected(value: float, seeds: Sequence[float], n_numbers: int) -> tuple[bool, str]:
    """Say whether a value is where another seed is to be expected, or why that cannot be said."""
    if len(seeds) < LEAST_SEEDS:
        few = f"{len(seeds)} seeds of the row are too few to say what seeds do"
        return False, f"outside its interval, and {few}"
    level = 1 - (1 - stats.LEVEL) / max(1, n_numbers)
    interval = stats.prediction_interval(seeds, unit="seed", level=level)
    if interval is None:
        return False, f"outside its interval, and all {len(seeds)} seeds of the row have one value"
    if interval.low <= value <= interval.high:
        return True, "seeds"
    return False, f"outside what seeds do, {interval.low:.4g} to {interval.high:.4g}"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def as_rows(again: Again) -> list[Mapping[str, Any]]:
    """Return what is not equal, row by row, for programs."""
    return [vars(number) for number in again.numbers]
