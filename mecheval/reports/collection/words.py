"""How numbers over seeds are written for a person, the same in all tables."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from mecheval import escape
from mecheval.reports.collection.numbers import SEED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mecheval.reports.collection.numbers import OverSeeds

NOT_OVER_SEEDS = "\u00b9"
"""Marks an interval that is over examples in place of seeds."""

_LONGEST = 24  # characters of a reason that fits into a cell


def cell(summary: OverSeeds, kind: str = "number", *, marked: bool = True) -> str:
    """Write a number over seeds, its verdicts, or in a word why there is none.

    Args:
        summary: The number.
        kind: How it is written: number, layer, count, range.
        marked: Whether intervals that are not over seeds bear a mark.
    """
    if summary.verdicts:
        return verdicts(summary)
    if summary.mean is None:
        return missing(summary)
    if kind == "layer":
        layers = Counter(f"{value:g}" for value in summary.values.values())
        return _counted(dict(layers.most_common()), summary)
    if kind == "range":
        text = ends(summary.low, summary.high)
    elif kind == "count":
        text = f"{summary.mean:.1f}".removesuffix(".0") + _interval(summary, 1, marked=marked)
    else:
        text = decimal(summary.mean) + _interval(summary, 3, marked=marked)
    return text + (f" ({summary.n} of {summary.n_seeds} seeds)" if summary.reasons else "")


def decimal(value: float, digits: int = 3) -> str:
    """Write a number with decimals, without a minus before zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def interval(low: float | None, high: float | None, *, digits: int = 3) -> str:
    """Write an interval; nothing where there is none."""
    if low is None or high is None:
        return ""
    return f"[{decimal(low, digits)}, {decimal(high, digits)}]"


def ends(low: float | None, high: float | None) -> str:
    """Write the ends of a range; say so where seeds have none in common."""
    if low is None or high is None:
        return ""
    return f"{decimal(low, 2)} to {decimal(high, 2)}" if low <= high else "none in common"


def p_value(p: float | None) -> str:
    """Write a p value; nothing where there is none."""
    if p is None:
        return ""
    return escape.Markdown("<0.001") if p < 0.001 else f"{p:.3f}"


def verdicts(summary: OverSeeds) -> str:
    """Write verdicts with the number of seeds that have them; a single seed's alone."""
    return _counted(summary.verdicts, summary)


def missing(summary: OverSeeds) -> str:
    """Say in a word why no seed has a number."""
    heads = {reason.partition(":")[0] for reason in summary.reasons.values()}
    if not heads:
        return ""
    short = "; ".join(sorted(heads))
    return short if len(short) <= _LONGEST else "undefined"


def ranges(seeds: Iterable[int]) -> str:
    """Write seeds as ``0-3,7``."""
    found: list[list[int]] = []
    for seed in sorted(seeds):
        if found and seed == found[-1][1] + 1:
            found[-1][1] = seed
        else:
            found.append([seed, seed])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in found)


def listed(items: Sequence[str], most: int) -> str:
    """Write a list, of which only the first ones are named where there are many."""
    if len(items) <= most:
        return ", ".join(items)
    return ", ".join(items[:most]) + f" and {len(items) - most} more"


def _interval(summary: OverSeeds, digits: int, *, marked: bool) -> str:
    text = interval(summary.low, summary.high, digits=digits)
    mark = NOT_OVER_SEEDS if text and marked and summary.over != SEED else ""
    return f" {text}{mark}" if text else ""


def _counted(counts: Mapping[str, int], summary: OverSeeds) -> str:
    if summary.n_seeds == 1:
        return ", ".join(counts)
    return ", ".join(f"{word} ({n} of {summary.n_seeds})" for word, n in counts.items())
