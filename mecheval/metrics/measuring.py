"""From the name of a metric to its results: parameters checked, needs asked for, then measured."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from pydantic import ValidationError

from mecheval.errors import ContractError, UsageError, unknown
from mecheval.escape import cause, quoted, shortened
from mecheval.metrics.contract import plain
from mecheval.metrics.results import Estimate, Layout, malformed
from mecheval.reports.results import BEHAVIOUR, MetricResult
from mecheval.reports.sense import problems
from mecheval.spec import check_version, check_whole, format_args, format_value
from mecheval.text.allowed import refused
from mecheval.text.lone_word import argument_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

    from mecheval.metrics.contract import Metric
    from mecheval.metrics.needs import Bounds
    from mecheval.metrics.subject import Subject
    from mecheval.models.contract import SequenceModel
    from mecheval.registry import Registry
    from mecheval.spec import Spec
    from mecheval.tasks import Task

UNMET = "not applicable: "
"""What the reason begins with where a task or model lacks what a metric needs."""


_EXAMPLES: dict[Any, tuple[Any, ...]] = {
    str: ("first", "second"), int: (1, 2), float: (0.5, 1.0), bool: (True, False),
}  # fmt: skip


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
    cls: type[Metric] = registry.load("metric", spec.name)
    check_version(spec, "metric", cls.card.version)
    see = f"`mecheval show metric {spec.name}`"
    allowed = [field.name for field in dataclasses.fields(cls) if field.init]
    args = {**(usual or {}), **spec.args}
    for key in args:
        if key not in allowed:
            raise _unknown(spec, key, allowed, cls, registry)
    try:
        checked = _checker(cls).model_validate({k: _as_tuple(v) for k, v in args.items()})
    except ValidationError as error:
        raise UsageError(_sentence(error, args, cls, spec.name) + f" See {see}.") from None
    given = {key: getattr(checked, key) for key in args}
    for key, value in given.items():
        check_whole(key, value, what=f"metric '{spec.name}'")
    return _made(cls, given, spec.name, see).named(spec.name, usual)


def _unknown(
    spec: Spec, key: str, allowed: Sequence[str], cls: type[Metric], registry: Registry
) -> UsageError:
    """Return the error for a parameter that a metric does not have, or a preset: it has none."""
    see = f"`mecheval show metric {spec.name}`"
    if key != "preset":
        return unknown(f"parameter of {spec.name}", key, allowed, see=see)

    def build(args: Mapping[str, Any]) -> Metric:
        return configured_metric(dataclasses.replace(spec, args=args), registry)

    word = str(spec.args[key])
    meant = argument_for(word, cls, of=spec.name, build=build)
    return unknown(f"preset of {spec.name}", word, (), see=see, hint=meant)


def _made(cls: type[Metric], given: Mapping[str, Any], name: str, see: str) -> Metric:
    """Return a metric of checked parameters.

    Raises:
        UsageError: The class refuses what is given, though it takes its defaults.
    """
    try:
        return cls(**given)
    except ValueError as error:
        if given:
            cls()  # what it raises here is a fault of the class, not of what is given
            said = cause(str(error)).rstrip(".") or "its class refuses it"
            raise UsageError(
                f"Metric '{name}' does not allow {shortened(format_args(given))}: {said}. "
                f"See {see}."
            ) from error
        raise


def unmet_by_task(metric: Metric, task: Task) -> str | None:
    """Say what a task lacks that a metric needs, None where it has all.

    Raises:
        UsageError: A parameter names something that the task does not have.
    """
    return next(filter(None, (need.of_task(task, metric) for need in metric.card.needs)), None)


def unmet_by_model(metric: Metric, model: SequenceModel) -> str | None:
    """Say what a model lacks that a metric needs, None where it has all.

    What is no behaviour is of layers, so that a model without blocks lacks it.
    """
    if model.no_blocks is not None and metric.card.family != BEHAVIOUR:
        return model.no_blocks
    return next(filter(None, (need.of_model(model) for need in metric.card.needs)), None)


def unmet_within(metric: Metric, task: Task, bounds: Bounds) -> str | None:
    """Say of what a metric will have too little, None where it may have enough."""
    needs = metric.card.needs
    return next(filter(None, (need.of_bounds(task, metric, bounds) for need in needs)), None)


def measure(metric: Metric, subject: Subject) -> list[MetricResult]:
    """Measure one metric on a subject.

    Where the task was not learned, or there is nothing to measure at the length that is asked for,
    every result is null; where a need is not met the one that stands for all of them is; with the
    reason.

    Raises:
        UsageError: A parameter names something that does not exist here, or the metric is none of
            single models.
        ContractError: It returns what cannot be its results, or cannot be right.
    """
    check_scope(metric)
    lacking = unmet_by_task(metric, subject.task) or unmet_by_model(metric, subject.model)
    if lacking:
        return [_null(metric, Layout("", metric.card.summary, 0), UNMET + lacking)]
    if subject.learned is False and metric.card.family != BEHAVIOUR:
        return [_null(metric, layout, _not_learned(subject)) for layout in metric.outline(subject)]
    for need in metric.card.needs:
        subject = need.given(subject, metric)
    needs = metric.card.needs
    nothing = next(filter(None, (need.of_subject(subject, metric) for need in needs)), None)
    if nothing:
        return [_null(metric, layout, nothing) for layout in metric.outline(subject)]
    try:
        results = metric.measure(subject)
    except ValidationError as error:
        raise ContractError(malformed(metric.id, error)) from error
    return _right(metric, subject, results)


def check_scope(metric: Metric) -> None:
    """Check that a metric is one of single models.

    Raises:
        UsageError: It is one of pairs.
    """
    if metric.card.scope != "model":
        raise UsageError(
            f"Metric '{metric.name}' is one of pairs of models. Measure it with "
            f"`mecheval similarity --metrics {metric.name}`, and leave it out here."
        )


def _right(metric: Metric, subject: Subject, results: object) -> list[MetricResult]:
    """Return results that can be those of a metric.

    Raises:
        ContractError: They cannot.
    """
    problem = wrong_results(metric, metric.outline(subject), results)
    if problem:
        raise ContractError(problem)
    return results  # type: ignore[return-value] - it is one where there is no problem


def wrong_results(metric: Metric, layouts: Sequence[Layout], results: object) -> str | None:
    """Say in a sentence why results cannot be those of a metric, None where they can.

    Args:
        metric: The metric.
        layouts: What its outline says.
        results: What it returns.
    """
    problem = _problem(metric, layouts, results)
    if problem is None:
        return None
    return (
        f"Metric {quoted(metric.id)} gives results that cannot be right: {problem}. Mend its "
        f"measure(), and check it with `mecheval validate {metric.name}`."
    )


def _problem(metric: Metric, layouts: Sequence[Layout], results: object) -> str | None:
    """Say what is wrong with results, None where nothing is."""
    if not isinstance(results, list) or not all(isinstance(r, MetricResult) for r in results):
        return f"they are {quoted(results)}, not a list of results as self.result() makes them"
    if not results:
        return "there are none"
    foreign = [result.id for result in results if not _is_of(metric, layouts, result)]
    return f"{foreign[0]} is no id of it" if foreign else next(problems(results), None)


def _is_of(metric: Metric, layouts: Sequence[Layout], result: MetricResult) -> bool:
    """Say whether a metric may have made a result, by the names that it bears."""
    if (result.name, result.metric) != (metric.name, metric.id):
        return False
    if metric.card.family == BEHAVIOUR:  # the ids of which depend on the lengths of the task
        return True
    stems = [metric.id, *(metric.id_of(at._replace(part="")) for at in layouts)]
    return any(result.id == stem or result.id.startswith(f"{stem}/") for stem in stems)


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
    return f"not learned: {subject.gated}{accuracy} is {subject.missed}"


def _as_tuple(value: Any) -> Any:
    """Return lists, which is how specs and JSON write several values, as tuples."""
    return tuple(map(_as_tuple, value)) if isinstance(value, list | tuple) else value


def _sentence(error: ValidationError, args: Mapping[str, Any], cls: type[Metric], name: str) -> str:
    """Say which parameter is not allowed, and what is."""
    key = str(error.errors(include_url=False)[0]["loc"][0])
    default = next(field.default for field in dataclasses.fields(cls) if field.name == key)
    found = refused(error, example=_example(default, get_type_hints(cls)[key]))
    if found.where[1:]:  # the example is none of an item
        found = refused(error)
    inner = [f"item {at + 1}" if isinstance(at, int) else quoted(at) for at in found.where[1:]]
    item = " of ".join(reversed(inner))
    said = f"{item or 'it'} should be {found.expected}"
    if found.is_ours:  # in words of its own
        said = f"{item}: {found.expected}" if item else found.expected
    return f"Parameter {key}={quoted(plain(args[key]))} of metric '{name}' is not allowed: {said}."


def _example(default: Any, kind: Any) -> str:
    """Return how a list is written for a parameter: as its default is, or else by its type."""
    if isinstance(default, tuple) and default:
        return format_value(default)
    lists = [sample for sample in _samples(kind) if isinstance(sample, tuple)]
    return format_value(lists[0]) if lists else ""


def _samples(kind: Any) -> tuple[Any, ...]:
    """Return a few values that a type allows; none of types that no parameter is written in."""
    inner = get_args(kind)
    if get_origin(kind) is Literal:
        return inner
    if get_origin(kind) not in (tuple, list):  # one type, or several
        single = _EXAMPLES.get(kind, ()) if isinstance(kind, type) else ()
        return single or tuple(sample for part in inner for sample in _samples(part))
    items = inner[:1] * 2 if inner[1:] in ((), (...,)) else inner
    few = [_samples(item) for item in items]
    return (tuple(some[at % len(some)] for at, some in enumerate(few)),) if all(few) else ()
