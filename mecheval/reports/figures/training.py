"""What becomes of accuracy and mechanism along training, from reports with snapshots."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mecheval.errors import UsageError
from mecheval.reports.figures import panels
from mecheval.reports.figures.mechanism import VERDICT_COLOURS
from mecheval.reports.labels import labels, model_labels, task_entry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from mecheval.reports.schema import Report, Snapshot, SnapshotResult

EVIDENCE = {
    "enough_block_in_key": ("key", "-"),
    "enough_block_in_value": ("value", "--"),
    "enough_conv_out_behind": ("convolution, behind the value", ":"),
}
"""Scalars of the verdict that are drawn: what the retrieving layer reads, and where."""

VERDICT = "mechanism"
MOST_CURVES = 4  # of results that are not verdicts
_COLUMNS = 3


def figure(reports: Sequence[Report]) -> Figure:
    """Draw a panel per model, task and seed: validation accuracy, and results at the snapshots.

    A result of a snapshot is drawn whether or not the task was learned by then; the accuracy beside
    it says how much it means.

    Raises:
        UsageError: No report has snapshots.
    """
    drawn = [report for report in reports if report.snapshots]
    if not drawn:
        raise UsageError("No report has snapshots. Run with --snapshots 8, and draw those reports.")
    models = model_labels(drawn)
    tasks = labels([task_entry(report) for report in drawn])
    columns = min(_COLUMNS, len(drawn))
    rows = math.ceil(len(drawn) / columns)
    picture = Figure(figsize=(4.6 * columns, 0.7 + 2.7 * rows), layout="constrained")
    grid = picture.subplots(rows, columns, squeeze=False).ravel()
    for axes, model, task, report in zip(grid, models, tasks, drawn, strict=False):
        axes.set_title(f"{model} on {task}, seed {report.identity.seed}")
        _draw(axes, report)
    for axes in grid[len(drawn) :]:
        axes.set_axis_off()
    marks = [
        Line2D([], [], color=colour, linestyle="", marker="s", label=name)
        for name, colour in VERDICT_COLOURS.items()
        if name != "not learned"
    ]
    per_line = min(6, 3 * columns)
    picture.legend(handles=marks, loc="outside lower center", ncols=per_line, title="verdicts")
    return picture


def _draw(axes: Axes, report: Report) -> None:
    steps = [snapshot.step for snapshot in report.snapshots]
    if report.training and report.training.curve:
        curve = [(step, accuracy) for step, _, accuracy in report.training.curve]
        axes.plot(*zip(*curve, strict=True), color=panels.GREY, linewidth=1, label="accuracy")
    evidence = [_named(snapshot, VERDICT) for snapshot in report.snapshots]
    if any(evidence):
        for scalar, (label, line) in EVIDENCE.items():
            values = [_number(result.scalars.get(scalar)) if result else np.nan
                      for result in evidence]  # fmt: skip
            if np.isfinite(values).any():
                axes.plot(steps, values, line, marker="o", markersize=3, label=label)
        for step, result in zip(steps, evidence, strict=True):
            if result and result.verdict:
                axes.plot(step, -0.12, "s", color=VERDICT_COLOURS[result.verdict], clip_on=False)
    else:
        _draw_values(axes, report, steps)
    axes.set_ylim(-0.2, 1.15)
    axes.axhline(0, color=panels.GREY, linewidth=0.6)
    axes.set_xlabel("training steps")
    axes.grid(axis="y", color=panels.LIGHT, linewidth=0.5)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="center left", fontsize=6.5)


def _draw_values(axes: Axes, report: Report, steps: Sequence[int]) -> None:
    """Draw the values of the mechanistic results, one per metric."""
    first = {}
    for metric in report.metrics:
        if metric.family != "behaviour":
            first.setdefault(metric.name, metric)
    for metric in list(first.values())[:MOST_CURVES]:
        found = [_named(snapshot, metric.id) for snapshot in report.snapshots]
        values = [_number(result.value) if result else np.nan for result in found]
        axes.plot(steps, values, marker="o", markersize=3, label=metric.title)


def _named(snapshot: Snapshot, id: str) -> SnapshotResult | None:
    return next((result for result in snapshot.metrics if result.id == id), None)


def _number(value: float | None) -> float:
    return np.nan if value is None else value
