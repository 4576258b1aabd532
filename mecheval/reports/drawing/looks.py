"""How verdicts are drawn: a square of a colour of their own, the same in all pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mecheval.reports.drawing.style import COLOURS, GREY

if TYPE_CHECKING:
    from collections.abc import Sequence

FILLED = ("full", "bottom", "left", "top", "right")
"""Which half of a square is filled, as matplotlib's fill styles are called."""


class Look(NamedTuple):
    """How a verdict's square is drawn: its colour, and which part of it is filled."""

    colour: str
    filled: str


def looks_of(said: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Look]:
    """Return how verdicts are drawn; grey where there are more of them than looks.

    Args:
        said: The metrics and what they say in a word, each once.
    """
    looks = [Look(colour, filled) for filled in FILLED for colour in COLOURS]
    further = [Look(GREY, FILLED[0])] * (len(said) - len(looks))
    return dict(zip(said, [*looks, *further], strict=False))
