"""Building results for the report: arrays to nested lists, NaN to null."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mecheval.metrics import METRICS
from mecheval.reports.schema import MetricResult, Profile, Uncertainty

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike

    from mecheval.metrics.subject import Subject
    from mecheval.reports.schema import MetricIdentity
    from mecheval.stats import Interval


class Estimate(NamedTuple):
    """A value with its interval, or the reason why there is none."""

    value: float | None
    interval: Interval | None = None
    reason: str | None = None


class Layout(NamedTuple):
    """The part of a result that does not depend on what was measured."""

    id: str
    title: str
    n_expected: int
    bounds: tuple[float | None, float | None] = (None, None)
    higher_is_better: bool | None = None


def result(
    identity: MetricIdentity, layout: Layout, estimate: Estimate, n_scored: int, **fields: Any
) -> MetricResult:
    """Build a result.

    Args:
        identity: The metric with its parameters; they become the result's config.
        layout: What is fixed before measuring.
        estimate: The value, or why there is none.
        n_scored: Number of units behind the value.
        fields: Further fields of :class:`MetricResult`; numbers may be NaN.
    """
    return MetricResult(
        **layout._asdict(),
        name=identity.name,
        version=identity.version,
        family=METRICS[identity.name].family,
        value=estimate.value,
        reason=estimate.reason,
        uncertainty=None if estimate.value is None else _uncertainty(estimate.interval),
        n_scored=n_scored,
        references=numbers(fields.pop("references", {})),
        scalars=numbers(fields.pop("scalars", {})),
        config={**identity.params, **fields.pop("config", {})},
        **fields,
    )


def not_learned(
    identity: MetricIdentity, subject: Subject, layouts: Sequence[Layout]
) -> list[MetricResult]:
    """Build the empty results of a model that did not learn its task."""
    accuracy = "" if subject.accuracy is None else f" {subject.accuracy:.3f}"
    reason = f"not learned: token accuracy{accuracy} is below the gate {subject.gate:g}"
    return [result(identity, layout, Estimate(None, reason=reason), 0) for layout in layouts]


def profile(
    index: Mapping[str, Sequence[int | str]],
    value: ArrayLike,
    low_high: tuple[ArrayLike, ArrayLike] | None = None,
    *,
    marks: Mapping[str, ArrayLike] | None = None,
    series: Mapping[str, ArrayLike] | None = None,
) -> Profile:
    """Build a profile from arrays whose axes are those of ``index``, in order."""
    return Profile(
        axes=list(index),
        index={axis: list(labels) for axis, labels in index.items()},
        value=nested(value),
        low=None if low_high is None else nested(low_high[0]),
        high=None if low_high is None else nested(low_high[1]),
        marks={name: np.asarray(flags, bool).tolist() for name, flags in (marks or {}).items()},
        series={name: nested(values) for name, values in (series or {}).items()},
    )


def number(value: Any) -> float | None:
    """Return a plain float, or None where it is not finite."""
    return float(value) if value is not None and np.isfinite(value) else None


def numbers(values: Mapping[str, Any]) -> dict[str, float | None]:
    """Return plain floats by name, None where not finite."""
    return {name: number(value) for name, value in values.items()}


def nested(values: ArrayLike) -> list[Any]:
    """Return nested lists of plain floats, None where not finite."""
    values = np.asarray(values, np.float64)
    if values.ndim == 1:
        return [number(value) for value in values]
    return [nested(row) for row in values]


def _uncertainty(interval: Interval | None) -> Uncertainty | None:
    if interval is None or not np.isfinite([interval.low, interval.high]).all():
        return None
    return Uncertainty(
        method=interval.method,
        level=interval.level,
        low=interval.low,
        high=interval.high,
        resampled_unit=interval.unit,
        n_resamples=interval.n_resamples,
    )
