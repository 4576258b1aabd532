"""How alike models are, two by two, beside what it is to be read against.

A page per task and number, with a square of models by models: the same models in rows and columns,
on the diagonal the seeds of one model. Right of it stand what the number is of networks that share
nothing which they learned, and the diagonal again, so that every row can be read against both.
Shape suffixes: ``M`` models, ``X`` columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.patches import Patch

from mecheval.reports.drawing import canvas, heat
from mecheval.reports.drawing.canvas import Panel, Room, Words
from mecheval.reports.drawing.style import SMALL, WIDTH, text_inches
from mecheval.reports.drawing.words import clean, wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from mecheval.reports.drawing.canvas import Drawing
    from mecheval.reports.pair_matrix import Matrix

NULL, SKYLINE = "null", "seeds of\none model"
_NAMES = 2.2  # most inches of the names of models
_ROW, _LEAST_ROW, _TALLEST = 0.17, 0.08, 5.5  # inches of a row, and of all of them
_GAP, _BESIDE = 0.5, 1.6  # widths in columns: left of what stands beside the square, and of it
_WIDEST = 0.42  # inches of a column
_DARK = 0.65  # shares of the scale from which on numbers are written in white


def draw_pairs(matrices: Sequence[Matrix]) -> list[Drawing]:
    """Draw every number of pairs that any two models have."""
    return [_page(matrix) for matrix in matrices if matrix.shown]


def _page(matrix: Matrix) -> Drawing:
    n = len(matrix.shown)
    names = [f"{i}. {matrix.models[place]}" for i, place in enumerate(matrix.shown, 1)]
    left = min(_NAMES, 0.15 + max(text_inches(clean(name), SMALL) for name in names))
    n_beside = 1 + _has_null(matrix)
    n_columns = n + _GAP + _BESIDE * n_beside
    right = max(0.12, WIDTH - left - _WIDEST * n_columns)
    room = Room(left=left, right=right, bottom=0.08, foot=0.04)
    height = n * max(_LEAST_ROW, min(_ROW, _TALLEST / n))
    words = Words(_name(matrix), matrix.titles[0], _caption(matrix), _handles(matrix))
    drawing, (axes,) = canvas.page([Panel("\n", height)], words, room, columns=1, width=WIDTH)
    _draw(axes, matrix)
    for row, name in enumerate(names):
        label = wrapped(name, left - 0.1, points=SMALL, lines=1 if height / n < 0.16 else 2)
        axes.text(
            -0.05 * n_columns / (WIDTH - left - right), row + 0.5, label, ha="right", va="center",
            fontsize=SMALL, linespacing=0.9,
        )  # fmt: skip
    return drawing


def _name(matrix: Matrix) -> str:
    return clean(matrix.heading).replace(" ", "-")


def _has_null(matrix: Matrix) -> bool:
    return any(matrix.null(place) is not None for place in matrix.shown)


def _caption(matrix: Matrix) -> str:
    asked = matrix.caption
    asked = f"{asked[:1].upper()}{asked[1:]}".rstrip(".")
    null = (
        "null: what the number is of networks that share nothing which they learned, as the "
        "metric says, on average over the pairs of a row; and "
        if _has_null(matrix)
        else "(the metric has no null for this number) "
    )
    return (
        f"{asked}. Rows and columns are the same models; every number is a mean over pairs of "
        f"networks of different seeds, on the diagonal over pairs of seeds of one model. To the "
        f"right {null}the diagonal again: what is left where only the seed differs. Neither end is "
        "better."
    )


def _square(matrix: Matrix) -> np.ndarray:
    """Return the numbers of all pairs, ``(M, M)``; NaN where there is none."""
    at = {place: i for i, place in enumerate(matrix.shown)}
    value_MM = np.full((len(at), len(at)), np.nan)
    for (a, b), entry in matrix.entries.items():
        if entry.mean is not None:
            value_MM[at[a], at[b]] = value_MM[at[b], at[a]] = entry.mean
    return value_MM


def _beside(matrix: Matrix) -> list[tuple[str, np.ndarray]]:
    """Return what stands right of the square: its heading, and a number per model."""
    null_M = np.array([_or_nan(matrix.null(place)) for place in matrix.shown])
    columns = [(NULL, null_M)] if _has_null(matrix) else []
    return [*columns, (SKYLINE, _square(matrix).diagonal())]


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value


def _scale(matrix: Matrix) -> float:
    """Return the number that has the strongest colour."""
    ends = [abs(end) for end in matrix.bounds if end is not None]
    if None not in matrix.bounds and max(ends) > 0:
        return max(ends)
    values = [*_square(matrix).ravel(), *(v for _, column in _beside(matrix) for v in column)]
    return max((abs(v) for v in values if np.isfinite(v)), default=0.0) or 1.0


def _draw(axes: Axes, matrix: Matrix) -> None:
    value_MM, scale = _square(matrix), _scale(matrix)
    n = len(value_MM)
    ticks, labels = [i + 0.5 for i in range(n)], [f"{i}." for i in range(1, n + 1)]
    _cells(axes, value_MM, np.arange(n + 1), scale)
    for i, (heading, value_M) in enumerate(_beside(matrix)):
        begin = n + _GAP + i * _BESIDE
        _cells(axes, value_M[:, None], np.array([begin + 0.3, begin + _BESIDE]), scale)
        ticks.append(begin + 0.3 + (_BESIDE - 0.3) / 2)
        labels.append(heading)
    axes.set_xlim(0, n + _GAP + _BESIDE * len(_beside(matrix)))
    axes.set_ylim(n, 0)
    axes.set_yticks([])
    axes.set_xticks(ticks, labels, fontsize=SMALL)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    _write(axes, value_MM, np.arange(n) + 0.5, scale)
    for tick, (_, value_M) in zip(ticks[n:], _beside(matrix), strict=True):
        _write(axes, value_M[:, None], np.array([tick]), scale)


def _cells(axes: Axes, value_MX: np.ndarray, edges: np.ndarray, scale: float) -> None:
    """Draw numbers as colours; what is missing is grey."""
    colours = colormaps[heat.COLOURS].with_extremes(bad=heat.EMPTY)
    axes.pcolormesh(
        edges, np.arange(len(value_MX) + 1), np.ma.masked_invalid(value_MX), cmap=colours,
        norm=Normalize(-scale, scale),
    )  # fmt: skip


def _write(axes: Axes, value_MX: np.ndarray, middle_X: np.ndarray, scale: float) -> None:
    """Write numbers into their cells, where these are large enough."""
    figure_width, figure_height = axes.figure.get_size_inches()  # type: ignore[union-attr]
    box = axes.get_position()
    width = box.width * figure_width / (axes.get_xlim()[1] - axes.get_xlim()[0])
    height = box.height * figure_height / np.ptp(axes.get_ylim())
    if width < text_inches("-0.00", SMALL) or height < 1.25 * SMALL / 72:
        return
    for (row, column), value in np.ndenumerate(value_MX):
        if np.isfinite(value):
            colour = "white" if abs(value) > _DARK * scale else "black"
            axes.text(
                float(middle_X[column]), row + 0.52, f"{round(value, 2) + 0.0:.2f}", ha="center",
                va="center", fontsize=SMALL, color=colour,
            )  # fmt: skip


def _handles(matrix: Matrix) -> Sequence[Artist]:
    scale, colours = _scale(matrix), colormaps[heat.COLOURS]
    shares = (1.0, 0.5, 0.0) if matrix.bounds[0] == 0 else (1.0, 0.5, 0.0, -0.5)
    found: list[Artist] = [
        Patch(
            facecolor=colours((share + 1) / 2), edgecolor="#b0b0b0", linewidth=0.4,
            label=f"{share * scale:.3g}",
        )
        for share in shares
    ]  # fmt: skip
    return [*found, Patch(facecolor=heat.EMPTY, label="no number")]
