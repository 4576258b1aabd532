"""How figures look: sizes in inches and points, colours, and how wide text is."""

from __future__ import annotations

from typing import Any

WIDTH = 7.0
"""Inches: the text of a paper in two columns."""

NARROW = 3.4
"""Inches: one of two columns; what a single panel gets."""

DPI = 300
TITLE, CAPTION, SMALL = 7.5, 6.5, 5.5
"""Sizes of letters, in points; no letter is smaller than the last."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, which colour-blind readers can tell apart."""

GREY, LIGHT = "#6b6b6b", "#d9d9d9"

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.titlelocation": "left",
    "axes.titlepad": 3,
    "axes.labelsize": 7,
    "axes.labelpad": 2,
    "axes.linewidth": 0.6,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "hatch.linewidth": 0.4,
    "figure.facecolor": "white",
    "svg.hashsalt": "mecheval",
    "text.parse_math": False,  # a dollar in a model's name is a dollar
}

LETTER = 0.57  # width of a letter of DejaVu Sans in its size, as names have them
PROSE = 0.525  # the same in sentences


def text_inches(text: str, points: float) -> float:
    """Return about how wide a line of text is."""
    return max(map(len, text.split("\n")), default=0) * LETTER * points / 72
