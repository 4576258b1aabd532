"""From the name of a metric to its results: parameters checked, needs asked for, then measured."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import TYPE_CHECKING, Any, get_type_hints

from mecheval.allowed import refused
from mecheval.errors import UsageError, unknown
from mecheval.escape import quoted
from mecheval.metrics.contract import plain
from mecheval.metrics.results import Estimate, Layout
from mecheval.reports.results import BEHAVIOUR
from mecheval.spec import check_version, format_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel, ValidationError

    from mecheval.metrics.contract import Metric
    from mecheval.metrics.subject import Subject
    from mecheval.models.contract import SequenceModel
    from mecheval.registry import Registry
    from mecheval.reports.schema import MetricResult
    from mecheval.spec import Spec
    from mecheval.tasks import Task

UNMET = "not applicable: "
"""What the reason begins with where a task or model lacks what a metric needs."""


def configured_metric(
    spec: Spec, registry: Registry, usual: Mapping[str, Any] | None = None
) -> Metric:
    """Return the metric of a name with its parameters.

    Args:
        spec: The name, and the parameters that are given.
        registry: Where it is looked up.
        usual: Parameters in place of the defaults, which do not become part of its id.

    Raises:
        UsageError: The name or a parameter is unknown, a value is not allowed, or there is no such
            version.
        ContractError: The metric's file does not import.
    """
    from pydantic import ValidationError

    cls: type[Metric] = registry.load("metric", spec.name)
    check_version(spec, "metric", cls.card.version)
    see = f"`mecheval show metric {spec.name}`"
    allowed = [field.name for field in dataclasses.fields(cls) if field.init]
    args = {**(usual or {}), **spec.args}
    for key in args:
        if key not in allowed:
            raise unknown(f"parameter of {spec.name}", key, allowed, see=see)
    try:
        checked = _checker(cls).model_validate({k: _as_tuple(v) for k, v in args.items()})
    except ValidationError as error:
        raise UsageError(_sentence(error, args, cls, spec.name) + f" See {see}.") from None
    return cls(**{key: getattr(checked, key) for key in args}).named(spec.name, usual)


def unmet_by_task(metric: Metric, task: Task) -> str | None:
    """Say what a task lacks that a metric needs, None where it has all.

    Raises:
        UsageError: A parameter names something that the task does not have.
    """
    return next(filter(None, (need.of_task(task, metric) for need in metric.card.needs)), None)


def unmet_by_model(metric: Metric, model: SequenceModel) -> str | None:
    """Say what a model lacks that a metric needs, None where it has all."""
    return next(filter(None, (need.of_model(model) for need in metric.card.needs)), None)


def measure(metric: Metric, subject: Subject) -> list[MetricResult]:
    """Measure one metric on a subject.

    Where the task was not learned every result is null, and where a need is not met the one that
    stands for all of them, with the reason.

    Raises:
        UsageError: A parameter names something that does not exist here.
    """
    lacking = unmet_by_task(metric, subject.task) or unmet_by_model(metric, subject.model)
    if lacking:
        return [_null(metric, Layout("", metric.card.summary, 0), UNMET + lacking)]
    if subject.learned is False and metric.card.family != BEHAVIOUR:
        return [_null(metric, layout, _not_learned(subject)) for layout in metric.outline(subject)]
    return metric.measure(subject)


@lru_cache(maxsize=64)
def _checker(cls: type[Metric]) -> type[BaseModel]:
    """Return a model of a metric's parameters that checks them strictly: 1 is no switch."""
    from pydantic import ConfigDict, create_model

    hints = get_type_hints(cls, include_extras=True)
    fields: dict[str, Any] = {
        field.name: (hints[field.name], field.default)
        for field in dataclasses.fields(cls)
        if field.init
    }
    return create_model(cls.__name__, __config__=ConfigDict(strict=True), **fields)


def _null(metric: Metric, layout: Layout, reason: str) -> MetricResult:
    return metric.result(layout, Estimate(None, reason=reason), 0)


def _not_learned(subject: Subject) -> str:
    accuracy = "" if subject.accuracy is None else f" {subject.accuracy:.3f}"
    return f"not learned: token accuracy{accuracy} is below the gate {subject.gate:g}"


def _as_tuple(value: Any) -> Any:
    """Return lists, which is how specs and JSON write several values, as tuples."""
    return tuple(map(_as_tuple, value)) if isinstance(value, list | tuple) else value


def _sentence(error: ValidationError, args: Mapping[str, Any], cls: type[Metric], name: str) -> str:
    """Say which parameter is not allowed, and what is."""
    key = str(error.errors(include_url=False)[0]["loc"][0])
    default = next(field.default for field in dataclasses.fields(cls) if field.name == key)
    found = refused(error, example=format_value(default or ("first", "second")))
    item = f"item {int(found.where[1]) + 1}" if found.where[1:] else "it"
    return (
        f"Parameter {key}={quoted(plain(args[key]))} of metric '{name}' is not allowed: {item} "
        f"should be {found.expected}."
    )
