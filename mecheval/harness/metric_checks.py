"""The contract of a metric, checked by running it on models set by hand, as ``validate`` does.

A metric is measured where its needs are met, on the first planted model that meets them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mecheval.checks import Check
from mecheval.harness.gate import gated
from mecheval.harness.known_values import quick_parameters, single_cases
from mecheval.harness.measures import metrics_on
from mecheval.harness.pair_metric_checks import pair_checks
from mecheval.harness.result_checks import (
    Trial,
    checked,
    deterministic,
    headlines,
    need,
    nulls,
    outlined,
    round_trip,
)
from mecheval.harness.selftest import SEED, subject_of
from mecheval.metrics import Subject, configured_metric, measure
from mecheval.metrics.measuring import UNMET, unmet_by_model, unmet_by_task
from mecheval.metrics.pairs import PairMetric
from mecheval.models.load import resolve
from mecheval.reports.results import BEHAVIOUR
from mecheval.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mecheval.metrics import Metric
    from mecheval.models.contract import SequenceModel
    from mecheval.registry import Registry
    from mecheval.reports.schema import MetricResult
    from mecheval.tasks import Task

    MetricTrial = Trial[Metric, Subject]

LIMIT = 48
"""Examples per measurement: enough for numbers, few enough to wait for."""

CLOSE = 1e-4
"""How much of a number may depend on the size of batches, which moves rounding errors."""


def check_metric(spec: Spec, registry: Registry) -> list[Check]:
    """Check one metric against the contract of :class:`mecheval.metrics.Metric`.

    Args:
        spec: Its name, and parameters if wanted; without any a metric of pairs has those of its
            known values, under which it takes seconds.
        registry: Where it is looked up.

    Raises:
        UsageError: The name or a parameter is unknown or not allowed.
        ContractError: The metric's file does not import.
    """
    metric = configured_metric(
        replace(spec, args=spec.args or quick_parameters(spec.name)), registry
    )
    checks = [checked("parameters are JSON", lambda: _parameters(metric, registry))]
    if isinstance(metric, PairMetric):
        return [*checks, *pair_checks(metric)]
    subject = _fitting(metric)
    if subject is None:
        why = "no planted model meets its needs"
        return [*checks, *(Check(name, None, why) for name in _CHECKS)]
    on = f"{type(subject.model).__name__} on {subject.task.card.name}"
    checks.append(Check("needs are met by a planted model", True, on))
    trial = Trial(metric, subject, _fresh)
    for name, check in _CHECKS.items():
        checks.append(checked(name, lambda check=check: check(trial)))
    return checks


def check_behaviour_on(task: Task, registry: Registry) -> Check:
    """Check that the behavioural metric of a task says whether the task was learned.

    It is measured on a small model as it is drawn: what it returns does not depend on training.

    Args:
        task: The task.
        registry: Where its metric is looked up.
    """

    def check() -> str:
        metric, *_ = metrics_on(task, (), registry)
        result = gated(measure(metric, _untrained(task, registry)), task.gate_on)
        return f"{result.id} of {metric.id}"

    return checked("behaviour says whether it is learned", check)


def _untrained(task: Task, registry: Registry) -> Subject:
    source = resolve(Spec("lstm", {"layers": 1, "width": 16}), registry)
    encoding = source.encode(task)

    def build() -> SequenceModel:
        return source.untrained(encoding, seed=SEED).eval()

    return Subject(
        model=build(),
        task=task,
        encoding=encoding,
        seed=SEED,
        learned=None,
        limit=LIMIT,
        batch_size=LIMIT,
        untrained=build,
    )


def _fitting(metric: Metric) -> Subject | None:
    """Return the first planted model, on its task, that has all that is needed."""
    for case in single_cases():
        subject = subject_of(case.model, case.task)
        if unmet_by_task(metric, subject.task) or unmet_by_model(metric, subject.model):
            continue
        return replace(subject, limit=LIMIT)
    return None


def _parameters(metric: Metric, registry: Registry) -> str:
    again = configured_metric(Spec(metric.name, metric.params), registry)
    need(again == metric, "its parameters, written as JSON and read, give another metric")
    return metric.id


def _fresh(metric: Metric, subject: Subject) -> list[MetricResult]:
    return measure(metric, replace(subject, memo={}))


def _outlined(trial: MetricTrial) -> str:
    metric = trial.metric
    if metric.card.family == BEHAVIOUR:  # the ids of which depend on the lengths of the task
        return ", ".join(result.id for result in trial.first)
    return outlined(metric, metric.outline(trial.subject), trial.first)


def _any_batch(trial: MetricTrial) -> str:
    one, other = (trial.again(batch_size=size) for size in (LIMIT, 7))
    worst = 0.0
    for left, right in zip(one, other, strict=True):
        need(left.verdict == right.verdict, f"the verdict of {left.id} depends on the batch size")
        for a, b in zip(_numbers(left), _numbers(right), strict=True):
            need((a is None) == (b is None), f"{left.id} has a number in batches of one size only")
            worst = max(worst, abs((a or 0.0) - (b or 0.0)))
    need(worst <= CLOSE, f"a number moves by {worst:.2g} with the batch size")
    return f"largest difference {worst:.1g}"


def _numbers(result: MetricResult) -> Iterator[float | None]:
    """Yield the value and the numbers beside it, but for what says how exact the machine is."""
    yield result.value
    for name, value in {**result.references, **result.scalars}.items():
        if not name.endswith("_error"):
            yield value


def _not_learned(trial: MetricTrial) -> str:
    if trial.metric.card.family == BEHAVIOUR:
        return "it says whether a task is learned, and is measured in any case"
    return nulls(trial.again(learned=False, accuracy=0.5))


def _gated(trial: MetricTrial) -> str:
    if trial.metric.card.family != BEHAVIOUR:
        return "it does not say whether a task is learned"
    return gated(trial.first, trial.subject.task.gate_on).id


def _not_applicable(trial: MetricTrial) -> str:
    metric = trial.metric
    if not metric.card.needs:
        return "it needs nothing"
    for case in single_cases():
        other = subject_of(case.model, case.task)
        if unmet_by_task(metric, other.task) or unmet_by_model(metric, other.model):
            (result,) = measure(metric, other)
            need(str(result.reason).startswith(UNMET), "a need that is not met is not the reason")
            return f"{case.model} on {case.task}: {result.reason}"
    return "every planted model meets its needs"


_CHECKS: dict[str, Callable[[MetricTrial], str]] = {
    "results are as outlined": _outlined,
    "JSON there and back": lambda trial: round_trip(trial.first),
    "deterministic": deterministic,
    "equal for any batch size": _any_batch,
    "null with a reason where the task is not learned": _not_learned,
    "null with a reason where a need is not met": _not_applicable,
    "columns are there": lambda trial: headlines(trial.first),
    "says whether a task is learned": _gated,
}
