"""What besides the numbers differs between two sides, so that nobody takes it for their cause."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mecheval.recipe import whole

if TYPE_CHECKING:
    from mecheval.reports.comparison.pairing import Pair
    from mecheval.reports.schema import MetricIdentity, Report

FEW_SEEDS = 4


def warnings(pairs: Sequence[Pair], *, n_reports: int) -> list[str]:
    """Return a sentence for everything that differs, for cells left out, and for too few seeds.

    Args:
        pairs: The groups that are compared.
        n_reports: Number of reports on both sides.
    """
    cells = [
        (one.by_seed[seed], other.by_seed[seed])
        for one, other in pairs
        for seed in one.seeds
        if seed in other.by_seed
    ]
    found = dict.fromkeys(text for ours, theirs in cells for text in _differing(ours[0], theirs[0]))
    n_alone = n_reports - sum(len(ours) + len(theirs) for ours, theirs in cells)
    if n_alone:
        many = "1 report has no partner and is" if n_alone == 1 else (
            f"{n_alone} reports have no partner and are"
        )  # fmt: skip
        found[f"{many} left out"] = None
    n_seeds = min(len({*one.seeds} & {*other.seeds}) for one, other in pairs)
    if n_seeds < FEW_SEEDS:
        few = "1 seed is" if n_seeds == 1 else f"{n_seeds} seeds are"
        found[f"{few} too few for a claim; use {FEW_SEEDS} or more"] = None
    return list(found)


def _differing(one: Report, other: Report) -> Iterable[str]:
    """Say what besides the numbers differs between two reports."""
    sizes = [report.resources.get("batch_size") for report in (one, other)]
    if sizes[0] != sizes[1]:
        yield f"batch_size differs: {sizes[0]} and {sizes[1]}"
    for name, (left, right) in _unequal(_flat(one.environment), _flat(other.environment)).items():
        yield f"environment {name} differs: {left} and {right}"
    yield from _other_metrics(one, other)
    for name in ("protocol", "dtype", "limit", "recipe", "sweep"):
        left, right = (_condition(report, name) for report in (one, other))
        if left != right:
            yield f"{name} differs" + _detail(left, right)


def _condition(report: Report, name: str) -> Any:
    found = report.identity.model_dump(mode="json")[name]
    return whole(found) if name == "recipe" else found


def _other_metrics(one: Report, other: Report) -> Iterable[str]:
    """Say which metrics stand on one side alone, or are not the same on both."""
    ours, theirs = _metrics(one), _metrics(other)
    for name in {**ours, **theirs}:
        if name not in ours or name not in theirs:
            yield f"metrics differ: {name} is on one side alone"
            continue
        left, right = ours[name], theirs[name]
        if left[0].version != right[0].version:
            versions = f"{left[0].version} and {right[0].version}"
            yield f"{name} has version {versions}, and is not compared"
        elif left[0].file_sha256 != right[0].file_sha256:
            yield f"{name} is of another file on either side, and is not compared"
        elif [m.params for m in left] != [m.params for m in right]:
            yield f"metrics differ: {name} has other parameters"


def _metrics(report: Report) -> dict[str, list[MetricIdentity]]:
    found: dict[str, list[MetricIdentity]] = {}
    for metric in report.identity.metrics:
        found.setdefault(metric.name, []).append(metric)
    return found


def _detail(left: Any, right: Any) -> str:
    if isinstance(left, dict) and isinstance(right, dict):
        unequal = _unequal(left, right).items()
        return ": " + ", ".join(f"{key} {ours} and {theirs}" for key, (ours, theirs) in unequal)
    return f": {left} and {right}"


def _unequal(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    keys = sorted(left.keys() | right.keys())
    return {k: (left.get(k), right.get(k)) for k in keys if left.get(k) != right.get(k)}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
