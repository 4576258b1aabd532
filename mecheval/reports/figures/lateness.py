"""Lateness by task and model: at which depth a state becomes readable, and at which sufficient.

One picture of all tasks: a panel per task and variable, a row per model. Shape suffix: ``S`` seeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib.lines import Line2D

from mecheval.reports.collection import words as table_words
from mecheval.reports.collection.numbers import NOT_MEASURED
from mecheval.reports.drawing import canvas, style, words
from mecheval.reports.drawing.canvas import Panel, Room, Words
from mecheval.reports.drawing.intervals import Interval, seeds_sentence
from mecheval.reports.drawing.paging import Pages, numbered
from mecheval.reports.drawing.rows import label_rows, names_inches, row_axes
from mecheval.reports.drawing.sheets import caption, flags, natural
from mecheval.reports.drawing.style import COLOURS, GREY, LIGHT, SMALL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes

    from mecheval.reports.collection import Group, OverSeeds
    from mecheval.reports.drawing.canvas import Drawing
    from mecheval.reports.drawing.sheets import Sheet

MOST, COLUMNS = 12, 2
"""Rows of a panel, and panels beside each other: the picture is as wide as a column."""

_ROW, _NAMES = 0.17, 1.1  # inches
_MOST_PANELS = 8


class Number(NamedTuple):
    """A lateness, and how it is drawn.

    Attributes:
        label: What the legend calls it.
        metric: The metric.
        at: The number in its results.
        look: Colour and mark.
    """

    label: str
    metric: str
    at: str
    look: dict[str, Any]


NUMBERS = (
    Number("readability", "readability", "com", {"color": COLOURS[0], "marker": "o"}),
    Number("sufficiency under exchange", "exchange", "", {"color": COLOURS[1], "marker": "D"}),
)


class Place(NamedTuple):
    """A task and a variable of it: a panel."""

    sheet: Sheet
    part: str

    @property
    def title(self) -> str:
        """Return the name of the task, and of the variable unless it is the same."""
        name = self.sheet.task.partition("@")[0]
        return self.sheet.task if self.part == name else f"{self.sheet.task}: {self.part}"

    def group(self, row: str) -> Group | None:
        """Return the reports of a model on the task."""
        return next((each for each in self.sheet.groups if each.name.row == row), None)


def draw_all(sheets: Sequence[Sheet]) -> list[Drawing]:
    """Draw the lateness of all models on all tasks that have one."""
    places = [Place(sheet, part) for sheet in sheets for part in _parts(sheet)]
    found: dict[str, Group] = {}
    for place in places:
        for group in place.sheet.groups:
            if any(_number(group, place, number).values for number in NUMBERS):
                found.setdefault(group.name.row, group)
    groups = [found[row] for row in sorted(found, key=natural)]
    if len(groups) < 2:
        return []
    pages = [places[i : i + _MOST_PANELS] for i in range(0, len(places), _MOST_PANELS)]
    parts = [(some, rows) for some in pages for rows, _ in Pages(_measured(groups, some), MOST)]
    return [
        _page(some, rows, f"{number} of {len(parts)}" if len(parts) > 1 else "")
        for number, (some, rows) in enumerate(parts, 1)
    ]


def _measured(groups: Sequence[Group], places: Sequence[Place]) -> list[Group]:
    """Return the models that were measured on one of some tasks at least."""
    return [group for group in groups if any(place.group(group.name.row) for place in places)]


def _parts(sheet: Sheet) -> list[str]:
    """Return the variables of a task of which any model has a lateness."""
    parts = dict.fromkeys(part for number in NUMBERS for part in sheet.of(number.metric))
    return [
        part
        for part in parts
        if any(_number(group, Place(sheet, part), number).values
               for group in sheet.groups for number in NUMBERS)
    ]  # fmt: skip


def _number(group: Group, place: Place, number: Number) -> OverSeeds:
    return group.number(place.sheet.of(number.metric).get(place.part, ""), number.at)


def _page(places: Sequence[Place], groups: Sequence[Group], page: str) -> Drawing:
    room = Room(left=names_inches(groups, _NAMES), right=0.08, inner=0.08, bottom=0.1)
    columns = canvas.columns_of(len(places), COLUMNS)
    inches = canvas.plot_inches(columns, room, style.NARROW)
    titles = [_title(place, inches) for place in places]
    panels = [
        Panel(title, _ROW * len(groups))
        for start in range(0, len(titles), columns)
        for title in _level(titles[start : start + columns])
    ]
    title = "How late a state becomes readable, and sufficient"
    said = Words(*numbered("", title, page), _caption(places, groups), _handles(places))
    drawing, axes = canvas.page(panels, said, room, columns=columns, width=style.NARROW)
    edges = [row - 0.5 for row in range(len(groups) + 1)]
    for number, (panel, place) in enumerate(zip(axes, places, strict=True)):
        row_axes(panel, edges)
        panel.set_xlim(-0.05, 1.05)
        panel.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        panel.grid(axis="x", color=LIGHT, linewidth=0.4)
        if number % columns == 0:
            label_rows(panel, groups, room.left, edges)
        for row, group in enumerate(groups):
            _draw_row(panel, row, place.group(group.name.row), place)
    for panel in axes[:-columns]:
        panel.set_xticklabels([])
    for panel in axes[-columns:]:
        panel.set_xlabel("lateness")
    return drawing


def _title(place: Place, inches: float) -> str:
    """Return the title in lines; of one that is too long the task is cut, and not the variable."""
    whole = words.wrapped(place.title, inches, points=style.LABEL)
    if words.LEFT_OUT not in whole or place.title == place.sheet.task:
        return whole
    task = words.wrapped(place.sheet.task, inches, points=style.LABEL)
    return f"{task}\n{words.wrapped(place.part, inches, points=style.LABEL)}"


def _level(titles: Sequence[str]) -> list[str]:
    """Give titles of panels beside each other as many lines, so that their rows are level."""
    most = max(title.count("\n") for title in titles)
    return ["\n" * (most - title.count("\n")) + title for title in titles]


def _handles(places: Sequence[Place]) -> list[Line2D]:
    return [
        Line2D([], [], **number.look, linewidth=1, markersize=3.2, markerfacecolor="white",
               label=number.label)
        for number in NUMBERS
        if any(_number(group, place, number).values
               for place in places for group in place.sheet.groups)
    ]  # fmt: skip


def _caption(places: Sequence[Place], groups: Sequence[Group]) -> str:
    rows = {group.name.row for group in groups}
    shown = [each for place in places for row in rows if (each := place.group(row))]
    return caption(
        "Lateness: the centre of mass of a curve's rise over the layers, 0 at the first one and 1 "
        "behind the last block; a state that is complete behind the first of n blocks has 1/n.",
        "Joined variables (+) are exchanged together; each is read by itself."
        if any("+" in place.part for place in places)
        else "",
        "Small dots: seeds." if any(len(group.seeds) > 1 for group in shown) else "",
        seeds_sentence(shown, what="lines", intervals=_intervals(places, rows)),
        "A word in place of a mark says why there is none.",
        *dict.fromkeys(_otherwise(place) for place in places),
        flags(shown),
    )


def _otherwise(place: Place) -> str:
    """Say which numbers of a panel were measured with parameters that are not usual."""
    ids = (place.sheet.of(number.metric).get(place.part, "") for number in NUMBERS)
    return place.sheet.otherwise(ids)


def _intervals(places: Sequence[Place], rows: set[str]) -> Iterator[Interval]:
    for place in places:
        for row in sorted(rows):
            group = place.group(row)
            for number in NUMBERS if group else ():
                summary = _number(group, place, number) if group else None
                if summary and summary.low is not None and summary.over is not None:
                    yield Interval(row, summary.over)


def _draw_row(axes: Axes, row: int, group: Group | None, place: Place) -> None:
    found = [(number, _number(group, place, number)) for number in NUMBERS] if group else []
    if not any(summary.values for _, summary in found):
        said = [table_words.missing(summary) for _, summary in found]
        why = next((each for each in said if each and each != NOT_MEASURED), NOT_MEASURED)
        axes.text(0.0, row, words.clean(why), fontsize=SMALL, color=GREY, va="center")
    for place_in_row, (number, summary) in enumerate(found):
        if summary.mean is not None:
            _draw_number(axes, row + 0.4 * place_in_row - 0.2, summary, number)


def _draw_number(axes: Axes, y: float, summary: OverSeeds, number: Number) -> None:
    colour = number.look["color"]
    mean = float("nan") if summary.mean is None else summary.mean
    if len(summary.values) > 1:
        values_S = [*summary.values.values()]
        axes.plot(values_S, [y] * len(values_S), ".", color=colour, markersize=2.4, alpha=0.6)
    if summary.low is not None and summary.high is not None:
        ends = max(0.0, summary.low), min(1.0, summary.high)
        axes.plot(ends, [y, y], color=colour, linewidth=0.9)
    axes.plot(mean, y, number.look["marker"], color=colour, markersize=3.2,
              markerfacecolor="white", markeredgewidth=0.9, zorder=3)  # fmt: skip
