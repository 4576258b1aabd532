"""Two or more models side by side: the numbers of ``mecheval compare``, for every pair of a task.

They are computed here, and looked up on the page: a paired t test is no work for a page. Where a
task has too many models for all pairs of them, there are none, and the page names the command.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

from mecheval.leaderboard.page.links import cell_id
from mecheval.reports.collection import Collection, words
from mecheval.reports.comparison import compare
from mecheval.reports.comparison.text import HEADERS, legend, row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.leaderboard.board import Board, Table
    from mecheval.reports.collection import Group

MOST_PAIRS = 800
"""Pairs of models of one task up to which they are compared: 40 models."""


def comparisons(board: Board) -> list[dict[str, Any]]:
    """Return what is shown side by side, task by task: all numbers, and paired differences."""
    return [_of_task(task) for task in board.tables if len(task.groups) > 1]


def _of_task(task: Table) -> dict[str, Any]:
    rows = [row for row in task.rows if row.group is not None]
    groups = [row.group for row in rows if row.group is not None]
    pairs = [*combinations(groups, 2)]
    found: dict[str, Any] = {
        "task": task.task, "headers": HEADERS,
        "numbers": [column.title for column in task.columns],
        "models": {
            cell_id(group): {
                "name": group.name.row,
                "cells": [words.cell(row.scores[c.key], c.kind) for c in task.columns],
            }
            for row, group in zip(rows, groups, strict=True)
        },
        "said": [], "pairs": {},
    }  # fmt: skip
    said: dict[str, int] = {}
    for one, other in pairs if len(pairs) <= MOST_PAIRS else ():
        name = f"{cell_id(one)} {cell_id(other)}"
        pair = _pair(one, other, said)
        if pair:
            found["pairs"][name] = pair
    found["said"] = [*said]
    return found


def _pair(one: Group, other: Group, said: dict[str, int]) -> dict[str, Any] | None:
    """Return the differences of a pair that has seeds in common; sentences stand there once."""
    if not {*one.seeds} & {*other.seeds}:
        return None
    found = compare(Collection([one]), Collection([other]))
    lines = [*legend(found.differences), *found.warnings]
    return {
        "rows": [_numbered(row(each), said) for each in found.differences],
        "said": [said.setdefault(line, len(said)) for line in lines],
    }


def _numbered(cells: Sequence[str], said: dict[str, int]) -> list[Any]:
    """Replace the title of a number, which all pairs repeat, by its place among the sentences."""
    title, *rest = cells
    return [said.setdefault(title, len(said)), *map(str, rest)]
