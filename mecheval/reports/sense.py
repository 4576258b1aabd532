"""What results and reports cannot say: asked of metrics and of files alike."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mecheval.reports.pair import PairReport
    from mecheval.reports.results import MetricResult
    from mecheval.reports.schema import Report

ROUNDING = 1e-6
"""How far a value may be beyond a bound, as a share of the bound where that is above 1: what single
precision leaves of a mean of numbers that all lie at the bound."""


def problems(results: Iterable[MetricResult]) -> Iterator[str]:
    """Say what cannot be right in the results of a metric, or of a cell, each by its id."""
    found = list(results)
    ids = [result.id for result in found]
    for result in found:
        yield from _problems(result)
    yield from (f"{id} occurs twice" for id in sorted({id for id in ids if ids.count(id) > 1}))


def _problems(result: MetricResult) -> Iterator[str]:
    id, value, interval = result.id, result.value, result.uncertainty
    if value is None and not result.reason:
        yield f"{id} is null without a reason"
    if result.n_scored > result.n_expected:
        yield f"{id} has scored {result.n_scored} of {result.n_expected} units"
    if value is not None and result.n_scored < 1:
        yield f"{id} has a value from no unit"
    if interval and interval.low > interval.high:
        yield f"{id} has an interval from {interval.low} to {interval.high}"
    low, high = result.bounds
    low, high = (-math.inf if low is None else low), (math.inf if high is None else high)
    if value is not None and not low - _slack(low) <= value <= high + _slack(high):
        yield f"{id} is {value}, outside its bounds {low} to {high}"


def key_problems(key: str, expected: str) -> list[str]:
    """Say that a report's key is not the one that its identity gives."""
    fits = key == expected
    return [] if fits else [f"the key is {key}, the hash of the identity is {expected}"]


def status_problems(report: Report | PairReport) -> list[str]:
    """Say what a report holds, or lacks, that cannot be with its status."""
    found = []
    if (report.status == "error") != (report.error is not None):
        found.append(f"status is {report.status!r}, but error says otherwise")
    if report.status == "success" and not report.metrics:
        found.append("status is 'success', but there are no metrics")
    return found


def _slack(bound: float) -> float:
    return ROUNDING * max(1.0, abs(bound)) if math.isfinite(bound) else 0.0
