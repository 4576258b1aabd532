"""Which groups a name means: one that stands in a table, or one with some of its arguments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mecheval.recipe import whole
from mecheval.reports.label_checks import shown
from mecheval.spec import parse_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mecheval.reports.collection.groups import Group
    from mecheval.spec import Spec


def matching(
    groups: Sequence[Group],
    model: str | None = None,
    task: str | None = None,
    recipe: Mapping[str, Any] | None = None,
) -> list[Group]:
    """Return the groups of a model, a task, a recipe.

    A name that is that of a group in full means this group. Any other one means all groups of its
    name whose arguments are what it says, but those that were asked for by just these arguments
    where there are any: ``mamba`` is the default Mamba if that is there.

    Raises:
        UsageError: A name is malformed.
    """
    found = list(groups)
    if model is not None:
        found = _named(found, model, lambda group: group.name.model, _model)
    if task is not None:
        found = _named(found, task, lambda group: group.name.task, _task)
    if recipe is not None:
        found = [group for group in found if _has(group, recipe)]
    return found


def _named(
    groups: Sequence[Group],
    text: str,
    title: Callable[[Group], str],
    fits: Callable[[Group, Spec], tuple[bool, bool]],
) -> list[Group]:
    whole = [group for group in groups if title(group) == text]
    if whole:
        return whole
    spec = parse_spec(text)
    fitting = [(group, *fits(group, spec)) for group in groups]
    exact = [group for group, _, exactly in fitting if exactly]
    return exact or [group for group, fitted, _ in fitting if fitted]


def _model(group: Group, spec: Spec) -> tuple[bool, bool]:
    """Say whether a model has these arguments, and whether it was asked for by them alone."""
    model, labels = group.identity.model, group.reports[0].labels
    asked = shown(labels.model, model.args) if labels else {}
    same = model.name == spec.name and spec.revision in (None, model.revision, model.commit)
    fits = same and _within(spec.args, {**model.args, **asked})
    return fits, fits and labels is not None and _equal(asked, spec.args)


def _task(group: Group, spec: Spec) -> tuple[bool, bool]:
    """Say the same of a task; its version is what stands in a revision's place."""
    task, labels = group.identity.task, group.reports[0].labels
    asked = shown(labels.task, task.params) if labels else {}
    same = task.name == spec.name and spec.revision in (None, str(task.version))
    fits = same and _within(spec.args, {**task.params, **asked})
    return fits, fits and labels is not None and _equal(asked, spec.args)


def _has(group: Group, recipe: Mapping[str, Any]) -> bool:
    swept = group.identity.sweep or {}
    return not swept.keys() & recipe.keys() and _within(recipe, whole(group.identity.recipe))


def _within(given: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    return all(key in there and _equal(there[key], value) for key, value in given.items())


def _equal(left: Any, right: Any) -> bool:
    return _plain(left) == _plain(right)


def _plain(value: Any) -> Any:
    """Return a value as JSON gives it back, so that 1 and 1.0, lists and tuples are the same."""
    return json.loads(json.dumps(value))
