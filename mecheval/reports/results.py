"""The part of a report that is measured: one result per metric, with its interval and profiles."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer


def _rounded(value: float) -> float:
    return float(f"{value:.10g}")


Number = Annotated[float, Field(allow_inf_nan=False), PlainSerializer(_rounded)]
"""A finite number, written with 10 significant digits so that diffs stay readable."""


def _all_rounded(values: Any) -> Any:
    if isinstance(values, list):
        return [_all_rounded(value) for value in values]
    return _rounded(values) if isinstance(values, float) else values


Numbers = Annotated[list[Any], PlainSerializer(_all_rounded)]
"""Nested lists of numbers and nulls, written with 10 significant digits."""


class Record(BaseModel):
    """Base of all parts: unknown fields are refused, field docs come from docstrings."""

    model_config = ConfigDict(
        extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False, frozen=True
    )


class Uncertainty(Record):
    low: Number
    """Lower end."""
    high: Number
    """Upper end."""
    level: Number
    """Confidence level of the interval."""
    method: str
    """How the interval was made: bootstrap, wilson."""
    resampled_unit: str
    """What was resampled: sequence, pair, seed."""
    n_resamples: int | None = None
    """Number of bootstrap resamples."""


class Profile(Record):
    axes: list[str]
    """Name of every axis of the values: layer, position."""
    index: dict[str, list[int | str]]
    """Labels along every axis."""
    value: Numbers
    """Nested lists of values along the axes; null where undefined."""
    low: Numbers | None = None
    """Lower ends of pointwise intervals."""
    high: Numbers | None = None
    """Upper ends of pointwise intervals."""
    marks: dict[str, list[Any]] = {}
    """Flags of the same shape as the values, such as trivial sites."""
    series: dict[str, Numbers] = {}
    """Further named values of the same shape: medians, floors, controls."""


class Headline(Record):
    """One number of a result that becomes a column of tables."""

    title: str
    """What the number is, for a person: the heading of its column."""
    at: str = ""
    """Where it is: a path as :mod:`mecheval.reports.lookup` reads it; the value where empty, and
    ``verdict`` for the verdict."""
    kind: Literal["number", "layer", "count"] = "number"
    """How it is written: with decimals, as the number of a layer, or as a count."""


class MetricResult(Record):
    id: str
    """Identifier within the report, such as token_accuracy/1x or recovery/block_in; parameters that
    differ from the metric's defaults stand behind its name: bottleneck[eraser=leace]/parity."""
    title: str
    """One line for tables."""
    value: Number | None
    """The result, or null when it cannot be interpreted."""
    verdict: str | None = None
    """What the evidence says in a word, for metrics that decide; how sure it is stands in the value
    or beside it, as the metric says."""
    reason: str | None = None
    """Why the value is null."""
    uncertainty: Uncertainty | None = None
    """Interval of the value."""
    headline: list[Headline] = []
    """The numbers of this result that become columns, in order; none where it is only evidence."""
    references: dict[str, Number | None] = {}
    """Levels to read the value against: chance, floor, clean, corrupted, untrained, control."""
    scalars: dict[str, Number | None] = {}
    """Further numbers derived from the same data."""
    n_expected: int
    """Number of units that were asked for."""
    n_scored: int
    """Number of units that entered the value."""
    unit: str = "1"
    """Unit of the value."""
    bounds: tuple[Number | None, Number | None] = (None, None)
    """Smallest and largest possible value; null where unbounded."""
    higher_is_better: bool | None = None
    """Direction of better, null where neither end is better."""
    warnings: list[str] = []
    """What a reader should know before citing the value."""
    name: str
    """Registered metric that made this result."""
    metric: str = ""
    """That metric with the parameters that differ from its defaults: bottleneck[eraser=leace]."""
    version: int
    """Version of the metric; raised when its numbers change."""
    family: str = Field(pattern=r"^[a-z][a-z_]*$")
    """Kind of evidence: behaviour, intervention, probe, bottleneck, or one of a metric's own."""
    config: dict[str, Any] = {}
    """All parameters of the metric, defaults included."""
    profile: Profile | None = None
    """Values over layers or positions."""
    profiles: dict[str, Profile] = {}
    """Further profiles by name, such as the recovery grid over layers and positions."""
    units: list[Number] = []
    """What every unit (sequence, pair) contributes: their mean is the value. Units of the same
    examples can be compared one by one; empty where the value is no mean."""
