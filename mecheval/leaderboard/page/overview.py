"""The first table: one row per model and task, to be searched, sorted and filtered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mecheval.leaderboard.page.links import cell_id
from mecheval.leaderboard.page.markup import Html, breakable, joined, tag
from mecheval.leaderboard.page.strip import strip
from mecheval.reports.collection import marks, words
from mecheval.reports.collection.numbers import VERDICT
from mecheval.reports.results import BEHAVIOUR

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mecheval.leaderboard.board import Board, Row, Table
    from mecheval.leaderboard.page.links import Links
    from mecheval.reports.collection import Column, Group, OverSeeds

HEADERS = (
    "Model", "Task", "Architecture", "Weights", "Seeds", "Score", "Learned", "Tracking", "Verdict",
)  # fmt: skip
ABOUT = (
    "One row per model and task. Score: what the task's gate asks, as a mean over seeds with its "
    "interval; a dot is a seed, the tall line their mean, the dashed one the floor, the best score "
    "without a model. Verdict: what the evidence says of the mechanism, and in how many seeds. "
    "Seeds: each a link to its report; reproduced are those that were measured again and came out "
    "as they were reported."
)
_MOST = 3
"""Verdicts of a row; the others stand in the cell."""


@dataclass(frozen=True)
class Choice:
    """What can be filtered by.

    Attributes:
        name: Which attribute of a row it is.
        title: What it is called.
        values: What rows have, with what that is called.
    """

    name: str
    title: str
    values: dict[str, str]


def scored(task: Table) -> Column | None:
    """Return the number that the gate of a task's models is on, else the first of behaviour."""
    shown = [column for column in task.columns if column.family == BEHAVIOUR]
    gates = {f"{group.gate_on}_accuracy/1x" for group in task.groups}
    return next((column for column in shown if {column.id} == gates), next(iter(shown), None))


def architecture(group: Group) -> str:
    """Return the family of a model's architecture; its name where no report says."""
    known = (r.model_card.architecture for r in group.reports if r.model_card)
    return next(known, group.identity.model.name)


def table(board: Board, links: Links) -> Html:
    """Return the table of all rows that have reports."""
    rows = [
        _row(task, row, row.group, links)
        for task in board.tables
        for row in task.rows
        if row.group is not None
    ]
    head = tag("tr", *(tag("th", title, scope="col") for title in HEADERS))
    found = tag(
        "table", tag("caption", "Results, one row per model and task"), tag("thead", head),
        tag("tbody", *rows), id="results",
    )  # fmt: skip
    return tag("div", found, class_="wide", role="region", aria_label="Results", tabindex="0")


def _row(task: Table, row: Row, group: Group, links: Links) -> Html:
    column = scored(task)
    score = None if column is None else row.scores[column.key]
    recipe = tag("small", row.recipe) if row.recipe else ""
    verdicts = [*_verdicts(task, row)]
    more = f"and {len(verdicts) - _MOST} more" if len(verdicts) > _MOST else ""
    cells = [
        breakable(task.task), architecture(group), _weights(group), _seeds(group, links),
        "" if score is None or column is None else _score(task, score, column),
        marks.learned(group), marks.tracking(group),
        joined(tag("span", said, class_="verdict") for said in filter(None, [*verdicts[:_MOST],
                                                                           more])),
    ]  # fmt: skip
    name = tag("a", breakable(row.model), href=links.cell(group))
    short = f"on {task.task}; learned: {learned(group)}"
    head = tag("th", name, recipe, tag("small", short, class_="narrow"), scope="row")
    return tag(
        "tr", head, *(tag("td", cell) for cell in cells),
        data_id=cell_id(group), data_task=task.task, data_architecture=architecture(group),
        data_weights=_weights(group), data_learned=learned(group), data_tracking=tracking(group),
        data_reproduced=reproduced(group),
        data_score=None if score is None else score.mean, data_seeds=len(group.seeds),
        data_name=f"{group.name.row} on {task.task}",
    )  # fmt: skip


def _seeds(group: Group, links: Links) -> Html:
    again = marks.reproduced(group) if group.reproduced else ""
    return joined([links.seeds(group), tag("small", f"reproduced: {again}") if again else ""])


def _score(task: Table, score: OverSeeds, column: Column) -> Html:
    drawn = strip(score, _limits(task, column), floor=_floor(task, column))
    return joined([drawn, words.cell(score, column.kind), tag("small", column.title)])


def _verdicts(task: Table, row: Row) -> Iterator[str]:
    for column in task.columns:
        score = row.scores[column.key]
        if column.at == VERDICT and score.verdicts:
            yield f"{column.title.removesuffix(': verdict')}: {words.verdicts(score)}"


def _limits(task: Table, column: Column) -> tuple[float, float]:
    """Return 0 and 1 for shares; for what has no bounds the ends of what the task's models have."""
    results = (r for group in task.groups for r in group.results(column.id).values() if r)
    if all(result.bounds == (0.0, 1.0) for result in results):
        return 0.0, 1.0
    scores = [row.scores[column.key] for row in task.rows if row.group is not None]
    ends = [
        end
        for score in scores
        for end in (*score.values.values(), score.low, score.high, _floor(task, column))
        if end is not None
    ]
    return (min(ends), max(ends)) if ends else (0.0, 1.0)


def _floor(task: Table, column: Column) -> float | None:
    return task.levels.get("floor", {}).get(column.key)


def _weights(group: Group) -> str:
    """Say whether a model came with weights, or was trained from none."""
    return "pretrained" if group.identity.model.source == "pretrained" else "from scratch"


def learned(group: Group) -> str:
    """Say how many seeds learned their task, in one of few words."""
    known = [each for each in group.learned.values() if each is not None]
    if not known:
        return "not measured"
    if group.ungated:
        return "no gate"
    return "all seeds" if all(known) else "some seeds" if any(known) else "no seed"


def tracking(group: Group) -> str:
    """Say how many seeds track their state, in one of few words."""
    if group.n_tracking is None:
        return "not tested"
    n, of = group.n_tracking, len(group.seeds)
    return "all seeds" if n == of else "some seeds" if n else "no seed"


def reproduced(group: Group) -> str:
    """Say how many seeds were measured again and came out as reported, in one of few words."""
    n, of = len(group.reproduced), len(group.seeds)
    return "all seeds" if n == of else "some seeds" if n else "no seed"


def choices(board: Board) -> list[Choice]:
    """Return what rows can be filtered by, each with the values that occur."""
    groups = [group for task in board.tables for group in task.groups]
    found = [
        Choice("task", "Task", _same(task.task for task in board.tables if task.groups)),
        Choice("architecture", "Architecture", _same(sorted(map(architecture, groups)))),
        Choice("learned", "Learned", _same(map(learned, groups))),
        Choice("tracking", "Tracking", _same(map(tracking, groups))),
        Choice("weights", "Weights", _same(map(_weights, groups))),
        Choice("reproduced", "Reproduced", _same(map(reproduced, groups))),
    ]
    return [choice for choice in found if len(choice.values) > 1]


def _same(values: Iterable[str]) -> dict[str, str]:
    return {value: value for value in values}


def controls(board: Board) -> Html:
    """Return what rows are searched and filtered by; it works with scripts alone."""
    search = tag(
        "label", "Search", tag("input", id="search", type="search", autocomplete="off",
                               placeholder="model, task, verdict"),
    )  # fmt: skip
    selects = [_select(choice) for choice in choices(board)]
    clear = tag("button", "Show all", type="button", id="clear")
    chosen = tag("button", "Compare", type="button", id="compare", disabled=True)
    count = tag("output", "", id="count", role="status", aria_live="polite")
    return tag(
        "form", search, *selects, clear, chosen, count, class_="scripts", id="controls",
        role="search", aria_label="Rows of the results",
    )  # fmt: skip


def _select(choice: Choice) -> Html:
    options = [tag("option", "all", value="")]
    options += [tag("option", said, value=value) for value, said in choice.values.items()]
    return tag("label", choice.title, tag("select", *options, data_filter=choice.name))
