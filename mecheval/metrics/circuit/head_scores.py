"""Which heads may be part of an induction circuit: their attention weights, and the best of them.

Shape suffixes: ``L`` layers, ``H`` heads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mecheval.metrics.results import profile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from mecheval.metrics.circuit.head_paths import Paths
    from mecheval.metrics.circuit.held_layers import Unit
    from mecheval.reports.schema import Profile

SCORES = ("value_to_key", "previous_token", "induction")


def scores_of(paths: Paths) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return mean weights ``(L, H)`` by name: minus those of uniform attention, and as they are."""
    n_heads = max(1 + (unit.head or 0) for unit in paths.units)

    def means(layers: Sequence[Mapping[str, Tensor] | None], name: str) -> np.ndarray:
        mean_LH = np.full((len(layers), n_heads), np.nan)
        for layer, weights in enumerate(layers):
            if weights is not None:
                mean_H = weights[name].double().mean(0).cpu().numpy()
                mean_LH[layer, : len(mean_H)] = mean_H
        return mean_LH

    weight_LH = {name: means(paths.weights, name) for name in SCORES}
    return {name: (own - means(paths.uniform, name), own) for name, own in weight_LH.items()}


def candidates(
    paths: Paths, scores: dict[str, tuple[np.ndarray, np.ndarray]], most: int
) -> tuple[list[Unit], list[Unit]]:
    """Return the first and the last units between which paths are asked for, in order."""

    def top(units: Sequence[Unit], name: str) -> list[Unit]:
        by_score = sorted(units, key=lambda unit: -scores[name][1][unit.layer, unit.head])
        return by_score[:most]

    heads = [unit for unit in paths.units if unit.head is not None]
    whole = [unit for unit in paths.units if unit.head is None]
    last = sorted(top([unit for unit in heads if unit.layer], "induction"))
    before = [unit for unit in heads if unit.layer < last[-1].layer]
    first = top(before, "value_to_key")
    first += [unit for unit in whole if unit.layer < last[-1].layer]
    return sorted(first, key=lambda unit: (unit.layer, unit.head or 0)), last


def least_likely_first(
    units: Sequence[Unit], scores: dict[str, tuple[np.ndarray, np.ndarray]], name: str
) -> list[Unit]:
    """Sort units by one of :data:`SCORES`; whole mixers, which have none, come first."""

    def weight(unit: Unit) -> float:
        return -1.0 if unit.head is None else float(scores[name][1][unit.layer, unit.head])

    return sorted(units, key=weight)


def head_profile(scores: dict[str, tuple[np.ndarray, np.ndarray]], name: str) -> Profile:
    """Lay out one of :data:`SCORES` by layer and head."""
    above_LH, weight_LH = scores[name]
    index = {"layer": range(above_LH.shape[0]), "head": range(above_LH.shape[1])}
    return profile(index, above_LH, series={"weight": weight_LH})
