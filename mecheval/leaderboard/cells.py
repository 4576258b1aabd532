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
from mecheval.leaderboard.claim import is_all
from mecheval.leaderboard.named_only import named_only
from mecheval.reports.collection.matching import matching
from mecheval.spec import parse_spec
from mecheval.text.quoting import HUB

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set

    from mecheval.harness.request import Request
    from mecheval.harness.suites import Suite
    from mecheval.leaderboard.claim import Claim, Named
    from mecheval.models.contract import ModelSource
    from mecheval.registry import Registry
    from mecheval.reports.collection import Collection, Group
    from mecheval.reports.schema import Identity
    from mecheval.spec import Spec


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
        return _json(self)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


class Cells:
    """Finds the reports that claims are about.

    Args:
        claims: All claims that will be asked about.
        collection: The reports.
        registry: Where models and tasks are looked up.
        suite: Its grids say which recipes are meant; without one, whichever there is.
    """

    def __init__(
        self,
        claims: Sequence[Claim],
        collection: Collection,
        registry: Registry,
        suite: Suite | None,
    ) -> None:
        settings = Settings(include_paths=registry.include_paths)
        self._collection, self._registry, self._settings = collection, registry, settings
        self._suite = suite
        self._source = cache(self._find_source)
        self._models, self._task = cache(self._find_models), cache(self._find_task)
        self._planned = self._plan(claims, suite.requests(settings=settings) if suite else [])

    def one(self, claim: Claim, named: Named) -> Meant:
        """Return the reports of the one cell that a number is of.

        Raises:
            UsageError: There is no such model or task, or several recipes fit.
        """
        *_, version = self._task(named.task)
        same = [group for group in self._collection.groups if self._is_of(group, named)]
        groups = [group for group in same if str(group.identity.task.version) == version]
        if same and not groups:
            others = " and ".join(sorted({group.name.task for group in same}))
            return Meant(None, f"measured on {others} only, not with version {version}")
        fitting = [group for group in groups if self._has_recipe(group, named)]
        if len(fitting) > 1:
            raise _ambiguous(claim, fitting)
        if fitting:
            return Meant(fitting[0])
        if groups:
            return Meant(None, "measured by another recipe only")
        weights = ": needs weights" if named_only(self._source(named.model)) else ""
        return Meant(None, f"not measured{weights}")

    def several(self, named: Named) -> list[Group]:
        """Return the reports of all cells of the suite that a number may be of.

        Raises:
            UsageError: There is no such model or task.
        """
        return [
            group
            for group in self._collection.groups
            if self._is_planned(group.identity)
            and self._is_of(group, named)
            and self._has_recipe(group, named)
        ]

    def _is_of(self, group: Group, named: Named) -> bool:
        """Say whether reports are of a model and a task, of whatever version."""
        cell = _cell(group.identity)
        if not is_all(named.task) and _json(cell[3:]) != _json(self._task(named.task)[:2]):
            return False
        return is_all(named.model) or _json(cell[:3]) in self._models(named.model)

    def _is_planned(self, identity: Identity) -> bool:
        planned = self._planned.get(_cell(identity).key, [])
        return self._suite is None or identity.task.version in {p.task.version for p in planned}

    def _has_recipe(self, group: Group, named: Named) -> bool:
        """Say whether reports are of a recipe of the suite, and of the one that is named."""
        planned = self._planned.get(_cell(group.identity).key, [])
        wanted = {_recipe(identity) for identity in planned}
        fits = bool(matching([group], recipe=named.recipe or None))
        return fits and (not wanted or _recipe(group.identity) in wanted)

    def _plan(
        self, claims: Sequence[Claim], requests: Sequence[Request]
    ) -> dict[str, list[Identity]]:
        """Return the identities that the suite's grids give every cell, one per recipe.

        Only what some claim names and reports may be of is planned: other models need not be there.
        Nor need the weights of a hub: they are planned by name, at every revision that may be
        meant.
        """
        numbers = [each for claim in claims if not claim.untestable for each in claim.numbers]
        models, tasks = (
            {name for each in numbers for field in fields if (name := getattr(each, field))}
            for fields in (("model", "partner"), ("task",))
        )
        found: dict[str, list[Identity]] = {}
        for request in requests:
            named = [
                spec
                for spec in request.models
                if _is_named(spec, models) and self._measured("model", spec)
            ]
            small = replace(
                request,
                models=tuple(each for spec in named for each in self._meant(spec)),
                tasks=tuple(
                    spec
                    for spec in request.tasks
                    if _is_named(spec, tasks) and self._measured("task", spec)
                ),
                seeds=(0,),
            )
            for each in plan(small) if small.models and small.tasks else []:
                found.setdefault(_cell(each.identity).key, []).append(each.identity)
        return found

    def _measured(self, kind: str, given: Any) -> bool:
        """Say whether reports may be of a model or task of a grid, by its name.

        That of a folder may be another one than the grid's.
        """
        names = {getattr(group.identity, kind).name for group in self._collection.groups}
        return getattr(given, "name", "") in names or any(name.startswith(HUB) for name in names)

    def _find_source(self, name: str) -> ModelSource:
        return build_source(parse_spec(name), self._registry, self._settings)

    def _find_models(self, name: str) -> set[str]:
        """Return what the identities of a name may be: weights of a hub have several revisions."""
        sources = named_only(self._source(name)) or [self._source(name)]
        found = [source.identity() for source in sources]
        return {_json([each.name, each.revision, dict(each.args)]) for each in found}

    def _meant(self, given: Spec | ModelSource) -> Sequence[Spec | ModelSource]:
        return named_only(self._source(str(given))) or [given]

    def _find_task(self, name: str) -> tuple[str, dict[str, Any], str]:
        named = parse_spec(name)
        built = build_task(replace(named, revision=None), self._registry)
        version = named.revision or str(built.card.version)
        return built.card.name, dict(built.params), version


def _cell(identity: Identity) -> _Cell:
    model, task = identity.model, identity.task
    return _Cell(model.name, model.revision, model.args, task.name, task.params)


def _is_named(given: Any, names: Set[str]) -> bool:
    """Say whether a model or task of a grid is one that names may mean, whatever its arguments."""
    plain = {name if is_all(name) else parse_spec(name).name for name in names}
    return any(map(is_all, plain)) or getattr(given, "name", "") in plain


def _recipe(identity: Identity) -> str:
    """Return what decides how a cell is trained and measured, but for the metrics."""
    return _json([identity.recipe, identity.sweep, identity.dtype])


def _ambiguous(claim: Claim, groups: Sequence[Group]) -> UsageError:
    recipes = " and ".join(map(str, groups))
    return UsageError(
        f"The claim {escape.quoted(claim.says)} fits {len(groups)} recipes: {recipes}. Name the "
        "one that is meant in the claim, such as recipe = { lr = 1e-3 }."
    )
