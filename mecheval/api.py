"""The package from Python: evaluate models on tasks, load models and tasks by name.

It lies above the command line, whose display it shows.
"""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval.cli.progress import display
from mecheval.errors import UsageError
from mecheval.harness.building import build_source, build_task
from mecheval.harness.devices import find_devices
from mecheval.harness.events import Silence
from mecheval.harness.execute import execute
from mecheval.harness.request import Request, Settings
from mecheval.harness.suites import load_suite
from mecheval.harness.users_code import said_in_a_sentence
from mecheval.registry import Registry
from mecheval.spec import Spec, parse_spec
from mecheval.tasks.contract import Task, configure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.harness.devices import Devices
    from mecheval.metrics import Metric
    from mecheval.models.contract import ModelSource, SequenceModel
    from mecheval.reports.schema import Report


def evaluate(
    models: Sequence[Any] | Any,
    tasks: Sequence[Any] | Any,
    seeds: Sequence[int] | None = None,
    *,
    output: Path | str | None = None,
    size: str | None = None,
    recipe: Mapping[str, Any] | None = None,
    sweep: Mapping[str, Sequence[Any]] | None = None,
    snapshots: int | None = None,
    metrics: Sequence[str | Metric] | None = None,
    limit: int | None = None,
    dtype: str = "float32",
    device: str = "auto",
    jobs: int | None = None,
    progress: bool = False,
    include_path: Sequence[Path | str] = (),
    **settings: Any,
) -> list[Report]:
    """Train, measure and report every model on every task with every seed.

    Args:
        models: Names such as ``"mamba[layers=2]"``; modules with an attribute ``card``, or
            ``(module, card)`` tuples; configured sources.
        tasks: Names such as ``"dyck[k=3]"``, or tasks.
        seeds: The seeds; by default 0, and 0 to 3 for the size ``formal``.
        output: Folder for the reports, from which a second call resumes; in memory by default.
        size: Size of the models that come in sizes.
        recipe: Fields of the training recipe to replace, as ``{"steps": 500}``.
        sweep: Values of fields of the recipe, as ``{"lr": [1e-3, 3e-3]}``: all combinations are
            trained, and the one with the best validation accuracy is measured.
        snapshots: Measure the metrics at this many points along training as well.
        metrics: Metrics to measure besides the behavioural one, as names such as
            ``"bottleneck[eraser=leace]"`` or as objects; those of the task by default.
        limit: Largest number of examples per metric; marks the reports partial.
        dtype: Floating-point type of the measurements.
        device: auto, cpu, cuda or cuda:N.
        jobs: Worker processes; by default all cells run in this process. Models and tasks that
            are given as objects always do.
        progress: Whether to show what is going on.
        include_path: Files and folders of local tasks and models.
        settings: Further fields of :class:`mecheval.harness.request.Settings`:
            ``trust_remote_code``, ``cache``, ``threads``, ``batch_size``, ``overwrite``,
            ``ensemble``.

    Returns:
        One report per cell, model by model.

    Raises:
        UsageError: A name or argument is wrong; nothing has been computed.
        StorageError: A report could not be written.
    """
    devices = find_devices(device)
    request = Request(
        models=tuple(_model(model) for model in _listed(models)),
        tasks=tuple(_task(task) for task in _listed(tasks)),
        seeds=None if seeds is None else tuple(seeds),
        size=size,
        recipe=dict(recipe or {}),
        sweep=sweep,
        snapshots=snapshots,
        metrics=None if metrics is None else tuple(map(_metric, _listed(metrics))),
        limit=limit,
        dtype=dtype,
        output=None if output is None else Path(output),
        settings=Settings(
            include_paths=tuple(map(Path, include_path)), device=devices.kind, **settings
        ),
    )
    return _reports([request], devices, jobs=jobs, progress=progress)


def evaluate_suite(
    name: str,
    seeds: Sequence[int] | None = None,
    *,
    output: Path | str | None = None,
    device: str = "auto",
    jobs: int | None = None,
    progress: bool = False,
    **settings: Any,
) -> list[Report]:
    """Run a suite: the grids of models, tasks and recipes that its file names.

    Args:
        name: A suite of the package, such as ``"demo"``, or the path of a TOML file.
        seeds: The seeds, in place of those of the suite.
        output: Folder for the reports, from which a second call resumes; in memory by default.
        device: auto, cpu, cuda or cuda:N.
        jobs: Worker processes; by default all cells run in this process.
        progress: Whether to show what is going on.
        settings: Fields of :class:`mecheval.harness.request.Settings`, as for :func:`evaluate`.

    Returns:
        One report per cell, grid by grid.

    Raises:
        UsageError: There is no such suite, or its file is malformed; nothing has been computed.
        StorageError: A report could not be written.
    """
    devices = find_devices(device)
    suite, chosen = load_suite(name), Settings(device=devices.kind, **settings)
    suite.check_claims(chosen)
    requests = suite.requests(
        seeds=None if seeds is None else tuple(seeds),
        output=None if output is None else Path(output),
        settings=chosen,
    )
    return _reports(requests, devices, jobs=jobs, progress=progress)


def _reports(
    requests: Sequence[Request], devices: Devices, *, jobs: int | None, progress: bool
) -> list[Report]:
    with display() if progress else nullcontext(_Warnings()) as listener:
        outcomes = execute(requests, listener, devices=devices, jobs=jobs)
    return [outcome.report for outcome in outcomes]


def load_task(spec: str, *, include_path: Sequence[Path | str] = ()) -> Task:
    """Return a task by name, such as ``"dyck[k=3,m=6]"``.

    Raises:
        UsageError: The name or an argument is unknown.
    """
    with said_in_a_sentence():
        return build_task(parse_spec(spec), Registry(tuple(map(Path, include_path))))


def load_model(
    spec: str,
    *,
    task: Task | str | None = None,
    vocab_size: int = 256,
    seed: int = 0,
    include_path: Sequence[Path | str] = (),
) -> SequenceModel:
    """Return a model by name before any training on a task, in float32 and evaluation mode.

    A checkpoint that is stored in float64 stays in it.

    Args:
        spec: A registered name, ``hf:REPO`` or ``hf:DIRECTORY``, with arguments.
        task: Gives the vocabulary.
        vocab_size: Number of token ids without a task; checkpoints have their own.
        seed: Decides weights that are drawn.
        include_path: Files and folders of local models.

    Raises:
        UsageError: The name, an argument or a checkpoint is not there, or the model not causal.
    """
    from mecheval.models.admission import admit
    from mecheval.models.contract import Encoding

    registry = Registry(tuple(map(Path, include_path)))
    with said_in_a_sentence():
        source = build_source(parse_spec(spec), registry, Settings())
        if task is not None:
            encoding = source.encode(load_task(task) if isinstance(task, str) else task)
        else:
            encoding = Encoding(np.arange(vocab_size), vocab_size)
        return admit(source.build(encoding, seed=seed), name=spec).eval()


def _listed(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list) else [given]


def _task(given: Any) -> Spec | Task:
    if isinstance(given, str):
        return parse_spec(given)
    if isinstance(given, type) and issubclass(given, Task):
        return configure(given, {}, name=given.card.name)
    if isinstance(given, Task):
        return given
    raise UsageError(f"{given!r} is not a task. Give a name such as 'parity' or a Task.")


def _metric(given: str | Metric) -> Spec | Metric:
    return parse_spec(given) if isinstance(given, str) else given


def _model(given: Any) -> Spec | ModelSource:
    if isinstance(given, str):
        return parse_spec(given)
    from mecheval.models.contract import ModelSource
    from mecheval.models.load import source_of

    return given if isinstance(given, ModelSource) else source_of(given)


class _Warnings(Silence):
    """Shows nothing, and warns of reports that cannot be kept."""

    def redone(self, path: Path, problem: str) -> None:
        """Warn that a cell is measured again, and why."""
        warnings.warn(f"{path} {problem}; its cell is measured again.", stacklevel=2)
