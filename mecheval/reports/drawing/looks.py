"""How verdicts are drawn: a square of a colour of their own, the same in all pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mecheval.reports.drawing.style import COLOURS, GREY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FILLED = ("full", "bottom", "left", "top", "right")
"""Which half of a square is filled, as matplotlib's fill styles are called."""


class Look(NamedTuple):
    """How a verdict's square is drawn: its colour, and which part of it is filled."""

    colour: str
    filled: str


def look_of(verdicts: Mapping[str, Sequence[str]], id: str, verdict: str) -> Look:
    """Return how a verdict is drawn; grey where there are more of them than looks.

    What a metric says of several variables in one word looks the same.

    Args:
        verdicts: All that are drawn, by id of the result.
        id: Of the result.
        verdict: One of its verdicts.
    """
    every = ((_metric_of(of), word) for of, words in verdicts.items() for word in words)
    place = list(dict.fromkeys(every)).index((_metric_of(id), verdict))
    looks = [Look(colour, filled) for filled in FILLED for colour in COLOURS]
    return looks[place] if place < len(looks) else Look(GREY, FILLED[0])


def _metric_of(id: str) -> str:
    """Return the metric of a result, which may have a room, without parameters and part."""
    stem, bracket, _ = id.partition("[")
    return stem if bracket else stem.rpartition("/")[0] or stem
