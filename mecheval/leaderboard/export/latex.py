"""Tables for papers: what models score on every task, with their ranks and rank intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval.escape import Latex, latex
from mecheval.reports.collection import marks, words
from mecheval.reports.collection.sections import sections

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.leaderboard.board import Board, Table
    from mecheval.reports.collection.ranks import Rank, Ranking

HEAD = """\
% Written by `mecheval leaderboard export`. Needs \\usepackage{booktabs}.
"""
ABOUT_RANKS = (
    "Ranks are over the cells that all compared models have; in brackets the 95 % interval, from "
    "draws of the means over seeds (Student's t), or of the examples where there is one seed."
)


def as_latex(board: Board, rankings: Sequence[Ranking], title: str) -> str:
    """Return a table over all tasks where models share several, and one per task.

    Args:
        board: The tables of a leaderboard.
        rankings: The ranks; those of several tasks have no table in the board.
        title: What the results are of.
    """
    by_task = {ranking.of: ranking for ranking in rankings}
    tables = {table.task: table for table in board.tables}
    parts = [_overall(ranking, title) for ranking in rankings if ranking.of not in tables]
    parts += [_task(table, by_task[name], title) for name, table in tables.items()]
    return HEAD + "\n".join(parts)


def _overall(ranking: Ranking, title: str) -> str:
    rows = [
        [each.model, words.decimal(each.score or 0.0, 2), _rank(each)] for each in ranking.ranks
    ]
    left_out = f" Not ranked, as they lack a task: {', '.join(ranking.left_out)}."
    caption = f"{title}: mean rank over {ranking.of}. {ABOUT_RANKS}"
    caption += left_out if ranking.left_out else ""
    return _tabular(["Model", "Mean rank", "Rank"], rows, caption)


def _task(table: Table, ranking: Ranking, title: str) -> str:
    columns = sections(table.groups)[0].columns
    ranks = {each.model: each for each in ranking.ranks}
    rows = []
    for row in table.rows:
        if row.group is None:
            continue
        cells = [words.cell(row.scores[c.key], c.kind, marked=False) for c in columns]
        rank = ranks.get(row.group.name.row)
        shown = "" if rank is None else _rank(rank)
        rows.append([row.group.name.row, *cells, marks.learned(row.group), shown])
    seeds = f" by {ranking.by}, seeds {words.ranges(ranking.seeds)}" if ranking.by else ""
    why = {each.reason for each in ranking.ranks if each.reason}
    caption = f"{title}: {table.task}. {ABOUT_RANKS} Ranked{seeds or ': none'}."
    caption += (
        f" No {'interval' if ranking.by else 'rank'}: {'; '.join(sorted(why))}." if why else ""
    )
    headers = ["Model", *(column.title for column in columns), "Learned", "Rank"]
    return _tabular(headers, rows, caption)


def _rank(each: Rank) -> str:
    if each.rank is None:
        return "--"
    if each.low is None or each.high is None:
        return f"{each.rank:g}"
    return f"{each.rank:g} [{each.low:g}, {each.high:g}]"


def _tabular(headers: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    lines = [
        r"\begin{table}",
        rf"\caption{{{latex(caption)}}}",
        rf"\begin{{tabular}}{{{'l' * len(headers)}}}",
        r"\toprule",
        _row(headers),
        r"\midrule",
        *map(_row, rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> Latex:
    return Latex(" & ".join(map(latex, cells)) + r" \\")
