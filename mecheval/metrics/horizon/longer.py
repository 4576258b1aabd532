"""How often a model is right at longer words, which a predicted horizon is held against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval.errors import ContractError, UsageError
from mecheval.metrics.accuracy import last_accuracy
from mecheval.reports.tracking import LEAST

if TYPE_CHECKING:
    from mecheval.metrics.subject import Subject

FACTORS = (2, 4, 8)
"""Multiples of the training length at which it is held against accuracy."""

FACTOR = 4
"""The one of the verdict."""

KEPT, LOST = f"kept at {FACTOR}x predicted", f"lost at {FACTOR}x predicted"

_N = 512  # longer words; as many as the behavioural metric asks for, which has answered them
_N_BEYOND = 256  # of those that are no test of the task: they are drawn for this alone


def last_at(subject: Subject, factor: int) -> tuple[float | None, str | None]:
    """Return last-position accuracy at a multiple of the training length, or why it is not known.

    Where a task has longer tests, words of a multiple that is none of them are drawn as well.
    """
    task = subject.task
    if not task.longer:
        return None, f"task '{task.card.name}' has no longer test"
    length = factor * task.max_length
    reason = subject.too_long(length)
    if reason:
        return None, reason
    if f"{factor}x" in task.test_lengths:
        return _last(subject, length, _N), None
    try:
        return _last(subject, length, _N_BEYOND), None
    except (UsageError, ContractError) as error:  # a length that the task never said it has
        return None, str(error)


def _last(subject: Subject, length: int, n: int) -> float:
    batch, predictions_BT = subject.answered(length, n)
    return last_accuracy(predictions_BT, batch.targets_BT)


def agrees(horizon: float, factor: int, accuracy: float | None) -> float | None:
    """Return 1 where a horizon is borne out at a multiple of the training length, 0 where not.

    Args:
        horizon: The predicted one, in training lengths; infinite where none is.
        factor: The multiple.
        accuracy: Last-position accuracy there, None where it is not known.
    """
    return None if accuracy is None else float((horizon >= factor) == (accuracy >= LEAST))
