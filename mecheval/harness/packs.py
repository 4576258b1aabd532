"""Packs: cells dealt out so that those that share a training, or a model, stay together.

The split is a pure function of the cells: their order, and what is finished, have no say in it, so
that every process that plans the same cells comes to the same packs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

from mecheval.harness.companions import joins
from mecheval.harness.plan import expected_cost
from mecheval.training import sweeps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mecheval.harness.request import Cell

Item = TypeVar("Item")

_MEASURING = 16 * 1024
"""What the measurements of a cell cost, in sequences of its length that a training would take."""


def packed(cells: Sequence[Cell], n: int) -> list[list[Cell]]:
    """Deal cells out, at about the same expected cost, model by model.

    Args:
        cells: The cells, each once.
        n: Number of packs.

    Returns:
        As many packs, of which some may be empty; every cell is in one of them, in the order given.
    """
    return dealt(sharing_a_training(cells), n, cost=_cost, place=_place)


def dealt(
    groups: Iterable[Sequence[Item]],
    n: int,
    *,
    cost: Callable[[Item], float],
    place: Callable[[Item], tuple[str, ...]],
) -> list[list[Item]]:
    """Cut a line of groups into parts of about the same cost; no group is cut.

    Args:
        groups: The groups.
        n: Number of parts.
        cost: What an item costs, above 0.
        place: Where an item stands in the line; a group stands where its first item does.
    """
    line = sorted(groups, key=lambda group: min(map(place, group)))
    costs = [sum(map(cost, group)) for group in line]
    total, before = sum(costs), 0.0
    parts: list[list[Item]] = [[] for _ in range(n)]
    for group, own in zip(line, costs, strict=True):
        middle = (before + own / 2) / total
        parts[min(n - 1, int(n * middle))] += group
        before += own
    return parts


def sharing_a_training(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Group cells by the trainings that they share, be it by way of others.

    These are cells that differ in their metrics alone, the members of a sweep, and the seeds that
    one ensemble trains.
    """
    by_training: dict[str, list[Cell]] = {}
    group_of: dict[str, list[Cell]] = {}
    trainings = {cell.key: _trainings(cell) for cell in cells}
    for cell in cells:
        found = {id(group): group for t in trainings[cell.key] if (group := by_training.get(t))}
        largest, *others = sorted(found.values(), key=len, reverse=True) or [[]]
        members = [cell, *(member for group in others for member in group)]
        largest.extend(members)
        for member in members:
            group_of[member.key] = largest
        for training in {t for member in members for t in trainings[member.key]}:
            by_training[training] = largest
    order = {cell.key: i for i, cell in enumerate(cells)}
    groups = {id(group): group for group in group_of.values()}.values()
    return [sorted(group, key=lambda cell: order[cell.key]) for group in groups]


def _trainings(cell: Cell) -> set[str]:
    """Return what tells the trainings of a cell from others; an ensemble's seeds as one."""
    identity = cell.identity
    seed = None if joins(cell) else identity.seed
    of_cell = [identity.model.model_dump_json(), identity.task.model_dump_json(), seed,
               identity.snapshots]  # fmt: skip
    recipes = sweeps.members(cell.recipe, identity.sweep or {})
    return {json.dumps([*of_cell, recipe.to_dict()], sort_keys=True) for recipe in recipes}


def _cost(cell: Cell) -> float:
    return expected_cost(cell) + _MEASURING * cell.identity.task.params["max_length"]


def _place(cell: Cell) -> tuple[str, ...]:
    return cell.model_title, cell.identity.task.name, cell.key
