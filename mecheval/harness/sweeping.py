"""What may be asked of a training besides its recipe: a sweep around it, snapshots along it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mecheval.errors import UsageError
from mecheval.spec import GREATEST_WHOLE
from mecheval.training import sweeps
from mecheval.training.curves import check_tracker

if TYPE_CHECKING:
    from mecheval.harness.request import Request
    from mecheval.recipe import Recipe


def check_numbers(request: Request) -> None:
    """Check the numbers that are no part of a recipe: neither too small nor beyond all sizes.

    Raises:
        UsageError: One is too small, or too large.
    """
    if request.snapshots is not None and request.snapshots < 2:
        raise UsageError(
            f"There cannot be {request.snapshots} snapshots; give --snapshots at least 2, for the "
            "untrained and the trained weights."
        )
    ensemble = request.settings.ensemble
    if ensemble is not None and ensemble < 1:
        raise UsageError(
            f"An ensemble cannot have {ensemble} members; give --ensemble a number of at least 1."
        )
    settings = request.settings
    if settings.log_with is not None:
        check_tracker(settings.log_with)
    given = {
        "--limit": request.limit, "--snapshots": request.snapshots, "--ensemble": ensemble,
        "--batch-size": settings.batch_size, "--threads": settings.threads,
    }  # fmt: skip
    for flag, number in given.items():
        if number is not None and not 1 <= number <= GREATEST_WHOLE:
            raise UsageError(f"{flag} cannot be {number}; give it 1 to {GREATEST_WHOLE}.")


def sweep_of(request: Request, recipe: Recipe, *, model: str) -> dict[str, list[Any]]:
    """Return the sweep of a model as it enters the identity; empty without one.

    Args:
        request: What is asked for.
        recipe: The model's recipe with the fields that are set.
        model: The model's name, for messages.

    Raises:
        UsageError: A field is unknown, not allowed or set as well, or the model is not trained.
    """
    sweep = sweeps.checked(recipe, request.sweep or {})
    twice = sorted(sweep.keys() & request.recipe.keys())
    if twice:
        raise UsageError(
            f"The recipe's field '{twice[0]}' is both set and swept. Leave it out of --recipe or "
            "of --sweep."
        )
    untrained = any(member.steps == 0 for member in sweeps.members(recipe, sweep))
    for flag, asked in (("--sweep", sweep), ("--snapshots", request.snapshots)):
        if asked and untrained:
            raise UsageError(
                f"Model '{model}' is not trained (its recipe has steps=0), so {flag} has nothing "
                "to do. Leave the flag out, or give the model steps with --recipe."
            )
    return sweep
