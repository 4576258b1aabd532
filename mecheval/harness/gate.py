"""Which number says whether a task was learned, whatever its behavioural metric is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mecheval.errors import UsageError
from mecheval.escape import quoted
from mecheval.recipe import GATED
from mecheval.reports.results import BEHAVIOUR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.metrics import Subject
    from mecheval.recipe import Recipe
    from mecheval.reports.schema import MetricResult

IDS: Mapping[str, str] = {on: f"{on}_accuracy/1x" for on in GATED}
"""The result of the usual behavioural metric that is held against the gate, by what that is on."""


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


def find_gated(results: Sequence[MetricResult], on: str) -> MetricResult | None:
    """Return the result that is held against the gate, if there is one.

    That is the accuracy at the training length that the gate is on; of a metric that has no token
    accuracy either, the first result from 0 to 1 of which more is better.

    Args:
        results: Those of the behavioural metric.
        on: What the recipe's gate is on.
    """
    by_id = {result.id: result for result in reversed(results)}
    if IDS["token"] in by_id:
        return by_id.get(IDS[on])
    shares = (r for r in results if r.bounds == (0.0, 1.0) and r.higher_is_better)
    return next(shares, None)


def gated(results: Sequence[MetricResult], on: str) -> MetricResult:
    """Return what :func:`find_gated` finds.

    Raises:
        UsageError: There is no such result.
    """
    found = find_gated(results, on)
    if found is not None:
        return found
    ids = ", ".join(result.id for result in results) or "nothing"
    if any(result.id == IDS["token"] for result in results):
        raise UsageError(
            f"The gate is on {GATED[on]}, and the behavioural metric has no {IDS[on]}; it gave "
            f"{ids}. Let it return one, or set gate_on=token with --recipe."
        )
    raise UsageError(
        "The behavioural metric has no result with bounds from 0 to 1 of which more is better, "
        f"so nothing can be held against the recipe's gate; it gave {ids}. Let it return one "
        "first, of a Layout with bounds=(0.0, 1.0) and higher_is_better=True."
    )


def judged(subject: Subject, behaviour: Sequence[MetricResult], recipe: Recipe) -> Subject:
    """Return a subject of which it is known whether it has learned its task.

    Args:
        subject: The subject.
        behaviour: The results of the behavioural metric on it.
        recipe: Its recipe, whose gate is on one accuracy or the other.

    Raises:
        UsageError: Nothing can be held against the gate.
    """
    found = gated(behaviour, recipe.on(subject.task.gate_on).gate_on)
    called = {IDS[on]: name for on, name in GATED.items()}
    return replace(
        subject,
        learned=found.value is not None and found.value >= recipe.gate,
        accuracy=found.value,
        gate=recipe.gate,
        gated=called.get(found.id, found.title),
    )
