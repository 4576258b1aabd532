"""Verdicts by model: what each seed was found to do, beside what it scores.

A row per model, a square per seed; the verdicts stand in words beside them. Every result that
decides something gets a column.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

from matplotlib.patches import Rectangle

from mecheval.reports.collection.numbers import VERDICT
from mecheval.reports.drawing import canvas, style, words
from mecheval.reports.drawing.canvas import Panel, Room, Words
from mecheval.reports.drawing.looks import FILLED, Look
from mecheval.reports.drawing.paging import Pages, numbered
from mecheval.reports.drawing.rows import label_rows, names_inches, row_axes
from mecheval.reports.drawing.sheets import caption, flags, gates
from mecheval.reports.drawing.style import GREY, LIGHT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from mecheval.reports.collection import Column, Group
    from mecheval.reports.drawing.canvas import Drawing
    from mecheval.reports.drawing.sheets import Sheet
    from mecheval.reports.labels import Name

MOST_FACETS, MOST_LINES = 4, 6
_NAMES, _SCORES, _GAP, _ROW = 1.65, 0.95, 0.2, 0.215  # inches
_FACET = 1.3  # inches of a column of verdicts, where its words need no more
_SQUARES, _SQUARE = 8, 0.085  # most squares beside each other, and inches of one
_LINE, _HEAD, _FURTHER = 0.09, 0.16, 0.105  # inches of a further line of words, and of headings
_TALLEST = 7.2  # inches of all rows of a page


NO_VERDICT = Look("white", FILLED[0])


def draw(sheet: Sheet) -> list[Drawing]:
    """Draw the verdicts of all models that have any, or could have had."""
    facets = [c for c in sheet.columns if c.at == VERDICT and sheet.verdicts.get(c.id)]
    facets, scores = facets[:MOST_FACETS], next(iter(sheet.scores), None)
    groups = [g for g in sheet.groups if any(any(g.results(c.id).values()) for c in facets)]
    if not any(group.number(c.id, VERDICT).verdicts for group in groups for c in facets):
        return []
    title = f"{sheet.task}: what the models were found to do"
    sizes = _sizes(groups, facets, scores=scores is not None)
    return [
        _page(sheet, some, (scores, facets, sizes), numbered("", title, number))
        for some, number in _pages(groups, sizes)
    ]


class _Sizes(NamedTuple):
    """Inches of a page: of the names, up to where each facet begins, of it, and of every row."""

    names: float
    starts: Sequence[float]
    widths: Sequence[float]
    rows: Mapping[Name, float]

    def edges(self, groups: Sequence[Group]) -> list[float]:
        """Return where rows begin, and where the last one ends, from the top."""
        return [0.0, *accumulate(self.rows[group.name] for group in groups)]


_Shown = tuple[str | None, "Sequence[Column]", _Sizes]


def _pages(groups: Sequence[Group], sizes: _Sizes) -> Pages:
    """Put as many models on every page as have a place there."""
    for most in range(len(groups), 1, -1):
        pages = Pages(groups, most)
        if all(sizes.edges(some)[-1] <= _TALLEST for some, _ in pages):
            return pages
    return Pages(groups, 1)


def _sizes(groups: Sequence[Group], facets: Sequence[Column], *, scores: bool) -> _Sizes:
    """Find sizes in which the words of every row have a place."""
    names, start = names_inches(groups, _NAMES), _SCORES + _GAP if scores else 0.0
    room = style.WIDTH - names - start - 0.05
    least = [max(_FACET, _needed(groups, facet, lines=2)) for facet in facets]
    widths = _shared_out(least, room)
    more = [
        _needed(groups, facet, lines=1) - each for facet, each in zip(facets, widths, strict=True)
    ]
    further = _shared_out([max(0.0, each) for each in more], room - sum(widths))
    widths = [sum(both) for both in zip(widths, further, strict=True)]
    starts = [start + sum(widths[:place]) for place in range(len(facets))]
    rows = {}
    for group in groups:
        n_lines = max(
            words.n_lines(_said(group, facet), _beside(groups, width), points=style.SMALL)
            for facet, width in zip(facets, widths, strict=True)
        )
        rows[group.name] = _ROW + _LINE * max(0, min(n_lines, MOST_LINES) - 2)
    return _Sizes(names, starts, widths, rows)


def _shared_out(needed: Sequence[float], room: float) -> list[float]:
    """Give each what it needs, and those that need most an equal share of what is left for them."""
    widths = [0.0] * len(needed)
    for left, place in enumerate(sorted(range(len(needed)), key=lambda i: needed[i])):
        widths[place] = min(needed[place], (room - sum(widths)) / (len(needed) - left))
    return widths


def _most_squares(groups: Sequence[Group]) -> int:
    return max(min(_SQUARES, len(group.seeds)) for group in groups)


def _beside(groups: Sequence[Group], each: float) -> float:
    """Return the inches of a column that its squares leave to words."""
    return each - _most_squares(groups) * _SQUARE - 0.09


def _page(sheet: Sheet, groups: Sequence[Group], shown: _Shown, called: tuple[str, str]) -> Drawing:
    scores, facets, sizes = shown
    said = Words(*called, _caption(sheet, groups, (scores, facets)))
    width = sizes.starts[-1] + sizes.widths[-1]
    room = Room(left=sizes.names, right=0.05, foot=0.12)
    edges, heads = sizes.edges(groups), _heads(sheet, shown)
    head = _HEAD + _FURTHER * max(text.count("\n") for _, text in heads)
    panel = Panel("", edges[-1] + head)
    whole = sizes.names + width + 0.05
    drawing, (axes,) = canvas.page([panel], said, room, columns=1, width=whole)
    row_axes(axes, edges)
    axes.set_ylim(edges[-1], -head)
    axes.set_xlim(0, width)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    label_rows(axes, groups, room.left, edges)
    for x, text in heads:
        _head(axes, x, text)
    if scores is not None:
        _draw_scores(axes, groups, scores, edges)
    for facet, start, width in zip(facets, sizes.starts, sizes.widths, strict=True):
        _draw_facet(axes, groups, (sheet, facet), ((start, width), edges))
    return drawing


def _needed(groups: Sequence[Group], facet: Column, *, lines: int) -> float:
    """Return the inches that a column needs for squares and words in so many lines."""
    said = [_said(group, facet) for group in groups]
    words_inches = max(style.text_inches(words.clean(text), style.SMALL) for text in said)
    squares = _most_squares(groups) * _SQUARE
    title = style.text_inches(words.clean(_heading(facet)), style.CAPTION, bold=True)
    share = 1.0 if lines == 1 else 1.2 / lines  # lines are not equally long
    return 0.25 + max(title, squares + share * words_inches)


def _caption(
    sheet: Sheet, groups: Sequence[Group], what: tuple[str | None, Sequence[Column]]
) -> str:
    scores, facets = what
    # A metric that decides asks a question with each of its results; of others the title is that of
    # their number.
    asking = {facet.id for facet in facets if "/" in facet.id and sheet.decides(facet.id)}
    asked = {_heading(facet): sheet.title(facet.id) for facet in facets if facet.id in asking}
    said = dict.fromkeys(sheet.caption(facet.id) for facet in facets if facet.id not in asking)
    occurring = {w for g in groups for f in facets for w in g.number(f.id, VERDICT).verdicts}
    halves = any(
        sheet.look(facet.id, word).filled != FILLED[0]
        for group in groups
        for facet in facets
        for word in group.number(facet.id, VERDICT).verdicts
    )
    gaps = any(
        result is None or result.verdict is None
        for group in groups
        for facet in facets
        for result in group.results(facet.id).values()
    )
    return caption(
        words.explained([title for title, text in asked.items() if title != text], asked),
        *said,
        words.verdicts(occurring),
        "A square per seed, in the colour of its verdict" + (
            "; half-filled squares are verdicts of their own." if halves else "."
        ),
        "White squares: no verdict, for the reason beside them." if gaps else "",
        f"Models that have not learned the task{gates(groups)} are not looked at." if gaps else "",
        "Left: accuracy, a dot per seed and a line at their mean; dotted: the floor, which needs "
        "no model." if scores else "",
        flags(groups),
    )  # fmt: skip


def _heading(facet: Column) -> str:
    """Return the title of a column, all of which are verdicts."""
    return facet.title.removesuffix(": verdict")


def _heads(sheet: Sheet, shown: _Shown) -> list[tuple[float, str]]:
    """Return where the heading of every column begins, and its words in lines of its width."""
    scores, facets, sizes = shown
    columns = [] if scores is None else [(0.0, _SCORES + 0.9 * _GAP, sheet.title(scores))]
    columns += [
        (start, width - _GAP / 2, _heading(facet))
        for facet, start, width in zip(facets, sizes.starts, sizes.widths, strict=True)
    ]
    return [
        (x, words.filled(text, inches, points=style.CAPTION, bold=True))
        for x, inches, text in columns
    ]


def _head(axes: Axes, x: float, text: str) -> None:
    axes.annotate(
        text, (x, 0), (0, 3.5), textcoords="offset points", va="bottom",
        fontsize=style.CAPTION, fontweight="bold",
    )  # fmt: skip


def _draw_scores(axes: Axes, groups: Sequence[Group], id: str, edges: Sequence[float]) -> None:
    """Draw accuracy from 0 to 1 in a strip of its own."""
    for share in (0.0, 0.5, 1.0):
        axes.plot([share * _SCORES] * 2, [0, edges[-1]], color=LIGHT, linewidth=0.6, zorder=1)
        axes.text(share * _SCORES, edges[-1] + 0.02, f"{share:g}", ha="center", va="top",
                  fontsize=style.SMALL)  # fmt: skip
    for (top, bottom), group in zip(pairwise(edges), groups, strict=True):
        row = (top + bottom) / 2
        summary, floor = group.number(id), group.number(id, "floor").mean
        if floor is not None:
            at, ends = _SCORES * floor, [row - 0.4 * _ROW, row + 0.4 * _ROW]
            axes.plot([at] * 2, ends, ":", color=GREY, linewidth=0.9, zorder=2)
        for value in summary.values.values():  # in a colour that no verdict has
            axes.plot(_SCORES * value, row, "o", color=GREY, markersize=2.8, alpha=0.5)
        if summary.mean is not None:
            at = _SCORES * summary.mean
            ends = [row - 0.3 * _ROW, row + 0.3 * _ROW]
            axes.plot([at] * 2, ends, color="black", linewidth=1, zorder=3)


def _draw_facet(
    axes: Axes,
    groups: Sequence[Group],
    facet: tuple[Sheet, Column],
    place: tuple[tuple[float, float], Sequence[float]],
) -> None:
    """Draw a square per seed and the verdicts in words, in a column that starts at a place."""
    (sheet, column), ((start, width), edges) = facet, place
    beside = _beside(groups, width)
    for (top, bottom), group in zip(pairwise(edges), groups, strict=True):
        row = (top + bottom) / 2
        counts = group.number(column.id, VERDICT).verdicts
        looks = [sheet.look(column.id, word) for word, n in counts.items() for _ in range(n)]
        looks += [NO_VERDICT] * (len(group.seeds) - len(looks))
        size = _SQUARE * min(1.0, _SQUARES / len(looks))
        for i, look in enumerate(looks):
            at = start + i * size, row - 0.5 * _SQUARE
            _draw_square(axes, look, at, (0.86 * size, _SQUARE))
        text = words.wrapped(
            _said(group, column), beside, points=style.SMALL, lines=MOST_LINES
        )  # fmt: skip
        at = start + _most_squares(groups) * _SQUARE + 0.05
        axes.text(at, row, text, va="center", fontsize=style.SMALL, linespacing=0.95)


def _draw_square(
    axes: Axes, look: Look, at: tuple[float, float], size: tuple[float, float]
) -> None:
    """Draw a square of which all or a half is filled; the scale of rows runs downwards."""
    (x, y), (width, height) = at, size
    filled, edge = look.filled, GREY if look == NO_VERDICT else look.colour
    whole = look.colour if filled == FILLED[0] else "white"
    axes.add_patch(
        Rectangle(at, width, height, facecolor=whole, edgecolor=edge, linewidth=0.4, zorder=3)
    )
    if filled == FILLED[0]:
        return
    if filled in ("top", "bottom"):
        half = Rectangle((x, y + (filled == "bottom") * height / 2), width, height / 2)
    else:
        half = Rectangle((x + (filled == "right") * width / 2, y), width / 2, height)
    half.set(facecolor=look.colour, linewidth=0, zorder=4)
    axes.add_patch(half)


def _said(group: Group, column: Column) -> str:
    """Return ``direct early (3), convolution (1)``; the verdict alone where all seeds agree."""
    counts = group.number(column.id, VERDICT).verdicts
    without = [
        (result.reason or "undefined").partition(":")[0] if result else "not measured"
        for result in group.results(column.id).values()
        if result is None or result.verdict is None
    ]
    said = {**counts, **{reason: without.count(reason) for reason in dict.fromkeys(without)}}
    if len(said) == 1:
        return next(iter(said))
    return ", ".join(f"{word} ({n})" for word, n in said.items())
