"""Pages of a paper's width: panels of one size, a title, a legend and a caption, all in inches.

Places are worked out rather than found by matplotlib's layout engines, so that plots of equal kind
are equally large whatever stands around them.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from mecheval.reports.drawing.style import (
    CAPTION,
    DPI,
    NARROW,
    STYLE,
    TITLE,
    WIDTH,
    text_inches,
)
from mecheval.reports.drawing.words import filled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_ENTRY = 0.34  # inches of an entry of a legend besides its text
_EDGE, _TITLE, _ROW = 0.06, 0.14, 0.15  # inches: around everything, of a title, of a legend's row


@dataclass(frozen=True)
class Drawing:
    """A figure with what it needs to be understood.

    Attributes:
        name: What tells it apart from others of its kind and task; may be empty.
        title: What is drawn, in a line.
        caption: The rest that a reader has to know, in sentences.
        figure: The picture, with title and caption in it.
        caption_inches: How much of its height the caption takes.
    """

    name: str
    title: str
    caption: str
    figure: Figure
    caption_inches: float

    def encoded(self, kind: str, *, captioned: bool = True) -> bytes:
        """Return the picture as a file of a kind, the same bytes every time.

        Args:
            kind: png or svg.
            captioned: Whether the caption is in the picture.
        """
        import io

        file = io.BytesIO()
        width, height = self.figure.get_size_inches()
        whole = Bbox([[0, 0 if captioned else self.caption_inches], [width, height]])
        metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
        with mpl.rc_context(STYLE), warnings.catch_warnings():
            # A name in a script that the font lacks is drawn as boxes.
            warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
            self.figure.savefig(file, format=kind, dpi=DPI, metadata=metadata, bbox_inches=whole)
        return file.getvalue()


class Words(NamedTuple):
    """What is written around the panels of a page.

    Attributes:
        name: What tells the page apart.
        title: What is drawn, in a line.
        caption: The rest that a reader has to know.
        handles: The entries of its legend.
        most: Most columns of the legend; by default as many as fit.
    """

    name: str
    title: str
    caption: str
    handles: Sequence[Artist] = ()
    most: int | None = None


class Panel(NamedTuple):
    """One plot of a page: its title, in one or several lines, and its height in inches."""

    title: str
    height: float

    @property
    def top(self) -> float:
        """Return how much of the height above the plot the title takes, in inches."""
        return 0.08 + 0.12 * (self.title.count("\n") + 1) if self.title else 0.04


class Room(NamedTuple):
    """Inches around the plots of a page.

    Attributes:
        left: Left of the plots of the first column.
        inner: Left of the others.
        right: Right of all.
        bottom: Below every plot; labels of the scale stand below the last ones alone.
        foot: Below the last plots, in addition.
    """

    left: float = 0.4
    inner: float = 0.12
    right: float = 0.06
    bottom: float = 0.08
    foot: float = 0.26


def columns_of(n: int, most: int) -> int:
    """Return how many panels stand beside each other, so that rows are about equally full."""
    return math.ceil(n / math.ceil(n / most))


def plot_inches(n_columns: int, room: Room, width: float | None = None) -> float:
    """Return how wide the plots of a page are."""
    width = width or (NARROW if n_columns == 1 else WIDTH)
    return (width - room.left - (n_columns - 1) * room.inner) / n_columns - room.right


def panel_inches(n_panels: int, most: int, room: Room, width: float | None = None) -> float:
    """Return how wide the plots of a page of so many panels are, at most so many of them in a row.

    Args:
        n_panels: How many panels there are.
        most: Most panels beside each other, ``columns`` of :func:`page`.
        room: What stands around the plots.
        width: Inches of the page, as :func:`page` is given them.
    """
    return plot_inches(columns_of(n_panels, most), room, width)


def page(
    panels: Sequence[Panel],
    words: Words,
    room: Room,
    *,
    columns: int,
    width: float | None = None,
) -> tuple[Drawing, list[Axes]]:
    """Lay out panels in as many rows as they need, none of them empty.

    Args:
        panels: The panels, row by row.
        words: Title, caption, legend.
        room: What stands around the plots.
        columns: Most panels beside each other.
        width: Inches; by default those of a paper's text, or of one column for a single panel.

    Returns:
        The page, and the axes of its panels.
    """
    columns = columns_of(len(panels), columns)
    width = width or (NARROW if columns == 1 else WIDTH)
    legend = _legend(words.handles, width, words.most or len(words.handles))
    title = filled(words.title, width - 2 * _EDGE, points=TITLE, bold=True)
    caption = filled(words.caption, width - 2 * _EDGE, points=CAPTION)
    head = 2 * _EDGE + _TITLE * (title.count("\n") + 1) + _ROW * legend.n_rows
    foot = (caption.count("\n") + 1) * CAPTION * 1.3 / 72 + 2 * _EDGE
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    # Plots of a row stand at one height, whichever of them has the longest title.
    tops = [max(panel.top for panel in row) for row in rows]
    lows = [max(panel.height for panel in row) + room.bottom for row in rows]
    height = head + sum(tops) + sum(lows) + room.foot + foot
    figure = Figure(figsize=(width, height))
    place = {"x": _EDGE / width, "ha": "left", "va": "top"}
    figure.text(y=1 - _EDGE / height, s=title, fontsize=TITLE, fontweight="bold", **place)
    figure.text(y=(foot - _EDGE) / height, s=caption, fontsize=CAPTION, linespacing=1.2, **place)
    _add_legend(figure, words.handles, legend, head)
    inches, top, axes = plot_inches(columns, room, width), height - head, []
    for row, above, below in zip(rows, tops, lows, strict=True):
        for i, panel in enumerate(row):
            left = room.left + i * (inches + room.right + room.inner)
            bottom = top - above - panel.height
            box = (left / width, bottom / height, inches / width, panel.height / height)
            axes.append(figure.add_axes(box))
            axes[-1].set_title(panel.title)
        top -= above + below
    return Drawing(words.name, words.title, words.caption, figure, foot), axes


class _Legend(NamedTuple):
    n_columns: int
    n_rows: int


def _legend(handles: Sequence[Artist], width: float, most: int) -> _Legend:
    """Find the most columns into which a legend fits."""
    widths = [_ENTRY + text_inches(str(handle.get_label()), CAPTION) for handle in handles]
    for n_columns in range(most, 0, -1):
        n_rows, n_longer = divmod(len(widths), n_columns)  # as matplotlib fills its columns
        left, needed = iter(widths), 0.0
        for column in range(n_columns):
            needed += max(next(left) for _ in range(n_rows + (column < n_longer)))
        if needed <= width - 2 * _EDGE or n_columns == 1:
            return _Legend(n_columns, n_rows + (n_longer > 0))
    return _Legend(1, 0)


def _add_legend(figure: Figure, handles: Sequence[Artist], legend: _Legend, head: float) -> None:
    """Write a legend beneath the title, above the panels."""
    if not handles:
        return
    width, height = figure.get_size_inches()
    at = _EDGE / width, 1 - (head - _ROW * legend.n_rows - 0.02) / height
    figure.legend(
        handles=list(handles), loc="upper left", ncols=legend.n_columns, bbox_to_anchor=at,
        borderaxespad=0, borderpad=0, handlelength=1.8, columnspacing=1.2, handletextpad=0.5,
        labelspacing=0.35,
    )  # fmt: skip


def outer(axes: Sequence[Axes], x_label: str, y_label: str) -> None:
    """Label the outer axes of a page alone, whose panels have the same scales."""
    if not axes:
        return
    lefts = [round(each.get_position().x0, 6) for each in axes]
    n_columns = len(set(lefts))
    for i, each in enumerate(axes):
        if lefts[i] == min(lefts):
            each.set_ylabel(y_label)
        else:
            each.set_yticklabels([])
        if i + n_columns >= len(axes):
            each.set_xlabel(x_label)
        else:
            each.set_xticklabels([])
