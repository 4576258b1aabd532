"""Verdicts by model: what each seed was found to do, beside what it scores.

A row per model, a square per seed; the verdicts stand in words beside them. Every result that
decides something gets a column.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.patches import Rectangle

from mecheval.reports.collection.numbers import VERDICT
from mecheval.reports.drawing import canvas, style, words
from mecheval.reports.drawing.canvas import Panel, Room, Words
from mecheval.reports.drawing.paging import Pages, numbered
from mecheval.reports.drawing.rows import label_rows, names_inches, row_axes
from mecheval.reports.drawing.sheets import caption, flags, gates
from mecheval.reports.drawing.style import COLOURS, GREY, LIGHT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from mecheval.reports.collection import Column, Group
    from mecheval.reports.drawing.canvas import Drawing
    from mecheval.reports.drawing.sheets import Sheet

MOST, MOST_FACETS = 40, 4
_NAMES, _SCORES, _GAP, _ROW = 1.65, 0.95, 0.2, 0.215  # inches
_FACET = 1.7  # inches of a column of verdicts, where its words need no more
_SQUARES, _SQUARE = 8, 0.085  # most squares beside each other, and inches of one


def draw(sheet: Sheet) -> list[Drawing]:
    """Draw the verdicts of all models that have any, or could have had."""
    facets = [c for c in sheet.columns if c.at == VERDICT and sheet.verdicts.get(c.id)]
    facets, scores = facets[:MOST_FACETS], next(iter(sheet.scores), None)
    groups = [g for g in sheet.groups if any(any(g.results(c.id).values()) for c in facets)]
    if not any(group.number(c.id, VERDICT).verdicts for group in groups for c in facets):
        return []
    title = f"{sheet.task}: what the models were found to do"
    return [
        _page(sheet, some, (scores, facets), numbered("", title, number))
        for some, number in Pages(groups, MOST)
    ]


def _page(
    sheet: Sheet,
    groups: Sequence[Group],
    what: tuple[str | None, Sequence[Column]],
    called: tuple[str, str],
) -> Drawing:
    scores, facets = what
    said = Words(*called, _caption(groups, what))
    names, start = names_inches(groups, _NAMES), _SCORES + _GAP if scores else 0.0
    needed = max(_needed(groups, facet) for facet in facets)
    each = min(max(_FACET, needed), (style.WIDTH - names - start - 0.05) / len(facets))
    width = start + each * len(facets)
    room = Room(left=names, right=0.05, foot=0.12)
    panel = Panel("", _ROW * len(groups) + 0.16)
    drawing, (axes,) = canvas.page([panel], said, room, columns=1, width=names + width + 0.05)
    row_axes(axes, len(groups))
    axes.set_ylim(len(groups) - 0.5, -0.5 - 0.16 / _ROW)
    axes.set_xlim(0, width)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    label_rows(axes, groups, room.left)
    if scores is not None:
        _draw_scores(axes, groups, (scores, sheet.title(scores)))
    for place, facet in enumerate(facets):
        _draw_facet(axes, groups, (sheet, facet), (start + place * each, each))
    return drawing


def _needed(groups: Sequence[Group], facet: Column) -> float:
    """Return the inches that a column needs for squares and words in two lines."""
    counts = {group.name: group.number(facet.id, VERDICT).verdicts for group in groups}
    said = [_in_words(group, facet, counts[group.name]) for group in groups]
    words_inches = max(style.text_inches(words.clean(text), style.SMALL) for text in said)
    squares = max(min(_SQUARES, len(group.seeds)) for group in groups) * _SQUARE
    title = style.text_inches(words.clean(facet.title), style.CAPTION, bold=True)
    return 0.25 + max(title, squares + (words_inches if words_inches < 2 else 0.6 * words_inches))


def _caption(groups: Sequence[Group], what: tuple[str | None, Sequence[Column]]) -> str:
    scores, facets = what
    gaps = any(
        result is None or result.verdict is None
        for group in groups
        for facet in facets
        for result in group.results(facet.id).values()
    )
    return caption(
        "A square per seed, in the colour of its verdict.",
        "White squares: no verdict, for the reason beside them." if gaps else "",
        f"Models that have not learned the task{gates(groups)} are not looked at." if gaps else "",
        "Left: accuracy, a dot per seed and a line at their mean; dotted: the floor, which needs "
        "no model." if scores else "",
        flags(groups),
    )  # fmt: skip


def _head(axes: Axes, x: float, text: str) -> None:
    axes.text(x, -0.5 - 0.05 / _ROW, words.clean(text), va="bottom", fontsize=style.CAPTION,
              fontweight="bold")  # fmt: skip


def _draw_scores(axes: Axes, groups: Sequence[Group], what: tuple[str, str]) -> None:
    """Draw accuracy from 0 to 1 in a strip of its own."""
    id, title = what
    _head(axes, 0, title)
    bottom = len(groups) - 0.5
    for share in (0.0, 0.5, 1.0):
        axes.plot([share * _SCORES] * 2, [-0.5, bottom], color=LIGHT, linewidth=0.6, zorder=1)
        axes.text(share * _SCORES, bottom + 0.1, f"{share:g}", ha="center", va="top",
                  fontsize=style.SMALL)  # fmt: skip
    for row, group in enumerate(groups):
        summary, floor = group.number(id), group.number(id, "floor").mean
        if floor is not None:
            at = _SCORES * floor
            axes.plot([at] * 2, [row - 0.4, row + 0.4], ":", color=GREY, linewidth=0.9, zorder=2)
        for value in summary.values.values():
            axes.plot(_SCORES * value, row, "o", color=COLOURS[0], markersize=2.8, alpha=0.5)
        if summary.mean is not None:
            at = _SCORES * summary.mean
            axes.plot([at] * 2, [row - 0.3, row + 0.3], color="black", linewidth=1, zorder=3)


def _draw_facet(
    axes: Axes,
    groups: Sequence[Group],
    facet: tuple[Sheet, Column],
    place: tuple[float, float],
) -> None:
    """Draw a square per seed and the verdicts in words, in a column that starts at a place."""
    (sheet, column), (start, width) = facet, place
    _head(
        axes, start, words.wrapped(column.title, width - 0.1, points=1.1 * style.CAPTION, lines=1)
    )
    most = max(min(_SQUARES, len(group.seeds)) for group in groups)
    for row, group in enumerate(groups):
        counts = group.number(column.id, VERDICT).verdicts
        left_over = len(group.seeds) - sum(counts.values())
        squares = [sheet.colour(column.id, word) for word, n in counts.items() for _ in range(n)]
        squares += ["white"] * left_over
        size = _SQUARE * min(1.0, _SQUARES / len(squares))
        for i, colour in enumerate(squares):
            axes.add_patch(
                Rectangle(
                    (start + i * size, row - 0.5 * _SQUARE / _ROW), 0.86 * size,
                    _SQUARE / _ROW, facecolor=colour,
                    edgecolor=GREY if colour == "white" else colour, linewidth=0.4, zorder=3,
                )
            )  # fmt: skip
        at = start + most * _SQUARE + 0.05
        said = _in_words(group, column, counts)
        text = words.wrapped(said, start + width - at - 0.04, points=style.SMALL)
        axes.text(at, row, text, va="center", fontsize=style.SMALL, linespacing=0.95)


def _in_words(group: Group, column: Column, counts: Mapping[str, int]) -> str:
    """Return ``direct early 3, convolution 1``; the verdict alone where all seeds agree."""
    without = [
        (result.reason or "undefined").partition(":")[0] if result else "not measured"
        for result in group.results(column.id).values()
        if result is None or result.verdict is None
    ]
    said = {**counts, **{reason: without.count(reason) for reason in dict.fromkeys(without)}}
    if len(said) == 1:
        return next(iter(said))
    return ", ".join(f"{word} {n}" for word, n in said.items())
