"""Which groups of two sides belong together, and the paired difference of a number.

Shape suffix: ``S`` paired seeds.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from mecheval import stats
from mecheval.errors import UsageError
from mecheval.reports.collection.numbers import (
    SEED,
    difference,
    mean_of,
    over_seeds,
    paired_units,
)
from mecheval.reports.labels import model_key, procedure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.reports.collection import Group
    from mecheval.reports.schema import MetricResult, Report

Pair = tuple["Group", "Group"]


class Found(NamedTuple):
    """A paired difference; the fields are those of :class:`Difference`."""

    a: float
    b: float
    difference: float
    low: float | None
    high: float | None
    over: str | None
    p: float | None
    n: int
    unit: str
    seeds: tuple[int, ...]


def paired(left: Sequence[Group], right: Sequence[Group]) -> list[Pair]:
    """Pair the groups of two sides.

    Raises:
        UsageError: Several recipes of a side could be meant.
    """
    by_model = any(len({_model(group) for group in side}) > 1 for side in (left, right))
    cells: dict[str, tuple[list[Group], list[Group]]] = {}
    for side, groups in enumerate((left, right)):
        for group in groups:
            key = json.dumps([_task(group), _model(group) if by_model else ""])
            cells.setdefault(key, ([], []))[side].append(group)
    return [pair for ours, theirs in cells.values() for pair in _by_recipe(ours, theirs)]


def _by_recipe(ours: Sequence[Group], theirs: Sequence[Group]) -> list[Pair]:
    """Pair the recipes of one model on one task: the only ones, or else the same ones."""
    if not ours or not theirs:
        return []
    if len(ours) == len(theirs) == 1:
        return [(ours[0], theirs[0])]
    known = {_recipe(group): group for group in theirs}
    same = [(group, known[_recipe(group)]) for group in ours if _recipe(group) in known]
    if not same:
        several = ours if len(ours) > 1 else theirs
        recipes = " and ".join(f"'{group.name.recipe}'" for group in several)
        raise UsageError(
            f"One side has {len(several)} recipes of {several[0].name.model} on "
            f"{several[0].name.task}: {recipes}. Give reports of one of them."
        )
    return same


def difference_of(one: Group, other: Group, id: str, at: str) -> Found | None:
    """Return the paired difference of a number; None where no seed has it on both sides."""
    ours, theirs = one.numbers(id, at), other.numbers(id, at)
    shared = {seed: difference(ours[seed], theirs[seed]) for seed in ours if seed in theirs}
    found = over_seeds(shared)
    if found.mean is None:
        return None
    seeds = tuple(found.values)
    a, b = (mean_of([side[seed] for seed in seeds]) for side in (ours, theirs))
    differences_S = [*found.values.values()]
    if len(seeds) == 1 and not at:
        by_example = _by_example(one, other, id, seeds[0])
        if by_example is not None:
            return by_example
    return Found(
        a, b, found.mean, found.low, found.high, found.over, stats.t_test(differences_S),
        len(seeds), SEED, seeds,
    )  # fmt: skip


def _by_example(one: Group, other: Group, id: str, seed: int) -> Found | None:
    """Return the difference over the examples that count on both sides.

    Returns:
        None where the sides were not measured on the same examples, or do not say what each of them
        contributes.
    """
    (ours, our_report), (theirs, their_report) = _result(one, id, seed), _result(other, id, seed)
    same_number = len(ours.units) == len(theirs.units)
    if not (same_number and same_examples(our_report, their_report)):
        return None
    both = paired_units(ours.units, theirs.units)
    if both is None:
        return None
    unit = ours.uncertainty.resampled_unit if ours.uncertainty else "example"
    interval = stats.t_interval(both.difference_U, unit=unit)
    low, high = (interval.low, interval.high) if interval else (None, None)
    return Found(
        both.a, both.b, both.b - both.a, low, high, unit, stats.t_test(both.difference_U),
        len(both.difference_U), unit, (seed,),
    )  # fmt: skip


def same_examples(one: Report, other: Report) -> bool:
    """Say whether two reports were measured on the same test examples and pairs."""
    if one.data is None or other.data is None:
        return False
    names = ("test_sha256", "pairs_sha256")
    return all(getattr(one.data, name) == getattr(other.data, name) for name in names)


def _result(group: Group, id: str, seed: int) -> tuple[MetricResult, Report]:
    found = [(m, report) for report in group.by_seed[seed] for m in report.metrics if m.id == id]
    return max(found, key=lambda pair: (pair[0].version, pair[1].finished))


def _task(group: Group) -> str:
    return json.dumps(group.identity.task.model_dump(), sort_keys=True)


def _model(group: Group) -> str:
    return json.dumps(model_key(group.identity.model), sort_keys=True)


def _recipe(group: Group) -> str:
    return json.dumps([procedure(group.identity), group.identity.sweep], sort_keys=True)
