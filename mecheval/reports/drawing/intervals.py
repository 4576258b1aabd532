"""What is said beneath pictures of the intervals in them: over seeds, or over examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mecheval.reports.collection.numbers import SEED
from mecheval.reports.drawing.words import listed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mecheval.reports.collection import Group


class Interval(NamedTuple):
    """What an interval that is drawn is over.

    Attributes:
        row: The model.
        over: What was resampled; :data:`mecheval.reports.collection.numbers.SEED` for seeds.
    """

    row: str
    over: str


def seeds_sentence(
    groups: Iterable[Group], *, what: str = "", intervals: Iterable[Interval] = ()
) -> str:
    """Say what is averaged, and what its intervals are over, as far as any are drawn.

    Args:
        groups: What is drawn.
        what: How intervals are drawn: ``lines``, ``bands and bars``.
        intervals: Those that are drawn.
    """
    intervals = list(intervals)
    counts = sorted({len(group.seeds) for group in groups})
    if counts == [1]:
        return f"One seed; {what}: the 95 % interval of the report." if intervals else "One seed."
    several = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
    over_seeds = any(each.over == SEED for each in intervals)
    band = f"; {what}: 95 % t interval over seeds" if over_seeds else ""
    rows = list(dict.fromkeys(each.row for each in intervals if each.over != SEED))
    own = (
        f" {what.capitalize()}, where only one seed has a value or all have the same: the hull of "
        f"the reports' own 95 % intervals, which are over examples ({listed(rows)})."
    )
    return f"Means over {several} seeds{band}." + (own if rows else "")
