"""Which variables of a task on a group are the state itself, and which are quotients of it.

Shape suffix: ``G`` elements of the group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mecheval.tasks.words import GroupWords


def state_variable(task: GroupWords) -> str | None:
    """Return the name of the first variable that is another one for every element, if any is."""
    return next(
        (name for name, value_G in _values(task) if _n_values(value_G) == len(value_G)), None
    )


def quotients_of(task: GroupWords) -> dict[str, np.ndarray]:
    """Return the variables that products keep, of every element ``(G,)``, by name.

    The value of a product follows from those of its factors. Left out are those that say all of an
    element, or nothing.
    """
    return {
        name: value_G
        for name, value_G in _values(task)
        if 1 < _n_values(value_G) < len(value_G) and _is_kept(value_G, task.product)
    }


def _values(task: GroupWords) -> list[tuple[str, np.ndarray]]:
    state_1G = np.arange(len(task.elements))[None]
    return [(name, np.asarray(value_1G)[0]) for name, value_1G in task.read(state_1G).items()]


def _n_values(value_G: np.ndarray) -> int:
    return len(np.unique(value_G))


def _is_kept(value_G: np.ndarray, table_GG: np.ndarray) -> bool:
    """Say whether the value of every product follows from the values of its factors."""
    _, label_G = np.unique(value_G, return_inverse=True)
    factors_GG = label_G[:, None] * (1 + label_G.max()) + label_G
    n_kinds = len(np.unique(factors_GG))
    return len(np.unique(factors_GG * len(value_G) + label_G[table_GG])) == n_kinds
