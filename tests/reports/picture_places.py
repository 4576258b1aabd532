"""Where everything that is written in a picture stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from mecheval.reports.drawing import style
from mecheval.reports.drawing.style import STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mecheval.reports.figures import Picture


def check_places(picture: Picture) -> None:
    """Check that nothing is written over the edge of a picture or over something else."""
    figure = picture.drawing.figure
    written, ends = boxes(figure)
    left, low, right, high = ends.T
    width, height = figure.get_size_inches()
    over = (left < 0) | (low < 0) | (right > width) | (high > height)
    assert not over.any(), f"{picture.figure}: {written[over.argmax()]!r} leaves the picture"
    across = np.minimum.outer(right, right) - np.maximum.outer(left, left)
    along = np.minimum.outer(high, high) - np.maximum.outer(low, low)
    over_each_other = (across > 0.015) & (along > 0.015)
    both = np.argwhere(np.triu(over_each_other, 1))
    pairs = [(written[i], written[j]) for i, j in both]
    assert not pairs, f"{picture.figure}: {pairs[0]}"


def boxes(figure: Figure) -> tuple[list[str], np.ndarray]:
    """Return all that is written, and its left, lower, right and upper ends in inches.

    Boxes of slanted text hold what it passes by as well: it is left out.
    """
    figure.set_dpi(style.DPI)
    canvas = FigureCanvasAgg(figure)
    with mpl.rc_context(STYLE):
        canvas.draw()
        hidden = beyond(figure)
        found = [
            text
            for text in figure.findobj(Text)  # type: ignore[attr-defined]
            if text.get_text().strip() and text not in hidden and text.get_rotation() in (0, 90)
        ]
        ends = [text.get_window_extent(canvas.get_renderer()).extents for text in found]
    return [text.get_text() for text in found], np.array(ends) / style.DPI


def beyond(figure: Figure) -> set[Text]:
    """Return the labels of ticks that are not drawn, as they lie beyond the ends of a scale."""
    return {
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
        for label in (tick.label1, tick.label2)
    }
