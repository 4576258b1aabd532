"""Accuracy by model: what the models score, seed by seed, at every length that was tested.

A row per model. Drawn where there are several models: the score of one is no picture.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from matplotlib.lines import Line2D

from mecheval.reports.drawing import canvas, style, words
from mecheval.reports.drawing.canvas import Panel, Room, Words
from mecheval.reports.drawing.intervals import Interval, seeds_sentence
from mecheval.reports.drawing.paging import Pages, numbered
from mecheval.reports.drawing.rows import label_rows, names_inches, row_axes
from mecheval.reports.drawing.sheets import caption, flags, not_drawn
from mecheval.reports.drawing.style import COLOURS, GREY, LIGHT
from mecheval.reports.labels import ABOUT_NO_GATE, NO_GATE
from mecheval.reports.tracking import LEAST

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matplotlib.axes import Axes

    from mecheval.reports.collection import Group
    from mecheval.reports.drawing.canvas import Drawing
    from mecheval.reports.drawing.sheets import Sheet

MOST = 40
MARKS = ("o", "s", "^", "D")
_ROW, _HEAD, _COLUMN = 0.2, 0.13, 0.55  # inches: of a row, the heading above them, its columns
_SAME = 0.02  # floors that differ by less are one line


def draw(sheet: Sheet) -> list[Drawing]:
    """Draw the scores of all models."""
    ids = sheet.scores[: len(MARKS)]
    groups = [group for group in sheet.groups if any(group.number(id).values for id in ids)]
    if len(groups) < 2:
        return []
    return [
        _page(sheet, some, ids, numbered("", f"{sheet.task}: what the models score", number))
        for some, number in Pages(groups, MOST)
    ]


def _page(
    sheet: Sheet, groups: Sequence[Group], ids: Sequence[str], called: tuple[str, str]
) -> Drawing:
    floor = _floor(groups, ids[0])
    handles = [
        Line2D(
            [], [], color=colour, marker=mark, markersize=3.5, label=words.clean(sheet.title(id))
        )
        for id, colour, mark in zip(ids, COLOURS, MARKS, strict=False)
    ]
    if floor is not None:
        label = f"floor of {words.clean(sheet.title(ids[0]))}, without a model"
        handles.append(Line2D([], [], color=GREY, linestyle=":", label=label))
    said = Words(
        *called,
        caption(
            "Share of answers that are right" + _lengths(ids) + ".",
            "Small dots: seeds." if any(len(group.seeds) > 1 for group in groups) else "",
            seeds_sentence(groups, what="lines", intervals=_intervals(groups, ids)),
            "Right: how many seeds learned the task" + _gate(groups) + _tracked(groups) + ".",
            ABOUT_NO_GATE if any(group.ungated for group in groups) else "",
            not_drawn(sheet, sheet.groups, ids), flags(groups),
        ),
        handles,
    )  # fmt: skip
    marks = _marks(groups)
    room = Room(left=names_inches(groups, 1.9), right=_COLUMN * len(marks), foot=0.27)
    panel = Panel("", _ROW * len(groups) + _HEAD)
    drawing, (axes,) = canvas.page([panel], said, room, columns=1, width=style.WIDTH)
    edges = [row - 0.5 for row in range(len(groups) + 1)]
    row_axes(axes, edges)
    axes.set_ylim(len(groups) - 0.5, -0.5 - _HEAD / _ROW)
    axes.set_xlabel("share of right answers")
    label_rows(axes, groups, room.left, edges)
    for row, group in enumerate(groups):
        _draw_row(axes, row, group, ids)
    _write_marks(axes, marks, room)
    if floor is not None:
        axes.axvline(floor, color=GREY, linestyle=":", linewidth=0.9, zorder=1)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axes.grid(axis="x", color=LIGHT, linewidth=0.4)
    return drawing


def _marks(groups: Sequence[Group]) -> dict[str, list[str]]:
    """Return what stands right of the rows: how many seeds learned, and track if tested for it."""
    found = {
        "learned": [
            NO_GATE if group.ungated else f"{group.n_learned} of {len(group.seeds)}"
            for group in groups
        ]
    }
    if any(group.n_tracking is not None for group in groups):
        found["tracking"] = [
            "" if group.n_tracking is None else f"{group.n_tracking} of {len(group.seeds)}"
            for group in groups
        ]
    return found


def _write_marks(axes: Axes, marks: Mapping[str, Sequence[str]], room: Room) -> None:
    """Write columns of text right of the plot, each below its heading."""
    inches = canvas.plot_inches(1, room, style.WIDTH)
    for column, (heading, cells) in enumerate(marks.items()):
        how = {"transform": axes.get_yaxis_transform(), "fontsize": 6.5}
        x = 1.02 + column * _COLUMN / inches
        axes.text(x, -0.5 - 0.02 / _ROW, heading, va="bottom", **how)
        for row, cell in enumerate(cells):
            axes.text(x, row, cell, va="center", **how)


def _tracked(groups: Sequence[Group]) -> str:
    tested = any(group.n_tracking is not None for group in groups)
    return f", and of how many it holds at 4x as well ({LEAST:g} or more)" if tested else ""


def _lengths(ids: Sequence[str]) -> str:
    """Say what lengths there are, if ids name them: ``token_accuracy/2x``."""
    several = len(ids) > 1 and all(re.fullmatch(r"[0-9]+x", id.partition("/")[2]) for id in ids)
    return " (1x: at the length of training, 2x: at twice that, and so on)" if several else ""


def _intervals(groups: Sequence[Group], ids: Sequence[str]) -> Iterator[Interval]:
    for group in groups:
        for id in ids:
            summary = group.number(id)
            if summary.low is not None and summary.over is not None:
                yield Interval(group.name.row, summary.over)


def _gate(groups: Sequence[Group]) -> str:
    gates = {(group.gated, group.gate) for group in groups if group.gate}
    return " ({} of {:g} or more)".format(*gates.pop()) if len(gates) == 1 else ""


def _floor(groups: Sequence[Group], id: str) -> float | None:
    """Return the floor of the first share, if it is about the same for all models."""
    floors = [
        floor
        for group in groups
        for result in group.results(id).values()
        if result is not None and (floor := result.references.get("floor")) is not None
    ]
    same = bool(floors) and max(floors) - min(floors) < _SAME
    return sum(floors) / len(floors) if same else None


def _draw_row(axes: Axes, row: int, group: Group, ids: Sequence[str]) -> None:
    for place, id in enumerate(ids):
        colour, mark = COLOURS[place], MARKS[place]
        y = row + (place - (len(ids) - 1) / 2) * 0.62 / max(2, len(ids))
        summary = group.number(id)
        if summary.mean is None:
            continue
        values = list(summary.values.values())
        if len(values) > 1:
            axes.plot(values, [y] * len(values), ".", color=colour, markersize=2.2, alpha=0.55)
        low, high = summary.low, summary.high
        if low is not None and high is not None:
            axes.plot([max(0, low), min(1, high)], [y, y], color=colour, linewidth=1)
        axes.plot(summary.mean, y, mark, color=colour, markersize=3.2, zorder=3)
