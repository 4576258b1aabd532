"""Ceilings of tasks: estimated once, then kept in the cache, because exact inference takes long."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mecheval.errors import UsageError
from mecheval.reports.documents import write_document
from mecheval.training.checkpoints import content_key

if TYPE_CHECKING:
    from pathlib import Path

    from mecheval.tasks import Task

N_SEQUENCES = 100
SEED = 0

CeilingNumbers = tuple[float, float, float]
"""Accuracy, and the ends of its interval."""


def ceiling_of(task: Task, cache: Path) -> CeilingNumbers | None:
    """Return the accuracy of the best possible model, with its interval.

    Args:
        task: The task.
        cache: The folder of the cache.

    Returns:
        None where it is not known how to estimate it.

    Raises:
        StorageError: The cache cannot be written.
    """
    card = task.card
    key = content_key(
        {
            "task": card.name, "version": card.version, "params": task.params,
            "n": N_SEQUENCES, "seed": SEED,
        }
    )  # fmt: skip
    path = cache / "ceilings" / f"{key}.json"
    try:
        accuracy, low, high = json.loads(path.read_text())
    except (OSError, ValueError):
        found = _estimated(task)
        if found is not None:
            write_document(path, json.dumps(found))
        return found
    return accuracy, low, high


def _estimated(task: Task) -> CeilingNumbers | None:
    try:
        found = task.ceiling(n=N_SEQUENCES, seed=SEED)
    except UsageError:  # these parameters leave no exact estimate
        return None
    return None if found is None else (found.accuracy, found.interval.low, found.interval.high)
