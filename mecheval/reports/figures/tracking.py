"""Tracking: how far the state suffices inside a model, against what it answers on longer words.

One picture of all tasks, a dot per seed of a model on a task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from mecheval.reports.drawing import canvas, style, words
from mecheval.reports.drawing.canvas import Panel, Room, Words
from mecheval.reports.drawing.sheets import caption, flags, is_longer, natural
from mecheval.reports.drawing.style import COLOURS, GREY, LIGHT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from mecheval.reports.collection import Group
    from mecheval.reports.drawing.canvas import Drawing
    from mecheval.reports.drawing.sheets import Sheet

EXCHANGE, INNER, LONGER = "exchange", "mean_sufficiency", "last_accuracy/4x"
PREDICTS, TRACKS = 0.8, 0.9
"""From which mean sufficiency on tracking is predicted, and from which accuracy on there is any."""

_HEIGHT, _ENTRY = 2.3, 1.25  # inches: of the plot, of a name in the legend
_MARKS = "os^Dv<>pP*X"
_LOOKS = len(COLOURS)


class Dot(NamedTuple):
    """A seed of a model on a task.

    Attributes:
        row: The model.
        task: The task.
        inner: Mean sufficiency of the layers between the first and the last one.
        longer: Accuracy at the last position of words four times as long.
    """

    row: str
    task: str
    inner: float
    longer: float

    @property
    def agrees(self) -> bool:
        """Say whether what is predicted is what there is."""
        return (self.inner >= PREDICTS) == (self.longer >= TRACKS)


def draw_all(sheets: Sequence[Sheet]) -> list[Drawing]:
    """Draw every seed of every model and task that has both numbers."""
    dots = [dot for sheet in sheets for group in sheet.groups for dot in _dots(sheet, group)]
    if len(dots) < 2:
        return []
    rows = sorted({dot.row for dot in dots}, key=natural)
    tasks = list(dict.fromkeys(dot.task for dot in dots))
    groups = [group for sheet in sheets for group in sheet.groups]
    said = Words(
        "", "State inside the model, and answers on words four times as long",
        _caption(dots, groups), _handles(rows, tasks), most=2,
    )  # fmt: skip
    room = Room(left=0.46, foot=0.34)
    drawing, (axes,) = canvas.page([Panel("", _HEIGHT)], said, room, columns=1)
    _panel(axes, dots, rows, tasks)
    return [drawing]


def _dots(sheet: Sheet, group: Group) -> list[Dot]:
    """Return the seeds of a model on a task, by the variable that is the whole state."""
    ids = sheet.of(EXCHANGE).values()
    whole = [
        id
        for id in ids
        if any(r and r.verdict and not is_longer(r) for r in group.results(id).values())
    ]
    if not whole:
        return []
    inner, longer = group.number(whole[0], INNER).values, group.number(LONGER).values
    return [
        Dot(group.name.row, sheet.task, inner[seed], longer[seed])
        for seed in inner
        if seed in longer
    ]


def _caption(dots: Sequence[Dot], groups: Sequence[Group]) -> str:
    agree, tracking = sum(dot.agrees for dot in dots), sum(dot.longer >= TRACKS for dot in dots)
    without = sum(len(group.seeds) for group in groups) - len(dots)
    return caption(
        "A dot is a network, trained with one seed on one task. Across: mean sufficiency of the "
        "state at the training length, over the layers between the first and the last one, by "
        "exchange. Up: answers that are right at the last position of words four times as long.",
        f"Of {len(dots)} networks {tracking} are right there in {TRACKS:g} of cases or more; "
        f"{agree} lie in the shaded fields, where a mean of {PREDICTS:g} or more goes with that, "
        "and less without. In every field stands how many there are.",
        f"Not drawn, not learned or not measured: {without}." if without else "",
        flags(groups),
    )


def _handles(rows: Sequence[str], tasks: Sequence[str]) -> list[Line2D]:
    """Return the entries of the legend: a column of tasks, one of models."""
    colours = [
        Line2D([], [], linestyle="", marker="o", markersize=3.5, color=_colour(rows, row),
               markerfacecolor=_face(rows, row), label=label)
        for row, label in zip(rows, _short(rows), strict=True)
    ]  # fmt: skip
    marks = [
        Line2D([], [], linestyle="", marker=_mark(tasks, task), markersize=3.5, color=GREY,
               markerfacecolor="white", label=label)
        for task, label in zip(tasks, _short(tasks), strict=True)
    ]  # fmt: skip
    blank = [Line2D([], [], linestyle="", label=" ")] * abs(len(marks) - len(colours))
    if len(marks) < len(colours):
        return [*marks, *blank, *colours]
    return [*marks, *colours, *blank]


def _short(names: Sequence[str]) -> list[str]:
    """Return names that fit beside each other in a legend, whole where they would be the same."""
    found = [words.wrapped(name, _ENTRY, points=style.CAPTION, lines=1) for name in names]
    return found if len(set(found)) == len(names) else [words.clean(name) for name in names]


def _colour(rows: Sequence[str], row: str) -> str:
    return COLOURS[rows.index(row) % _LOOKS]


def _face(rows: Sequence[str], row: str) -> str:
    """Return the filling of a model's dots: there are twice as many looks as colours."""
    return _colour(rows, row) if rows.index(row) % (2 * _LOOKS) < _LOOKS else "white"


def _mark(tasks: Sequence[str], task: str) -> str:
    return _MARKS[tasks.index(task) % len(_MARKS)]


def _panel(axes: Axes, dots: Sequence[Dot], rows: Sequence[str], tasks: Sequence[str]) -> None:
    low = min(0.0, *(dot.inner for dot in dots)) - 0.05
    high = max(1.0, *(dot.inner for dot in dots)) + 0.05
    axes.set_xlim(low, high)
    axes.set_ylim(-0.03, 1.05)
    for x, y, width, height in (
        (low, -0.03, PREDICTS - low, TRACKS + 0.03),
        (PREDICTS, TRACKS, high - PREDICTS, 1.05 - TRACKS),
    ):
        axes.add_patch(Rectangle((x, y), width, height, color=LIGHT, alpha=0.45, linewidth=0,
                                 zorder=0))  # fmt: skip
    axes.axvline(PREDICTS, color=GREY, linestyle=":", linewidth=0.8, zorder=1)
    axes.axhline(TRACKS, color=GREY, linestyle=":", linewidth=0.8, zorder=1)
    _count(axes, dots, low)
    for dot in dots:
        axes.plot(
            dot.inner, dot.longer, _mark(tasks, dot.task), color=_colour(rows, dot.row),
            markerfacecolor=_face(rows, dot.row), markersize=4, markeredgewidth=0.8, alpha=0.75,
            zorder=3,
        )  # fmt: skip
    axes.set_xlabel("mean sufficiency inside, at the training length")
    axes.set_ylabel(words.wrapped("right at the last position, 4x", _HEIGHT, points=style.LABEL))
    axes.spines[["top", "right"]].set_visible(False)


def _count(axes: Axes, dots: Sequence[Dot], low: float) -> None:
    """Write into each field how many networks lie there: most of them may lie on each other."""
    corners = {
        (False, False): (low + 0.02, TRACKS - 0.03, "top"),
        (False, True): (0.25, TRACKS + 0.02, "bottom"),
        (True, False): (PREDICTS + 0.01, 0.0, "bottom"),
        (True, True): (PREDICTS + 0.01, TRACKS + 0.01, "bottom"),
    }
    for (predicted, right), (x, y, side) in corners.items():
        n = sum((d.inner >= PREDICTS, d.longer >= TRACKS) == (predicted, right) for d in dots)
        axes.text(x, y, f"{n}", fontsize=style.LABEL, fontweight="bold", color=GREY,
                  verticalalignment=side, zorder=2)  # fmt: skip
