"""A comparison as Markdown for readers and JSON for programs."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

from mecheval.reports.collection import words
from mecheval.reports.markdown import bullets, table, titled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.reports.comparison.values import Difference, Side

SCHEMA = "mecheval.comparison/1"
SIDES = ("Side", "Model", "Task", "Seeds", "Learned", "Tracking", "Recipe")
HEADERS = ("Number", "A", "B", "B - A", "95 % interval", "p", "p, corrected", "Paired")
LEGEND = (
    "Intervals and p values are those of Student's paired t test, over seeds, or where there is "
    "one over its examples. p is corrected for {} here that {} one, by Holm's procedure; verdicts "
    "are counts and not tested."
)
NOT_TESTED = (
    f"{words.NOT_OVER_SEEDS} there is no t test: all seeds are equal, or a seed's examples cannot "
    "be paired. The interval is what the two reports' own leave open."
)


def markdown(
    sides: Sequence[Side], differences: Sequence[Difference], warnings: Sequence[str]
) -> str:
    """Return what is compared, a table of differences per pair, and the warnings."""
    by_pair: dict[tuple[str, str], list[Difference]] = {}
    for each in differences:
        by_pair.setdefault((each.model, each.task), []).append(each)
    parts = [_sides(sides)]
    parts += [
        titled([f"{model} on {task}"], HEADERS, [row(each) for each in same])
        for (model, task), same in by_pair.items()
    ]
    parts += [*legend(differences), bullets(warnings)]
    return "\n\n".join(part for part in parts if part)


def legend(differences: Sequence[Difference]) -> list[str]:
    """Return what the intervals and p values are, a paragraph each."""
    n_tested = sum(each.p is not None for each in differences)
    many = (
        (f"the {n_tested} differences", "have") if n_tested != 1 else ("the one difference", "has")
    )
    marked = any(_is_marked(each) for each in differences)
    return [LEGEND.format(*many), *([NOT_TESTED] if marked else [])]


def as_json(comparison: Mapping[str, Any]) -> str:
    """Return everything that a comparison holds."""
    content = {"schema": SCHEMA, **comparison}
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _sides(sides: Sequence[Side]) -> str:
    """Return the table of what is compared, without a column that nothing is known for."""
    rows = [
        [each.side, each.model, each.task, words.ranges(each.seeds), each.learned, each.tracking,
         each.recipe]
        for each in sides
    ]  # fmt: skip
    known = [title != "Tracking" or any(each.tracking for each in sides) for title in SIDES]
    headers, *cells = ([*itertools.compress(row, known)] for row in (SIDES, *rows))
    return table(headers, cells)


def row(each: Difference) -> list[str]:
    """Return a difference as a row of the table below :data:`HEADERS`."""
    if each.verdicts is not None:
        return [each.title, *each.verdicts, "", "", "", "", _count(each.n, each.unit)]
    if each.a is None or each.b is None or each.difference is None:
        return [each.title, *[""] * (len(HEADERS) - 1)]
    interval = words.interval(each.low, each.high) + (
        words.NOT_OVER_SEEDS if _is_marked(each) else ""
    )
    return [
        each.title, *_numbers(each.kind, each.a, each.b, each.difference),
        interval, words.p_value(each.p), words.p_value(each.p_corrected),
        _count(each.n, each.unit),
    ]  # fmt: skip


def _is_marked(each: Difference) -> bool:
    return each.low is not None and each.p is None and each.verdicts is None


def _numbers(kind: str, a: float, b: float, difference: float) -> list[str]:
    """Write both sides and their difference with its sign; layers and counts as short as can be."""
    write = words.decimal if kind == "number" else "{:g}".format
    sign = "+" if float(words.decimal(difference)) > 0 else ""
    return [write(a), write(b), sign + write(difference)]


def _count(n: int, unit: str) -> str:
    return f"{n} {unit}" + ("s" if n != 1 else "")
