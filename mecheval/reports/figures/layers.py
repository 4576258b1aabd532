"""Curves over layers: where a variable can be read, what erasing it costs, and the like.

A page per metric whose results have a profile over layers alone, or one per variable where there
are more curves than colours; a panel per model. Shape suffix: ``L`` layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, MultipleLocator

from mecheval.reports.collection.numbers import SEED
from mecheval.reports.drawing import canvas, style, words
from mecheval.reports.drawing.canvas import Panel, Room, Words
from mecheval.reports.drawing.intervals import Interval, seeds_sentence
from mecheval.reports.drawing.paging import Pages, by_variable, numbered
from mecheval.reports.drawing.sheets import caption, flags, not_drawn, titles
from mecheval.reports.drawing.style import COLOURS, GREY, LIGHT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matplotlib.axes import Axes

    from mecheval.reports.collection import Group
    from mecheval.reports.collection.profiles import ProfileOverSeeds
    from mecheval.reports.drawing.canvas import Drawing
    from mecheval.reports.drawing.sheets import Sheet
    from mecheval.reports.schema import MetricResult

MOST, COLUMNS = 20, 4
"""Panels of a page, and beside each other."""

HEIGHT = 1.15  # inches
_LINES = 2  # of the label
ROOM = Room(left=0.58)  # for them beside numbers below 0

ELSEWHERE = ("exchange",)
"""Metrics whose curves have a figure of their own, as verdicts have."""

EVERYWHERE = "cost"
"""Series with the value at every layer, also at those where it does not count."""

MLP = "mlp"
"""Series with what a probe with a hidden layer reads, above its own floor."""

DASHED = "Dashed: read by a probe with a hidden layer."
FILLED = (
    "Filled: layers that count, in every seed. Hollow: layers that do not, {}. Triangles on the "
    "axis: the layer that the tables name."
)
WHY = {
    "readable": (False, "the variable cannot be read"),
    "beyond_null": (False, "erasing by the labels of other sequences may cost as much"),
    "trivial": (True, "only the final norm and the head follow"),
}
"""Marks that say by which value a layer does not count, and in words why."""

BEHIND = "Layer 0 is the stream before the first block, the last layer that behind the last block."


def draw(sheet: Sheet) -> list[Drawing]:
    """Draw every metric that has curves over layers."""
    metrics: dict[str, list[str]] = {}
    for result in sheet.results():
        drawn = result.id in sheet.verdicts or result.name in ELSEWHERE
        if _is_curve(result) and not drawn:
            ids = metrics.setdefault(sheet.called(result), [])
            ids += [result.id] if result.id not in ids else []
    return [
        drawing
        for metric, ids in metrics.items()
        for of, some in by_variable(ids, sheet.part, len(COLOURS))
        for drawing in _pages(sheet, (metric, of), some)
    ]


def _is_curve(result: MetricResult) -> bool:
    profile = result.profile
    return profile is not None and profile.axes == ["layer"] and len(profile.value) > 1


def _pages(sheet: Sheet, called: tuple[str, str], ids: Sequence[str]) -> list[Drawing]:
    metric, of = called
    groups = [group for group in sheet.groups if any(_over_layers(group, id) for id in ids)]
    limits, found = _limits(groups, ids), []
    for some, number in Pages(groups, MOST):
        inches = canvas.panel_inches(len(some), COLUMNS, ROOM)
        panels = [Panel(title, HEIGHT) for title in titles(some, ids, inches)]
        said = _said(metric, sheet, groups, ids)
        title = f"{sheet.task}{f', {of}' if of else ''}: {said.title}"
        name, title = numbered("-".join(filter(None, (of, metric))), title, number)
        said = said._replace(name=name, title=title)
        drawing, axes = canvas.page(panels, said, ROOM, columns=COLUMNS)
        for panel, group in zip(axes, some, strict=True):
            _panel(panel, group, ids, limits)
        canvas.outer(axes, "layer", _label(sheet, metric, ids[0]))
        found.append(drawing)
    return found


def _over_layers(group: Group, id: str, series: str | None = None) -> ProfileOverSeeds | None:
    """Return a profile if it runs over layers: in some models, a result's may run over heads."""
    profile = group.profile(id, series=series)
    curve = profile is not None and list(profile.axes) == ["layer"] and len(profile.mean_X) > 1
    return profile if curve else None


def _axis(sheet: Sheet, metric: str, id: str) -> str:
    """Return what the value is called in tables, without what it is of and its parameters."""
    found = (h.title for r in sheet.results() if r.id == id for h in r.headline if not h.at)
    return next(found, metric).removeprefix(f"{sheet.part(id)}: ")


def _label(sheet: Sheet, metric: str, id: str) -> str:
    """Return the same beside the axis; there is nothing where it is too long, as in the title."""
    axis = _axis(sheet, metric, id)
    whole = words.n_lines(axis, HEIGHT, points=style.LABEL) <= _LINES
    return words.wrapped(axis, HEIGHT, points=style.LABEL, lines=_LINES) if whole else "share"


def _said(metric: str, sheet: Sheet, groups: Sequence[Group], ids: Sequence[str]) -> Words:
    handles = [
        Line2D([], [], color=colour, marker="o", markersize=3, label=_variable(sheet, id))
        for id, colour in zip(ids, COLOURS, strict=False)
    ]
    profiles = [profile for g in groups for id in ids if (profile := _over_layers(g, id))]
    dashed = any(_over_layers(g, id, MLP) for g in groups for id in ids)
    return Words(
        "",
        f"{_axis(sheet, metric, ids[0])}, by layer{sheet.parameters(ids[0])}",
        caption(
            sheet.caption(ids[0]),
            DASHED if dashed else "",
            _filled(profiles),
            BEHIND if any(_goes_behind(g, id) for g in groups for id in ids) else "",
            seeds_sentence(groups, what="bands and bars", intervals=_intervals(groups, ids)),
            not_drawn(sheet, groups, ids), flags(groups),
        ),
        handles if len(ids) > 1 or _variable(sheet, ids[0]) != metric else [],
    )  # fmt: skip


def _filled(profiles: Sequence[ProfileOverSeeds]) -> str:
    """Say which layers count, and why others do not."""
    marked = [profile.marks for profile in profiles if "valid" in profile.marks]
    if not marked:
        return ""
    reasons = [
        text
        for name, (excludes, text) in WHY.items()
        if any(
            ((marks[name] == excludes) & _hollow(marks)).any() for marks in marked if name in marks
        )
    ]
    why = f"as {', or as '.join(reasons)}" if reasons else "for a reason that the report has"
    return FILLED.format(why)


def _hollow(marks: Mapping[str, np.ndarray]) -> np.ndarray:
    """Say which layers are drawn and do not count: at the embedding, the token, nothing is."""
    return ~marks["valid"] & ~marks.get("token", np.zeros_like(marks["valid"]))


def _goes_behind(group: Group, id: str) -> bool:
    """Say whether the last layer of a curve is no block, but what stands behind the last one."""
    profile, cards = _over_layers(group, id), [report.model_card for report in group.reports]
    n_layers = {card.n_layers for card in cards if card}
    return profile is not None and n_layers == {len(profile.mean_X) - 1}


def _intervals(groups: Sequence[Group], ids: Sequence[str]) -> Iterator[Interval]:
    for group in groups:
        for id in ids:
            shown = _with_interval(group, id)
            if shown is not None and np.isfinite(shown.low_X).any():
                several = len(shown.values_SX) > 1
                yield Interval(group.name.row, SEED if several else "examples")


def _variable(sheet: Sheet, id: str) -> str:
    return words.clean(sheet.part(id) or id)


def _limits(groups: Sequence[Group], ids: Sequence[str]) -> tuple[int, float, float]:
    """Return the last layer, and the ends of what there is to see, over all panels."""
    last, lowest, highest = 1, 0.0, 1.0
    for group in groups:
        for id in ids:
            values_L = _values(group, id)
            if values_L is not None:
                last = max(last, len(values_L) - 1)
                lowest = min(lowest, np.nanmin(values_L, initial=0.0))
                highest = max(highest, np.nanmax(values_L, initial=0.0))
    return last, lowest, highest


def _values(group: Group, id: str) -> np.ndarray | None:
    """Return the mean at every layer, also at those that do not count."""
    profile = _over_layers(group, id, EVERYWHERE) or _over_layers(group, id)
    return None if profile is None else profile.mean_X


def _with_interval(group: Group, id: str) -> ProfileOverSeeds | None:
    """Return what has the interval of what is drawn; of a single seed it is that of the report."""
    everywhere, own = _over_layers(group, id, EVERYWHERE), _over_layers(group, id)
    return everywhere if everywhere and len(everywhere.values_SX) > 1 else own


def _ends(group: Group, id: str) -> tuple[np.ndarray, np.ndarray]:
    shown = _with_interval(group, id)
    return (np.zeros(0), np.zeros(0)) if shown is None else (shown.low_X, shown.high_X)


def _panel(axes: Axes, group: Group, ids: Sequence[str], limits: tuple[int, float, float]) -> None:
    last, lowest, highest = limits
    room = 0.1 * (highest - lowest)
    axes.set_xlim(-0.3, last + 0.3)
    axes.set_ylim(lowest - room, highest + room)
    axes.axhline(0, color=GREY, linewidth=0.6, zorder=1)
    axes.grid(axis="y", color=LIGHT, linewidth=0.4)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=2))
    axes.yaxis.set_major_locator(MultipleLocator(0.5 if highest - lowest < 2.5 else 1.0))
    axes.spines[["top", "right"]].set_visible(False)
    for place, (id, colour) in enumerate(zip(ids, COLOURS, strict=False)):
        _curve(axes, group, id, colour)
        _bottlenecks(axes, group, id, (colour, place))


def _curve(axes: Axes, group: Group, id: str, colour: str) -> None:
    profile, values_L = _over_layers(group, id), _values(group, id)
    if profile is None or values_L is None:
        return
    layers = np.arange(len(values_L))
    counts = profile.marks.get("valid", np.ones(len(values_L), bool)) & np.isfinite(profile.mean_X)
    ends = _ends(group, id)
    axes.fill_between(layers, *ends, color=colour, alpha=0.2, linewidth=0, zorder=2)
    axes.vlines(layers, *ends, color=colour, linewidth=0.8, zorder=2)
    if counts.all():
        axes.plot(layers, values_L, color=colour, zorder=3)
    else:
        axes.plot(layers, values_L, color=colour, linewidth=0.6, alpha=0.6, zorder=3)
        axes.plot(layers, np.where(counts, values_L, np.nan), color=colour, zorder=3)
    axes.plot(
        layers, values_L, "o", color=colour, markersize=3, markerfacecolor="white",
        markeredgewidth=0.6, zorder=4,
    )  # fmt: skip
    axes.plot(layers, np.where(counts, values_L, np.nan), "o", color=colour, markersize=3, zorder=5)
    mlp = _over_layers(group, id, MLP)
    if mlp is not None:
        axes.plot(layers, mlp.mean_X, "--", color=colour, linewidth=0.8, zorder=3)


def _bottlenecks(axes: Axes, group: Group, id: str, how: tuple[str, int]) -> None:
    """Mark on the axis which layer is the bottleneck, with the number of seeds if not in all."""
    if not any(r and r.profile and "valid" in r.profile.marks for r in group.results(id).values()):
        return
    colour, place = how
    found = [
        result.scalars.get("layer")
        for result in group.results(id).values()
        if result is not None and result.value is not None
    ]
    layers = [layer for layer in found if layer is not None]
    for layer in sorted(set(layers)):
        x, y = layer + 0.16 * place, axes.get_ylim()[0]
        axes.plot(x, y, "^", color=colour, markersize=5, clip_on=False, zorder=6)
        n_seeds = layers.count(layer)
        if n_seeds < len(group.seeds):
            axes.annotate(
                f"{n_seeds} of {len(group.seeds)}", (x, y), (5, 1), textcoords="offset points",
                fontsize=style.SMALL, color=colour,
            )  # fmt: skip
