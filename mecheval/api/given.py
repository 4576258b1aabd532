"""What the functions of this room are given, in the words of the harness."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from mecheval.errors import UsageError
from mecheval.escape import quoted
from mecheval.harness.events import Silence
from mecheval.harness.request import Request, Settings
from mecheval.spec import Spec, parse_spec
from mecheval.tasks.contract import Task, configure

if TYPE_CHECKING:
    from pathlib import Path

    from mecheval.harness.devices import Devices
    from mecheval.harness.python_arguments import Arguments
    from mecheval.metrics import Metric
    from mecheval.models.contract import ModelSource


def request_of(
    checked: Arguments, devices: Devices, *, models: Any, tasks: Any, metrics: Any
) -> Request:
    """Return the grid that is asked for.

    Args:
        checked: The arguments that say so.
        devices: Where it runs.
        models: Names, sources, modules; one alone, or a list.
        tasks: Names or tasks, likewise.
        metrics: Names or metrics, likewise; None for those of the tasks.

    Raises:
        UsageError: One of these is something else.
    """
    return Request(
        models=tuple(map(_model, _listed(models))),
        tasks=tuple(map(_task, _listed(tasks))),
        seeds=checked.seeds,
        size=checked.size,
        recipe=checked.recipe or {},
        sweep=checked.sweep,
        snapshots=checked.snapshots,
        metrics=None if metrics is None else tuple(map(_metric, _listed(metrics))),
        limit=checked.limit,
        dtype=checked.dtype,
        output=checked.output,
        settings=settings_of(checked, devices),
    )


def settings_of(checked: Arguments, devices: Devices) -> Settings:
    """Return how cells are computed."""
    return Settings(
        include_paths=checked.include_path,
        trust_remote_code=checked.trust_remote_code,
        cache=checked.cache,
        device=devices.kind,
        threads=checked.threads,
        batch_size=checked.batch_size,
        overwrite=checked.overwrite,
        command=checked.command,
        ensemble=checked.ensemble,
        log_with=checked.log_with,
    )


def _listed(given: Any) -> list[Any]:
    names = isinstance(given, tuple) and all(isinstance(item, str) for item in given)
    return list(given) if isinstance(given, list) or names else [given]


def text(given: Any, what: str) -> str:
    """Return a name.

    Raises:
        UsageError: It is something else.
    """
    if not isinstance(given, str):
        raise UsageError(f"{quoted(given)} is not the name of a {what}. Give a name.")
    return given


def _task(given: Any) -> Spec | Task:
    if isinstance(given, str):
        return parse_spec(given)
    if isinstance(given, type) and issubclass(given, Task):
        return configure(given, {}, name=given.card.name)
    if isinstance(given, Task):
        return given
    raise UsageError(f"{quoted(given)} is not a task. Give a name such as 'parity' or a Task.")


def _metric(given: Any) -> Spec | Metric:
    from mecheval.metrics import Metric

    if isinstance(given, str):
        return parse_spec(given)
    if isinstance(given, Metric):
        return given
    raise UsageError(f"{quoted(given)} is no metric. Give a name such as 'recovery', or a Metric.")


def _model(given: Any) -> Spec | ModelSource:
    if isinstance(given, str):
        return parse_spec(given)
    from mecheval.models.contract import ModelSource
    from mecheval.models.load import source_of

    return given if isinstance(given, ModelSource) else source_of(given)


class Warnings(Silence):
    """Shows nothing, and warns of reports that cannot be kept."""

    def redone(self, path: Path, problem: str) -> None:
        """Warn that a cell is measured again, and why."""
        warnings.warn(f"{path} {problem}; its cell is measured again.", stacklevel=2)
