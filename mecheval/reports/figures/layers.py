"""Curves over layers and recovery: one report in full, or a grid of models by tasks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mecheval.reports.figures import panels
from mecheval.reports.labels import labels, model_labels, task_entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

    from mecheval.reports.schema import MetricResult, Report


def figure(reports: Sequence[Report]) -> Figure:
    """Draw one report in full, or several as a grid."""
    return cell_figure(reports[0]) if len(reports) == 1 else grid_figure(reports)


def cell_figure(report: Report) -> Figure:
    """Draw the layer curves and the recovery heat maps of one report."""
    results = _by_family(report)
    components = results["intervention"]
    n_rows = max(2, len(components))
    figure = Figure(figsize=(11.5, 0.5 + 2.75 * n_rows), layout="constrained")
    head, body = figure.subfigures(2, 1, squeeze=False, height_ratios=(0.5, 2.75 * n_rows))[:, 0]
    name, details = _title(report)
    head.text(0.012, 0.72, name, fontsize=12, fontweight="bold", va="center")
    head.text(0.012, 0.2, details, fontsize=8.5, color=panels.GREY, va="center")
    left, right = body.subfigures(1, 2, width_ratios=(1, 1.5), wspace=0.02)
    upper, lower = left.subplots(2, 1)
    _readability_panel(upper, results["probe"])
    _cost_panel(lower, results["bottleneck"])
    _heat_panels(right, components, report)
    return figure


def _title(report: Report) -> tuple[str, str]:
    identity = report.identity
    flags = [
        "PARTIAL (--limit)" if report.partial else "",
        "RANDOM WEIGHTS" if identity.model.source == "random" else "",
        "" if report.learned else "NOT LEARNED" if report.learned is False else "not measured",
    ]
    accuracies = [
        f"{metric.title} {metric.value:.3f}"
        for metric in report.metrics
        if metric.id in ("token_accuracy/1x", "last_accuracy/1x") and metric.value is not None
    ]
    if report.error:
        accuracies = [f"failed in {report.error.stage}: {report.error.type}"]
    name = f"{identity.model.name} on {identity.task.name}@{identity.task.version}"
    details = [*filter(None, flags), *accuracies, f"key {report.key[:8]}"]
    return f"{name}, seed {identity.seed}", "   |   ".join(details)


DRAWN = {"recovery": "intervention", "readability": "probe", "bottleneck": "bottleneck"}
"""The metrics that are drawn over layers, with their family."""


def _by_family(report: Report) -> dict[str, list[MetricResult]]:
    families: dict[str, list[MetricResult]] = {family: [] for family in DRAWN.values()}
    for metric in report.metrics:
        if metric.name in DRAWN:
            families[DRAWN[metric.name]].append(metric)
    return families


def _readability_panel(axes: Axes, results: Sequence[MetricResult]) -> None:
    axes.set_title("Readability: linear probe, corrected for the floor")
    drawn = {panels.variable_of(result): [result] for result in results if result.profile}
    if not drawn:
        panels.say(axes, _why(results, "no probe was asked for"))
        return
    panels.draw_readability(axes, drawn)
    axes.set_ylabel("$a_l$")
    _legend(axes, [_line("untrained", linestyle="--", linewidth=1)])
    _notes(axes, results)


def _cost_panel(axes: Axes, results: Sequence[MetricResult]) -> None:
    axes.set_title("Cost of erasing, above random subspaces")
    drawn = {panels.variable_of(result): [result] for result in results if result.profile}
    if not drawn:
        panels.say(axes, _why(results, "no erasure was asked for"))
        return
    panels.draw_cost(axes, drawn)
    axes.set_ylabel("cost")
    axes.set_xlabel("layer of the residual stream (0: embedding)")
    marks = [
        _line("bottleneck", linestyle="", marker="*", markersize=10),
        _line("not interpretable", linestyle="", marker="o", markerfacecolor="white", markersize=4),
        Patch(color=panels.LIGHT, label="random subspaces, 95 %"),
    ]
    _legend(axes, marks, columns=2)
    _notes(axes, results)


def _line(label: str, **style: Any) -> Line2D:
    """Return a grey line for a legend."""
    return Line2D([], [], color=panels.GREY, label=label, **style)


def _legend(axes: Axes, further: Sequence[Line2D | Patch], *, columns: int = 1) -> None:
    handles, _ = axes.get_legend_handles_labels()
    axes.legend(handles=[*handles, *further], loc="best", ncols=columns, handlelength=1.6)


def _notes(axes: Axes, results: Iterable[MetricResult]) -> None:
    """Write beneath the title which variables have no value, and why."""
    notes = [f"{panels.variable_of(r)}: null, {r.reason}" for r in results if r.value is None]
    if notes:
        text = "\n".join(note if len(note) < 74 else note[:72] + " ..." for note in notes)
        axes.annotate(
            text, (0.0, 1.0), (2, -2), xycoords="axes fraction", textcoords="offset points",
            va="top", fontsize=6.5, color=panels.GREY,
        )  # fmt: skip


def _why(results: Sequence[MetricResult], otherwise: str) -> str:
    reasons = dict.fromkeys(f"null: {result.reason}" for result in results if result.reason)
    return "; ".join(reasons) or otherwise


def _heat_panels(figure: SubFigure, components: Sequence[MetricResult], report: Report) -> None:
    if not components:
        reason = f"failed: {report.error.message}" if report.error else "no patching was asked for"
        panels.say(figure.subplots(), reason)
        return
    grid = figure.subplots(len(components), 2, squeeze=False, width_ratios=(1, 2.1))
    images = []
    for (roles_axes, position_axes), result in zip(grid, components, strict=True):
        component = panels.variable_of(result)
        roles_axes.set_title(f"Recovery of {component}, by role")
        n_pairs = result.n_expected - int(result.scalars.get("pairs_without_gap") or 0)
        position_axes.set_title(f"by position, mean over {n_pairs} pairs")
        for axes, roles in ((roles_axes, True), (position_axes, False)):
            image = panels.draw_heat(axes, [result], roles=roles)
            if image is None:
                panels.say(axes, _why([result], "not measured"), width=22 if roles else 46)
            else:
                images.append(image)
        roles_axes.set_ylabel("layer")
    grid[-1, 0].set_xlabel("position in the pair")
    grid[-1, 1].set_xlabel("position in the sequence (0: BOS)")
    if images:
        bar = figure.colorbar(images[0], ax=grid, fraction=0.03, pad=0.015, extend="both")
        bar.set_label("share of the clean-corrupted gap (hatched: the same in any model)")


def grid_figure(reports: Sequence[Report]) -> Figure:
    """Draw models (rows) by tasks (columns), each averaged over its seeds."""
    models = model_labels(reports)
    tasks = labels([task_entry(report) for report in reports])
    cells: dict[tuple[str, str], list[Report]] = {}
    for model, task, report in zip(models, tasks, reports, strict=True):
        cells.setdefault((model, task), []).append(report)
    rows, columns = sorted(set(models)), sorted(set(tasks))
    height = 1.15 + 2.1 * len(rows)
    figure = Figure(figsize=(0.6 + 5.4 * len(columns), height), layout="constrained")
    body, foot = figure.subfigures(2, 1, squeeze=False, height_ratios=(height - 0.75, 0.75))[:, 0]
    grid = body.subfigures(len(rows), len(columns), squeeze=False, wspace=0.02, hspace=0.02)
    for row, model in enumerate(rows):
        for column, task in enumerate(columns):
            curves = _grid_cell(
                grid[row, column], f"{model} on {task}", cells.get((model, task), [])
            )
            if curves is not None and row == len(rows) - 1:
                curves.set_xlabel("layer (0: embedding)")
    _foot(foot, reports)
    return figure


def _grid_cell(figure: SubFigure, name: str, reports: Sequence[Report]) -> Axes | None:
    """Draw one model on one task; return the axes of its curves if there is anything to draw."""
    n_learned = sum(report.learned is True for report in reports)
    seeds = f"{len(reports)} seed{'s' if len(reports) != 1 else ''}, {n_learned} learned"
    partial = ", PARTIAL" if any(report.partial for report in reports) else ""
    random = any(report.identity.model.source == "random" for report in reports)
    note = partial + (", RANDOM WEIGHTS" if random else "")
    figure.suptitle(f"{name}  ({seeds}{note})", x=0.02, ha="left", fontsize=8.5)
    measured = [report for report in reports if report.status == "success"]
    if not measured:
        failed = [f"failed: {report.error.message}" for report in reports if report.error]
        panels.say(figure.subplots(), failed[0] if failed else "no report", width=60)
        return None
    curves, heat = figure.subplots(1, 2, width_ratios=(1.15, 1))
    families = _seeds_by_id(measured)
    if any(r.profile for same in families["probe"].values() for r in same):
        panels.draw_readability(curves, _drawable(families["probe"]))
        panels.draw_cost(curves, _drawable(families["bottleneck"]), line=":")
    else:
        everything = [result for same in families["probe"].values() for result in same]
        panels.say(curves, _why(everything, "no probe was asked for"), width=32)
    first = next(iter(families["intervention"].values()), [])
    if panels.draw_heat(heat, first, roles=True) is None:
        panels.say(heat, _why(first, "no patching was asked for"), width=28)
    else:
        heat.set_title(f"recovery of {panels.variable_of(first[0])}", fontsize=7.5)
        heat.set_ylabel("layer")
    return curves


def _seeds_by_id(reports: Iterable[Report]) -> dict[str, dict[str, list[MetricResult]]]:
    found: dict[str, dict[str, list[MetricResult]]] = {}
    for report in reports:
        for family, results in _by_family(report).items():
            of_family = found.setdefault(family, {})
            for result in results:
                of_family.setdefault(panels.variable_of(result), []).append(result)
    return found


def _drawable(by_variable: Mapping[str, list[MetricResult]]) -> dict[str, list[MetricResult]]:
    found = {name: [r for r in same if r.profile] for name, same in by_variable.items()}
    return {name: same for name, same in found.items() if same}


def _foot(figure: SubFigure, reports: Sequence[Report]) -> None:
    """Explain lines and colours once for all cells; variables are named by their task."""
    handles = [
        _line("readability $a_l$", marker="o", markersize=4),
        _line("of an untrained network", linestyle="--", linewidth=1),
        _line("cost of erasing (star: bottleneck)", linestyle=":"),
        _line("single seeds", linewidth=0.7, alpha=0.5),
        Patch(color=panels.LIGHT, label="random subspaces, 95 %"),
        Patch(facecolor="#b2182b", label="recovery 1"),
        Patch(facecolor="white", edgecolor="#9a9a9a", hatch="/////", label="same in any model"),
    ]
    variables: dict[str, list[str]] = {}
    for report in reports:
        names = dict.fromkeys(panels.variable_of(r) for r in report.metrics if r.family == "probe")
        variables.setdefault(report.identity.task.name, list(names))
    n_colours = max(map(len, variables.values()), default=0)
    for index in range(min(n_colours, len(panels.COLOURS))):
        named = [f"{task}: {names[index]}" for task, names in sorted(variables.items())
                 if index < len(names)]  # fmt: skip
        handles.append(Patch(color=panels.COLOURS[index], label=", ".join(named)))
    columns = math.ceil(len(handles) / 3)
    figure.legend(handles=handles, loc="center", ncols=columns, handlelength=1.8)
