"""The state along the layers: where it is readable, used and sufficient.

A page per variable, or tuple of variables, whose activations were exchanged; a panel per model.
Shape suffixes: ``L`` layers, ``S`` seeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, MultipleLocator

from mecheval.reports.collection.numbers import SEED
from mecheval.reports.drawing import canvas, style, words
from mecheval.reports.drawing.canvas import Panel, Room, Words
from mecheval.reports.drawing.intervals import Interval, seeds_sentence
from mecheval.reports.drawing.paging import Pages, numbered
from mecheval.reports.drawing.sheets import caption, flags, not_drawn, titles
from mecheval.reports.drawing.state_curves import (
    CUT,
    ERASED,
    EXCHANGE,
    HOLLOW,
    JOINT,
    READABLE,
    SAID,
    SUBSPACE,
    SUFFICIENT,
    USED,
    curves_of,
    exchanged_parts,
    limits_of,
    profile_of,
    reach_of,
)
from mecheval.reports.drawing.style import COLOURS, GREY, LIGHT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes

    from mecheval.reports.collection import Group
    from mecheval.reports.collection.profiles import ProfileOverSeeds
    from mecheval.reports.drawing.canvas import Drawing
    from mecheval.reports.drawing.sheets import Sheet
    from mecheval.reports.drawing.state_curves import Curve

MOST, COLUMNS = 10, 2
"""Panels of a page, and beside each other: it is as wide as a column."""

HEIGHT = 0.95  # inches
ROOM = Room(left=0.5)
_APART = 0.07  # layers: curves that lie on each other stand beside each other

_LOOKS = {
    READABLE: (0, "-", "oDvP"), USED: (1, "--", "s"), SUFFICIENT: (6, "-", "^"),
    ERASED: (3, ":", "x"),
}  # fmt: skip
"""Place of the colour, line and marks of the curves of a kind."""


def draw(sheet: Sheet) -> list[Drawing]:
    """Draw every variable that was exchanged, tuples before what they are made of."""
    return [drawing for part in exchanged_parts(sheet) for drawing in _pages(sheet, part)]


def _look(curve: Curve) -> dict[str, Any]:
    """Return colour, line and mark."""
    colour, line, mark = _LOOKS[curve.kind]
    return {"color": COLOURS[colour], "linestyle": line, "marker": mark[curve.nth % len(mark)]}


def _pages(sheet: Sheet, part: str) -> list[Drawing]:
    curves, id = curves_of(sheet, part), sheet.of(EXCHANGE)[part]
    groups = [g for g in sheet.groups if any(profile_of(g, c) for c in curves if c.id == id)]
    found = []
    for some, number in Pages(groups, MOST):
        inches = canvas.panel_inches(len(some), COLUMNS, ROOM, style.NARROW)
        panels = [Panel(title, HEIGHT) for title in titles(some, [id], inches)]
        are = "are" if JOINT in part else "is"
        named = words.listed(part.split(JOINT))
        title = f"{sheet.task}: where {named} {are} readable, used, sufficient"
        said = _said(sheet, curves, groups, numbered(words.clean(part), title, number))
        drawing, axes = canvas.page(panels, said, ROOM, columns=COLUMNS, width=style.NARROW)
        limits = limits_of(groups, curves)
        for panel, group in zip(axes, some, strict=True):
            _panel(panel, group, curves, limits)
        canvas.outer(axes, "layer", "share")
        found.append(drawing)
    return found


def _said(
    sheet: Sheet, curves: Sequence[Curve], groups: Sequence[Group], called: tuple[str, str]
) -> Words:
    handles = [
        Line2D([], [], **_look(curve), markersize=3, linewidth=1, label=curve.label)
        for curve in curves
    ]
    erased = any(curve.kind == ERASED for curve in curves)
    exchanged = [curve.id for curve in curves if curve.kind in (USED, SUFFICIENT)]
    return Words(
        *called,
        caption(
            SAID, SUBSPACE if erased else "", HOLLOW,
            sheet.otherwise(curve.id for curve in curves),
            "Thin lines: seeds." if any(len(group.seeds) > 1 for group in groups) else "",
            seeds_sentence(groups, what="bands and bars", intervals=_intervals(groups, curves)),
            _cut(groups, curves), not_drawn(sheet, groups, exchanged), flags(groups),
        ),
        handles,
    )  # fmt: skip


def _intervals(groups: Sequence[Group], curves: Sequence[Curve]) -> Iterator[Interval]:
    for group in groups:
        for curve in curves:
            profile = profile_of(group, curve)
            if profile is not None and np.isfinite(profile.low_X).any():
                several = len(profile.values_SX) > 1
                yield Interval(group.name.row, SEED if several else "examples")


def _cut(groups: Sequence[Group], curves: Sequence[Curve]) -> str:
    """Say that intervals end at the frame where they do."""
    (_, lowest, highest), (low, high) = limits_of(groups, curves), reach_of(groups, curves)
    return CUT if low < lowest or high > highest else ""


def _panel(
    axes: Axes, group: Group, curves: Sequence[Curve], limits: tuple[int, float, float]
) -> None:
    last, lowest, highest = limits
    room = 0.1 * (highest - lowest)
    axes.set_xlim(-0.35, last + 0.35)
    axes.set_ylim(lowest - room, highest + room)
    axes.axhline(0, color=GREY, linewidth=0.6, zorder=1)
    axes.grid(axis="y", color=LIGHT, linewidth=0.4)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=2))
    axes.yaxis.set_major_locator(MultipleLocator(0.5 if highest - lowest < 2.5 else 1.0))
    axes.spines[["top", "right"]].set_visible(False)
    for place, curve in enumerate(curves):
        profile = profile_of(group, curve)
        if profile is not None:
            _draw(axes, profile, curve, _APART * (place - (len(curves) - 1) / 2))


def _draw(axes: Axes, profile: ProfileOverSeeds, curve: Curve, shift: float) -> None:
    colour, line, mark = _look(curve).values()
    layers = np.arange(len(profile.mean_X)) + shift
    low_L, high_L = np.clip(profile.low_X, *curve.ends), np.clip(profile.high_X, *curve.ends)
    axes.fill_between(layers, low_L, high_L, color=colour, alpha=0.15, linewidth=0, zorder=2)
    axes.vlines(layers, low_L, high_L, color=colour, linewidth=0.6, zorder=2)
    several = len(profile.values_SX) > 1 and curve.kind != ERASED
    for values_L in profile.values_SX if several else ():
        axes.plot(layers, values_L, color=colour, linewidth=0.4, alpha=0.6, zorder=2)
    axes.plot(layers, profile.mean_X, color=colour, linestyle=line,
              linewidth=1, zorder=3)  # fmt: skip
    hollow_L = profile.marks.get("trivial", np.zeros(len(layers), bool)).astype(bool)
    for chosen_L, face in ((hollow_L, "white"), (~hollow_L, colour)):
        axes.plot(
            layers, np.where(chosen_L, profile.mean_X, np.nan), mark, color=colour,
            markerfacecolor=face, markersize=3, markeredgewidth=0.7, zorder=4,
        )  # fmt: skip
