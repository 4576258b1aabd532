"""Likeness along training, of pairs: numbers of two networks at the same loss, loss by loss.

A panel per number: lines are two models, or a model and its seeds, over the losses at which they
are held side by side; dots are single pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from matplotlib.lines import Line2D

from mecheval.reports.drawing import canvas
from mecheval.reports.drawing.canvas import Panel, Room, Words
from mecheval.reports.drawing.style import COLOURS, GREY, LABEL, LIGHT
from mecheval.reports.drawing.twos import twos
from mecheval.reports.drawing.words import wrapped
from mecheval.reports.levels import null_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from mecheval.reports.drawing.canvas import Drawing
    from mecheval.reports.drawing.twos import Seen, Two
    from mecheval.reports.pair import PairReport

COLUMNS, HEIGHT = 3, 1.3
ROOM = Room(left=0.4, inner=0.3, right=0.12, bottom=0.2)
LEAST = 2
"""Fewest losses of a line."""


class _Point(NamedTuple):
    """A number at a loss, of one pair, with its null."""

    asked: float | None
    loss: float
    value: float
    null: float | None


def draw_two(reports: Sequence[PairReport]) -> list[Drawing]:
    """Draw the numbers that are measured at two losses or more."""
    if len({report.identity.at_loss for report in reports}) < LEAST:
        return []
    found = twos(reports, lambda result: any(line.at == "" for line in result.headline))
    shown = {
        id: models for id, models in found.items()
        if any(len({p.asked for p in _points(two)}) >= LEAST for two in models)
    }  # fmt: skip
    return [_page(reports[0].task_title, shown)] if shown else []


def _page(task: str, shown: dict[str, list[Two]]) -> Drawing:
    titles = dict.fromkeys(two.title for models in shown.values() for two in models)
    look = {title: COLOURS[number % len(COLOURS)] for number, title in enumerate(titles)}
    same = {two.title for models in shown.values() for two in models if two.same}
    said = Words(
        "",
        f"{task}: likeness along training",
        "Across: validation loss of the two networks, as a mean of both; training goes to the "
        "right. Lines: means over pairs of networks, dots: single pairs; dashed: seeds of one "
        "model. Dotted: the null as the metric says, as a mean over all pairs.",
        [
            *(Line2D([], [], color=colour, linestyle=_dashes(title in same), label=title)
              for title, colour in look.items()),
            Line2D([], [], color=GREY, linestyle=":", label="null"),
        ],
    )  # fmt: skip
    inches = canvas.panel_inches(len(shown), COLUMNS, ROOM)
    panels = [Panel(wrapped(id, inches, points=LABEL), HEIGHT) for id in shown]
    drawing, axes = canvas.page(panels, said, ROOM, columns=COLUMNS)
    for panel, models in zip(axes, shown.values(), strict=True):
        _draw(panel, models, look)
    for panel in axes[-COLUMNS:]:
        panel.set_xlabel("validation loss (nats per token)")
    return drawing


def _dashes(same: bool) -> Literal["-", "--"]:
    return "--" if same else "-"


def _points(two: Two) -> list[_Point]:
    return [point for seen in two.seen if (point := _point(seen)) is not None]


def _point(seen: Seen) -> _Point | None:
    losses = [side.validation_loss for side in seen.report.sides]
    known = [loss for loss in losses if loss is not None]
    if len(known) < len(losses) or seen.result.value is None:
        return None
    line = next(line for line in seen.result.headline if line.at == "")
    null = null_of(seen.result, line).value
    return _Point(seen.report.identity.at_loss, float(np.mean(known)), seen.result.value, null)


def _draw(axes: Axes, models: Sequence[Two], look: dict[str, str]) -> None:
    every: list[_Point] = []
    for two in models:
        points = _points(two)
        every += points
        colour = look[two.title]
        axes.plot([p.loss for p in points], [p.value for p in points], ".", color=colour,
                  markersize=1.5)  # fmt: skip
        axes.plot(*_line([(p, p.value) for p in points]), color=colour,
                  linestyle=_dashes(two.same), linewidth=1.0)  # fmt: skip
    nulls = [(point, point.null) for point in every if point.null is not None]
    if nulls:
        axes.plot(*_line(nulls), color=GREY, linestyle=":", linewidth=1.0)
    axes.invert_xaxis()
    axes.grid(axis="y", color=LIGHT, linewidth=0.4)
    axes.spines[["top", "right"]].set_visible(False)


def _line(numbers: Sequence[tuple[_Point, float]]) -> tuple[list[float], list[float]]:
    """Return mean losses and mean numbers of what is asked for at one loss, by falling loss."""
    by_loss: dict[float | None, list[tuple[float, float]]] = {}
    for point, number in numbers:
        by_loss.setdefault(point.asked, []).append((point.loss, number))
    means = sorted((tuple(np.mean(same, 0).tolist()) for same in by_loss.values()), reverse=True)
    return [loss for loss, _ in means], [number for _, number in means]
