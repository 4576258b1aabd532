"""Which reports a claim is about: those of the cells that the suite's grids describe."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from mecheval import escape
from mecheval.errors import UsageError
from mecheval.harness.building import build_source, build_task
from mecheval.harness.plan import plan
from mecheval.harness.request import Settings
from mecheval.reports.collection.matching import matching
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
    """A model on a task, as an identity has them, but for the task's version."""

    model: str
    revision: str | None
    args: Mapping[str, Any]
    task: str
    params: Mapping[str, Any]

    @property
    def key(self) -> str:
        return json.dumps(self, sort_keys=True)


def cells_of(
    claims: Sequence[Claim], collection: Collection, registry: Registry, suite: Suite | None
) -> Callable[[Claim, str], Meant]:
    """Return what finds the reports of a claim about a model.

    Args:
        claims: All claims that will be asked about.
        collection: The reports.
        registry: Where models and tasks are looked up.
        suite: Its grids say which recipes are meant; without one, whichever there is.
    """
    settings = Settings(include_paths=registry.include_paths)
    planned = _planned(claims, suite.requests(settings=settings) if suite else [])

    @cache
    def resolved(model: str, task: str) -> tuple[str, str]:
        """Return the cell, and the version of its task: the one that is named, or today's."""
        source = build_source(parse_spec(model), registry, settings).identity()
        named = parse_spec(task)
        built = build_task(replace(named, revision=None), registry)
        cell = _Cell(
            source.name, source.revision, dict(source.args), built.card.name, dict(built.params)
        )
        return cell.key, named.revision or str(built.card.version)

    def found(claim: Claim, model: str) -> Meant:
        key, version = resolved(model, claim.task)
        same = [group for group in collection.groups if _cell(group.identity).key == key]
        groups = [group for group in same if str(group.identity.task.version) == version]
        if same and not groups:
            others = " and ".join(sorted({group.name.task for group in same}))
            return Meant(None, f"measured on {others} only, not with version {version}")
        fitting = _by_recipe(groups, claim, planned.get(key, []))
        if len(fitting) > 1:
            raise _ambiguous(claim, fitting)
        if fitting:
            return Meant(fitting[0])
        return Meant(None, "measured by another recipe only" if groups else "not measured")

    return found


def _cell(identity: Identity) -> _Cell:
    model, task = identity.model, identity.task
    return _Cell(model.name, model.revision, model.args, task.name, task.params)


def _planned(claims: Sequence[Claim], requests: Sequence[Request]) -> dict[str, list[Identity]]:
    """Return the identities that the suite's grids give every cell, one per recipe.

    Only what some claim names is planned: other models need not be there.
    """
    there = [claim for claim in claims if not claim.untestable]
    texts = {text for claim in there for text in (claim.model, claim.minus) if text}
    models = {parse_spec(text).name for text in texts}
    tasks = {parse_spec(claim.task).name for claim in there}
    found: dict[str, list[Identity]] = {}
    for request in requests:
        small = replace(
            request,
            models=tuple(spec for spec in request.models if getattr(spec, "name", "") in models),
            tasks=tuple(spec for spec in request.tasks if getattr(spec, "name", "") in tasks),
            seeds=(0,),
        )
        for each in plan(small) if small.models and small.tasks else []:
            found.setdefault(_cell(each.identity).key, []).append(each.identity)
    return found


def _by_recipe(groups: Sequence[Group], claim: Claim, planned: Sequence[Identity]) -> list[Group]:
    """Keep the groups of the suite's recipes, and of those the ones that the claim names."""
    wanted = {_recipe(identity) for identity in planned}
    named = matching(groups, recipe=claim.recipe or None)
    return [group for group in named if not wanted or _recipe(group.identity) in wanted]


def _recipe(identity: Identity) -> str:
    """Return what decides how a cell is trained and measured, but for the metrics."""
    return json.dumps([identity.recipe, identity.sweep, identity.dtype], sort_keys=True)


def _ambiguous(claim: Claim, groups: Sequence[Group]) -> UsageError:
    recipes = " and ".join(map(str, groups))
    return UsageError(
        f"The claim {escape.quoted(claim.says)} fits {len(groups)} recipes: {recipes}. Name the "
        "one that is meant in the claim, such as recipe = { lr = 1e-3 }."
    )
