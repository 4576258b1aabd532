"""What the checks of a task's contract share: how they fail, and what every batch must be.

Shape suffixes: ``B`` examples, ``T`` positions (BOS included).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mecheval.tasks.batch import Batch
    from mecheval.tasks.contract import Task


class BrokenError(Exception):
    """A check found the contract broken; the message says how."""


class NotApplicableError(Exception):
    """A check does not apply to this task; the message says why."""


def need(condition: object, problem: str) -> None:
    """Fail the check unless a condition holds.

    Raises:
        BrokenError: It does not.
    """
    if not condition:
        raise BrokenError(problem)


def check_shapes(task: Task, batch: Batch, shape: tuple[int, ...]) -> None:
    """Check the arrays of a batch, whose tokens have the shape ``(B, T)``.

    Raises:
        BrokenError: One has another shape or type, or the variables are not those declared.
    """
    arrays = {"tokens": batch.tokens_BT, "targets": batch.targets_BT, **batch.variables}
    for name, values_BT in arrays.items():
        need(values_BT.shape == shape, f"{name} have shape {values_BT.shape}, not {shape}")
        kind = values_BT.dtype
        need(np.issubdtype(kind, np.integer), f"{name} are {kind}, not whole numbers")
    for name, positions_B in batch.roles.items():
        need(positions_B.shape == shape[:1], f"role {name} has shape {positions_B.shape}")
        inside = ((positions_B >= 0) & (positions_B < shape[1])).all()
        need(inside, f"role {name} lies outside the sequence")
    need(
        set(batch.variables) == set(task.variables),
        f"variables are {sorted(batch.variables)}, declared are {sorted(task.variables)}",
    )
