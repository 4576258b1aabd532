"""The numbers that results name as their headline, as columns.

In reports from before there were headlines, every result has one: its verdict or its value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mecheval.reports.drawing.canvas import COLOURS, GREY
from mecheval.reports.results import Headline

if TYPE_CHECKING:
    from mecheval.reports.drawing.sheets import Sheet
    from mecheval.reports.schema import MetricResult

VERDICT, BEHAVIOUR = "verdict", "behaviour"


class Column(NamedTuple):
    """A number of a result: where it is, and what it is called."""

    id: str
    at: str
    title: str
    kind: str
    is_behaviour: bool
    is_share: bool


def columns(sheet: Sheet) -> list[Column]:
    """Return the columns of all results, in the order of the reports."""
    have = any(result.headline for result in sheet.results())
    found: dict[tuple[str, str], Column] = {}
    for result in sheet.results():
        for headline in result.headline if have else _older(sheet, result):
            column = Column(
                result.id, headline.at, headline.title, headline.kind,
                result.family == BEHAVIOUR, result.bounds == (0.0, 1.0) and not headline.at,
            )  # fmt: skip
            found.setdefault((column.id, column.at), column)
    return list(found.values())


def _older(sheet: Sheet, result: MetricResult) -> list[Headline]:
    if result.id in sheet.verdicts:
        return [Headline(title=result.title, at=VERDICT)]
    if result.family == BEHAVIOUR and not result.id.startswith("token_accuracy/"):
        return []
    return [Headline(title=result.title)]


def verdict_colour(sheet: Sheet, id: str, verdict: str) -> str:
    """Return the colour of a verdict, the same in all pictures; grey where there are too many."""
    known = sheet.verdicts[id]
    return COLOURS[known.index(verdict)] if len(known) <= len(COLOURS) else GREY
