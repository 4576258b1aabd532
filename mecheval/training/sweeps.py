"""Sweeps: the recipes that are tried, and the choice among them, by validation alone."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from mecheval.errors import UsageError
from mecheval.reports.schema import SweepRun, TrainingPart

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.recipe import Recipe

_MEASURE = "decides what trainings are compared by"
NOT_TRAINING = {
    "gate": "decides what counts as learned, and not how a model is trained",
    "margin": "decides what counts as learned, and not how a model is trained",
    "gate_on": _MEASURE,
    "stop_length": _MEASURE,
}
"""Fields of a recipe that cannot be swept, and why."""


def checked(recipe: Recipe, sweep: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Return a sweep as plain JSON values, without repetitions, its fields in alphabetical order.

    Args:
        recipe: The recipe whose fields are varied.
        sweep: Values by field.

    Raises:
        UsageError: A field is unknown or has no values, or a value is not allowed.
    """
    found = {}
    for name in sorted(sweep):
        values = sweep[name]
        if isinstance(values, str) or not hasattr(values, "__iter__"):
            raise UsageError(f"The sweep has {name}={values!r}, which is not a list of values.")
        if name in NOT_TRAINING:
            raise UsageError(
                f"The recipe's field '{name}' {NOT_TRAINING[name]}, so a sweep cannot choose it. "
                "Set it with --recipe."
            )
        plain = [recipe.replace({name: value}).fields().get(name) for value in values]
        if not plain:
            raise UsageError(f"The sweep of '{name}' lists no values. Give those to try.")
        found[name] = [value for i, value in enumerate(plain) if value not in plain[:i]]
    return found


def members(recipe: Recipe, sweep: Mapping[str, Sequence[Any]] | None) -> list[Recipe]:
    """Return the recipes of a sweep's grid, the last field varying fastest; one without a sweep."""
    sweep = sweep or {}
    grid = itertools.product(*(sweep[name] for name in sorted(sweep)))
    return [recipe.replace(dict(zip(sorted(sweep), values, strict=True))) for values in grid]


def choose(records: Sequence[TrainingPart]) -> int:
    """Return which training to measure.

    That with the best validation loss where the gate is on it, or else accuracy; among equals the
    one with the fewest steps, then the first. One that diverged is chosen only where all did.
    """

    def merit(index: int) -> tuple[bool, float, int, int]:
        record = records[index]
        best = -(record.validation_accuracy or 0.0)
        best = best if record.validation_loss is None else record.validation_loss
        return record.stopped == "diverged", best, record.steps, index

    return min(range(len(records)), key=merit)


def described(
    records: Sequence[TrainingPart], recipes: Sequence[Recipe], fields: Sequence[str]
) -> TrainingPart:
    """Return the record of the chosen training with all runs of its sweep.

    Args:
        records: The records of all runs.
        recipes: Their recipes.
        fields: The fields that the sweep varies.
    """
    chosen = choose(records)
    runs = [
        SweepRun(
            values={name: recipe.fields()[name] for name in sorted(fields)},
            chosen=i == chosen and record.reason is None,
            steps=record.steps,
            stopped=record.stopped,  # pyright: ignore[reportArgumentType] - a member has steps
            validation_accuracy=record.validation_accuracy,
            validation_loss=record.validation_loss,
            loss=record.curve[-1][1] if record.curve and record.reason is None else None,
            reason=record.reason,
        )
        for i, (record, recipe) in enumerate(zip(records, recipes, strict=True))
    ]
    record, reason = records[chosen], records[chosen].reason
    if reason is not None and len(runs) > 1:
        reason = f"every run of the sweep diverged; in the first, {reason.partition(': ')[2]}"
    return record.model_copy(update={"sweep": runs, "reason": reason})
