"""How figures look: sizes in inches and points, colours, and how wide text is."""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Any

from matplotlib.backends.backend_agg import get_hinting_flag
from matplotlib.font_manager import FontProperties, findfont, get_font

WIDTH = 7.0
"""Inches: the text of a paper in two columns."""

NARROW = 3.4
"""Inches: one of two columns; what a single panel gets."""

DPI = 300
TITLE, LABEL, CAPTION, SMALL = 7.5, 7, 6.5, 5.5
"""Sizes of letters, in points; no letter is smaller than the last."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, which colour-blind readers can tell apart."""

GREY, LIGHT = "#6b6b6b", "#d9d9d9"

FAMILY = "DejaVu Sans"
"""The font that comes with matplotlib, so that pictures are the same everywhere."""

STYLE: Any = {
    "font.family": FAMILY,
    "font.size": LABEL,
    "axes.titlesize": LABEL,
    "axes.titlelocation": "left",
    "axes.titlepad": 3,
    "axes.labelsize": LABEL,
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

_ROUNDING = 1.01


@lru_cache(maxsize=4096)
def text_inches(text: str, points: float, *, bold: bool = False) -> float:
    """Return how wide the widest line of a text is, at most: drawing rounds letters a little."""
    font = get_font(findfont(FontProperties(family=FAMILY, weight="bold" if bold else "normal")))
    font.set_size(points, DPI)
    widest = 0.0
    with warnings.catch_warnings():
        # What the font lacks is drawn as a box, which has a width as well.
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        for line in text.split("\n"):
            font.set_text(line, 0.0, flags=get_hinting_flag())
            widest = max(widest, font.get_width_height()[0] / 64 / DPI)
    return _ROUNDING * widest
