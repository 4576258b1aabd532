"""What a picture of a cell is: words, and small data that the page's script puts into a spec.

Numbers are rounded to three digits, which is more than a picture shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mecheval.reports.collection import Group

DIGITS = 3
INTERVALS = "Bands: 95 % t interval over seeds, or of the report where there is one seed."


class Picture(NamedTuple):
    """One picture of a cell.

    Attributes:
        title: What it shows.
        caption: What there is to say of it.
        data: What is drawn; its ``kind`` is the name of the spec.
        first: Whether it is shown at once, and not only on request.
    """

    title: str
    caption: str
    data: dict[str, Any]
    first: bool = True


def ids_of(group: Group, name: str | None = None) -> dict[str, str]:
    """Return the results of a group, or those of a metric, with the metric that each is of."""
    found = (r for report in group.reports for r in report.metrics if name in (None, r.name))
    return {result.id: result.name for result in found}


def limits_around(values: Iterable[np.ndarray]) -> list[float]:
    """Return ends that hold all values, 0 and 1 among them."""
    every = np.concatenate([np.asarray(each, float) for each in values])
    seen = every[np.isfinite(every)]
    low, high = min([0.0, *seen]), max([1.0, *seen])
    return [round(float(low), DIGITS), round(float(high), DIGITS)]


def rounded(values: Any) -> list[Any]:
    """Return numbers with few digits, nested as they are; None for what is none."""
    array = np.asarray(values, float)
    if array.ndim > 1:
        return [rounded(each) for each in array]
    return [None if not np.isfinite(each) else round(float(each), DIGITS) + 0.0 for each in array]


def flags(marks: Sequence[Any] | np.ndarray | None) -> str:
    """Return flags as a text of 0 and 1; empty where there are none."""
    if marks is None or not np.any(marks):
        return ""
    return "".join("1" if each else "0" for each in np.asarray(marks, bool))
