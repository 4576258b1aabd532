"""Reports of pairs as matrices: models by models, one per task and number, over seeds.

Off the diagonal stand pairs of two models, in which every network occurs once: their mean has
Student's t interval over them. On the diagonal stand the networks of one model that differ in the
seed: how alike two models could be at most, by this measure. All pairs of them count, which share
networks, so that their interval is a jackknife's. There is no rank: neither end is better.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from mecheval.reports.canonical import sha256_of
from mecheval.reports.collection.numbers import Number, number_of
from mecheval.reports.collection.over_pairs import OverPairs, over_pairs
from mecheval.reports.labels import model_key
from mecheval.reports.tracking import NOT_LEARNED
from mecheval.spec import format_args

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mecheval.reports.pair import PairReport, PairSide
    from mecheval.reports.results import Headline, MetricResult


_MOST = 8  # reasons that are listed
_DIAGONAL = (
    "The diagonal holds networks of one model that differ in the seed; above it stand pairs of two "
    "models, of different seeds where there are several. Intervals are over pairs of networks (t; "
    "on the diagonal a jackknife over seeds)."
)


@dataclass(frozen=True)
class Matrix:
    """One number of all pairs of models on a task.

    Attributes:
        task: The task's name with the parameters that differ from its defaults.
        id: The result.
        heading: What the number is.
        caption: What the metric says, in a sentence.
        models: Names of the models, in the order in which they were met.
        unlearned: Those of which networks did not learn the task, with how many.
        entries: What two models have, by their places among the models, the smaller one first.
    """

    task: str
    id: str
    heading: str
    caption: str
    models: list[str]
    unlearned: list[str]
    entries: Mapping[tuple[int, int], OverPairs]

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
        if self.unlearned:
            said.append(f"{NOT_LEARNED} on {self.task}: {', '.join(self.unlearned)}")
        said += [f"{self.heading} on {self.task}, {n} pairs: {why}" for why, n in others[:_MOST]]
        if len(others) > _MOST:
            said.append(f"and {len(others) - _MOST} more reasons, which stand in the reports")
        return said

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return the headers and rows of the matrix, of models that have a number.

        What is symmetric is written once.
        """
        numbered = dict(enumerate(self.shown, 1))
        rows = [
            [f"{n}. {self.models[i]}", *(str(self.entries.get((i, j), "")) for j in self.shown)]
            for n, i in numbered.items()
        ]
        return ["Model", *(f"{n}." for n in numbered)], rows

    def rows(self) -> list[dict[str, Any]]:
        """Return one object per pair of models."""
        return [
            {
                "task": self.task, "result": self.id, "number": self.heading,
                "a": self.models[i], "b": self.models[j], "mean": entry.mean,
                "low": entry.low, "high": entry.high, "n": len(entry.values),
                "missing": dict(entry.reasons),
            }
            for (i, j), entry in self.entries.items()
        ]  # fmt: skip


def matrices_of(reports: Iterable[PairReport]) -> list[Matrix]:
    """Return one matrix per task, result and headline number, in the order of the reports."""
    by_task: dict[str, list[PairReport]] = {}
    for report in reports:
        by_task.setdefault(sha256_of(report.task.model_dump(mode="json")), []).append(report)
    return [matrix for of_task in by_task.values() for matrix in _of_task(of_task)]


class _Placed(NamedTuple):
    """A report, with the place of each side's model among the models and its seed, in order."""

    report: PairReport
    ends: tuple[tuple[int, int], tuple[int, int]]


def _of_task(reports: Sequence[PairReport]) -> Iterator[Matrix]:
    place: dict[str, int] = {}
    first: list[PairSide] = []
    learned: dict[tuple[int, int], bool | None] = {}
    placed = []
    for report in reports:
        ends = []
        for side in report.sides:
            key = _model_of(side)
            if key not in place:
                place[key] = len(place)
                first.append(side)
            ends.append((place[key], side.seed))
            learned[ends[-1]] = side.learned
        placed.append(_Placed(report, (min(ends), max(ends))))
    names = _names(first)
    unlearned = list(_unlearned(learned, names))
    headings = {
        (result.id, line.title, line.at): (result, line)
        for report in reports
        for result in report.metrics
        for line in result.headline
    }
    for result, line in headings.values():
        captions = (report.captions.get(result.metric, "") for report in reports)
        caption = next(filter(None, captions), "")
        task = reports[0].task_title
        entries = _entries(placed, result.id, line)
        yield Matrix(task, result.id, line.title, caption, names, unlearned, entries)


def _entries(
    placed: Sequence[_Placed], id: str, line: Headline
) -> dict[tuple[int, int], OverPairs]:
    numbers: dict[tuple[int, int], dict[tuple[int, int], Number]] = {}
    for report, ((model, seed), (other, other_seed)) in placed:
        found = next((result for result in report.metrics if result.id == id), None)
        of_models = numbers.setdefault((model, other), {})
        of_models[seed, other_seed] = _number(report, found, line)
    return {
        models: over_pairs(numbers[models], same=models[0] == models[1])
        for models in sorted(numbers)
    }


def _unlearned(
    learned: Mapping[tuple[int, int], bool | None], names: Sequence[str]
) -> Iterator[str]:
    """Yield the models of which networks did not learn the task: ``NAME (3 of 4 seeds)``."""
    for place, name in enumerate(names):
        seeds = [found for (model, _), found in learned.items() if model == place]
        n = sum(not found for found in seeds)
        if n:
            yield f"{name} ({n} of {len(seeds)} seeds)"


def _number(report: PairReport, result: MetricResult | None, line: Headline) -> Number:
    """Return a number of a report, or why it is not there."""
    if report.error is not None:
        return Number(reason=report.error.message)
    number = number_of(result, line.at)
    if number.value is None and line.otherwise and result and result.value is not None:
        return Number(reason=line.otherwise)
    return number._replace(bounds=line.bounds if line.at else number.bounds)


def _model_of(side: PairSide) -> str:
    """Return what tells models apart: all but the seed."""
    return sha256_of([model_key(side.model), _run_of(side)])


def _run_of(side: PairSide) -> dict[str, Any]:
    return {key: value for key, value in side.labels.run.items() if key != "metrics"}


def _names(sides: Sequence[PairSide]) -> list[str]:
    """Return names of models, with what their runs differ in where the titles are the same."""
    counts = Counter(side.title for side in sides)
    runs = [format_args(_run_of(side)) or "usual recipe" for side in sides]
    return [
        side.title if counts[side.title] == 1 else f"{side.title} ({run})"
        for side, run in zip(sides, runs, strict=True)
    ]
