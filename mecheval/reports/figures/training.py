"""Training: accuracy, headline numbers and verdicts at the snapshots.

A panel per model and task of the reports that have snapshots, a thin line per seed. A number is
drawn whether or not the task was learned by then; the accuracy beside it says how much it means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, MultipleLocator

from mecheval.reports.collection.columns import BEHAVIOUR
from mecheval.reports.collection.numbers import VERDICT
from mecheval.reports.drawing import canvas, style, words
from mecheval.reports.drawing.canvas import Panel, Room, Words
from mecheval.reports.drawing.paging import Pages, numbered
from mecheval.reports.drawing.sheets import caption, flags, titles
from mecheval.reports.drawing.style import COLOURS, GREY, LIGHT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from mecheval.reports.collection import Column, Group
    from mecheval.reports.drawing.canvas import Drawing
    from mecheval.reports.drawing.sheets import Sheet
    from mecheval.reports.schema import Report, SnapshotResult

MOST, COLUMNS, MOST_CURVES = 15, 3, 4
HEIGHT = 1.25  # inches
CURVES = COLOURS[::-1]  # verdicts have the first ones
DASHES = ("-", "--", ":", "-.")
_STRIP = 0.1  # of the scale: what a row of verdicts takes beneath the curves


class _Shown(NamedTuple):
    """What is drawn of a task: numbers as curves, and one verdict as squares."""

    numbers: Sequence[Column]
    verdict: str | None
    occurring: Sequence[str]
    """The verdicts that any model has at any snapshot."""

    def curves(self, sheet: Sheet) -> list[tuple[Column, dict[str, Any]]]:
        """Return the numbers with how they are drawn, in colours that no verdict has."""
        taken = {sheet.look(self.verdict, word).colour for word in self.occurring if self.verdict}
        free = [colour for colour in CURVES if colour not in taken] or ["black"]
        looks = [{"color": colour, "linestyle": dash} for dash in DASHES for colour in free]
        return list(zip(self.numbers, looks, strict=False))


def draw(sheet: Sheet) -> list[Drawing]:
    """Draw the models of which any report has snapshots."""
    groups = [group for group in sheet.groups if _reports(group)]
    if not groups:
        return []
    known = [column for column in sheet.columns if column.family != BEHAVIOUR]
    numbers = [c for c in known if c.kind == "number" and c.id not in sheet.verdicts]
    verdict = next((c.id for c in known if c.at == VERDICT and c.id in sheet.verdicts), None)
    shown = _Shown(
        [column for column in numbers if _is_there(groups, column)][:MOST_CURVES],
        verdict,
        _occurring(groups, verdict) if verdict else (),
    )
    title = f"{sheet.task}: what becomes of the models in training"
    return [
        _page(sheet, some, shown, numbered("", title, number))
        for some, number in Pages(groups, MOST)
    ]


def _reports(group: Group) -> list[Report]:
    return [report for report in group.reports if report.snapshots]


def _occurring(groups: Sequence[Group], id: str) -> list[str]:
    found = (r for group in groups for report in _reports(group) for r in _results(report, id))
    return sorted({result.verdict for result in found if result and result.verdict})


def _is_there(groups: Sequence[Group], column: Column) -> bool:
    return any(
        np.isfinite(_values(report, column)).any() for group in groups for report in _reports(group)
    )


def _page(sheet: Sheet, groups: Sequence[Group], shown: _Shown, called: tuple[str, str]) -> Drawing:
    inches = canvas.panel_inches(len(groups), COLUMNS, Room())
    said = Words(
        *called,
        caption(
            f"Grey: {_validated(groups)} on the validation split. Colours: the results at the "
            "snapshots, whether the task was learned by then or not.",
            "A line per seed." if any(len(_reports(group)) > 1 for group in groups) else "",
            "Squares beneath: the verdicts, a row per seed." if shown.verdict else "",
            words.verdicts(_occurring(groups, shown.verdict)) if shown.verdict else "",
            flags(groups),
        ),
        _handles(sheet, groups, shown),
    )  # fmt: skip
    panels = [Panel(title, HEIGHT) for title in titles(groups, [], inches)]
    drawing, axes = canvas.page(panels, said, Room(), columns=COLUMNS)
    most_seeds = max(len(_reports(group)) for group in groups)
    low, high = _limits(groups, shown)
    strip = _STRIP * (high - low) * most_seeds if shown.verdict else 0
    last = max(step for group in groups for report in _reports(group) for step in _steps(report))
    for panel, group in zip(axes, groups, strict=True):
        panel.set_xlim(-0.03 * last, 1.03 * last)
        panel.set_ylim(low - strip - 0.05, high + 0.05)
        panel.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        panel.yaxis.set_major_locator(MultipleLocator(0.5 if high - low < 2.5 else 1.0))
        _panel(panel, group, shown, (sheet, low - _STRIP * (high - low) / 2))
    canvas.outer(axes, "training steps", "")
    return drawing


def _steps(report: Report) -> list[int]:
    """Return the steps at which anything is known, the first and the last among them."""
    curve = report.training.curve if report.training else []
    return [*(snapshot.step for snapshot in report.snapshots), *(step for step, _, _ in curve)]


def _limits(groups: Sequence[Group], shown: _Shown) -> tuple[float, float]:
    values = [
        value
        for group in groups
        for report in _reports(group)
        for column in shown.numbers
        for value in _values(report, column)
        if np.isfinite(value)
    ]
    return min([0.0, *values]), max([1.0, *values])


def _handles(sheet: Sheet, groups: Sequence[Group], shown: _Shown) -> list[Artist]:
    """Explain the curves, and the verdicts that occur."""
    found: list[Artist] = [Line2D([], [], color=GREY, linewidth=1, label=_validated(groups))]
    for column, look in shown.curves(sheet):
        label = words.wrapped(column.title, 3.0, points=style.CAPTION, lines=1)
        found.append(Line2D([], [], **look, marker="o", markersize=3, label=label))
    if shown.verdict is None:
        return found
    here = _occurring(groups, shown.verdict)
    for verdict in here:
        square = _square(sheet, shown.verdict, verdict)
        found.append(Line2D([], [], linestyle="", label=words.clean(verdict), **square))
    return found


def _validated(groups: Sequence[Group]) -> str:
    """Return what the validation accuracies are called, if all are of one kind."""
    called = {group.validated for group in groups}
    return called.pop() if len(called) == 1 else "accuracy"


def _square(sheet: Sheet, id: str, verdict: str) -> dict[str, Any]:
    look = sheet.look(id, verdict)
    return {
        "color": look.colour, "fillstyle": look.filled, "markerfacecoloralt": "white",
        "marker": "s", "markersize": 3.5, "markeredgewidth": 0.4,
    }  # fmt: skip


def _panel(axes: Axes, group: Group, shown: _Shown, below: tuple[Sheet, float]) -> None:
    sheet, top = below
    for row, report in enumerate(_reports(group)):
        steps = [snapshot.step for snapshot in report.snapshots]
        if report.training and report.training.curve:
            curve = [(step, accuracy) for step, _, accuracy in report.training.curve]
        else:
            known = [(s.step, s.validation_accuracy) for s in report.snapshots]
            curve = [(step, value) for step, value in known if value is not None]
        if curve:
            axes.plot(*zip(*curve, strict=True), color=GREY, linewidth=0.8)
        for column, look in shown.curves(sheet):
            axes.plot(steps, _values(report, column), **look, linewidth=0.9, marker="o",
                      markersize=2)  # fmt: skip
        if shown.verdict is None:
            continue
        results = _results(report, shown.verdict)
        for step, result in zip(steps, results, strict=True):
            if result and result.verdict:
                square = _square(sheet, shown.verdict, result.verdict)
                axes.plot(step, top * (1 + 2 * row), **square)
    axes.axhline(0, color=GREY, linewidth=0.6, zorder=1)
    axes.grid(axis="y", color=LIGHT, linewidth=0.4)
    axes.spines[["top", "right"]].set_visible(False)


def _results(report: Report, id: str) -> list[SnapshotResult | None]:
    return [
        next((result for result in snapshot.metrics if result.id == id), None)
        for snapshot in report.snapshots
    ]


def _values(report: Report, column: Column) -> list[float]:
    """Return a number at every snapshot, NaN where it is not known."""
    found = [
        None if result is None else result.scalars.get(column.at) if column.at else result.value
        for result in _results(report, column.id)
    ]
    return [np.nan if value is None else value for value in found]
