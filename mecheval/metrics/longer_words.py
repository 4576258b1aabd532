"""How often a model is right at longer words, which what is found within training is held against.

Shape suffixes: ``B`` words, ``T`` positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval.errors import ContractError, UsageError
from mecheval.metrics.accuracy import last_accuracy
from mecheval.reports.tracking import LEAST

if TYPE_CHECKING:
    from mecheval.metrics.subject import Subject
    from mecheval.tasks import Task

N_WORDS = 512
"""Words of a test: as many as the behavioural metric asks for, so that they are answered once."""


def lacks_test(task: Task, factor: int) -> str | None:
    """Say that a task has no test at a multiple of the training length, None where it has one."""
    if f"{factor}x" in task.test_lengths:
        return None
    return f"task '{task.card.name}' has no test at {factor} times its length"


def last_at(subject: Subject, factor: int, *, n_beyond: int = 0) -> tuple[float | None, str | None]:
    """Return last-position accuracy at a multiple of the training length, or why it is not known.

    Args:
        subject: The model on its task.
        factor: The multiple.
        n_beyond: Words that are drawn where the task has longer tests, but none of this length; 0
            if it is not known there.
    """
    task, length = subject.task, factor * subject.task.max_length
    untested = lacks_test(task, factor)
    if untested and not (n_beyond and task.longer):
        return None, untested
    reason = subject.too_long(length)
    if reason:
        return None, reason
    if not untested:
        return _last(subject, length, N_WORDS), None
    try:
        return _last(subject, length, n_beyond), None
    except (UsageError, ContractError) as error:  # a length that the task never said it has
        return None, str(error)


def _last(subject: Subject, length: int, n: int) -> float:
    batch, predictions_BT = subject.answered(length, n)
    return last_accuracy(predictions_BT, batch.targets_BT)


def borne_out(predicted: bool, accuracy: float | None) -> float | None:
    """Return 1 where a prediction that a model is right comes true or its contrary does, else 0.

    Args:
        predicted: Whether it is predicted to be right, in :data:`~mecheval.reports.tracking.LEAST`
            of the words or more.
        accuracy: Last-position accuracy at their length; None, as the answer, where not known.
    """
    return None if accuracy is None else float(predicted == (accuracy >= LEAST))
