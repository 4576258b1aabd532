"""Which metrics a cell measures, and which of them will have nothing to measure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from mecheval.harness.gate import check_behaviour
from mecheval.loose import file_of, loose_sha256
from mecheval.metrics import Metric, configured_metric
from mecheval.metrics.measuring import check_scope, unmet_by_model, unmet_by_task
from mecheval.reports.schema import MetricIdentity
from mecheval.sources import source_sha256

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mecheval.models.contract import SequenceModel
    from mecheval.registry import Registry
    from mecheval.spec import Spec
    from mecheval.tasks import Task


def metrics_on(
    task: Task, chosen: Sequence[Spec | Metric] | None, registry: Registry
) -> list[Metric]:
    """Return the metrics that are measured on a task, the behavioural one first.

    Parameters that the task gives a metric are the usual ones there.

    Args:
        task: The task.
        chosen: Metrics that are asked for; None for those that the task declares.
        registry: Where they are looked up.

    Raises:
        UsageError: A name or parameter is unknown or not allowed, or a metric is of pairs.
    """
    behaviour, declared = task.card.behaviour, task.card.mechanisms
    counts = Counter(spec.name for spec in declared)
    # A task that declares a metric twice has no usual one.
    once = [behaviour, *(spec for spec in declared if counts[spec.name] == 1)]
    usual = {spec.name: spec.args for spec in once}

    def built(given: Spec | Metric) -> Metric:
        if isinstance(given, Metric):
            return given
        return configured_metric(given, registry, usual.get(given.name))

    found = list(map(built, declared if chosen is None else chosen))
    found.sort(key=lambda metric: metric.name != behaviour.name)
    if not found or found[0].name != behaviour.name:
        found.insert(0, built(behaviour))
    check_behaviour(behaviour.name, found[0].card.family, task=task.card.name)
    for metric in found:
        check_scope(metric)
        unmet_by_task(metric, task)  # which checks what parameters name
    return list({metric.id: metric for metric in found}.values())


def identity_of(metric: Metric) -> MetricIdentity:
    """Return what decides a metric's numbers: its parameters, and its version or its source.

    Raises:
        UsageError: It lies in no file, and its source cannot be read.
    """
    return MetricIdentity(
        name=metric.name,
        version=metric.card.version,
        params=metric.params,
        file_sha256=None if _is_builtin(metric) else _source_hash(metric),
    )


def lacking(
    metrics: Iterable[Metric], task: Task, model: SequenceModel | None
) -> dict[str, list[str]]:
    """Return the metrics that will be null whatever is measured, by the reason.

    Args:
        metrics: The metrics.
        task: The task.
        model: The model with any weights; None where it is not built for this question.
    """
    found: dict[str, list[str]] = {}
    for metric in metrics:
        reason = unmet_by_task(metric, task) or (model and unmet_by_model(metric, model))
        if reason:
            found.setdefault(reason, []).append(metric.id)
    return found


def _is_builtin(metric: Metric) -> bool:
    return type(metric).__module__.startswith("mecheval.metrics.")


def _source_hash(metric: Metric) -> str:
    """Hash the file of a metric and what it imports beside it, or source that has no file.

    Raises:
        UsageError: There is no source that can be read.
    """
    cls = type(metric)
    file = file_of(cls)
    return loose_sha256(cls) if file is None else source_sha256(file, cls.__module__)
