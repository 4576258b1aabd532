"""The further tables: all numbers by task, claims of the studies, matrices of pairs, refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval.leaderboard import claims_table, tables
from mecheval.leaderboard.page.markup import (
    Html,
    bullets,
    data,
    joined,
    marked,
    paragraphs,
    table,
    tag,
)
from mecheval.leaderboard.page.picture import rounded
from mecheval.leaderboard.similarity import LEGEND as ABOUT_PAIRS
from mecheval.reports.collection import notes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.leaderboard.board import Board, Table
    from mecheval.leaderboard.claims import Finding
    from mecheval.reports.collection import Pairs, Refused
    from mecheval.reports.pair_matrix import Matrix


def by_task(board: Board) -> Html:
    """Return all tables of the leaderboard, task by task."""
    remarks = tables.remarks(board)
    more = tag("details", tag("summary", f"Remarks ({len(remarks)})"), bullets(remarks))
    return joined([*map(_task, board.tables), more if remarks else ""])


def _task(task: Table) -> Html:
    inside = []
    for block in tables.blocks(task):
        inside += [tag("p", caption) for caption in block.captions]
        inside.append(table(block.headers, block.rows, caption=f"{task.task}: numbers"))
    inside.append(bullets(notes.recipes(task.groups)))
    n = len(task.groups)
    title = f"{task.task}: {n} model{'s' if n != 1 else ''}"
    return tag("details", tag("summary", tag("h3", title)), *inside, class_="task")


def claims(findings: Mapping[str, Sequence[Finding]]) -> Html:
    """Return the claims of every suite, with what the reports say of them."""
    return joined(_suite(name, found) for name, found in findings.items())


def _suite(name: str, found: Sequence[Finding]) -> Html:
    headers, rows = claims_table.cells(found)
    inside = [
        paragraphs([claims_table.counts(found), claims_table.losses(found)]),
        table(headers, rows, caption=f"Claims of {name}", class_="claims"),
        *(tag("p", marked(line)) for line in claims_table.legend(found)),
        bullets(marked(f"To test {', '.join(names)}: `{command}`")
                for command, names in claims_table.commands(found, name).items()),
    ]  # fmt: skip
    title = f"{name}: {len(found)} claims, {claims_table.answered(found)}"
    return tag("details", tag("summary", tag("h3", title)), *inside, class_="task")


def similarity(pairs: Pairs) -> Html:
    """Return the matrices of pairs of models, as tables with a picture each."""
    return joined([tag("p", marked(ABOUT_PAIRS)), *map(_matrix, pairs.matrices)])


def _matrix(matrix: Matrix) -> Html:
    title, caption = matrix.titles
    if not matrix.shown:
        return joined([tag("h3", title), paragraphs(["No two models have a number."]),
                       bullets(matrix.notes)])  # fmt: skip
    headers, rows = matrix.table()
    inside = [tag("p", caption), table(headers, rows, caption=title), bullets(matrix.notes)]
    return tag("details", tag("summary", tag("h3", title)), *inside, _picture(matrix),
               class_="task")  # fmt: skip


def _picture(matrix: Matrix) -> Html:
    """Return the matrix as a heat map, both ways; what was not measured is grey."""
    names = [matrix.models[place] for place in matrix.shown]
    means = [
        [getattr(matrix.entries.get((min(i, j), max(i, j))), "mean", None) for j in matrix.shown]
        for i in matrix.shown
    ]
    values = [rounded([float("nan") if each is None else each for each in row]) for row in means]
    drawn = {"kind": "map", "of": matrix.heading, "x": "model", "y": "model", "rows": names,
             "trivial": [],
             "columns": [f"{n}." for n in range(1, len(names) + 1)], "values": values}  # fmt: skip
    return tag(
        "figure", tag("div", class_="drawing", role="img", aria_label=f"{matrix.titles[0]}: the "
                      "table above as a heat map"),
        data(drawn, class_="drawn"), class_="picture",
    )  # fmt: skip


def refusals(refused: Sequence[Refused]) -> Html:
    """Return what does not count, with the reason."""
    return bullets(joined([tag("code", item.path), f": {item.reason}"]) for item in refused)
