"""The part of a report that is measured: one result per metric, with its interval and profiles."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mecheval.reports.types import GREATEST, Arguments, Count, Name, Number, Numbers, Title

if TYPE_CHECKING:
    from collections.abc import Sequence


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
    method: Title
    """How the interval was made: bootstrap, wilson."""
    resampled_unit: Title
    """What was resampled: sequence, pair, seed."""
    n_resamples: Count | None = None
    """Number of bootstrap resamples."""


class Profile(Record):
    axes: list[Title]
    """Name of every axis of the values: layer, position."""
    index: dict[Title, list[int | Title]]
    """Labels along every axis."""
    value: Numbers
    """Nested lists of values along the axes; null where undefined."""
    low: Numbers | None = None
    """Lower ends of pointwise intervals."""
    high: Numbers | None = None
    """Upper ends of pointwise intervals."""
    marks: dict[Title, list[Any]] = {}
    """Flags of the same shape as the values, such as trivial sites."""
    series: dict[Title, Numbers] = {}
    """Further named values of the same shape: medians, floors, controls."""

    @model_validator(mode="after")
    def _is_an_array(self) -> Profile:
        """Refuse values that are not of the shape that the axes and their labels give.

        Raises:
            ValueError: Values have another shape, or hold what is no number.
        """
        if set(self.axes) != set(self.index) or len(set(self.axes)) != len(self.axes):
            raise ValueError("the axes and the axes that have labels are not the same")
        shape = [len(self.index[axis]) for axis in self.axes]
        named = {"value": self.value, "low": self.low, "high": self.high}
        named |= {f"series.{name}": values for name, values in self.series.items()}
        named |= {f"marks.{name}": values for name, values in self.marks.items()}
        for name, values in named.items():
            if values is not None and not _has_shape(values, shape):
                raise ValueError(f"'{name}' is no array of numbers of the shape of its axes")
        return self


def _has_shape(values: Any, shape: Sequence[int]) -> bool:
    if not shape:
        if values is None or (isinstance(values, float) and not math.isfinite(values)):
            return True  # what is no number is written as null
        return isinstance(values, int | float) and abs(values) <= GREATEST
    if not isinstance(values, list) or len(values) != shape[0]:
        return False
    return all(_has_shape(value, shape[1:]) for value in values)


FAMILY = "^[a-z][a-z_]*$"
"""What the name of a family looks like."""

BEHAVIOUR = "behaviour"
"""The family whose metrics say whether a task was learned, and so are measured in any case."""


class Headline(Record):
    """One number of a result that becomes a column of tables."""

    title: Title
    """What the number is, for a person: the heading of its column."""
    at: Title = ""
    """Where it is: a path as :mod:`mecheval.reports.lookup` reads it; the value where empty, and
    ``verdict`` for the verdict."""
    kind: Literal["number", "layer", "count", "range"] = "number"
    """How it is written: with decimals, as the number of a layer, as a count, or as the ends of its
    interval, of which several seeds have in common what lies in all of them."""
    bounds: tuple[Number | None, Number | None] = (None, None)
    """Smallest and largest possible number, null where unbounded; the value has its own."""
    otherwise: Title = ""
    """Why it is missing where the result has a value."""


def part_of(id: str, metric: str) -> str:
    """Return what a result is of: what stands behind its metric, whose name may have a room.

    ``parity`` of ``bottleneck/parity``, ``acme/cost/parity`` and ``cost[eraser=inlp]/parity``.
    """
    inside = id.removeprefix(metric)
    return inside.removeprefix("/") if metric and inside != id else id.partition("/")[2]


class MetricResult(Record):
    id: Title
    """Identifier within the report, such as token_accuracy/1x or recovery/block_in; parameters that
    differ from what is usual on the task (those that it declares for the metric, or else the
    metric's defaults) stand behind its name: bottleneck[eraser=inlp]/parity. All of them are in
    ``config``."""
    title: Title
    """One line for tables."""
    value: Number | None
    """The result, or null when it cannot be interpreted."""
    verdict: Title | None = None
    """What the evidence says in a word, for metrics that decide; how sure it is stands in the value
    or beside it, as the metric says."""
    reason: str | None = None
    """Why the value is null."""
    uncertainty: Uncertainty | None = None
    """Interval of the value."""
    headline: list[Headline] = []
    """The numbers of this result that become columns, in order; none where it is only evidence."""
    references: dict[Title, Number | None] = {}
    """Levels to read the value against: chance, floor, clean, corrupted, untrained, control."""
    scalars: dict[Title, Number | None] = {}
    """Further numbers derived from the same data."""
    n_expected: Count
    """Number of units that were asked for."""
    n_scored: Count
    """Number of units that entered the value."""
    unit: Title = "1"
    """Unit of the value."""
    bounds: tuple[Number | None, Number | None] = (None, None)
    """Smallest and largest possible value; null where unbounded."""
    higher_is_better: bool | None = None
    """Direction of better, null where neither end is better."""
    warnings: list[str] = []
    """What a reader should know before citing the value."""
    name: Name
    """Registered metric that made this result."""
    metric: Title = ""
    """That metric with the parameters that differ from what is usual on the task."""
    version: Count
    """Version of the metric; raised when its numbers change."""
    family: str = Field(pattern=FAMILY, max_length=100)
    """Kind of evidence: behaviour, intervention, probe, bottleneck, or one of a metric's own."""
    config: Arguments = {}
    """All parameters of the metric, defaults included."""
    profile: Profile | None = None
    """Values over layers or positions."""
    profiles: dict[Title, Profile] = {}
    """Further profiles by name, such as the recovery grid over layers and positions."""
    units: list[Number | None] = []
    """What every unit (sequence, pair) contributes: their mean is the value. Null for one that was
    left out, so that units of the same examples can be compared one by one; empty where the value
    is no mean, or no headline."""
