"""One number of a result, by a path in words.

A path is empty for the value; the name of a reference or a scalar; or a cell of a profile, written
``layer=1 role=value``, where ``profile=NAME`` names another profile than the main one, and
``series=NAME`` or ``mark=NAME`` other numbers in it than its values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.reports.results import MetricResult


def number_at(result: MetricResult, path: Sequence[str]) -> float | str | None:
    """Return the number that a path leads to, or say why there is none.

    Args:
        result: The result.
        path: The words of the path.

    Returns:
        The number; a reason as text; None for a value that is null without a reason.
    """
    if not path:
        return result.reason if result.value is None else result.value
    if "=" not in path[0]:
        places = {**result.references, **result.scalars}
        return places.get(path[0], result.reason or f"there is no {path[0]}")
    chosen = dict(step.split("=") for step in path)
    profile = result.profiles.get(chosen["profile"]) if "profile" in chosen else result.profile
    if profile is None:
        return result.reason or "there is no such profile"
    arrays = {"series": profile.series, "mark": profile.marks}
    values: Any = profile.value
    for kind, by_name in arrays.items():
        if kind in chosen:
            values = by_name.get(chosen[kind])
    for axis in profile.axes:
        labels = [str(label) for label in profile.index[axis]]
        if values is None or chosen.get(axis) not in labels:
            return f"there is no {' '.join(path)}"
        values = values[labels.index(chosen[axis])]
    return None if values is None else float(values)
