"""Depth against depth, of pairs: how well features of one depth are matched at another.

A panel per two models, and per model and its seeds: rows are depths of the one, columns of the
other, as shares of all blocks.
Shape suffixes: ``K`` depths of the one network, ``J`` of the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.patches import Patch

from mecheval.reports.drawing import canvas, heat
from mecheval.reports.drawing.canvas import Words
from mecheval.reports.drawing.style import SMALL
from mecheval.reports.drawing.twos import COLUMNS, ROOM, panels, twos
from mecheval.reports.drawing.words import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from mecheval.reports.drawing.canvas import Drawing
    from mecheval.reports.drawing.twos import Seen, Two
    from mecheval.reports.pair import PairReport
    from mecheval.reports.results import MetricResult

AXES = ["depth_a", "depth_b"]
HEIGHT = 1.25
_DARK = 0.65  # shares of the scale from which on numbers are written in white


def draw_two(reports: Sequence[PairReport]) -> list[Drawing]:
    """Draw every result that is of all depths of two networks."""
    at_the_end = [report for report in reports if report.identity.at_loss is None]
    found = twos(at_the_end, lambda result: _is_there(result))
    return [_page(at_the_end[0].task_title, id, models) for id, models in found.items()]


def _is_there(result: MetricResult) -> bool:
    return result.profile is not None and list(result.profile.axes) == AXES


def _page(task: str, id: str, models: Sequence[Two]) -> Drawing:
    value = {id_of: _mean(two) for id_of, two in enumerate(models)}
    scale = max((float(np.abs(each).max()) for each in value.values()), default=0.0) or 1.0
    colours = colormaps[heat.COLOURS]
    said = Words(
        id.partition("/")[2],
        f"{task}, {id}: features of one depth matched at another",
        "Rows are depths of the model that is named first, from below, columns those of the "
        "other, as shares of all blocks. Colours and numbers: mean correlation of features with "
        "their best partners there, held out, both ways, as a mean over pairs of networks. Framed: "
        "the best column of a row.",
        [
            Patch(facecolor=colours((share + 1) / 2), edgecolor="#b0b0b0", linewidth=0.4,
                  label=f"{share * scale:.2g}")
            for share in (1.0, 0.5, 0.0)
        ],
    )  # fmt: skip
    drawing, axes = canvas.page(panels(models, HEIGHT), said, ROOM, columns=COLUMNS)
    for panel, (number, two) in zip(axes, enumerate(models), strict=True):
        _draw(panel, value[number], two.seen[0], scale)
    canvas.outer(axes, "depth of the second", "depth of the first")
    return drawing


def _mean(two: Two) -> np.ndarray:
    return np.mean([_oriented(seen) for seen in two.seen], 0)


def _oriented(seen: Seen) -> np.ndarray:
    """Return the numbers ``(K, J)``, rows of the model that is named first.

    Of seeds of one model neither is the first: these are made symmetric.
    """
    profile = seen.result.profile
    value_KJ = np.array(profile.value if profile else [[]], float)
    a, b = (side.title for side in seen.report.sides)
    if a == b:
        return (value_KJ + value_KJ.T) / 2
    return value_KJ.T if seen.turned else value_KJ


def _draw(axes: Axes, value_KJ: np.ndarray, seen: Seen, scale: float) -> None:
    n_rows, n_columns = value_KJ.shape
    colours = colormaps[heat.COLOURS].with_extremes(bad=heat.EMPTY)
    axes.pcolormesh(np.ma.masked_invalid(value_KJ), cmap=colours, norm=Normalize(-scale, scale))
    for (row, column), value in np.ndenumerate(value_KJ):
        if np.isfinite(value):
            colour = "white" if abs(value) > _DARK * scale else "black"
            axes.text(column + 0.5, row + 0.5, f"{value:.2f}", ha="center", va="center",
                      fontsize=SMALL, color=colour)  # fmt: skip
    for row, column in enumerate(np.nan_to_num(value_KJ, nan=-np.inf).argmax(1)):
        axes.add_patch(_frame(int(column), row))
    profile = seen.result.profile
    labels = [clean(str(label)) for label in (profile.index[AXES[0]] if profile else [])]
    axes.set_xticks(np.arange(n_columns) + 0.5, labels[:n_columns], fontsize=SMALL)
    axes.set_yticks(np.arange(n_rows) + 0.5, labels[:n_rows], fontsize=SMALL)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _frame(column: int, row: int) -> Patch:
    from matplotlib.patches import Rectangle

    return Rectangle((column, row), 1, 1, fill=False, edgecolor="black", linewidth=0.8)
