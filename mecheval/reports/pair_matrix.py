"""Reports of pairs as matrices: models by models, one per task and number, over seeds.

Off the diagonal stand pairs of two models, in which every network occurs once: their mean has
Student's t interval over them. On the diagonal stand the networks of one model that differ in the
seed: how alike two models could be at most, by this measure. All pairs of them count, which share
networks, so that their interval is a jackknife's. There is no rank: neither end is better.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mecheval.reports.canonical import sha256_of
from mecheval.reports.collection.numbers import Number, number_of
from mecheval.reports.collection.over_pairs import OverPairs, over_pairs
from mecheval.reports.tracking import NOT_LEARNED
from mecheval.spec import Spec

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


@dataclass
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
    entries: dict[tuple[int, int], OverPairs] = field(default_factory=dict)

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


def _of_task(reports: Sequence[PairReport]) -> Iterator[Matrix]:
    sides = {_model_of(side): side for report in reports for side in report.sides}
    place = {key: i for i, key in enumerate(sides)}
    names = _names(list(sides.values()))
    unlearned = list(_unlearned(reports, place, names))
    headings = {
        (result.id, line.title, line.at): line
        for report in reports
        for result in report.metrics
        for line in result.headline
    }
    for (id, title, _), line in headings.items():
        name = next(r.metric for report in reports for r in report.metrics if r.id == id)
        captions = (report.captions.get(name, "") for report in reports)
        matrix = Matrix(
            reports[0].task_title, id, title, next(filter(None, captions), ""), names, unlearned
        )
        numbers: dict[tuple[int, int], dict[tuple[int, int], Number]] = {}
        for report in reports:
            first, second = sorted(place[_model_of(side)] for side in report.sides)
            found = next((result for result in report.metrics if result.id == id), None)
            of_pair = numbers.setdefault((first, second), {})
            of_pair[_seeds(report, place)] = _number(report, found, line)
        for pair in sorted(numbers):
            matrix.entries[pair] = over_pairs(numbers[pair], same=pair[0] == pair[1])
        yield matrix


def _unlearned(
    reports: Sequence[PairReport], place: Mapping[str, int], names: Sequence[str]
) -> Iterator[str]:
    """Yield the models of which networks did not learn the task: ``NAME (3 of 4 seeds)``."""
    networks: dict[int, dict[int, bool | None]] = {}
    for side in (side for report in reports for side in report.sides):
        networks.setdefault(place[_model_of(side)], {})[side.seed] = side.learned
    for model, learned in sorted(networks.items()):
        n = sum(not of for of in learned.values())
        if n:
            yield f"{names[model]} ({n} of {len(learned)} seeds)"


def _seeds(report: PairReport, place: Mapping[str, int]) -> tuple[int, int]:
    """Return the seeds of the two networks, that of the earlier model first."""
    first, second = sorted((place[_model_of(side)], side.seed) for side in report.sides)
    return first[1], second[1]


def _number(report: PairReport, result: MetricResult | None, line: Headline) -> Number:
    """Return a number of a report, or why it is not there."""
    if report.error is not None:
        return Number(reason=report.error.message)
    number = number_of(result, line.at)
    return number.within(line.bounds if line.at else number.bounds, otherwise=line.otherwise)


def _model_of(side: PairSide) -> str:
    """Return what tells models apart: all but the seed."""
    run = {key: value for key, value in side.labels.run.items() if key != "metrics"}
    return sha256_of([side.model.model_dump(mode="json"), run])


def _names(sides: Sequence[PairSide]) -> list[str]:
    """Return names of models, with what their runs differ in where the titles are the same."""
    counts = Counter(side.title for side in sides)
    return [side.title if counts[side.title] == 1 else _longer(side) for side in sides]


def _longer(side: PairSide) -> str:
    run = {key: value for key, value in side.labels.run.items() if key != "metrics"}
    return str(Spec(side.title, run)) if run else f"{side.title} (usual recipe)"
