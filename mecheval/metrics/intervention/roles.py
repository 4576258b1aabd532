"""Named positions of pairs: where the tokens stand at which activations are exchanged.

Shape suffixes: ``P`` pairs, ``G`` roles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mecheval.metrics.intervention.patching import NOWHERE

if TYPE_CHECKING:
    from mecheval.tasks import Pairs

ROLES = ("key", "value", "next_key", "value+1", "value+2", "divider", "query")
"""All roles, in the order in which a position that has several of them is named."""


def positions_of(pairs: Pairs) -> np.ndarray:
    """Return where each of :data:`ROLES` begins, ``(G, P)``; ``NOWHERE`` in pairs without it.

    What is behind the value counts as far as the text goes: before the divider, or before the query
    where there is none. A position may have several roles. Behind the value of a key of several
    tokens is nothing in particular: what has matched stands where they come again, too.
    """
    roles, nowhere_P = pairs.clean.roles, np.full(len(pairs), NOWHERE)
    query_P = roles.get("query", pairs.readout_P)
    value_P, end_P = roles.get("value", nowhere_P), roles.get("divider", query_P)

    def inside(position_P: np.ndarray) -> np.ndarray:
        return np.where((position_P >= 0) & (position_P < end_P), position_P, NOWHERE)

    def behind(distance: int) -> np.ndarray:
        return inside(np.where(value_P >= 0, value_P + distance, NOWHERE))

    key_P, span = pairs.clean.run_of("key") if "key" in roles else (nowhere_P, 1)
    if span > 1:
        alone = {"key": inside(key_P), "value": inside(value_P), "query": query_P}
        return np.stack([alone.get(name, nowhere_P) for name in ROLES])
    found = {
        "key": inside(key_P),
        "value": inside(value_P),
        "next_key": inside(roles.get("next_key", nowhere_P)),
        "value+1": behind(1),
        "value+2": behind(2),
        "divider": roles.get("divider", nowhere_P),
        "query": query_P,
    }
    return np.stack([found[name] for name in ROLES])


def spans_of(pairs: Pairs) -> tuple[int, ...]:
    """Return how many positions each of :data:`ROLES` has: one, but for a key of several tokens."""
    span = pairs.clean.run_of("key")[1] if "key" in pairs.clean.roles else 1
    return tuple(span if role == "key" else 1 for role in ROLES)


def first_named(position_GP: np.ndarray) -> np.ndarray:
    """Say where a role is the first of those at its position in its pair, ``(G, P)``."""
    earlier_GG = np.tri(len(position_GP), k=-1, dtype=bool)
    same_GGP = position_GP[:, None] == position_GP[None]
    return (position_GP != NOWHERE) & ~(same_GGP & earlier_GG[..., None]).any(1)
