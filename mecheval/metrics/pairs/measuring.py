"""From two cells to the results of a metric of pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from mecheval.errors import ContractError
from mecheval.metrics.measuring import wrong_results
from mecheval.metrics.results import Estimate, malformed
from mecheval.reports.tracking import NOT_LEARNED

if TYPE_CHECKING:
    from mecheval.metrics.pairs.contract import PairMetric
    from mecheval.metrics.pairs.subject import PairSubject
    from mecheval.reports.schema import MetricResult


def measure_pair(metric: PairMetric, subject: PairSubject) -> list[MetricResult]:
    """Measure one metric on a pair; all results are null where a side did not learn the task.

    Raises:
        ContractError: It returns what cannot be its results, or cannot be right.
    """
    layouts = metric.outline(subject)
    reason = _not_learned(subject)
    if reason:
        return [metric.result(layout, Estimate(None, reason=reason), 0) for layout in layouts]
    try:
        results = metric.measure(subject)
    except ValidationError as error:
        raise ContractError(malformed(metric.id, error)) from error
    problem = wrong_results(metric, layouts, results)
    if problem:
        raise ContractError(problem)
    return results


def _not_learned(subject: PairSubject) -> str | None:
    found = [f"{side.title} (seed {side.seed})" for side in subject.sides if not side.learned]
    return f"{NOT_LEARNED} by {' and '.join(found)}" if found else None
