"""From a collection of reports to rows: one table per task, one row per model and recipe."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mecheval.reports.collection.columns import BEHAVIOUR, columns_of
from mecheval.reports.collection.numbers import over_seeds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.reports.collection import Collection, Column, Group, OverSeeds, Refused

LEVELS = ("chance", "floor")
"""References of behaviour that are shown as rows beneath the models."""

NO_REPORT = "no report"
"""The gap of a model that was measured on other tasks alone."""


@dataclass(frozen=True)
class Row:
    """One model on one task by one recipe; without a group it is a gap.

    Attributes:
        model: What the model is called.
        recipe: What tells its recipe apart; empty where there is but one.
        group: Its reports.
        scores: Numbers over seeds, by the key of their column.
        gap: Why there are no results.
    """

    model: str
    recipe: str = ""
    group: Group | None = None
    scores: Mapping[str, OverSeeds] = field(default_factory=dict)
    gap: str | None = None


@dataclass(frozen=True)
class Table:
    """All models on one task.

    Attributes:
        task: What the task is called, with its version.
        name: Its registered name.
        version: Its version.
        params: Its parameters.
        columns: The headline numbers, behaviour first.
        rows: The models, sorted by label.
        levels: What needs no model, by name of the level and key of the column.
    """

    task: str
    name: str
    version: int
    params: Mapping[str, Any]
    columns: Sequence[Column]
    rows: Sequence[Row]
    levels: Mapping[str, Mapping[str, float]]

    @property
    def groups(self) -> list[Group]:
        """Return the groups of all rows."""
        return [row.group for row in self.rows if row.group is not None]

    @property
    def reproduced(self) -> bool:
        """Say whether any seed was measured again and came out as reported."""
        return any(group.reproduced for group in self.groups)

    @property
    def tests_tracking(self) -> bool:
        """Say whether any seed was tested for whether it tracks its state."""
        return any(group.n_tracking is not None for group in self.groups)


@dataclass(frozen=True)
class Board:
    """All tables, and the reports that do not count."""

    tables: Sequence[Table]
    refused: Sequence[Refused]


def build(collection: Collection) -> Board:
    """Arrange groups by task and model; every model has a row in every table."""
    by_task: dict[str, list[Group]] = {}
    for group in collection.groups:
        by_task.setdefault(group.name.task, []).append(group)
    models = {group.name.model for group in collection.groups}
    models |= {item.name.model for item in collection.refused if item.name}
    tables = [_table(task, by_task[task], models, collection.refused) for task in sorted(by_task)]
    return Board(tables, sorted(collection.refused, key=lambda item: item.path))


def _table(
    label: str, groups: Sequence[Group], models: set[str], refused: Sequence[Refused]
) -> Table:
    groups = sorted(groups, key=lambda group: (group.name.model, group.name.recipe))
    columns = columns_of(report for group in groups for report in group.reports)
    rows = [
        Row(
            group.name.model,
            group.name.recipe,
            group,
            {column.key: group.of(column) for column in columns},
        )
        for group in groups
    ]
    measured = {row.model for row in rows}
    rows += [Row(model, gap=_gap(model, label, refused)) for model in models - measured]
    task = groups[0].identity.task
    return Table(
        label, task.name, task.version, task.params, columns,
        sorted(rows, key=lambda row: (row.model, row.recipe)),
        {level: _level(level, groups, columns) for level in LEVELS},
    )  # fmt: skip


def _gap(model: str, task: str, refused: Sequence[Refused]) -> str:
    of_cell = [item for item in refused if item.name and item.name[:2] == (model, task)]
    reasons = {item.reason.partition(":")[0] for item in of_cell}
    return "; ".join(sorted(reasons)) or NO_REPORT


def _level(level: str, groups: Sequence[Group], columns: Sequence[Column]) -> dict[str, float]:
    """Return the mean of a reference over all reports, for columns of behaviour that have it."""
    found = {}
    for column in columns:
        if column.family == BEHAVIOUR and not column.at:
            numbers = [n for group in groups for n in group.numbers(column.id, level).values()]
            mean = over_seeds(dict(enumerate(numbers))).mean
            found |= {} if mean is None else {column.key: mean}
    return found
