"""Which number says whether a task was learned, whatever its behavioural metric is."""

from __future__ import annotations

import re
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

IDS: Mapping[str, str] = {
    "token": "token_accuracy/1x",
    "last": "last_accuracy/1x",
    "loss": "loss/1x",
}
"""The result of the behavioural metric that is held against the gate, by what that is on."""

FLOOR = "floor"
"""The reference that a result has where something is known without a model."""


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

    That is the accuracy or loss at the training length that the gate is on; of a metric that has no
    token accuracy either, the first result from 0 to 1 of which more is better.

    Args:
        results: Those of the behavioural metric.
        on: What the recipe's gate is on.
    """
    by_id = {_plain(result.id): result for result in reversed(results)}
    if on == "loss" or IDS["token"] in by_id:
        return by_id.get(IDS[on])
    shares = (r for r in results if r.bounds == (0.0, 1.0) and r.higher_is_better)
    return next(shares, None)


def _plain(id: str) -> str:
    """Return the id of a result without the parameters that differ from what is usual."""
    return re.sub(r"\[.*\]", "", id)


def gated(results: Sequence[MetricResult], on: str) -> MetricResult:
    """Return what :func:`find_gated` finds.

    Raises:
        UsageError: There is no such result.
    """
    found = find_gated(results, on)
    if found is not None:
        return found
    ids = ", ".join(result.id for result in results) or "nothing"
    if on == "loss" or any(_plain(result.id) == IDS["token"] for result in results):
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
        recipe: Its recipe, whose gate is on an accuracy or on the loss.

    Raises:
        UsageError: Nothing can be held against the gate.
    """
    on = recipe.on(subject.task.gate_on).gate_on
    found = gated(behaviour, on)
    called = {IDS[on]: name for on, name in GATED.items()}
    missed = _missed(found, recipe, on)
    return replace(
        subject,
        learned=found.value is not None and not missed,
        accuracy=found.value,
        gated=called.get(_plain(found.id), found.title),
        missed=missed,
    )


def _missed(found: MetricResult, recipe: Recipe, on: str) -> str:
    """Say what a score falls short of; nothing where the task was learned, or no gate is asked.

    What is known without a model is not learned, whatever the gate.
    """
    value, floor = found.value, found.references.get(FLOOR)
    if value is None or recipe.gate == 0:
        return ""
    if on == "loss":
        enough = floor is not None and floor - value >= recipe.margin
        return "" if enough else f"not {recipe.margin:g} nats below its {_floor_of(found)}"
    if value < recipe.gate:
        return f"below the gate {recipe.gate:g}"
    return f"below its {_floor_of(found)}" if floor is not None and value < floor else ""


def _floor_of(found: MetricResult) -> str:
    """Return the floor of a result in words: ``floor 2.441 (trigram)``."""
    floor = found.references.get(FLOOR)
    if floor is None:
        return "floor, which is not known"
    names = [name for name, level in found.references.items() if level == floor and name != FLOOR]
    return f"floor {floor:.3f}" + (f" ({names[0]})" if names else "")
