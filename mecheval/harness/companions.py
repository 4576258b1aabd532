"""Cells that differ in the seed alone are trained together: the first trains along the others.

The weights of the others are then in the checkpoint cache when their turn comes, also if the first
one is killed after they are finished.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.harness.request import Cell


def with_companions(cells: Sequence[Cell], *, workers: int) -> list[Cell]:
    """Return the cells in the order in which they are to be begun.

    Those that train others along come first, so that these need not wait for them. On the CPU,
    where every seed can have a core, seeds are trained together only where that is asked for.

    Args:
        cells: The cells, in the order wanted otherwise.
        workers: How many of them are computed side by side; what is alike is shared out among them.
    """
    alike: dict[str, list[Cell]] = {}
    for cell in cells:
        alike.setdefault(but_for_the_seed(cell) if joins(cell) else cell.key, []).append(cell)
    parts = -(-workers // max(1, len(alike)))
    leaders, followers = [], []
    for group in alike.values():
        for i in range(min(parts, len(group))):
            first, *others = group[i::parts]
            seeds = tuple(cell.identity.seed for cell in others)
            leaders.append(replace(first, companions=seeds))
            followers += others
    return [*leaders, *followers]


def joins(cell: Cell) -> bool:
    """Say whether a cell's seeds can be trained together: their batches always have one shape.

    Checkpoints are trained one by one (:func:`mecheval.training.grouping.most_together`).
    """
    if cell.identity.model.source != "scratch":
        return False
    params, settings = cell.identity.task.params, cell.settings
    wanted = settings.ensemble is None if settings.device == "cuda" else False
    wanted = wanted or (settings.ensemble or 0) > 1
    one_length = params.get("min_length") == params.get("max_length")
    return wanted and one_length and len(cell.recipe.curriculum) == 1


def but_for_the_seed(cell: Cell) -> str:
    """Return what cells that differ in the seed alone have in common."""
    identity = cell.identity.model_copy(update={"seed": 0})
    return json.dumps(identity.model_dump(mode="json"), sort_keys=True)
