"""One number of a result, and its interval, by a path in words.

A path is empty for the value; the name of a reference or a scalar; or a cell of a profile, written
``layer=1 role=value``, where ``profile=NAME`` names another profile than the main one, and
``series=NAME`` or ``mark=NAME`` other numbers in it than its values.

The interval of the value is the result's own; that of a scalar, a reference or a series stands
beside it under the names ``NAME_low`` and ``NAME_high``; that of a profile's values in the profile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.reports.results import MetricResult, Profile


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
        return _named(result).get(path[0], result.reason or f"there is no {path[0]}")
    chosen = _chosen(path)
    profile = _profile(result, chosen)
    if profile is None:
        return result.reason or "there is no such profile"
    try:
        value = _cell(_values(profile, chosen), profile, chosen)
    except LookupError:
        return f"there is no {' '.join(path)}"
    return None if value is None else float(value)


def interval_at(result: MetricResult, path: Sequence[str]) -> tuple[float, float] | None:
    """Return the interval of the number that a path leads to; None where the result has none."""
    if not path:
        own = result.uncertainty
        return None if own is None else (own.low, own.high)
    if "=" not in path[0]:
        return _ends([_named(result).get(f"{path[0]}_{end}") for end in ("low", "high")])
    chosen = _chosen(path)
    profile = _profile(result, chosen)
    if profile is None or "mark" in chosen:
        return None
    try:
        return _ends([_cell(ends, profile, chosen) for ends in _both_ends(profile, chosen)])
    except LookupError:
        return None


def labels_at(result: MetricResult, path: Sequence[str], axis: str) -> list[str]:
    """Return the labels along an axis of the profile that a path leads to; none without one."""
    profile = _profile(result, _chosen(path))
    return [str(label) for label in profile.index.get(axis, [])] if profile else []


def _named(result: MetricResult) -> Mapping[str, float | None]:
    return {**result.references, **result.scalars}


def _chosen(path: Sequence[str]) -> dict[str, str]:
    pairs = (step.partition("=") for step in path)
    return {name: label for name, _, label in pairs}


def _profile(result: MetricResult, chosen: Mapping[str, str]) -> Profile | None:
    return result.profiles.get(chosen["profile"]) if "profile" in chosen else result.profile


def _values(profile: Profile, chosen: Mapping[str, str]) -> Any:
    if "mark" in chosen:
        return profile.marks.get(chosen["mark"])
    return profile.series.get(chosen["series"]) if "series" in chosen else profile.value


def _both_ends(profile: Profile, chosen: Mapping[str, str]) -> tuple[Any, Any]:
    if "series" not in chosen:
        return profile.low, profile.high
    low, high = (profile.series.get(f"{chosen['series']}_{end}") for end in ("low", "high"))
    return low, high


def _cell(values: Any, profile: Profile, chosen: Mapping[str, str]) -> Any:
    """Return one cell of nested lists.

    Raises:
        LookupError: There are no such values, or an axis has no such label.
    """
    for axis in profile.axes:
        labels = [str(label) for label in profile.index[axis]]
        if values is None or chosen.get(axis) not in labels:
            raise LookupError(axis)
        values = values[labels.index(chosen[axis])]
    return values


def _ends(ends: Sequence[float | None]) -> tuple[float, float] | None:
    low, high = ends
    return None if low is None or high is None else (float(low), float(high))
