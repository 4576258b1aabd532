"""Axes with a row per model, the first at the top."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from mecheval.reports.drawing.style import LIGHT, SMALL, text_inches
from mecheval.reports.drawing.words import clean, wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from mecheval.reports.collection import Group


def row_axes(axes: Axes, edges: Sequence[float]) -> None:
    """Give axes rows, every other one shaded, and no frame.

    Args:
        axes: The axes; their scale runs downwards.
        edges: Where the rows begin, and where the last one ends.
    """
    axes.set_ylim(edges[-1], edges[0])
    axes.set_yticks([])
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    for ends in [*pairwise(edges)][::2]:
        axes.axhspan(*ends, color=LIGHT, alpha=0.3, linewidth=0, zorder=0)


def names_inches(groups: Sequence[Group], most: float) -> float:
    """Return the room that the names of models need, at most as much as given."""
    return min(most, 0.15 + max(text_inches(clean(group.name.row), 6.5) for group in groups))


def label_rows(axes: Axes, groups: Sequence[Group], inches: float, edges: Sequence[float]) -> None:
    """Write the names of models left of their rows, in letters that fit into the given room."""
    for ends, group in zip(pairwise(edges), groups, strict=True):
        size = 6.5 if text_inches(clean(group.name.row), 6.5) < inches - 0.1 else SMALL
        name = wrapped(group.name.row, inches - 0.1, points=size)
        axes.text(
            -0.05 / _width(axes), sum(ends) / 2, name, transform=axes.get_yaxis_transform(),
            ha="right", va="center", fontsize=size, linespacing=0.95,
        )  # fmt: skip


def _width(axes: Axes) -> float:
    return axes.get_position().width * axes.figure.get_size_inches()[0]  # type: ignore[union-attr]
