"""What is said below tables: why values are missing, what failed, what parameters differ.

A line per sentence, with the cells that it is about. Reasons of one metric on one task that differ
in their numbers alone are one sentence, with the range of every number.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from mecheval.recipe import whole
from mecheval.reports.collection.words import listed, ranges
from mecheval.reports.tracking import NOT_LEARNED
from mecheval.spec import format_args

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mecheval.reports.collection.columns import Column
    from mecheval.reports.collection.groups import Group
    from mecheval.reports.labels import Name
    from mecheval.reports.schema import Report

MOST_LINES = 12
OTHER_RECIPE = "not by the default recipe, but with"
_MOST_MODELS, _MOST_TASKS, _MOST_TITLES = 5, 4, 3
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e-?\d+)?(?!\w)")


class Note(NamedTuple):
    """A sentence about one seed of a group.

    Attributes:
        text: The sentence.
        name: What model and task are called.
        seed: The seed.
        of: How many seeds the group has; 0 where seeds are always named.
        title: The column that it is about; empty where it is about the whole cell.
        metric: The metric that the column is of.
    """

    text: str
    name: Name
    seed: int
    of: int = 0
    title: str = ""
    metric: str = ""


def missing_values(groups: Iterable[Group], columns: Sequence[Column]) -> Iterator[Note]:
    """Say why values are missing where the task was learned; elsewhere that is why."""
    shown = {column.id for column in columns}
    for group in groups:
        learned, n = group.learned, len(group.seeds)
        for column in columns:
            results = group.results(column.id)
            if not any(results.values()):
                continue
            for seed, reason in group.of(column).reasons.items():
                if not (learned[seed] is False and reason.startswith(NOT_LEARNED)):
                    yield Note(reason, group.name, seed, n, column.title, column.metric)
        for report in group.reports:  # what has no column, as it stands for parts that have
            for result in report.metrics:
                if result.headline and result.id not in shown and result.reason:
                    title, seed = result.headline[0].title, report.identity.seed
                    yield Note(result.reason, group.name, seed, n, title, result.metric)


def parameters(groups: Sequence[Group], columns: Sequence[Column]) -> Iterator[Note]:
    """Say where the numbers of a column were measured with parameters that its first group has not.

    A task may have parameters of its own for a metric, which are usual there and so not in its id.
    """
    for metric, id in {column.metric: column.id for column in columns}.items():
        first: Mapping[str, Any] = {}
        for group in groups:
            for report in group.reports:
                for given in _parameters(report, id):
                    first = first or given
                    other = {k: value for k, value in given.items() if first.get(k, value) != value}
                    if other:
                        text, seed = f"{metric} has {format_args(other)}", report.identity.seed
                        yield Note(text, group.name, seed, len(group.seeds))


def _parameters(report: Report, id: str) -> Iterator[Mapping[str, Any]]:
    """Yield the parameters of the metric that made a result, without what else its config holds."""
    for result in report.metrics:
        for metric in report.identity.metrics:
            if result.id == id and metric.name == result.name:
                yield {key: result.config.get(key) for key in metric.params}
                return


def choices(groups: Iterable[Group]) -> Iterator[Note]:
    """Say which recipe of a sweep was chosen."""
    for group in groups:
        for report in group.reports:
            runs = report.training.sweep if report.training else []
            if not runs:
                continue
            chosen = [format_args(run.values) for run in runs if run.chosen]
            text = f"{chosen[0]} was best" if chosen else "none was best, as all diverged"
            yield Note(
                f"of {len(runs)} recipes, {text} on the validation split",
                group.name, report.identity.seed, len(group.seeds),
            )  # fmt: skip


def recipes(groups: Iterable[Group]) -> list[str]:
    """Return a line per recipe that is not the default of its model and task, with all its cells.

    What a recipe is has no column where there is but one of every model and task.
    """
    found: dict[str, list[Note]] = {}
    for group in groups:
        for report in group.reports:
            asked = _asked(report)
            if asked:
                note = Note(asked, group.name, report.identity.seed, len(group.seeds))
                found.setdefault(asked, []).append(note)
    return [
        f"{OTHER_RECIPE} {text}: {_cells(same, all_of_them=True)}" for text, same in found.items()
    ]


def _asked(report: Report) -> str:
    """Return the fields of the recipe, or of a sweep, that were asked for in place of defaults."""
    run = report.labels.run if report.labels else {}
    known = {*whole(report.identity.recipe), *(f"sweep.{k}" for k in report.identity.sweep or {})}
    return format_args({key: value for key, value in run.items() if key in known})


def lines(notes: Iterable[Note], most: int = MOST_LINES) -> list[str]:
    """Return a line per sentence, those about most cells first, and how many are left out."""
    found: dict[tuple[str, ...], list[Note]] = {}
    for note in notes:
        found.setdefault(_alike(note), []).append(note)
    ordered = sorted(found.values(), key=len, reverse=True)
    told = [_line(same) for same in ordered[:most]]
    return told + (
        [f"and {len(ordered) - most} more, which stand in the reports"]
        if len(ordered) > most
        else []
    )


def _alike(note: Note) -> tuple[str, ...]:
    """Return what notes share that are one sentence: numbers of other tasks are other numbers."""
    if not note.title or not _NUMBER.search(note.text):
        return (note.text,)
    return _NUMBER.sub("#", note.text), note.metric, note.name.task


def _line(notes: Sequence[Note]) -> str:
    titles = [*dict.fromkeys(note.title for note in notes if note.title)]
    about = f" ({listed(titles, _MOST_TITLES)})" if titles else ""
    return f"{_merged([note.text for note in notes])}{about}: {_cells(notes)}"


def _merged(texts: Sequence[str]) -> str:
    """Write sentences that differ in numbers as one, with the range of every number."""
    columns = zip(*(_NUMBER.findall(text) for text in texts), strict=True)
    ranges = iter([_range(list(column)) for column in columns])
    return _NUMBER.sub(lambda _: next(ranges), texts[0])


def _range(numbers: list[str]) -> str:
    low, high = min(numbers, key=float), max(numbers, key=float)
    return low if float(low) == float(high) else f"{low} to {high}"


def _cells(notes: Sequence[Note], *, all_of_them: bool = False) -> str:
    """Name the cells: models by task, with their seeds where these are not all.

    Args:
        notes: What is said of them.
        all_of_them: Whether all are named, however many there are.
    """
    by_task: dict[str, dict[str, list[Note]]] = {}
    for note in notes:
        by_task.setdefault(note.name.task, {}).setdefault(note.name.row, []).append(note)
    told = []
    for task, by_model in by_task.items():
        models = [_with_seeds(model, same) for model, same in by_model.items()]
        told.append(f"{listed(models, len(models) if all_of_them else _MOST_MODELS)} on {task}")
    most = len(told) if all_of_them else _MOST_TASKS
    more = f"; and {len(told) - most} more tasks" if len(told) > most else ""
    return "; ".join(told[:most]) + more


def _with_seeds(model: str, notes: Sequence[Note]) -> str:
    seeds = {note.seed for note in notes}
    if len(seeds) == notes[0].of:
        return model
    return f"{model} (seed{'s' if len(seeds) > 1 else ''} {ranges(seeds)})"
