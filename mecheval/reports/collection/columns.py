"""The columns of tables: the numbers that results name as their headline, by kind of evidence.

No metric is known by name here: whatever a report's results put into their headline is a column.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from mecheval.errors import UsageError
from mecheval.escape import shortened
from mecheval.reports.collection.numbers import VERDICT
from mecheval.reports.results import BEHAVIOUR, Headline, part_of
from mecheval.spec import format_value, parse_spec
from mecheval.text.naming import MOST_OF_TITLE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from mecheval.reports.content import Content
    from mecheval.reports.results import MetricResult


_MOST_OF_VALUE, LEFT_OUT = 16, "..."


class Column(NamedTuple):
    """A number of a result.

    Attributes:
        id: The result's id.
        at: The path of the number in it; ``verdict`` for its verdict.
        title: The heading, which no other column has.
        kind: How it is written: number, layer, count, range.
        metric: The metric with its parameters.
        family: Kind of evidence.
        caption: What the metric's numbers say, in a sentence or two.
        bounds: Smallest and largest possible number, where it is not the value.
        otherwise: Why it is missing where the result has a value.
        again: What tells it from another column of the same number: ``as layer``.
        own: The heading as the result has it, for tables of its metric alone: what stands above
            these names the metric with its parameters.
    """

    id: str
    at: str
    title: str
    kind: str
    metric: str
    family: str
    caption: str
    bounds: tuple[float | None, float | None] = (None, None)
    otherwise: str = ""
    again: str = ""
    own: str = ""

    @property
    def part(self) -> str:
        """Return what the result is of, empty for the one result of a metric."""
        return part_of(self.id, self.metric)

    @property
    def key(self) -> str:
        """Return what tells the column apart: ``recovery/state layer``."""
        return " ".join(filter(None, (self.id, self.at, self.again)))


def columns_of(reports: Iterable[Content]) -> list[Column]:
    """Return the columns of reports: behaviour first, else in the order of the results.

    A number that one result names several times, written in several ways, has as many columns.
    Headings say the metric's parameters that are not usual, and those that would stand twice what
    tells their results apart. Where a metric has results of several parts, the one that stands for
    all of them where it cannot be measured is no column.
    """
    reports = list(reports)
    decided = {m.id for report in reports for m in report.metrics if m.verdict is not None}
    found: dict[tuple[str, str, str, int], Column] = {}
    keys: set[str] = set()
    for report in reports:
        for column, nth in _numbered(_columns(report, decided)):
            place = column.id, column.at, column.kind, nth
            if place in found:
                continue
            if column.key in keys:
                column = column._replace(again=f"as {column.kind}" + (f" {nth}" if nth else ""))
            keys.add(column.key)
            found[place] = column
    parts = {column.metric for column in found.values() if column.id != column.metric}
    # What stands for all parts, where none can be measured, is called by the metric itself.
    whole = {c for c in found.values() if c.id == c.title == c.metric}
    shown = [c for c in found.values() if c not in whole or c.metric not in parts]
    ordered = sorted(shown, key=lambda column: column.family != BEHAVIOUR)
    titled: dict[str, list[Column]] = {}
    for column in ordered:
        titled.setdefault(column.title, []).append(column)
    apart = {c.key: c for same in titled.values() for c in _told_apart(same)}
    return [apart[column.key] for column in ordered]


def _numbered(columns: Iterable[Column]) -> Iterator[tuple[Column, int]]:
    """Number a report's columns that are of one number and of one kind; equal ones are one."""
    seen: dict[tuple[str, str, str], list[Column]] = {}
    for column in columns:
        same = seen.setdefault((column.id, column.at, column.kind), [])
        if column not in same:
            same.append(column)
            yield column, len(same) - 1


def _columns(report: Content, decided: Collection[str]) -> Iterator[Column]:
    """Yield a report's columns; the values under their titles, where no result has a headline."""
    named = any(result.headline for result in report.metrics)
    for result in report.metrics:
        metric = result.metric or result.name
        for headline in result.headline if named else _by_title(result, decided):
            yield Column(
                result.id, headline.at, headline.title, headline.kind, metric, result.family,
                report.captions.get(metric, ""), headline.bounds,
                headline.otherwise, own=headline.title,
            )  # fmt: skip


def _by_title(result: MetricResult, decided: Collection[str]) -> list[Headline]:
    if result.id not in decided:
        return [Headline(title=result.title)]
    beside = shortened(f"{result.title}: value beside the verdict", most=MOST_OF_TITLE)
    return [Headline(title=result.title, at=VERDICT), Headline(title=beside)]


@lru_cache(maxsize=1024)
def brief(metric: str) -> str:
    """Return a metric's parameters that are not usual, with ``...`` for values that are long.

    What is left out stands above the table, where the metric is named. ``length=4`` of
    ``exchange[length=4]``, ``erasers=...`` of one whose erasers are many; nothing where all are
    usual.
    """
    try:
        args = parse_spec(metric).args
    except UsageError:  # of a report that names no metric of ours
        return shortened(metric.partition("[")[2].removesuffix("]"))
    texts = {key: format_value(value) for key, value in args.items()}
    return ",".join(
        f"{key}={text if len(text) <= _MOST_OF_VALUE else LEFT_OUT}" for key, text in texts.items()
    )


def _with(title: str, column: Column) -> str:
    """Return a heading with the parameters that are not usual."""
    parameters = brief(column.metric)
    return f"{title} ({parameters})" if parameters else title


def _told_apart(same: Sequence[Column]) -> list[Column]:
    """Give columns of one title what tells them apart: what they are of, or their parameters."""
    briefs = [brief(column.metric) for column in same]
    if len({*briefs}) == len(briefs):
        return [column._replace(title=_with(column.title, column)) for column in same]
    ways = (
        [", ".join(filter(None, (column.part, text)))
         for column, text in zip(same, briefs, strict=True)],
        [column.metric.partition("[")[2].removesuffix("]") for column in same],
        [column.id for column in same],
        [column.kind for column in same],
        [column.key for column in same],
    )  # fmt: skip
    apart = next(words for words in ways if len({*words}) == len(words))
    return [
        column._replace(title=f"{column.title} ({words})" if words else column.title)
        for column, words in zip(same, apart, strict=True)
    ]
