"""Heat maps of shares: colour is evidence, hatching is what any model would show.

Shape suffixes: ``Y`` rows, ``X`` columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.patches import Patch, Rectangle

from mecheval.reports.drawing.style import SMALL, text_inches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from mecheval.reports.collection.profiles import ProfileOverSeeds

COLOURS, RANGE = "RdBu_r", Normalize(-1.0, 1.0)
"""Blue is below 0, red above: colour-blind readers can tell them apart, and white is nothing."""

HATCH = {"facecolor": "white", "edgecolor": "#b0b0b0", "hatch": "//////", "linewidth": 0.0}
EMPTY = "#ececec"
LEAST = 0.05
NOTE = f" (numbers: where it is {LEAST:g} or more, or negative by as much)"
_DARK = 0.65  # shares from which on their number is written in white


def trivial(profile: ProfileOverSeeds) -> np.ndarray:
    """Return which cells are the same in any model."""
    return profile.marks.get("trivial", np.zeros_like(profile.mean_X, bool))


def draw(
    axes: Axes, value_YX: np.ndarray, trivial_YX: np.ndarray, edges_X: Sequence[float] | None = None
) -> None:
    """Draw shares; trivial cells are hatched and never coloured, missing ones are grey.

    Args:
        axes: Where; its scales run over rows and columns, the first row at the bottom.
        value_YX: The shares; NaN where there is none.
        trivial_YX: Whether a cell is the same in any model.
        edges_X: Left ends of the columns and the right end of the last one, by default whole
            numbers.
    """
    n_rows, n_columns = value_YX.shape
    edges = np.arange(n_columns + 1) if edges_X is None else np.asarray(edges_X, float)
    shown_YX = np.ma.masked_invalid(np.where(trivial_YX, np.nan, value_YX))
    axes.set_facecolor(EMPTY)
    axes.pcolormesh(edges, np.arange(n_rows + 1), shown_YX, cmap=COLOURS, norm=RANGE)
    for row, flags_X in enumerate(trivial_YX):
        for first, end in _runs(flags_X):
            size = edges[end] - edges[first], 1
            axes.add_patch(Rectangle((float(edges[first]), row), *size, **HATCH))
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, n_rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def write(
    axes: Axes, value_YX: np.ndarray, trivial_YX: np.ndarray, edges_X: Sequence[float] | None = None
) -> None:
    """Write the shares into their cells, where these are large enough."""
    edges = np.arange(value_YX.shape[1] + 1) if edges_X is None else np.asarray(edges_X, float)
    box = axes.get_position()
    figure_width, figure_height = axes.figure.get_size_inches()  # type: ignore[union-attr]
    per_unit = box.width * figure_width / (axes.get_xlim()[1] - axes.get_xlim()[0])
    room = (
        float(np.diff(edges).min()) * per_unit,
        box.height * figure_height / np.ptp(axes.get_ylim()),
    )
    if room[0] < text_inches("0.00", SMALL) or room[1] < 1.25 * SMALL / 72:
        return
    middle_X = (edges[1:] + edges[:-1]) / 2
    for (row, column), share in np.ndenumerate(value_YX):
        if abs(share) >= LEAST and not trivial_YX[row, column]:
            colour = "white" if abs(share) > _DARK else "black"
            text = f"{round(share, 2) + 0.0:.2f}"  # + 0.0 turns -0.0 into 0.0
            axes.text(
                float(middle_X[column]), row + 0.48, text, ha="center", va="center", fontsize=SMALL,
                color=colour,
            )  # fmt: skip


def handles(*, missing: bool) -> Sequence[Artist]:
    """Return what explains the colours."""
    found = [
        Patch(facecolor=_colour(share), label=label, linewidth=0)
        for share, label in ((1.0, "1: all comes back"), (0.5, "0.5"), (-0.5, "-0.5"))
    ]
    found.insert(
        2, Patch(facecolor="white", edgecolor="#b0b0b0", linewidth=0.4, label="0: nothing")
    )
    found.append(Patch(**HATCH, label="the same in any model"))
    return [*found, Patch(facecolor=EMPTY, label="not there")] if missing else found


def _colour(share: float) -> tuple[float, float, float, float]:
    import matplotlib as mpl

    return mpl.colormaps[COLOURS](RANGE(share))
