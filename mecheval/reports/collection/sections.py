"""Which columns stand in one table: those of groups that were measured by the same metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mecheval.reports.collection.columns import columns_of
from mecheval.reports.results import BEHAVIOUR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.reports.collection.columns import Column
    from mecheval.reports.collection.groups import Group


class Section(NamedTuple):
    """Columns that may stand in one table.

    Attributes:
        columns: The columns.
        groups: The groups that have any of them.
    """

    columns: Sequence[Column]
    groups: Sequence[Group]


def sections(groups: Sequence[Group]) -> list[Section]:
    """Arrange the columns of all groups: behaviour, of whatever task, before all other evidence.

    Groups that share no metric but behaviour, such as those of different tasks, stand in sections
    of their own, so that no table is mostly empty.
    """
    columns = columns_of(report for group in groups for report in group.reports)
    behaviour = [column for column in columns if column.family == BEHAVIOUR]
    rest = [column for column in columns if column.family != BEHAVIOUR]
    return [Section(behaviour, groups), *_separate(rest, groups)]


def _separate(columns: Sequence[Column], groups: Sequence[Group]) -> list[Section]:
    """Split groups so that those with a common metric stay together."""
    parts: list[tuple[set[str], list[Group]]] = []
    for group in groups:
        ids = {m.id for report in group.reports for m in report.metrics}
        shared, members = {column.metric for column in columns if column.id in ids}, [group]
        if not shared:
            continue
        apart = []
        for metrics, others in parts:
            if metrics & shared:
                shared, members = shared | metrics, [*others, *members]
            else:
                apart.append((metrics, others))
        parts = [*apart, (shared, members)]
    place = {id(group): i for i, group in enumerate(groups)}
    found = [
        Section(
            [column for column in columns if column.metric in metrics],
            sorted(members, key=lambda group: place[id(group)]),
        )
        for metrics, members in parts
    ]
    return sorted(found, key=lambda section: place[id(section.groups[0])])
