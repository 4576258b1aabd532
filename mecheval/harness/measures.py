"""Which metrics a cell measures, and which of them will have nothing to measure."""

from __future__ import annotations

from collections import Counter
from copy import copy
from typing import TYPE_CHECKING

from mecheval.harness.gate import check_behaviour
from mecheval.metrics import Metric, configured_metric
from mecheval.metrics.measuring import check_scope, unmet_by_model, unmet_by_task, unmet_within
from mecheval.own_code.loose import file_of, loose_sha256
from mecheval.own_code.sources import source_sha256
from mecheval.reports.schema import MetricIdentity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mecheval.metrics.needs import Bounds
    from mecheval.models.contract import SequenceModel
    from mecheval.registry import Registry
    from mecheval.spec import Spec
    from mecheval.tasks import Task


def metrics_on(
    task: Task, chosen: Sequence[Spec | Metric] | None, registry: Registry
) -> list[Metric]:
    """Return the metrics that are measured on a task, each once.

    Their order does not depend on that in which they are asked for, so that the cell does not
    either. Parameters that the task gives a metric are the usual ones there.

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
            return copy(given).named(given.name, usual.get(given.name))
        return configured_metric(given, registry, usual.get(given.name))

    usual_ones = _once([built(behaviour), *map(built, declared)])
    if chosen is None:
        found = usual_ones
    else:
        found = list(map(built, chosen))
        if not any(metric.name == behaviour.name for metric in found):
            found.insert(0, built(behaviour))
        found = _in_order(_once(found), behaviour.name, usual_ones)
    check_behaviour(behaviour.name, found[0].card.family, task=task.card.name)
    for metric in found:
        check_scope(metric)
        unmet_by_task(metric, task)  # which checks what parameters name
    return found


def label_of(metrics: Sequence[Metric], task: Task, registry: Registry) -> list[str] | None:
    """Return the ids by which metrics are told from those of the task; None where they are these.

    The task's own behavioural metric, which is always measured, is named only where nothing else
    is, or where another of its name stands beside it.

    Args:
        metrics: What :func:`metrics_on` returns.
        task: The task.
        registry: Where its metrics are looked up.
    """
    usual_ones = metrics_on(task, None, registry)
    ids, behaviour = [metric.id for metric in metrics], usual_ones[0]
    if ids == [metric.id for metric in usual_ones]:
        return None
    alone = sum(metric.name == behaviour.name for metric in metrics) == 1
    others = [id for id in ids if id != behaviour.id]
    return others if others and alone else ids


def _once(metrics: Iterable[Metric]) -> list[Metric]:
    return list({metric.id: metric for metric in metrics}.values())


def _in_order(
    metrics: Sequence[Metric], behaviour: str, declared: Sequence[Metric]
) -> list[Metric]:
    """Sort metrics: the behavioural one, those that are declared in their order, others by id.

    One with other parameters than the declared one stands behind it.
    """
    exact = {metric.id: rank for rank, metric in enumerate(declared)}
    by_name = {metric.name: rank for rank, metric in reversed(list(enumerate(declared)))}

    def place(metric: Metric) -> tuple[bool, int, bool, str]:
        rank = exact.get(metric.id, by_name.get(metric.name, len(declared)))
        return metric.name != behaviour, rank, metric.id not in exact, metric.id

    return sorted(metrics, key=place)


def identity_of(metric: Metric) -> MetricIdentity:
    """Return what decides a metric's numbers: its parameters, and its version or its source.

    Raises:
        UsageError: It lies in no file, and its source cannot be read.
    """
    return MetricIdentity(
        name=metric.name,
        version=metric.card.version,
        params=metric.deciding,
        file_sha256=None if _is_builtin(metric) else _source_hash(metric),
    )


def lacking(
    metrics: Iterable[Metric], task: Task, model: SequenceModel | None, bounds: Bounds
) -> dict[str, list[str]]:
    """Return the metrics that will be null whatever is measured, by the reason.

    Args:
        metrics: The metrics.
        task: The task.
        model: The model with any weights; None where it is not built for this question.
        bounds: The limit on examples, and the model's context.
    """
    found: dict[str, list[str]] = {}
    for metric in metrics:
        reason = unmet_by_task(metric, task) or (model and unmet_by_model(metric, model))
        reason = reason or unmet_within(metric, task, bounds)
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
