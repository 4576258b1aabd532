"""Which number says whether a task was learned, whatever its behavioural metric is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval.errors import UsageError
from mecheval.escape import quoted
from mecheval.reports.results import BEHAVIOUR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.reports.schema import MetricResult

GATED = "token_accuracy/1x"
"""The result of the usual behavioural metric that is held against the recipe's gate."""


def check_behaviour(metric: str, family: str, *, task: str) -> None:
    """Check that a task's behavioural metric is one.

    Raises:
        UsageError: It is of another family.
    """
    if family != BEHAVIOUR:
        raise UsageError(
            f"Task {quoted(task)} has the behaviour {quoted(metric)}, which is a metric of the "
            f"family {quoted(family)} and cannot say whether the task was learned. Give it one of "
            f"the family '{BEHAVIOUR}'; `mecheval ls metrics` lists them."
        )


def find_gated(results: Sequence[MetricResult]) -> MetricResult | None:
    """Return the result that is held against the gate, if there is one.

    That is the token accuracy at the training length; of a metric that has none, the first result
    from 0 to 1 of which more is better.
    """
    usual = [result for result in results if result.id == GATED]
    shares = [r for r in results if r.bounds == (0.0, 1.0) and r.higher_is_better]
    return next(iter([*usual, *shares]), None)


def gated(results: Sequence[MetricResult]) -> MetricResult:
    """Return what :func:`find_gated` finds.

    Raises:
        UsageError: There is no such result.
    """
    found = find_gated(results)
    if found is None:
        ids = ", ".join(result.id for result in results) or "nothing"
        raise UsageError(
            "The behavioural metric has no result with bounds from 0 to 1 of which more is better, "
            f"so nothing can be held against the recipe's gate; it gave {ids}. Let it return one "
            "first, of a Layout with bounds=(0.0, 1.0) and higher_is_better=True."
        )
    return found
