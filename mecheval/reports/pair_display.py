"""The report of a pair as one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mecheval import escape
from mecheval.reports.collection.numbers import number_of
from mecheval.reports.collection.words import decimal

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST = 4
"""Numbers in a line."""


def line(report: Any) -> str:
    """Return ``<gla (seed 0) and mamba (seed 1) on ar: correlation 0.75 (null 0.01, seeds 0.82)>``.

    What stands as ``seeds`` is what other seeds of the same models have.

    Args:
        report: A :class:`mecheval.reports.pair.PairReport`, whose file imports this one.
    """
    sides = " and ".join(f"{side.title} (seed {side.seed})" for side in report.sides)
    name = escape.shortened(f"{sides} on {report.where}", most=escape.MOST_NAMED)
    if report.error:
        where, what = (escape.shortened(text) for text in (report.error.stage, report.error.type))
        return f"<{name}: failed in {where} ({what})>"
    found = list(_numbers(report))
    more = [f"and {len(found) - MOST} more"] if len(found) > MOST else []
    said = ", ".join([*found[:MOST], *more]) or "no number"
    return f"<{name}: {said}{', partial' if report.partial else ''}>"


def _numbers(report: Any) -> Iterator[str]:
    levels = {(level.id, level.at): level for level in report.levels}
    for result in report.metrics:
        for headline in result.headline:
            number = number_of(result, headline.at)
            if number.value is None:
                continue
            level = levels.get((result.id, headline.at))
            ends = {"null": level.null, "seeds": level.skyline} if level else {}
            beside = [f"{name} {decimal(end)}" for name, end in ends.items() if end is not None]
            text = f"{headline.title} {decimal(number.value)}"
            text += f" ({', '.join(beside)})" if beside else ""
            yield escape.shortened(text, most=escape.MOST_QUOTED)
