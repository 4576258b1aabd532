"""Tables with a sentence above them: how columns are divided among them, and what is said.

A table is no wider than a screen where that can be: the columns of further metrics, and if need be
of further results of one metric, go into a table of their own. Results whose headings differ only
in what they are of, such as the variables of a task, become rows in place of columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mecheval.reports.collection.columns import Column

WIDTH = 185


class Block(NamedTuple):
    """A table with sentences above it.

    Attributes:
        captions: The sentences, a line each.
        headers: One heading per column.
        rows: The cells.
    """

    captions: Sequence[str]
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def width(self) -> int:
        """Return the characters of a line of the table, ruled and padded."""
        columns = zip(self.headers, *self.rows, strict=True)
        return sum(3 + max(map(len, column)) for column in columns) + 1


def packed(
    columns: Sequence[Column], table: Callable[[Sequence[Column]], Block], *, width: int = WIDTH
) -> list[Block]:
    """Divide columns among as few tables as keep the width.

    Metrics whose results are of the same things, such as the variables of a task, stand side by
    side.

    Args:
        columns: All columns.
        table: Makes a table of some of them.
        width: Characters of a line, which the columns of a single result may exceed.
    """
    parts: list[list[Column]] = []
    for of_metric in by_metric(columns):
        fits = table(of_metric).width <= width
        for further in [of_metric] if fits else _by(of_metric, lambda column: column.id):
            alike = bool(parts) and _subjects(parts[-1]) == _subjects(further)
            if alike and table([*parts[-1], *further]).width <= width:
                parts[-1] = [*parts[-1], *further]
            else:
                parts.append(further)
    return _once(table(part) for part in parts)


def _once(blocks: Iterable[Block]) -> list[Block]:
    """Say of a metric once what its numbers say, above the first of its tables."""
    found, said = [], set[str]()
    for block in blocks:
        again = [f"{c.partition(': ')[0]}, continued" if c in said else c for c in block.captions]
        said.update(block.captions)
        found.append(block._replace(captions=again))
    return found


def by_metric(columns: Sequence[Column]) -> list[list[Column]]:
    """Return the columns of every metric."""
    return _by(columns, lambda column: column.metric)


def headings(columns: Sequence[Column]) -> list[str]:
    """Return the headings of a table's columns, without parameters if the table is of one metric.

    The sentence above such a table names the metric with its parameters.
    """
    own = [column.own for column in columns]
    alone = len({column.metric for column in columns}) == 1 and len({*own}) == len(own)
    return own if alone else [column.title for column in columns]


def by_subject(columns: Sequence[Column]) -> dict[str, list[Column]] | None:
    """Return columns by what their results are of, with that left out of the headings.

    Returns:
        The columns by subject: those of ``depth: cost`` and ``top: cost``, both called ``cost``, by
        ``depth`` and ``top``. None where there are no two, or headings differ in more than that.
    """
    found: dict[str, list[Column]] = {}
    for column, title in zip(columns, headings(columns), strict=True):
        subject = column.part
        if not subject or not title.startswith(f"{subject}: "):
            return None
        named = column._replace(title=title.removeprefix(f"{subject}: "))
        found.setdefault(subject, []).append(named)
    alike = len({tuple((c.metric, c.title) for c in same) for same in found.values()}) == 1
    return found if alike and len(found) > 1 else None


def _subjects(columns: Sequence[Column]) -> set[str]:
    return set(by_subject(columns) or ())


def _by(columns: Sequence[Column], key: Callable[[Column], str]) -> list[list[Column]]:
    found: dict[str, list[Column]] = {}
    for column in columns:
        found.setdefault(key(column), []).append(column)
    return list(found.values())


def captions(columns: Sequence[Column]) -> list[str]:
    """Return a sentence for each metric of a table: what its numbers say."""
    told = {column.metric: column.caption for column in columns}
    return [f"{metric}: {said}" if said else metric for metric, said in told.items()]
