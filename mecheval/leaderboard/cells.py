"""Which reports a claim is about: those of the cells that the suite's grids describe."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from mecheval.errors import UsageError
from mecheval.harness.plan import build_source, build_task, plan
from mecheval.harness.request import Settings
from mecheval.spec import parse_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mecheval.harness.request import Request
    from mecheval.harness.suites import Suite
    from mecheval.leaderboard.claims import Claim
    from mecheval.registry import Registry
    from mecheval.reports.collection import Collection, Group
    from mecheval.reports.schema import Identity


class Meant(NamedTuple):
    """The reports that a claim is about, or why there are none."""

    group: Group | None
    reason: str = ""


class _Cell(NamedTuple):
    """A model on a task, as an identity has them."""

    model: str
    args: Mapping[str, Any]
    task: str
    version: int
    params: Mapping[str, Any]

    @property
    def key(self) -> str:
        return json.dumps(self, sort_keys=True)


def cells_of(
    collection: Collection, registry: Registry, suite: Suite | None
) -> Callable[[Claim, str], Meant]:
    """Return what finds the reports of a claim about a model.

    Args:
        collection: The reports.
        registry: Where models and tasks are looked up.
        suite: Its grids say which recipes are meant; without one, whichever there is.
    """
    requests = suite.requests() if suite else []

    @cache
    def resolved(model: str, task: str) -> _Cell:
        source = build_source(parse_spec(model), registry, Settings()).identity()
        built = build_task(parse_spec(task), registry)
        return _Cell(source.name, dict(source.args), built.card.name, built.card.version,
                     dict(built.params))  # fmt: skip

    @cache
    def planned(model: str, task: str) -> tuple[Identity, ...]:
        return tuple(_planned(resolved(model, task), requests))

    def found(claim: Claim, model: str) -> Meant:
        cell = resolved(model, claim.task)
        groups = [group for group in collection.groups if _cell(group.identity).key == cell.key]
        fitting = _by_recipe(groups, claim, planned(model, claim.task))
        if len(fitting) > 1:
            raise _ambiguous(claim, fitting)
        if fitting:
            return Meant(fitting[0])
        return Meant(None, "measured by another recipe only" if groups else "not measured")

    return found


def _cell(identity: Identity) -> _Cell:
    model, task = identity.model, identity.task
    return _Cell(model.name, model.args, task.name, task.version, task.params)


def _planned(cell: _Cell, requests: Sequence[Request]) -> list[Identity]:
    """Return the identities that the suite's grids give a cell, one per recipe."""
    found: list[Identity] = []
    for request in requests:
        models = [spec for spec in request.models if getattr(spec, "name", "") == cell.model]
        tasks = [spec for spec in request.tasks if getattr(spec, "name", "") == cell.task]
        if not models or not tasks:
            continue
        small = replace(request, models=tuple(models), tasks=tuple(tasks), seeds=(0,))
        found += [each.identity for each in plan(small) if _cell(each.identity).key == cell.key]
    return found


def _by_recipe(groups: Sequence[Group], claim: Claim, planned: Sequence[Identity]) -> list[Group]:
    """Keep the groups of the suite's recipes, and of those the ones that the claim names."""
    wanted = {_recipe(identity) for identity in planned}
    return [
        group
        for group in groups
        if (not wanted or _recipe(group.identity) in wanted)
        and all(group.identity.recipe.get(key) == value for key, value in claim.recipe.items())
    ]


def _recipe(identity: Identity) -> str:
    """Return what decides how a cell is trained and measured, but for the metrics."""
    return json.dumps([identity.recipe, identity.sweep, identity.dtype], sort_keys=True)


def _ambiguous(claim: Claim, groups: Sequence[Group]) -> UsageError:
    recipes = " and ".join(f"'{group.name.recipe}'" for group in groups)
    return UsageError(
        f"The claim '{claim.says}' fits {len(groups)} recipes of {groups[0].name.model} on "
        f"{groups[0].name.task}: {recipes}. Name the one that is meant in the claim, such as "
        "recipe = { lr = 1e-3 }."
    )
