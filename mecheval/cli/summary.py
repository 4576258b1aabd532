"""The tables that a run prints: behaviour, verdicts on the mechanism, and further measures."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mecheval import seeding, stats
from mecheval.reports.markdown import table
from mecheval.spec import format_args

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mecheval.harness.events import Outcome
    from mecheval.reports.schema import MetricResult, Report

CELL = ("Model", "Task", "Seeds")
BEHAVIOUR = ("token_accuracy/1x", "last_accuracy/1x", "token_accuracy/2x")
BEHAVIOUR_HEADERS = ("Token accuracy", "Last position", "At twice the length", "Floor", "Learned")
VERDICT = "mechanism"
EVIDENCE = {
    "Layer": "retrieving_layer",
    "At the key": "enough_block_in_key",
    "At the value": "enough_block_in_value",
    "Conv., behind it": "enough_conv_out_behind",
}
"""Scalars of a verdict beside it: the layer that retrieves, and what it needs to read where."""

MEASURES = {"recovery": "Recovery", "readability": "Readability", "bottleneck": "Bottleneck"}
"""Metrics in the last table: the first result of each."""

NOT_LEARNED = "not learned"


class _Group(NamedTuple):
    """The reports of one model on one task."""

    model: str
    task: str
    reports: list[Report]

    @property
    def measured(self) -> list[Report]:
        return [report for report in self.reports if report.error is None]

    @property
    def head(self) -> list[str]:
        seeds = ",".join(str(report.identity.seed) for report in self.measured)
        return [self.model, self.task, seeds]

    def results(self, id: str) -> list[MetricResult]:
        return [m for report in self.measured for m in report.metrics if m.id == id]

    def first(self, name: str) -> list[MetricResult]:
        """Return the first result of a metric, over the seeds."""
        ids = [m.id for report in self.measured for m in report.metrics if m.name == name]
        return self.results(ids[0]) if ids else []


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return the tables of a run, and below them why values are undefined.

    Several seeds of a cell become one row with their mean and its interval over seeds.

    Args:
        outcomes: Cells and their reports, in the order of the grid.
    """
    groups: dict[tuple[str, str], _Group] = {}
    for outcome in outcomes:
        task = f"{outcome.cell.task_title}@{outcome.report.identity.task.version}"
        names = (outcome.cell.model_title, task)
        groups.setdefault(names, _Group(*names, [])).reports.append(outcome.report)
    parts = [_behaviour(groups.values()), _verdicts(groups.values()), _measures(groups.values())]
    notes = [note for group in groups.values() for note in _notes(group)]
    return "\n\n".join([part for part in parts if part] + (["\n".join(notes)] if notes else []))


def _behaviour(groups: Iterable[_Group]) -> str:
    rows = []
    for group in groups:
        for report in group.reports:
            if report.error is not None:
                seed, failure = str(report.identity.seed), f"failed in {report.error.stage}"
                rows.append([group.model, group.task, seed, failure, "", "", "", ""])
        if not group.measured:
            continue
        results = [group.results(id) for id in BEHAVIOUR]
        n_learned = sum(report.learned is True for report in group.measured)
        learned = f"{n_learned} of {len(group.measured)}"
        if len(group.measured) == 1:
            learned = {True: "yes", False: "no", None: ""}[group.measured[0].learned]
        rows.append([*group.head, *map(_number, results), _floor(results[0]), learned])
    return table([*CELL, *BEHAVIOUR_HEADERS], rows)


def _verdicts(groups: Iterable[_Group]) -> str:
    rows = []
    for group in groups:
        results = group.results(VERDICT)
        if not results:
            continue
        found = [result for result in results if result.verdict is not None]
        if not found:
            rows.append([*group.head, _missing(results), *[""] * (1 + len(EVIDENCE))])
            continue
        counts = Counter(str(result.verdict) for result in found)
        verdict = ", ".join(
            name if len(results) == 1 else f"{name} ({n} of {len(results)})"
            for name, n in counts.most_common()
        )
        agreement = np.mean([result.value or 0.0 for result in found])
        scalars = [_scalar(found, name) for name in EVIDENCE.values()]
        rows.append([*group.head, verdict, f"{agreement:.2f}", *scalars])
    return table([*CELL, "Verdict", "Resamples that agree", *EVIDENCE], rows) if rows else ""


def _measures(groups: Iterable[_Group]) -> str:
    """Return the first recovery, readability and bottleneck of the cells without a verdict."""
    rows, names = [], set()
    for group in groups:
        firsts = {name: group.first(name) for name in MEASURES}
        if not any(firsts.values()) or group.results(VERDICT):
            continue
        names |= {name for name, results in firsts.items() if results}
        rows.append((group.head, firsts))
    shown = [name for name in MEASURES if name in names]
    cells = [[*head, *(_measure(firsts[name]) for name in shown)] for head, firsts in rows]
    return table([*CELL, *(MEASURES[name] for name in shown)], cells) if rows else ""


def _measure(results: Sequence[MetricResult]) -> str:
    if not results:
        return ""
    of_what = results[0].id.partition("/")[2]
    return f"{of_what} {_number(results)}".strip()


def _notes(group: _Group) -> Iterator[str]:
    """Say what sweeps chose, and why values are undefined where the task was learned."""
    for report in group.measured:
        if report.training and (runs := report.training.sweep):
            chosen = [format_args(run.values) for run in runs if run.chosen]
            best = chosen[0] if chosen else "none, as all diverged,"
            seed = report.identity.seed
            yield f"{group.model}, {group.task}: seed {seed} chose {best} of {len(runs)} runs"
    for id in (*BEHAVIOUR, VERDICT):
        yield from _why(group, group.results(id))
    if not group.results(VERDICT):
        for name in MEASURES:
            yield from _why(group, group.first(name))


def _why(group: _Group, results: Sequence[MetricResult]) -> Iterator[str]:
    reasons = dict.fromkeys(result.reason or "" for result in results if result.value is None)
    for reason in reasons:
        if not reason.startswith(NOT_LEARNED):
            yield f"{group.model}, {group.task}: {results[0].title} is undefined: {reason}"


def _number(results: Sequence[MetricResult]) -> str:
    """Return a value with its interval; over several seeds the mean and the interval of it."""
    values = np.array([result.value for result in results if result.value is not None])
    if not len(values):
        return _missing(results)
    missing = f" ({len(values)} of {len(results)} seeds)" if len(values) < len(results) else ""
    return f"{values.mean():.3f} {_interval(results, values)}".strip() + missing


def _missing(results: Sequence[MetricResult]) -> str:
    if not results:
        return ""
    return NOT_LEARNED if (results[0].reason or "").startswith(NOT_LEARNED) else "undefined"


def _interval(results: Sequence[MetricResult], values: np.ndarray) -> str:
    if len(values) > 1:
        low, high, *_ = stats.mean_interval(values, seeding.stream(0, "seeds"), unit="seed")
        return f"[{low:.3f}, {high:.3f}]"
    uncertainty = next(result.uncertainty for result in results if result.value is not None)
    return f"[{uncertainty.low:.3f}, {uncertainty.high:.3f}]" if uncertainty else ""


def _floor(results: Sequence[MetricResult]) -> str:
    floors = [result.references.get("floor") for result in results]
    known = [floor for floor in floors if floor is not None]
    return f"{np.mean(known):.3f}" if known else ""


def _scalar(results: Sequence[MetricResult], name: str) -> str:
    found = [result.scalars.get(name) for result in results]
    known = [value for value in found if value is not None]
    if not known:
        return ""
    return f"{np.mean(known):g}" if name.endswith("layer") else f"{np.mean(known):.2f}"
