"""A registered metric on a subject."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mecheval.metrics import configured_metric, measure
from mecheval.registry import Registry
from mecheval.spec import Spec

if TYPE_CHECKING:
    from mecheval.metrics import Metric, Subject
    from mecheval.reports.schema import MetricResult


def metric_of(name: str, **params: Any) -> Metric:
    """Return a metric with these parameters, which do not become part of its id."""
    return configured_metric(Spec(name), Registry(), params)


def measured(name: str, subject: Subject, **params: Any) -> list[MetricResult]:
    return measure(metric_of(name, **params), subject)
