"""Tables with a sentence above them: how columns are divided among them, and what is said.

A table is no wider than a screen where that can be: the columns of further metrics, and if need be
of further results of one metric, go into a table of their own. Results whose headings differ only
in what they are of, such as the variables of a task, become rows in place of columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mecheval.reports.collection.columns import BEHAVIOUR

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mecheval.reports.collection.columns import Column

WIDTH = 185

CAPTIONS = {
    BEHAVIOUR: "What the models score: the share of answers that are right. Floor: the best score "
    "without a model. Learned: whether the score passed the gate.",
    "intervention": "Interventions ({}): what becomes of the answer when activations are changed.",
    "probe": "Probes ({}): what a classifier reads from the activations.",
    "bottleneck": "Erasure ({}): what the answer loses with a variable that is erased.",
}
"""A sentence about a kind of evidence, with its metrics; other kinds are called by their names."""


class Block(NamedTuple):
    """A table with a sentence above it.

    Attributes:
        caption: The sentence.
        headers: One heading per column.
        rows: The cells.
    """

    caption: str
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

    Args:
        columns: All columns.
        table: Makes a table of some of them.
        width: Characters of a line, which the columns of a single result may exceed.
    """
    parts: list[list[Column]] = []
    for of_metric in by_metric(columns):
        fits = table(of_metric).width <= width
        for further in [of_metric] if fits else _by(of_metric, lambda column: column.id):
            joined = [*parts[-1], *further] if parts else []
            if joined and table(joined).width <= width:
                parts[-1] = joined
            else:
                parts.append(further)
    return [table(part) for part in parts]


def by_metric(columns: Sequence[Column]) -> list[list[Column]]:
    """Return the columns of every metric."""
    return _by(columns, lambda column: column.metric)


def by_subject(columns: Sequence[Column]) -> dict[str, list[Column]] | None:
    """Return a metric's columns by what its results are of, with that left out of the headings.

    Returns:
        The columns by subject: those of ``depth: cost`` and ``top: cost``, both called ``cost``, by
        ``depth`` and ``top``. None where there are no two, or headings differ in more than that.
    """
    found: dict[str, list[Column]] = {}
    for same in _by(columns, lambda column: column.id):
        subject = same[0].id.partition("/")[2]
        if not subject or not all(c.title.startswith(f"{subject}: ") for c in same):
            return None
        found[subject] = [c._replace(title=c.title.removeprefix(f"{subject}: ")) for c in same]
    alike = len({tuple(column.title for column in same) for same in found.values()}) == 1
    return found if alike and len(found) > 1 else None


def _by(columns: Sequence[Column], key: Callable[[Column], str]) -> list[list[Column]]:
    found: dict[str, list[Column]] = {}
    for column in columns:
        found.setdefault(key(column), []).append(column)
    return list(found.values())


def caption(columns: Sequence[Column]) -> str:
    """Return the sentence above a table of columns of one kind of evidence."""
    family = columns[0].family
    metrics = dict.fromkeys(column.metric for column in columns)
    otherwise = f"{family.replace('_', ' ').capitalize()} ({{}})."
    return CAPTIONS.get(family, otherwise).replace("{}", ", ".join(metrics))
