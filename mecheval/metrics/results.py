"""Building results for the report: arrays to nested lists, NaN to null."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mecheval.escape import quoted
from mecheval.reports.reading import first_problem
from mecheval.reports.results import Profile, Uncertainty

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike
    from pydantic import ValidationError

    from mecheval.stats import Interval


class Estimate(NamedTuple):
    """A value with its interval, or the reason why there is none."""

    value: float | None
    interval: Interval | None = None
    reason: str | None = None


class Layout(NamedTuple):
    """The part of a result that is fixed before anything is measured.

    Attributes:
        part: What the result is of, such as the name of a variable; its id is the metric's with
            this behind it. Empty for the one result of a metric.
        title: One line for tables.
        n_expected: Number of units that are asked for.
        bounds: Smallest and largest possible value, None where unbounded.
        higher_is_better: Direction of better, None where neither end is better.
        stem: What the id begins with, where that is not the metric's name.
    """

    part: str
    title: str
    n_expected: int
    bounds: tuple[float | None, float | None] = (None, None)
    higher_is_better: bool | None = None
    stem: str = ""


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


def malformed(metric: str, error: ValidationError, *, id: str = "") -> str:
    """Say in a sentence that a metric makes a result that cannot be."""
    given = error.errors(include_url=False)[0]["input"]
    return (
        f"Metric {quoted(metric)} gives a {error.title} {quoted(id) if id else ''} that "
        f"{first_problem(error)}, not {quoted(given)}. Where there is no number, give None and the "
        "reason."
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


def uncertainty(interval: Interval | None) -> Uncertainty | None:
    """Return an interval as reports hold it, None where it has no finite ends."""
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
