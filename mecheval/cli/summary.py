"""The table that a run prints: value, interval and floor of the main results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mecheval import seeding, stats
from mecheval.reports.markdown import table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mecheval.harness.events import Outcome
    from mecheval.reports.schema import MetricResult, Report

HEADERS = ("Model", "Task", "Seed", "Metric", "Value", "95% interval", "Floor")
BEHAVIOUR = ("token_accuracy/1x", "last_accuracy/1x", "token_accuracy/2x")
NOT_LEARNED = "not learned"
MECHANISMS = ("intervention", "probe", "bottleneck")


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return the table of a run, and below it why values are undefined.

    Several seeds of a cell become one row each with their mean.

    Args:
        outcomes: Cells and their reports, in the order of the grid.
    """
    groups: dict[tuple[str, str], list[Report]] = {}
    for outcome in outcomes:
        identity = outcome.report.identity
        task = f"{outcome.cell.task_title}@{identity.task.version}"
        groups.setdefault((outcome.cell.model_title, task), []).append(outcome.report)
    rows, notes = [], []
    for names, group in groups.items():
        rows += [[*names, *row] for row in _rows(group)]
        notes += [f"{', '.join(names)}: {note}" for note in _notes(group)]
    text = table(HEADERS, rows)
    return "\n".join([text, "", *notes]) if notes else text


def _rows(group: Sequence[Report]) -> Iterator[list[str]]:
    for report in group:
        if report.error is not None:
            yield [str(report.identity.seed), f"failed in {report.error.stage}", "", "", ""]
    seeds = ",".join(str(report.identity.seed) for report in group if report.error is None)
    for results in _main_results(group):
        yield [seeds, results[0].title, *_numbers(results)]


def _notes(group: Sequence[Report]) -> Iterator[str]:
    """Say why values are undefined, other than because the task was not learned."""
    for results in _main_results(group):
        reasons = dict.fromkeys(result.reason or "" for result in results if result.value is None)
        for reason in reasons:
            if not reason.startswith(NOT_LEARNED):
                yield f"{results[0].title} is undefined: {reason}"


def _main_results(group: Sequence[Report]) -> list[list[MetricResult]]:
    """Return the results that the table shows, each over all seeds that were measured."""
    measured = [report for report in group if report.error is None]
    if not measured:
        return []
    results = measured[0].metrics
    there = {metric.id for metric in results}
    first = {metric.family: metric.id for metric in reversed(results)}
    ids = [
        *(id for id in BEHAVIOUR if id in there),
        *(first[family] for family in MECHANISMS if family in first),
    ]
    return [
        [metric for report in measured for metric in report.metrics if metric.id == id]
        for id in ids
    ]


def _numbers(results: Sequence[MetricResult]) -> list[str]:
    """Return value, interval and floor; over several seeds the mean and its interval."""
    values = np.array([result.value for result in results if result.value is not None])
    floors = [result.references.get("floor") for result in results]
    known = [floor for floor in floors if floor is not None]
    floor = f"{np.mean(known):.3f}" if known else ""
    if not len(values):
        reason = results[0].reason or ""
        return [NOT_LEARNED if reason.startswith(NOT_LEARNED) else "undefined", "", floor]
    interval = _interval(results, values)
    missing = f" ({len(values)} of {len(results)} seeds)" if len(values) < len(results) else ""
    return [f"{values.mean():.3f}{missing}", interval, floor]


def _interval(results: Sequence[MetricResult], values: np.ndarray) -> str:
    if len(values) > 1:
        low, high, *_ = stats.mean_interval(values, seeding.stream(0, "seeds"), unit="seed")
        return f"[{low:.3f}, {high:.3f}]"
    uncertainty = next(result.uncertainty for result in results if result.value is not None)
    return f"[{uncertainty.low:.3f}, {uncertainty.high:.3f}]" if uncertainty else ""
