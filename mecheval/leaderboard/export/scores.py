"""What models are ranked by: the score that says whether a task was learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval.harness.gate import find_gated
from mecheval.reports.collection.ranks import Scored, rankings

if TYPE_CHECKING:
    from mecheval.reports.collection import Collection, Group
    from mecheval.reports.collection.ranks import Ranking
    from mecheval.reports.schema import MetricResult, Report


def ranked(collection: Collection) -> list[Ranking]:
    """Rank models by task, and over the tasks that most of them share."""
    by_task: dict[str, list[Scored]] = {}
    for group in collection.groups:
        scores = {seed: _scored(group, reports) for seed, reports in group.by_seed.items()}
        by_task.setdefault(group.name.task, []).append(Scored(group.name.row, scores))
    return rankings(by_task)


def _scored(group: Group, reports: list[Report]) -> tuple[Report, MetricResult | None]:
    """Return the first report of a seed that has a score, with it."""
    found = [(report, find_gated(report.metrics, group.gate_on)) for report in reports]
    return next((each for each in found if each[1] is not None), found[0])
