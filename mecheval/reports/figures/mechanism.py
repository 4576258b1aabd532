"""Accuracy, verdicts and interchange by role: a row per model, a column of panels per task.

Shape suffixes: ``S`` seeds, ``L`` layers, ``G`` roles, ``Y`` rows of a heat map.
"""

from __future__ import annotations

import warnings
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mecheval.errors import UsageError
from mecheval.reports.figures import panels
from mecheval.reports.labels import Entry, labels, task_entry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

    from mecheval.reports.schema import MetricResult, Report

VERDICT_COLOURS = {
    "induction": "#0072B2",
    "direct early": "#E69F00",
    "direct late": "#D55E00",
    "convolution": "#009E73",
    "mixed": "#CC79A7",
    "undefined": "#9a9a9a",
    "not learned": "#e4e4e4",
}
ACCURACY, VERDICT, ROLES = "token_accuracy/1x", "mechanism", "interchange/key"
SHORT = {"block_in": "in", "conv_out": "conv", "block_out": "out"}
"""Components of the heat map, bottom up within a layer, and what they are called there."""

_WIDTHS = (0.8, 0.75, 2.0)  # of the three panels
_ROW = 1.25  # inches


def figure(reports: Sequence[Report]) -> Figure:
    """Draw all models on all tasks that have a verdict on the mechanism.

    Raises:
        UsageError: No report has one.
    """
    drawn = [report for report in reports if _result(report, VERDICT)]
    if not drawn:
        raise UsageError(
            "No report has a verdict on the mechanism. Draw another figure, or run tasks that "
            "declare the metric 'mechanism', such as ar."
        )
    rows, tasks = _rows(drawn), labels([task_entry(report) for report in drawn])
    cells: dict[tuple[str, str], list[Report]] = {}
    for row, task, report in zip(rows, tasks, drawn, strict=True):
        cells.setdefault((row, task), []).append(report)
    names, columns = sorted(set(rows)), sorted(set(tasks))
    height = _ROW * len(names)
    picture = Figure(figsize=(0.6 + 6.6 * len(columns), 1.1 + height), layout="constrained")
    body, foot = picture.subfigures(2, 1, squeeze=False, height_ratios=(height, 0.7))[:, 0]
    grid = body.subfigures(1, len(columns), squeeze=False, wspace=0.02)[0]
    for part, task in zip(grid, columns, strict=True):
        _task_panels(part, task, {name: cells.get((name, task), []) for name in names})
    handles = [Patch(color=colour, label=name) for name, colour in VERDICT_COLOURS.items()]
    hatched = Patch(
        facecolor="white", edgecolor="#9a9a9a", hatch="/////", label="same in any model"
    )
    foot.legend(
        handles=[*handles, hatched], loc="center", ncols=min(8, 4 * len(columns)), handlelength=1.4
    )
    return picture


def _rows(reports: Sequence[Report]) -> list[str]:
    """Return a label per report that tells models apart, but no widths: those are on an axis."""
    models = [report.identity.model for report in reports]
    return labels(
        [
            Entry(model.name, {k: v for k, v in model.args.items() if k != "width"})
            for model in models
        ]
    )


def _result(report: Report, id: str) -> MetricResult | None:
    return next((metric for metric in report.metrics if metric.id == id), None)


def _task_panels(figure: SubFigure, task: str, by_model: Mapping[str, Sequence[Report]]) -> None:
    figure.suptitle(task, x=0.02, ha="left", fontsize=10, fontweight="bold")
    axes_YX = figure.subplots(len(by_model), 3, squeeze=False, width_ratios=_WIDTHS)
    drawn = [row for row, reports in enumerate(by_model.values()) if reports]
    for row, (name, reports) in enumerate(by_model.items()):
        accuracy, verdict, heat = axes_YX[row]
        if not reports:
            for axes in axes_YX[row]:
                axes.set_axis_off()
            continue
        accuracy.set_title(name, fontsize=8.5, loc="left")
        _draw_accuracy(accuracy, reports)
        _draw_verdicts(verdict, reports)
        _draw_roles(heat, reports)
    accuracy, verdict, _ = axes_YX[drawn[-1]]
    accuracy.set_xlabel("width")
    verdict.set_xlabel("seeds, by verdict")
    axes_YX[drawn[0]][2].set_title("answer brought back, key exchanged", fontsize=7.5)


def _draw_accuracy(axes: Axes, reports: Sequence[Report]) -> None:
    """Draw a dot per seed over the width, their means, and the floor."""
    by_width: dict[int, list[float]] = {}
    floors = []
    for report in reports:
        result = _result(report, ACCURACY)
        width = report.model_card.d_model if report.model_card else 0
        if result is not None and result.value is not None:
            by_width.setdefault(width, []).append(result.value)
            floors.append(result.references.get("floor") or 0.0)
    widths = sorted(by_width)
    for at, width in enumerate(widths):
        values_S = np.array(by_width[width])
        axes.plot(
            np.full(len(values_S), at), values_S, "o", color="#0072B2", markersize=3.5, alpha=0.6
        )
        axes.plot([at - 0.25, at + 0.25], [values_S.mean()] * 2, color="black", linewidth=1.2)
    if floors:
        axes.axhline(float(np.mean(floors)), color=panels.GREY, linestyle="--", linewidth=0.8)
    axes.set_ylim(-0.04, 1.04)
    axes.set_yticks([0, 0.5, 1])
    axes.set_xlim(-0.6, max(len(widths), 1) - 0.4)
    axes.set_xticks(range(len(widths)), map(str, widths))
    axes.set_ylabel("accuracy", fontsize=7)
    axes.grid(axis="y", color=panels.LIGHT, linewidth=0.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _draw_verdicts(axes: Axes, reports: Sequence[Report]) -> None:
    """Draw one bar of seeds by verdict."""
    counts = Counter(_verdict(report) for report in reports)
    start = 0
    for verdict, colour in VERDICT_COLOURS.items():
        n_seeds = counts[verdict]
        if n_seeds:
            axes.barh(0, n_seeds, left=start, color=colour, edgecolor="white", height=0.55)
            start += n_seeds
    common = counts.most_common(1)[0][0]
    axes.text(0, 0.42, common.replace(" ", "\n"), fontsize=7, va="bottom", linespacing=0.9)
    axes.set_xlim(0, max(start, 1))
    axes.set_ylim(-0.45, 1.1)
    axes.set_xticks(range(start + 1) if start <= 8 else [0, start])
    axes.set_yticks([])
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _verdict(report: Report) -> str:
    result = _result(report, VERDICT)
    if result is None or result.verdict is None:
        return "not learned" if report.learned is False else "undefined"
    return result.verdict


class _Sites(NamedTuple):
    """Attributions of one report, from the first layer's input to the last one's output."""

    names: list[str]
    roles: list[str]
    value_YG: np.ndarray
    trivial_YG: np.ndarray


def _sites(report: Report) -> _Sites | None:
    result = _result(report, ROLES)
    if result is None or result.profile is None:
        return None
    profile = result.profile
    index = {name: i for i, name in enumerate(profile.index["component"])}
    value, trivial = panels.array(profile.value), np.array(profile.marks["trivial"], bool)
    n_layers, rows = value.shape[1], []
    for layer in range(n_layers):
        rows += [(name, layer) for name in ("block_in", "conv_out") if name in index]
    if "block_out" in index:
        rows.append(("block_out", n_layers - 1))
    rows = [(name, layer) for name, layer in rows if np.isfinite(value[index[name], layer]).any()]
    return _Sites(
        [f"{SHORT[name]} {layer}" for name, layer in rows],
        [str(role) for role in profile.index["role"]],
        np.stack([value[index[name], layer] for name, layer in rows]),
        np.stack([trivial[index[name], layer] for name, layer in rows]),
    )


def _draw_roles(axes: Axes, reports: Sequence[Report]) -> None:
    """Draw the mean over seeds of what one site brings back, by layer and role."""
    found = [sites for report in reports if (sites := _sites(report)) is not None]
    found = [sites for sites in found if sites.value_YG.shape == found[0].value_YG.shape]
    if not found:
        learned = any(report.learned for report in reports)
        panels.say(axes, "no gap" if learned else "not learned by any seed", width=30)
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        mean_YG = np.nanmean(np.stack([sites.value_YG for sites in found]), 0)
    axes.set_facecolor(panels.LIGHT)
    axes.imshow(
        mean_YG, origin="lower", aspect="auto", cmap="RdBu_r", norm=panels.RECOVERY,
        interpolation="nearest",
    )  # fmt: skip
    panels.hatch(axes, found[0].trivial_YG)
    panels.write_values(axes, mean_YG, size=6)
    axes.set_yticks(range(len(found[0].names)), found[0].names, fontsize=6)
    axes.set_xticks(range(len(found[0].roles)), found[0].roles, fontsize=6)
    axes.tick_params(length=2)
