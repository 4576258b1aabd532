"""A report on the terminal: what it is of, and its results with intervals and references."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mecheval.cli.printing import say
from mecheval.cli.show_pair import pair_head, print_matrices, print_pair
from mecheval.errors import UsageError
from mecheval.escape import cause, line, sentence
from mecheval.reports import grid_checks
from mecheval.reports.files import dumps, read_either
from mecheval.reports.labels import NO_GATE, gate_in_words, learned_in_words
from mecheval.reports.markdown import table
from mecheval.reports.pair import PairReport
from mecheval.reports.reproduced import in_words, mark_of
from mecheval.spec import Spec, format_args

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mecheval.reports.schema import Failure, MetricResult, Report, SweepRun

HEADERS = ("Metric", "Value", "95% interval", "Unit", "Scored", "References")


def print_report(path: Path, *, as_json: bool) -> None:
    """Print the report of a cell or a pair as a card and a table, or the whole of it as JSON.

    Raises:
        UsageError: The file is not a report.
    """
    report = read_either(path)
    if as_json:
        say(dumps(report).rstrip("\n"))
    elif isinstance(report, PairReport):
        _print_head(pair_head(report), report.error)
        print_pair(report)
    else:
        mark = mark_of(report, path)
        again = {"reproduced": "; ".join(in_words(mark.executions))} if mark else {}
        _print_head({**_head(report), **again}, report.error)
        _print_results(report)


def _print_head(head: Mapping[str, Any], error: Failure | None) -> None:
    for name, value in head.items():
        say(line(f"{name}: {value}"))
    if error:
        say(sentence(f"error in {error.stage}: {error.type}: {cause(error.message)}"))


def _print_results(report: Report) -> None:
    if report.error:
        return
    say()
    say(table(HEADERS, [_row(metric) for metric in report.metrics]))
    checks = grid_checks.rows(report.metrics)
    if checks:
        say()
        say(line(grid_checks.CAPTION))
        say()
        say(table(grid_checks.HEADERS, checks))
        say()
    for metric in report.metrics:
        for warning in metric.warnings:
            say(line(f"{metric.id}: {warning}"))


def print_folder(path: Path, *, as_json: bool) -> None:
    """Print the tables of a folder of reports, of cells and of pairs.

    As JSON it is a line per headline number and seed, and one per number and pair of models.

    Raises:
        UsageError: The folder holds no reports.
    """
    from mecheval.cli.summary import summary
    from mecheval.reports.collection import load_pairs, load_results

    found, pairs = load_results(path), load_pairs(path)
    others = [item.report for item in found.refused if item.report is not None]
    if not found and not others and not pairs:
        raise UsageError(f"The folder {path} holds no reports. Give one that does.")
    if as_json and found:
        say(str(found.to_frame().to_json(orient="records", lines=True)).rstrip("\n"))
    elif not as_json and (found or others):
        say(summary([*found.reports, *others]))
    for group in () if as_json else found:
        for seed, executions in group.reproduced.items():
            say(line(f"Reproduced: {group}, seed {seed}: {'; '.join(in_words(executions))}"))
    if pairs and (found or others) and not as_json:
        say()
    print_matrices(pairs.matrices, as_json=as_json)
    for item in () if as_json else (*found.refused, *pairs.refused):
        if item.report is None:
            say(line(f"{item.path}: {item.reason}"), error=True)


def _head(report: Report) -> dict[str, Any]:
    identity, training = report.identity, report.training
    head = {
        "model": Spec(identity.model.name, identity.model.args, identity.model.revision),
        "weights": identity.model.source,
        "task": f"{Spec(identity.task.name, identity.task.params)} version {identity.task.version}",
        "seed": identity.seed,
        "status": report.status + (", partial" if report.partial else ""),
        "learned": _learned(report),
        "tracking": {True: "yes", False: "no", None: report.tracking_reason}[report.tracking],
        "finished": report.finished,
        "key": report.key,
    }
    if training:
        head["training"] = (
            f"{training.recipe}, {training.optimizer}, {training.steps} steps, "
            f"stopped by {training.stopped}"
        )
        head |= {"sweep": _sweep(training.sweep)} if training.sweep else {}
    return head


def _learned(report: Report) -> str:
    """Say whether the task was learned, and by which gate."""
    gate = gate_in_words(report.identity)
    if learned_in_words(report.learned, report.identity) == NO_GATE:
        return f"not asked ({NO_GATE})"
    said = {True: "yes", False: "no", None: "not measured"}[report.learned]
    return f"{said} ({gate})" if gate and report.learned is not None else said


def _sweep(runs: Sequence[SweepRun]) -> str:
    """Name every run with its validation accuracy or loss, and mark the chosen one."""
    return ", ".join(
        f"{format_args(run.values)} {_validation(run)}" + (" (chosen)" if run.chosen else "")
        for run in runs
    )


def _validation(run: SweepRun) -> str:
    """Return that by which a run is compared with others."""
    if run.validation_accuracy is None:
        return "diverged"
    if run.validation_loss is None:
        return f"{run.validation_accuracy:.3f}"
    return f"loss {run.validation_loss:.3f}"


def _row(metric: MetricResult) -> list[str]:
    interval = metric.uncertainty
    return [
        metric.id,
        _value(metric),
        f"[{interval.low:.4g}, {interval.high:.4g}]" if interval else "",
        interval.resampled_unit if interval else "",
        f"{metric.n_scored} of {metric.n_expected}",
        ", ".join(
            f"{name} {value:.4g}" for name, value in metric.references.items() if value is not None
        ),
    ]


def _value(metric: MetricResult) -> str:
    """Return the value, behind its verdict if it has one; or why there is none."""
    if metric.value is None:
        return f"{metric.verdict}; {metric.reason}" if metric.verdict else str(metric.reason)
    return f"{metric.verdict}, {metric.value:.4g}" if metric.verdict else f"{metric.value:.4g}"
