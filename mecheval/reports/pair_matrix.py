"""Reports of pairs as matrices: models by models, one per task and number, over seeds.

Off the diagonal stand pairs of two models, in which every network occurs once: their mean has
Student's t interval over them. On the diagonal stand the networks of one model that differ in the
seed: how alike two models could be at most, by this measure. All pairs of them count, which share
networks, so that their interval is a jackknife's. Beside every number stand its null and its
skyline (:mod:`mecheval.reports.levels`). There is no rank: neither end is better.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from mecheval.reports.collection.numbers import UNDEFINED, Number
from mecheval.reports.collection.over_pairs import OverPairs, mean_number, over_pairs
from mecheval.reports.collection.words import decimal
from mecheval.reports.levels import (
    ITSELF,
    comparable,
    measured,
    model_of,
    null_of,
    number_in,
    of_fresh,
    place_of,
    run_of,
    skyline_of,
    without_seeds,
)
from mecheval.reports.tracking import NOT_LEARNED
from mecheval.spec import format_args

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mecheval.reports.pair import Alignment, PairReport, PairSide
    from mecheval.reports.results import Headline, MetricResult


_MOST = 8  # reasons that are listed
_DIAGONAL = (
    "The diagonal holds networks of one model that differ in the seed; above it stand pairs of two "
    "models, of different seeds where there are several. Intervals are over pairs of networks (t; "
    "on the diagonal a jackknife over seeds)."
)
_NULL = (
    "Null of {}: the number of networks that share nothing which they learned ('mecheval show "
    "metric {}' says what that is), as a mean over the pairs of a model."
)


@dataclass(frozen=True)
class Matrix:
    """One number of all pairs of models on a task.

    Attributes:
        task: The task's name with the parameters that differ from its defaults.
        id: The result.
        heading: What the number is.
        caption: What the metric says, in a sentence.
        bounds: Smallest and largest possible number; None where unbounded.
        models: Names of the models, in order.
        unlearned: Those of which networks did not learn the task, with how many.
        entries: What two models have, by their places among the models, the smaller one first.
        nulls: The null of each of these, or why it has none.
        fresh: Those whose weights are freshly drawn.
        warned: What the reports warn of.
        met: Where pairs meet that have tokens of their own.
    """

    task: str
    id: str
    heading: str
    caption: str
    bounds: tuple[float | None, float | None]
    models: list[str]
    unlearned: list[str]
    entries: Mapping[tuple[int, int], OverPairs]
    nulls: Mapping[tuple[int, int], Number]
    fresh: Sequence[str] = ()
    warned: Sequence[str] = ()
    met: Sequence[Alignment] = ()

    @property
    def titles(self) -> list[str]:
        """Return what stands above the matrix."""
        return [f"{self.task}: {self.heading}", self.caption]

    @property
    def shown(self) -> list[int]:
        """Return the places of the models that have a number."""
        with_number = (pair for pair, entry in self.entries.items() if entry.values)
        return sorted({place for pair in with_number for place in pair})

    @property
    def notes(self) -> list[str]:
        """Return what the diagonal is, which networks did not learn, and why else numbers miss."""
        reasons: Counter[str] = Counter()
        for entry in self.entries.values():
            reasons += entry.reasons
        others = [(why, n) for why, n in reasons.items() if not why.startswith(NOT_LEARNED)]
        said = [_DIAGONAL] if self.shown else []
        if any(self.null(place) is not None for place in self.shown):
            said.append(_NULL.format(self.heading, self.id.partition("/")[0].partition("[")[0]))
        if self.unlearned:
            said.append(f"{NOT_LEARNED} on {self.task}: {', '.join(self.unlearned)}")
        if self.met:
            kept = [share for each in self.met for share in (each.kept_a, each.kept_b)]
            said.append(
                f"{len(self.met)} pairs on {self.task} have tokens of their own, and are held side "
                f"by side where tokens of both end: {min(kept):.2f} to {max(kept):.2f} of them"
            )
        if self.warned:
            n, first = len(self.warned), self.warned[0]
            said.append(f"{n} pairs on {self.task} have a warning, such as: {first}")
        said += [f"{self.heading} on {self.task}, {n} pairs: {why}" for why, n in others[:_MOST]]
        if len(others) > _MOST:
            said.append(f"and {len(others) - _MOST} more reasons, which stand in the reports")
        return said

    def skyline(self, pair: tuple[int, int]) -> Number:
        """Return how alike the seeds of two models are: the mean of their entries on the diagonal.

        Args:
            pair: The places of the models.
        """
        if pair[0] == pair[1]:
            return Number(reason=ITSELF)
        found = {place: self.entries.get((place, place)) for place in pair}
        lacking = [self.models[place] for place, of in found.items() if not of or not of.values]
        fresh = of_fresh([self.models[place] for place in pair if self.models[place] in self.fresh])
        if fresh or lacking:
            return Number(reason=fresh or without_seeds(lacking))
        return skyline_of([of for of in found.values() if of is not None])

    def null(self, place: int) -> float | None:
        """Return the mean null of a model's pairs; None where no pair has one."""
        return mean_number([null for pair, null in self.nulls.items() if place in pair]).value

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return the headers and rows of the matrix, of models that have a number.

        What is symmetric is written once. The last column is the null, where there is one.
        """
        numbered = dict(enumerate(self.shown, 1))
        nulls = {i: self.null(i) for i in self.shown}
        has_null = any(null is not None for null in nulls.values())
        rows = [
            [
                f"{n}. {self.models[i]}",
                *(str(self.entries.get((i, j), "")) for j in self.shown),
                *([_decimal(nulls[i])] if has_null else []),
            ]
            for n, i in numbered.items()
        ]
        return ["Model", *(f"{n}." for n in numbered), *(["Null"] if has_null else [])], rows

    def rows(self) -> list[dict[str, Any]]:
        """Return one object per pair of models."""
        return [self._row(pair) for pair in self.entries]

    def _row(self, pair: tuple[int, int]) -> dict[str, Any]:
        entry, null, skyline = self.entries[pair], self.nulls[pair], self.skyline(pair)
        missing = next(iter(entry.reasons), None) if entry.mean is None else None
        place = place_of(Number(entry.mean, reason=missing), null, skyline)
        a, b = (self.models[each] for each in pair)
        return {
            "task": self.task, "result": self.id, "number": self.heading, "a": a, "b": b,
            "mean": entry.mean, "low": entry.low, "high": entry.high, "n": len(entry.values),
            "missing": dict(entry.reasons), "null": null.value, "no_null": null.reason,
            "skyline": skyline.value, "skyline_low": skyline.low, "skyline_high": skyline.high,
            "no_skyline": skyline.reason, "place": place.value, "no_place": place.reason,
        }  # fmt: skip


def matrices_of(reports: Iterable[PairReport], *, by_name: bool = False) -> list[Matrix]:
    """Return one matrix per task, result and headline number.

    Args:
        reports: The reports.
        by_name: Whether tasks and models stand in the order of their names; else in that of the
            reports.
    """
    by_task: dict[str, list[PairReport]] = {}
    if by_name:
        reports = sorted(reports, key=_by_name)
    for report in reports:
        by_task.setdefault(comparable(report), []).append(report)
    return [matrix for same in by_task.values() for matrix in _of_task(same, by_name=by_name)]


def _by_name(report: PairReport) -> tuple[str, str]:
    return report.where, report.key


class _Placed(NamedTuple):
    """A report, with the place of each side's model among the models and its seed, in order."""

    report: PairReport
    ends: tuple[tuple[int, int], tuple[int, int]]


def _of_task(reports: Sequence[PairReport], *, by_name: bool) -> Iterator[Matrix]:
    first: dict[str, PairSide] = {}
    for side in (side for report in reports for side in report.sides):
        first.setdefault(model_of(side), side)
    named = dict(zip(first, _names([*first.values()]), strict=True))
    named = dict(sorted(named.items(), key=lambda item: item[1])) if by_name else named
    place, names = {key: at for at, key in enumerate(named)}, [*named.values()]
    placed, learned = [], {}
    for report in reports:
        ends = [(place[model_of(side)], side.seed) for side in report.sides]
        placed.append(_Placed(report, (min(ends), max(ends))))
        learned |= dict(zip(ends, (side.learned for side in report.sides), strict=True))
    unlearned = list(_unlearned(learned, names))
    for heading, result, line in _headings(reports):
        captions = (report.captions.get(result.metric, "") for report in reports)
        entries, nulls = _entries(placed, result, line)
        found = [_result(report, result) for report in reports]
        yield Matrix(
            task=reports[0].where, id=result.id, heading=heading,
            caption=next(filter(None, captions), ""),
            bounds=line.bounds if line.at else result.bounds,
            models=names, unlearned=unlearned, entries=entries, nulls=nulls,
            fresh=[named[key] for key, side in first.items() if side.untrained],
            met=[report.alignment for report in reports if report.alignment],
            warned=[of.warnings[0] for of in found if of is not None and of.warnings],
        )  # fmt: skip


def _headings(reports: Sequence[PairReport]) -> Iterator[tuple[str, MetricResult, Headline]]:
    """Yield the numbers that there are; those of several versions of a metric say which it is of.

    Numbers of two versions, or with other parameters, are not of one matrix.
    """
    numbers: dict[tuple[str, str, str], tuple[MetricResult, Headline]] = {}
    for result in (result for report in reports for result in report.metrics):
        for line in result.headline:
            numbers.setdefault((measured(result), result.id, line.at), (result, line))
    of_id = Counter(id for id, _ in {(each.id, each.version) for each, _ in numbers.values()})
    for result, line in numbers.values():
        again = f" ({result.name} version {result.version})" if of_id[result.id] > 1 else ""
        yield line.title + again, result, line


def _entries(
    placed: Sequence[_Placed], asked: MetricResult, line: Headline
) -> tuple[dict[tuple[int, int], OverPairs], dict[tuple[int, int], Number]]:
    """Return the numbers of all pairs of models, and their nulls."""
    numbers: dict[tuple[int, int], dict[tuple[int, int], Number]] = {}
    nulls: dict[tuple[int, int], list[Number]] = {}
    for report, ((model, seed), (other, other_seed)) in placed:
        found = _result(report, asked)
        if found is None and report.error is None:
            continue
        numbers.setdefault((model, other), {})[seed, other_seed] = number_in(report, found, line)
        nulls.setdefault((model, other), []).append(
            Number(reason=UNDEFINED) if found is None else null_of(found, line)
        )
    entries = {
        models: over_pairs(numbers[models], same=models[0] == models[1])
        for models in sorted(numbers)
    }
    return entries, {models: mean_number(nulls[models]) for models in entries}


def _result(report: PairReport, asked: MetricResult) -> MetricResult | None:
    """Return the result of a report that is measured as another one was."""
    same = measured(asked)
    return next((r for r in report.metrics if r.id == asked.id and measured(r) == same), None)


def _decimal(value: float | None) -> str:
    return "-" if value is None else decimal(value)


def _unlearned(
    learned: Mapping[tuple[int, int], bool | None], names: Sequence[str]
) -> Iterator[str]:
    """Yield the models of which networks did not learn the task: ``NAME (3 of 4 seeds)``."""
    for place, name in enumerate(names):
        seeds = [found for (model, _), found in learned.items() if model == place]
        n = sum(not found for found in seeds)
        if n:
            yield f"{name} ({n} of {len(seeds)} seeds)"


def _names(sides: Sequence[PairSide]) -> list[str]:
    """Return names of models, with what their runs differ in where the titles are the same."""
    counts = Counter(side.title for side in sides)
    runs = [format_args(run_of(side)) or "usual recipe" for side in sides]
    return [
        side.title if counts[side.title] == 1 else f"{side.title} ({run})"
        for side, run in zip(sides, runs, strict=True)
    ]
