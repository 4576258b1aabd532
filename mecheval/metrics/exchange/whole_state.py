"""Which variables of a task are its whole state, as far as words show.

Shape suffixes: ``B`` sequences, ``T`` positions, ``V`` variables, ``C`` cells (sequence, position).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from mecheval import seeding
from mecheval.metrics.exchange.donors import donors_by, joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.tasks import Batch, Task

_N_WORDS = 1000  # of a task: each of 120 states then stands in a hundred cells or more


def decides(batch: Batch, variables: Sequence[str], others: Sequence[str]) -> bool:
    """Say whether token, position and the variables leave one answer, and one value of others.

    As far as sequences show: no two of their cells of one kind differ.

    Args:
        batch: The sequences.
        variables: Names of the variables.
        others: Names of the others.
    """
    kind_BT = donors_by(batch, batch, variables).kind_ST
    further = [batch.targets_BT, *(batch.variables[name] for name in others)]
    finer = joined([(label_BT, label_BT) for label_BT in (kind_BT, *further)])
    return bool(finer.kind_ST.max() == kind_BT.max())


def told_apart(task: Task) -> list[str]:
    """Return the variables of a task, and the tuple of all of them where that is another state.

    It is none where the value of one variable decides those of all others, at every position of
    words that are the same for every model and seed.

    Args:
        task: A task with variables.
    """
    names = list(task.variables)
    together = len(names) > 1 and not _one_decides(task)
    return [*names, "+".join(names)] if together else names


@lru_cache(maxsize=32)
def _one_decides(task: Task) -> bool:
    words = task.sample(seeding.stream(0, "variables"), _N_WORDS, task.max_length)
    value_VC = np.stack([words.variables[name].ravel() for name in task.variables])
    n_states = np.unique(value_VC, axis=1).shape[1]
    return any(len(np.unique(value_C)) == n_states for value_C in value_VC)
