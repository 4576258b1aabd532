"""The state along the layers: where it is readable, used and sufficient.

A page per variable, or tuple of variables, whose activations were exchanged; a panel per model.
Shape suffixes: ``L`` layers, ``S`` seeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, MultipleLocator

from mecheval.reports.collection.numbers import SEED
from mecheval.reports.drawing import canvas, style, words
from mecheval.reports.drawing.canvas import Panel, Room, Words
from mecheval.reports.drawing.intervals import Interval, seeds_sentence
from mecheval.reports.drawing.paging import Pages, numbered
from mecheval.reports.drawing.sheets import caption, flags, not_drawn, titles
from mecheval.reports.drawing.style import COLOURS, GREY, LIGHT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes

    from mecheval.reports.collection import Group
    from mecheval.reports.collection.profiles import ProfileOverSeeds
    from mecheval.reports.drawing.canvas import Drawing
    from mecheval.reports.drawing.sheets import Sheet

MOST, COLUMNS = 10, 2
"""Panels of a page, and beside each other: it is as wide as a column."""

HEIGHT = 0.95  # inches
ROOM = Room(left=0.5)
_APART = 0.07  # layers: curves that lie on each other stand beside each other

EXCHANGE, READABILITY, BOTTLENECK = "exchange", "readability", "bottleneck"
ERASED = "linear subspace used"
_JOINT = "+"
"""Joins the variables of a tuple."""

SAID = (
    "Readable: what a linear probe finds, above its floor. Used: what the answers lose if every "
    "position gets its activation from another word that has the same token there. Sufficient: the "
    "share of this loss that is spared if the other word is in the same state there; without a "
    "loss there is none."
)
SUBSPACE = (
    "Linear subspace used: what they lose if it alone is erased, which may be little although the "
    "state is used."
)
HOLLOW = (
    "Hollow marks: the same in any model, by construction. Layer 0 is the stream before the first "
    "block."
)


CUT = "Bands and bars that reach the frame go on behind it."

_FURTHEST = 0.5  # how far below 0 and above 1 intervals are shown


class Curve(NamedTuple):
    """One curve of a panel, and how it is drawn.

    Attributes:
        label: What the legend calls it.
        id: The result that it stands in.
        series: Its name in the result's profile; None for the values.
        look: Colour, line and mark.
        ends: What it can be at least and at most, where its intervals end.
    """

    label: str
    id: str
    series: str | None
    look: dict[str, Any]
    ends: tuple[float, float] = (-np.inf, np.inf)


def draw(sheet: Sheet) -> list[Drawing]:
    """Draw every variable that was exchanged, tuples before what they are made of."""
    parts = sorted(sheet.of(EXCHANGE), key=lambda part: -part.count(_JOINT))
    return [drawing for part in parts for drawing in _pages(sheet, part)]


def _curves(sheet: Sheet, part: str) -> list[Curve]:
    """Return the curves of a variable, as far as any model has them."""
    variables, exchanged = part.split(_JOINT), sheet.of(EXCHANGE)[part]
    readable, erased = sheet.of(READABILITY), sheet.of(BOTTLENECK)
    found = [
        Curve(
            "readable" if len(variables) == 1 else f"readable: {words.clean(name)}",
            readable.get(name, ""), None, _look(0, "-", "oDvP"[place % 4]),
            (0.0, 1.0),
        )
        for place, name in enumerate(variables)
    ]  # fmt: skip
    found += [
        Curve("used", exchanged, "use", _look(1, "--", "s")),
        Curve("sufficient", exchanged, None, _look(6, "-", "^")),
        Curve(ERASED, erased.get(part, ""), None, _look(3, ":", "x")),
    ]
    return [curve for curve in found if any(_profile(group, curve) for group in sheet.groups)]


def _look(colour: int, line: str, mark: str) -> dict[str, Any]:
    return {"color": COLOURS[colour], "linestyle": line, "marker": mark}


def _profile(group: Group, curve: Curve) -> ProfileOverSeeds | None:
    profile = group.profile(curve.id, series=curve.series)
    if profile is None or list(profile.axes) != ["layer"] or not np.isfinite(profile.mean_X).any():
        return None
    return profile


def _pages(sheet: Sheet, part: str) -> list[Drawing]:
    curves, id = _curves(sheet, part), sheet.of(EXCHANGE)[part]
    groups = [g for g in sheet.groups if any(_profile(g, c) for c in curves if c.id == id)]
    found = []
    for some, number in Pages(groups, MOST):
        inches = canvas.plot_inches(canvas.columns_of(len(some), COLUMNS), ROOM, style.NARROW)
        panels = [Panel(title, HEIGHT) for title in titles(some, [id], inches)]
        are = "are" if _JOINT in part else "is"
        named = words.listed(part.split(_JOINT))
        title = f"{sheet.task}: where {named} {are} readable, used, sufficient"
        said = _said(sheet, curves, groups, numbered(words.clean(part), title, number))
        drawing, axes = canvas.page(panels, said, ROOM, columns=COLUMNS, width=style.NARROW)
        limits = _limits(groups, curves)
        for panel, group in zip(axes, some, strict=True):
            _panel(panel, group, curves, limits)
        canvas.outer(axes, "layer", "share")
        found.append(drawing)
    return found


def _said(
    sheet: Sheet, curves: Sequence[Curve], groups: Sequence[Group], called: tuple[str, str]
) -> Words:
    handles = [
        Line2D([], [], **curve.look, markersize=3, linewidth=1, label=curve.label)
        for curve in curves
    ]
    erased = any(curve.label == ERASED for curve in curves)
    exchanged = [curve.id for curve in curves if curve.label in ("used", "sufficient")]
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
            profile = _profile(group, curve)
            if profile is not None and np.isfinite(profile.low_X).any():
                several = len(profile.values_SX) > 1
                yield Interval(group.name.row, SEED if several else "examples")


def _limits(groups: Sequence[Group], curves: Sequence[Curve]) -> tuple[int, float, float]:
    """Return the last layer, and the ends of what there is to see, over all panels.

    Intervals are shown whole as far as :data:`_FURTHEST`, beyond which they would flatten curves.
    """
    found = [p.mean_X for g in groups for c in curves if (p := _profile(g, c)) is not None]
    low, high = _reach(groups, curves)
    ends = max(low, -_FURTHEST), min(high, 1 + _FURTHEST)
    return (
        max(len(mean_L) - 1 for mean_L in found),
        min(0.0, ends[0], *(float(np.nanmin(mean_L)) for mean_L in found)),
        max(1.0, ends[1], *(float(np.nanmax(mean_L)) for mean_L in found)),
    )


def _reach(groups: Sequence[Group], curves: Sequence[Curve]) -> tuple[float, float]:
    """Return how far intervals reach, at least from 0 to 1."""
    ends = [
        np.clip(each_L, *curve.ends)
        for group in groups
        for curve in curves
        if (profile := _profile(group, curve)) is not None
        for each_L in (profile.low_X, profile.high_X)
    ]
    reach = np.concatenate([[0.0, 1.0], *ends])
    return float(np.nanmin(reach)), float(np.nanmax(reach))


def _cut(groups: Sequence[Group], curves: Sequence[Curve]) -> str:
    """Say that intervals end at the frame where they do."""
    (_, lowest, highest), (low, high) = _limits(groups, curves), _reach(groups, curves)
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
        profile = _profile(group, curve)
        if profile is not None:
            _draw(axes, profile, curve, _APART * (place - (len(curves) - 1) / 2))


def _draw(axes: Axes, profile: ProfileOverSeeds, curve: Curve, shift: float) -> None:
    colour = curve.look["color"]
    layers = np.arange(len(profile.mean_X)) + shift
    low_L, high_L = np.clip(profile.low_X, *curve.ends), np.clip(profile.high_X, *curve.ends)
    axes.fill_between(layers, low_L, high_L, color=colour, alpha=0.15, linewidth=0, zorder=2)
    axes.vlines(layers, low_L, high_L, color=colour, linewidth=0.6, zorder=2)
    several = len(profile.values_SX) > 1 and curve.label != ERASED
    for values_L in profile.values_SX if several else ():
        axes.plot(layers, values_L, color=colour, linewidth=0.4, alpha=0.6, zorder=2)
    axes.plot(layers, profile.mean_X, color=colour, linestyle=curve.look["linestyle"],
              linewidth=1, zorder=3)  # fmt: skip
    hollow_L = profile.marks.get("trivial", np.zeros(len(layers), bool)).astype(bool)
    for chosen_L, face in ((hollow_L, "white"), (~hollow_L, colour)):
        axes.plot(
            layers, np.where(chosen_L, profile.mean_X, np.nan), curve.look["marker"], color=colour,
            markerfacecolor=face, markersize=3, markeredgewidth=0.7, zorder=4,
        )  # fmt: skip
