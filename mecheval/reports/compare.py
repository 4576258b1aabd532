"""Two sets of reports, metric by metric: paired differences, and what else differs between them.

Cells are paired by task and seed, and by model too unless each side has a single one. Shape
suffix: ``S`` pairs of cells, one per seed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval import seeding, stats
from mecheval.errors import UsageError
from mecheval.reports.files import find_reports, read_report
from mecheval.reports.markdown import table
from mecheval.reports.schema import Report

if TYPE_CHECKING:
    from mecheval.reports.schema import MetricResult

Reports = Report | Path | str | Iterable[Report]
FEW_SEEDS = 4
_HEADERS = ("Task", "Metric", "A", "B", "B - A", "95% interval", "Seeds")


@dataclass(frozen=True)
class Difference:
    """One metric on both sides.

    Attributes:
        task: The task with its version.
        model: The model, or ``A -> B`` where two different ones are compared.
        metric: The metric's id.
        seeds: The seeds at which both sides have a value.
        a: Mean of the first side over these seeds.
        b: Mean of the second side.
        difference: Mean of b - a.
        low: Lower end of its 95 % interval, a bootstrap over seeds; None with fewer than two.
        high: Upper end of it.
    """

    task: str
    model: str
    metric: str
    seeds: tuple[int, ...]
    a: float
    b: float
    difference: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Comparison:
    """All paired differences, and warnings about what else is not the same."""

    differences: Sequence[Difference]
    warnings: Sequence[str]

    def to_markdown(self) -> str:
        """Return a Markdown table, followed by the warnings."""
        by_model: dict[str, list[Difference]] = {}
        for difference in self.differences:
            by_model.setdefault(difference.model, []).append(difference)
        parts = [
            f"{model}\n\n{table(_HEADERS, [_row(each) for each in differences])}"
            for model, differences in by_model.items()
        ]
        return "\n\n".join([*parts, *(f"- {warning}" for warning in self.warnings)])


def compare(a: Reports, b: Reports) -> Comparison:
    """Compare two sets of reports.

    Args:
        a: A report, a file, a folder, or several reports.
        b: The same for the other side; differences are b - a.

    Returns:
        One difference per task, model and metric that both sides have.

    Raises:
        UsageError: A file is not a report, or no cell of one side has a partner on the other.
    """
    sides = _read(a), _read(b)
    by_model = not all(len({_model(report) for report in side}) == 1 for side in sides)
    cells_a, cells_b = (_cells(side, by_model=by_model) for side in sides)
    shared = sorted(cells_a.keys() & cells_b.keys())
    if not shared:
        raise UsageError(
            "The two sides have no cell in common. Give reports of the same tasks and seeds "
            "(and of the same models, if there are several)."
        )
    pairs = [(cells_a[cell], cells_b[cell]) for cell in shared]
    groups: dict[tuple[str, str], list[tuple[Report, Report]]] = {}
    for one, other in pairs:
        names = dict.fromkeys((_model(one), _model(other)))
        groups.setdefault((_task(one), " -> ".join(names)), []).append((one, other))
    differences = [
        difference
        for (task, model), group in sorted(groups.items())
        for difference in _differences(task, model, group)
    ]
    n_alone = len(cells_a.keys() ^ cells_b.keys())
    return Comparison(differences, _warnings(pairs, n_alone))


def _read(given: Reports) -> list[Report]:
    if isinstance(given, Report):
        return [given]
    if isinstance(given, str | Path):
        return [read_report(path) for path in find_reports(Path(given))]
    return list(given)


def _model(report: Report) -> str:
    model = report.identity.model
    return model.name + (f"@{model.revision}" if model.revision else "") + _args(model.args)


def _args(args: Mapping[str, Any]) -> str:
    text = ",".join(f"{key}={json.dumps(args[key])}" for key in sorted(args))
    return f"[{text}]" if text else ""


def _task(report: Report) -> str:
    task = report.identity.task
    return f"{task.name}@{task.version}{_args(task.params)}"


def _cells(side: Iterable[Report], *, by_model: bool) -> dict[tuple[str, str, int], Report]:
    cells = {}
    for report in side:
        cell = (_task(report), _model(report) if by_model else "", report.identity.seed)
        if cell in cells:
            raise UsageError(
                f"One side has two reports of {_model(report)} on {_task(report)} with seed "
                f"{report.identity.seed}. Leave one of them out."
            )
        cells[cell] = report
    return cells


def _differences(
    task: str, model: str, group: Sequence[tuple[Report, Report]]
) -> Iterable[Difference]:
    values: dict[str, list[tuple[int, float, float]]] = {}
    for one, other in group:
        results: dict[str, MetricResult] = {metric.id: metric for metric in other.metrics}
        for metric in one.metrics:
            partner = results.get(metric.id)
            if partner and metric.value is not None and partner.value is not None:
                cell = (one.identity.seed, metric.value, partner.value)
                values.setdefault(metric.id, []).append(cell)
    for id, cells in values.items():
        seeds, a_S, b_S = zip(*cells, strict=True)
        difference_S = np.subtract(b_S, a_S)
        low, high = _interval(difference_S, task, model, id)
        yield Difference(
            task, model, id, seeds, float(np.mean(a_S)), float(np.mean(b_S)),
            float(difference_S.mean()), low, high,
        )  # fmt: skip


def _interval(difference_S: np.ndarray, *names: str) -> tuple[float | None, float | None]:
    if len(difference_S) < 2:
        return None, None
    rng = seeding.stream(0, "compare", *names)
    interval = stats.mean_interval(difference_S, rng, unit="seed")
    return interval.low, interval.high


def _warnings(pairs: Sequence[tuple[Report, Report]], n_alone: int) -> list[str]:
    found = dict.fromkeys(text for one, other in pairs for text in _differing(one, other))
    if n_alone:
        found[f"{n_alone} cells have no partner and are left out"] = None
    n_seeds = len({one.identity.seed for one, _ in pairs})
    if n_seeds < FEW_SEEDS:
        found[f"{n_seeds} seeds are too few for a claim; use {FEW_SEEDS} or more"] = None
    return list(found)


def _differing(one: Report, other: Report) -> Iterable[str]:
    """Say what besides the numbers differs between two reports."""
    sizes = [report.resources.get("batch_size") for report in (one, other)]
    if sizes[0] != sizes[1]:
        yield f"batch_size differs: {sizes[0]} and {sizes[1]}"
    for name, (left, right) in _unequal(_flat(one.environment), _flat(other.environment)).items():
        yield f"environment {name} differs: {left} and {right}"
    for name in ("protocol", "dtype", "limit", "recipe", "metrics"):
        left, right = (report.identity.model_dump(mode="json")[name] for report in (one, other))
        if left != right:
            yield f"{name} differs" + _detail(left, right)


def _detail(left: Any, right: Any) -> str:
    if isinstance(left, dict) and isinstance(right, dict):
        unequal = _unequal(left, right).items()
        return ": " + ", ".join(f"{key} {ours} and {theirs}" for key, (ours, theirs) in unequal)
    return "" if isinstance(left, list) else f": {left} and {right}"


def _unequal(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    keys = sorted(left.keys() | right.keys())
    return {k: (left.get(k), right.get(k)) for k in keys if left.get(k) != right.get(k)}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _row(difference: Difference) -> list[str]:
    d = difference
    interval = "" if d.low is None else f"[{d.low:+.3f}, {d.high:+.3f}]"
    seeds = ",".join(map(str, d.seeds))
    return [
        d.task, d.metric, f"{d.a:.3f}", f"{d.b:.3f}", f"{d.difference:+.3f}", interval, seeds
    ]  # fmt: skip
