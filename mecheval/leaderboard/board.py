"""From reports to rows: one table per task, one row per model, means over seeds.

Shape suffixes: ``S`` seeds.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mecheval import seeding, stats
from mecheval.reports.labels import labels, model_labels, task_entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mecheval.leaderboard.admission import Admitted, Refusal
    from mecheval.reports.schema import MetricResult, Report

LEVELS = ("chance", "floor")
"""References of behaviour that are shown as rows beneath the models."""

FAMILIES = ("behaviour", "intervention", "probe", "bottleneck")


class Score(NamedTuple):
    """One metric of one model on one task.

    Attributes:
        mean: Mean over the seeds that have a value; None if none has.
        low: Lower end of the 95 % interval.
        high: Upper end of it.
        unit: What the interval is over: seed, or with one seed what its report resampled.
        method: How the interval was made.
        n_values: Number of seeds with a value.
        n_seeds: Number of seeds.
        reasons: Why values are missing.
        verdicts: Number of seeds by verdict, for metrics that decide between mechanisms; the mean
            is then that of the share of resamples that agree.
    """

    mean: float | None
    low: float | None
    high: float | None
    unit: str | None
    method: str | None
    n_values: int
    n_seeds: int
    reasons: tuple[str, ...] = ()
    verdicts: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True)
class Row:
    """One model on one task; without seeds it is a gap.

    Attributes:
        model: The model's label.
        seeds: The seeds whose reports count.
        n_learned: How many of them learned the task.
        scores: Results by metric id.
        gap: Why there are no results.
    """

    model: str
    seeds: tuple[int, ...] = ()
    n_learned: int = 0
    scores: Mapping[str, Score] = field(default_factory=dict)
    gap: str | None = None


@dataclass(frozen=True)
class Column:
    """One metric of a table."""

    id: str
    title: str
    family: str


@dataclass(frozen=True)
class Table:
    """All models on one task.

    Attributes:
        task: The task's label with its version.
        name: Its registered name.
        version: Its version.
        params: Its parameters.
        columns: The metrics, behaviour first.
        rows: The models, sorted by label.
        levels: What needs no model, by name of the level and metric id.
    """

    task: str
    name: str
    version: int
    params: Mapping[str, Any]
    columns: Sequence[Column]
    rows: Sequence[Row]
    levels: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Board:
    """All tables, and the reports that do not count."""

    tables: Sequence[Table]
    refused: Sequence[Refusal]


def build(admitted: Sequence[Admitted], refused: Sequence[Refusal]) -> Board:
    """Group reports by task and model; every model has a row in every table."""
    reports = [item.report for item in admitted]
    tasks = labels([task_entry(report) for report in reports])
    models = model_labels(reports)
    names = {
        label: report.identity.model.name for label, report in zip(models, reports, strict=True)
    }
    named = set(names.values())
    names |= {item.model: item.model for item in refused if item.model and item.model not in named}
    by_task: dict[str, dict[str, list[Report]]] = {}
    for task, model, report in zip(tasks, models, reports, strict=True):
        by_task.setdefault(task, {}).setdefault(model, []).append(report)
    tables = [_table(task, by_task[task], names, refused) for task in sorted(by_task)]
    return Board(tables, sorted(refused, key=lambda item: item.path))


def _table(
    label: str,
    by_model: Mapping[str, Sequence[Report]],
    names: Mapping[str, str],
    refused: Sequence[Refusal],
) -> Table:
    reports = [report for model in sorted(by_model) for report in by_model[model]]
    task = reports[0].identity.task
    columns = _columns(reports)
    rows = [
        _row(model, by_model[model], columns, label)
        if model in by_model
        else Row(model, gap=_gap(names[model], f"{task.name}@{task.version}", refused))
        for model in sorted(names)
    ]
    levels = {level: _level(level, reports) for level in LEVELS}
    return Table(label, task.name, task.version, task.params, columns, rows, levels)


def _gap(model: str, task: str, refused: Sequence[Refusal]) -> str:
    reasons = [item.reason for item in refused if (item.model, item.task) == (model, task)]
    return "; ".join(sorted({reason.partition(":")[0] for reason in reasons})) or "no report"


def _columns(reports: Iterable[Report]) -> list[Column]:
    found: dict[str, Column] = {}
    for report in reports:
        for metric in report.metrics:
            found.setdefault(metric.id, Column(metric.id, metric.title, metric.family))
    return sorted(found.values(), key=lambda column: FAMILIES.index(column.family))


def _level(level: str, reports: Iterable[Report]) -> dict[str, float]:
    """Return the mean of a reference over reports, for every metric of behaviour that has it."""
    found: dict[str, list[float]] = {}
    for report in reports:
        for metric in report.metrics:
            value = metric.references.get(level)
            if value is not None and metric.family == "behaviour":
                found.setdefault(metric.id, []).append(value)
    return {id: float(np.mean(values)) for id, values in found.items()}


def _row(model: str, reports: Iterable[Report], columns: Iterable[Column], task: str) -> Row:
    by_seed: dict[int, list[Report]] = {}
    for report in sorted(reports, key=lambda report: (report.identity.seed, report.key)):
        by_seed.setdefault(report.identity.seed, []).append(report)
    scores = {
        column.id: score(
            [_find(same_seed, column.id) for same_seed in by_seed.values()],
            names=(task, model, column.id),
        )
        for column in columns
    }
    n_learned = sum(any(report.learned for report in same_seed) for same_seed in by_seed.values())
    return Row(model, tuple(by_seed), n_learned, scores)


def _find(reports: Iterable[Report], id: str) -> MetricResult | None:
    """Find a result among reports of one seed, which differ in the metrics that they hold."""
    return next((metric for r in reports for metric in r.metrics if metric.id == id), None)


def score(results: Sequence[MetricResult | None], *, names: tuple[str, ...]) -> Score:
    """Average a metric over seeds.

    The interval is a bootstrap over seeds where two or more have different values. A single value,
    or values that are all the same (such as 1), would make it one of width zero: there it is the
    report's own interval, or the hull of the reports' own.

    Args:
        results: The metric in the reports of all seeds; None where a report lacks it.
        names: What the random stream of the bootstrap is named after.
    """
    there = [result for result in results if result is not None and result.value is not None]
    missing = [result for result in results if result is None or result.value is None]
    reasons = {str(result.reason) if result else "not measured" for result in missing}
    verdicts = Counter(sorted(result.verdict for result in there if result.verdict is not None))
    counts = len(there), len(results), tuple(sorted(reasons)), dict(verdicts.most_common())
    if not there:
        return Score(None, None, None, None, None, *counts)
    values_S = np.array([result.value for result in there], float)
    mean = float(values_S.mean())
    if np.ptp(values_S) > 0:
        rng = seeding.stream(0, "leaderboard", *names)
        low, high, method, unit, *_ = stats.mean_interval(values_S, rng, unit="seed")
        return Score(mean, low, high, unit, method, *counts)
    own = [result.uncertainty for result in there if result.uncertainty]
    if not own:
        return Score(mean, None, None, None, None, *counts)
    low, high = min(each.low for each in own), max(each.high for each in own)
    return Score(mean, low, high, own[0].resampled_unit, own[0].method, *counts)
