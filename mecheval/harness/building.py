"""From names to tasks and sources of models, and what of them is not as it is by default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mecheval.spec import Spec, check_version
from mecheval.tasks.contract import Task, configure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mecheval.harness.request import Settings
    from mecheval.models.contract import ModelSource
    from mecheval.registry import Registry


def build_task(given: Spec | Task, registry: Registry) -> Task:
    """Return the task of a name with arguments; a task is returned as it is.

    Raises:
        UsageError: The name or an argument is unknown, or there is no such version.
    """
    if isinstance(given, Task):
        return given
    found: type[Task] = registry.load("task", given.name)
    check_version(given, "task", found.card.version)
    return configure(found, given.args, name=given.name)


def build_source(given: Spec | ModelSource, registry: Registry, settings: Settings) -> ModelSource:
    """Return the configured source of a name with arguments; a source is returned as it is.

    Raises:
        UsageError: The name or an argument is unknown.
    """
    if not isinstance(given, Spec):
        return given
    from mecheval.models.load import resolve

    return resolve(given, registry, trust_remote_code=settings.trust_remote_code)


def task_label(given: Spec | Task, task: Task) -> dict[str, Any]:
    """Return what was asked for and differs from the default, not what follows from it."""
    different = differences(task.params, _defaults(type(task)))
    if isinstance(given, Task):
        return different
    asked = {**different, "preset": given.args["preset"]} if "preset" in given.args else different
    return {key: asked[key] for key in given.args if different and key in asked}


def model_label(
    given: Spec, source: ModelSource, registry: Registry, settings: Settings
) -> dict[str, Any]:
    """Return the size if it is not the default one, and what differs from the size's arguments."""
    size = {key: value for key, value in given.args.items() if key == "size"}
    plain = build_source(Spec(given.name, {}, given.revision), registry, settings)
    sized = build_source(Spec(given.name, size, given.revision), registry, settings)
    found = {}
    for key, written in given.args.items():
        value = getattr(source, key, written)  # of the field's type, however it was written
        if getattr(plain if key == "size" else sized, key, None) != value:
            found[key] = list(value) if isinstance(value, tuple) else value
    return found | dict(source.labels)


def differences(given: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is given and is not as by default."""
    return {key: value for key, value in given.items() if default.get(key) != value}


def _defaults(cls: type[Task]) -> dict[str, Any]:
    return configure(cls, {}, name=cls.card.name).params
