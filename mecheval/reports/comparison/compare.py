"""Two sets of reports, number by number.

Reports are paired by task and seed, by model too unless each side has a single one, and by recipe
where a side has several. With several seeds a difference is averaged over seeds; with one, over
examples, where both reports measured the same ones and say what each contributed. The p values of
all differences are corrected by Holm's procedure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mecheval import stats
from mecheval.errors import UsageError
from mecheval.reports.collection import Collection, collect, load_results, marks, words
from mecheval.reports.collection.columns import columns_of
from mecheval.reports.collection.groups import Group, grouped
from mecheval.reports.collection.numbers import VERDICT
from mecheval.reports.comparison.conditions import warnings
from mecheval.reports.comparison.pairing import difference_of, paired
from mecheval.reports.comparison.values import Difference as Difference
from mecheval.reports.comparison.values import Side as Side
from mecheval.reports.labels import names_of
from mecheval.reports.schema import Report

if TYPE_CHECKING:
    from mecheval.reports.collection import Column
    from mecheval.reports.comparison.pairing import Pair

Reports = Report | Path | str | Collection | Iterable[Report]


@dataclass(frozen=True)
class Comparison:
    """All paired differences, what was compared, and warnings about what else is not the same."""

    sides: Sequence[Side]
    differences: Sequence[Difference]
    warnings: Sequence[str]

    def to_markdown(self) -> str:
        """Return Markdown: what is compared, a table of differences per pair, the warnings."""
        from mecheval.reports.comparison.text import markdown

        return markdown(self.sides, self.differences, self.warnings)

    def to_json(self) -> str:
        """Return everything as JSON."""
        from mecheval.reports.comparison.text import as_json

        return as_json(asdict(self))


def compare(a: Reports, b: Reports) -> Comparison:
    """Compare two sets of reports.

    Args:
        a: A report, a file, a folder, several reports or a collection.
        b: The same for the other side; differences are b - a.

    Returns:
        One difference per task, model and headline number that both sides have.

    Raises:
        UsageError: A file is not there, no cell of one side has a partner on the other, or several
            recipes could be meant.

    Examples:
        >>> import mecheval
        >>> how = {"recipe": {"steps": 2}, "limit": 16, "metrics": ["behaviour"]}
        >>> a, b = mecheval.evaluate(["gru[width=16]", "lstm[width=16]"], "parity", **how)
        >>> found = mecheval.compare(a, b)
        >>> {difference.task for difference in found.differences}
        {'parity@1'}
    """
    left, right = _reports(a), _reports(b)
    names = names_of([*left, *right])
    groups = grouped(left, names[: len(left)]), grouped(right, names[len(left) :])
    pairs = [_on_shared_seeds(*pair) for pair in paired(*groups)]
    pairs = [(one, other) for one, other in pairs if one.reports]
    if not pairs:
        raise UsageError(
            "The two sides have no cell in common. Give reports of the same tasks and seeds "
            "(and of the same models, if there are several)."
        )
    differences = [each for one, other in pairs for each in _differences(one, other)]
    corrected = stats.holm([each.p for each in differences])
    return Comparison(
        [side for pair in pairs for side in _sides(*pair)],
        [replace(d, p_corrected=p) for d, p in zip(differences, corrected, strict=True)],
        warnings(pairs, n_reports=len(left) + len(right)),
    )


def _reports(given: Reports) -> list[Report]:
    """Return the finished reports of a side.

    Raises:
        UsageError: The file is not a report, or there is no such file or folder.
    """
    if isinstance(given, Collection):
        return given.reports
    if isinstance(given, Report):
        return collect([given]).reports
    if not isinstance(given, str | Path):
        return collect(given).reports
    found = load_results(given)
    if not found.reports and found.refused:
        first = found.refused[0]
        raise UsageError(f"The report {Path(given) / first.path} does not count: {first.reason}.")
    return found.reports


def _on_shared_seeds(one: Group, other: Group) -> Pair:
    """Leave out the seeds that a side has alone, so that nothing of the other one counts them."""
    shared = {*one.seeds} & {*other.seeds}
    left, right = (
        replace(group, reports=[r for r in group.reports if r.identity.seed in shared])
        for group in (one, other)
    )
    return left, right


def _sides(one: Group, other: Group) -> list[Side]:
    return [
        Side(side, group.name.model, group.name.task, group.recipe, group.seeds,
             marks.learned(group), marks.tracking(group))
        for side, group in zip("AB", (one, other), strict=True)
    ]  # fmt: skip


def _differences(one: Group, other: Group) -> Iterable[Difference]:
    """Yield the differences of all headline numbers that both sides have, but for ranges.

    Nor are numbers compared that other versions of a metric gave, or other files of it.
    """
    models = dict.fromkeys((one.name.row, other.name.row))
    theirs = {(column.id, column.at) for column in columns_of(other.reports)}
    for column in columns_of(one.reports):
        same = one.edition(column.id) == other.edition(column.id)
        if (column.id, column.at) in theirs and column.kind != "range" and same:
            empty = Difference(
                one.name.task, " -> ".join(models), column.id, column.at, column.title, column.kind
            )
            found = _verdicts(empty, one, other) if column.at == VERDICT else (
                _numbers(empty, column, one, other)
            )  # fmt: skip
            yield from found


def _verdicts(empty: Difference, one: Group, other: Group) -> Iterable[Difference]:
    sides = [group.number(empty.result, VERDICT) for group in (one, other)]
    if all(side.verdicts for side in sides):
        a, b = map(words.verdicts, sides)
        yield replace(empty, verdicts=(a, b), n=min(side.n for side in sides))


def _numbers(empty: Difference, column: Column, one: Group, other: Group) -> Iterable[Difference]:
    found = difference_of(one, other, column.id, column.at)
    if found is not None:
        yield replace(empty, **found._asdict())
