"""Shares by site and role: sites in the order of the forward pass, each named once.

Shape suffixes: ``Y`` sites, ``G`` roles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.reports.collection import Group

AXES = ["component", "layer", "role"]


class Map(NamedTuple):
    """Shares by site and role, from the first layer's input to the last one's output.

    Attributes:
        sites: Component and layer of every row.
        roles: The columns.
        value_YG: Mean over seeds of what comes back; NaN where a model has no such site.
        trivial_YG: Whether it is the same in any model.
    """

    sites: Sequence[tuple[str, int]]
    roles: Sequence[str]
    value_YG: np.ndarray
    trivial_YG: np.ndarray


def map_of(group: Group, id: str, name: str | None = None) -> Map | None:
    """Arrange a model's shares by site; None where no seed has any.

    Args:
        group: The model.
        id: The result.
        name: The profile; the main one by default.
    """
    profile = group.profile(id, name)
    if profile is None or list(profile.axes) != AXES:
        return None
    components = [str(name) for name in profile.index["component"]]
    layers = [int(layer) for layer in profile.index["layer"]]
    trivial = profile.marks.get("trivial", np.zeros_like(profile.mean_X, bool))
    rows = [
        (name, layer)
        for layer in layers
        for name in components
        # What leaves a block enters the next one: it is named once.
        if name != "block_out" or layer == layers[-1] or "block_in" not in components
    ]
    at = [(components.index(name), layers.index(layer)) for name, layer in rows]
    there = [i for i, place in enumerate(at) if np.isfinite(profile.mean_X[place]).any()]
    return Map(
        [rows[i] for i in there],
        [str(role) for role in profile.index["role"]],
        np.array([profile.mean_X[at[i]] for i in there]),
        np.array([trivial[at[i]] for i in there], bool),
    )
