"""From reports to the files of the page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mecheval.leaderboard.board import build as build_board
from mecheval.leaderboard.page import overview, sections
from mecheval.leaderboard.page.cell import view
from mecheval.leaderboard.page.comparing import comparisons
from mecheval.leaderboard.page.document import INDEX, MOST, folder, frame, one_file
from mecheval.leaderboard.page.links import cell_id
from mecheval.leaderboard.page.markup import Html, data, joined, marked, paragraphs, tag
from mecheval.leaderboard.tables import LEGEND
from mecheval.reports.collection.overview import ABOUT_TRACKING
from mecheval.reports.drawing.sheets import sheets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.leaderboard.board import Board
    from mecheval.leaderboard.claims import Finding
    from mecheval.leaderboard.page.links import Links
    from mecheval.reports.collection import Collection, Pairs

COMPARE = (
    "Choose two or more models of a task in the first column of the results, then *Compare*. "
    "`mecheval compare A B --results RESULTS` prints the same numbers."
)


@dataclass(frozen=True)
class Shown:
    """What the page is made of.

    Attributes:
        title: What it is called.
        collection: The reports of cells.
        pairs: Those of pairs.
        findings: Claims by suite, with what the reports say of them.
        links: Where reports lie.
    """

    title: str
    collection: Collection
    pairs: Pairs
    findings: Mapping[str, Sequence[Finding]]
    links: Links


def pages(shown: Shown, *, most: int = MOST) -> dict[str, str]:
    """Return the files of the page by their paths.

    Args:
        shown: What it shows.
        most: Bytes of one file, beyond which cells have files of their own.
    """
    board = build_board(shown.collection)
    compared = data(comparisons(board), id="comparisons")
    whole = one_file(shown.title, [_body(shown, board), compared], _cells(shown, board))
    if len(whole.encode()) <= most:
        return {INDEX: whole}
    apart = replace(shown, links=replace(shown.links, apart=True))
    return folder(shown.title, [_body(apart, board), compared], _cells(apart, board))


def _cells(shown: Shown, board: Board) -> dict[str, Html]:
    of_task = {sheet.task: sheet for sheet in sheets(shown.collection.reports)}
    return {
        cell_id(row.group): view(task, row, row.group, of_task[task.task], shown.links)
        for task in board.tables
        for row in task.rows
        if row.group is not None
    }


def _body(shown: Shown, board: Board) -> Html:
    results = joined([
        tag("p", overview.ABOUT), overview.controls(board),
        tag("div", "", id="grid", class_="scripts"), overview.table(board, shown.links),
        tag("p", marked(COMPARE), class_="scripts"),
    ])  # fmt: skip
    parts = [("overview", "Results", results)] if board.tables else []
    parts += [("numbers", "All numbers, task by task", _numbers(board))] if board.tables else []
    if shown.findings:
        parts.append(("claims", "Claims of the studies", sections.claims(shown.findings)))
    if shown.pairs:
        parts.append(("similarity", "How alike models are", sections.similarity(shown.pairs)))
    refused = [*board.refused, *shown.pairs.refused]
    if refused:
        parts.append(("refused", "Reports that do not count", sections.refusals(refused)))
    return frame(shown.title, [tag("p", _counted(shown))], parts)


def _numbers(board: Board) -> Html:
    tracking = any(task.tests_tracking for task in board.tables)
    said = [marked(part) for part in LEGEND.strip().split("\n\n")]
    return joined([paragraphs([*said, ABOUT_TRACKING if tracking else ""]),
                   sections.by_task(board)])  # fmt: skip


def _counted(shown: Shown) -> str:
    groups = shown.collection.groups
    models, tasks = {g.name.model for g in groups}, {g.name.task for g in groups}
    pairs = f", and {len(shown.pairs)} of pairs of models" if shown.pairs else ""
    refused = f" {len(shown.collection.refused)} do not count." if shown.collection.refused else ""
    return (
        f"{len(shown.collection.reports)} reports of {len(models)} models on {len(tasks)} tasks"
        f"{pairs}.{refused} Made by mecheval; this page fetches nothing."
    )
