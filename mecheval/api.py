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
from mecheval.escape import quoted
from mecheval.harness.building import build_source, build_task
from mecheval.harness.devices import find_devices
from mecheval.harness.events import Silence
from mecheval.harness.execute import execute
from mecheval.harness.python_arguments import checked_arguments
from mecheval.harness.request import Request, Settings
from mecheval.harness.suites import load_suite
from mecheval.harness.users_code import said_in_a_sentence
from mecheval.registry import Registry
from mecheval.spec import Spec, parse_spec
from mecheval.tasks.contract import Task, configure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from mecheval.harness.devices import Devices
    from mecheval.harness.python_arguments import Arguments
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
    dtype: str | None = None,
    device: str = "auto",
    jobs: int | None = None,
    progress: bool = False,
    include_path: Sequence[Path | str] = (),
    **settings: Any,
) -> list[Report]:
    """Train, measure and report every model on every task with every seed.

    Args:
        models: Names such as ``"mamba[layers=2]"``; models and modules in memory, alone or as
            ``(module, tokenizer)`` or ``(module, card)``; configured sources. A module is copied,
            and the copy fine-tuned as checkpoints are; ``recipe={"steps": 0}`` measures it as it
            is.
        tasks: Names such as ``"dyck[k=3]"``, or tasks.
        seeds: The seeds; by default 0, and 0 to 3 for the size ``formal``.
        output: Folder for the reports, from which a second call resumes; in memory by default.
        size: Size of the models that come in sizes.
        recipe: Fields of the training recipe to replace, as ``{"steps": 500}``.
        sweep: Values of fields of the recipe, as ``{"lr": [1e-3, 3e-3]}``: all combinations are
            trained, and the one with the best validation accuracy is measured.
        snapshots: Measure the metrics at this many points along training as well.
        metrics: Metrics to measure besides the behavioural one, as names such as
            ``"bottleneck[eraser=inlp]"`` or as objects; those of the task by default.
        limit: Largest number of examples per metric; marks the reports partial.
        dtype: Floating-point type of the measurements; by default that of a module in memory, and
            float32 for all others.
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

    Example:
        >>> import mecheval
        >>> reports = mecheval.evaluate(
        ...     "gru[layers=1,width=16]", "parity", seeds=[0, 1], recipe={"steps": 2}, limit=16
        ... )
        >>> [report.status for report in reports], reports[0].learned
        (['success', 'success'], False)
        >>> model = mecheval.load_model("gru[layers=1,width=16]", task="parity")  # or any module
        >>> report, = mecheval.evaluate(model, "parity", recipe={"steps": 0}, limit=16)
        >>> report.identity.model.source, report.training.steps
        ('module', 0)
    """
    given = {
        "seeds": seeds, "output": output, "size": size, "recipe": recipe, "sweep": sweep,
        "snapshots": snapshots, "limit": limit, "dtype": dtype, "device": device, "jobs": jobs,
        "progress": progress, "include_path": include_path,
    }  # fmt: skip
    checked = checked_arguments("mecheval.evaluate", given | settings)
    devices = find_devices(checked.device)
    request = Request(
        models=tuple(_model(model) for model in _listed(models)),
        tasks=tuple(_task(task) for task in _listed(tasks)),
        seeds=checked.seeds,
        size=checked.size,
        recipe=checked.recipe or {},
        sweep=checked.sweep,
        snapshots=checked.snapshots,
        metrics=None if metrics is None else tuple(map(_metric, _listed(metrics))),
        limit=checked.limit,
        dtype=checked.dtype,
        output=checked.output,
        settings=_settings(checked, devices),
    )
    return _reports([request], devices, jobs=checked.jobs, progress=checked.progress)


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
        settings: ``include_path``, and further fields of
            :class:`mecheval.harness.request.Settings`, as for :func:`evaluate`.

    Returns:
        One report per cell, grid by grid.

    Raises:
        UsageError: There is no such suite, or its file is malformed; nothing has been computed.
        StorageError: A report could not be written.
    """
    given = {
        "seeds": seeds, "output": output, "device": device, "jobs": jobs, "progress": progress,
    }  # fmt: skip
    checked = checked_arguments("mecheval.evaluate_suite", given | settings)
    devices = find_devices(checked.device)
    suite, chosen = load_suite(_text(name, "suite")), _settings(checked, devices)
    suite.check_claims(chosen)
    requests = suite.requests(seeds=checked.seeds, output=checked.output, settings=chosen)
    return _reports(requests, devices, jobs=checked.jobs, progress=checked.progress)


def _settings(checked: Arguments, devices: Devices) -> Settings:
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
    )


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

    Example:
        >>> import mecheval
        >>> mecheval.load_task("dyck[k=3,m=6]").params["k"]
        3
    """
    with said_in_a_sentence():
        return build_task(parse_spec(spec), Registry(tuple(map(Path, include_path))))


def load_model(
    spec: str | nn.Module,
    *,
    task: Task | str | None = None,
    vocab_size: int = 256,
    seed: int = 0,
    include_path: Sequence[Path | str] = (),
) -> SequenceModel:
    """Return a model by name before any training on a task, in float32 and evaluation mode.

    A checkpoint that is stored in float64 stays in it.

    Args:
        spec: A registered name, ``hf:REPO`` or ``hf:DIRECTORY``, with arguments; a module in memory
            becomes a model as by :func:`mecheval.wrap`, in its own type of number.
        task: Gives the vocabulary.
        vocab_size: Number of token ids without a task; checkpoints have their own.
        seed: Decides weights that are drawn.
        include_path: Files and folders of local models.

    Raises:
        UsageError: The name, an argument or a checkpoint is not there, or the model not causal.

    Example:
        >>> import mecheval, torch
        >>> model = mecheval.load_model("deltanet[layers=2,width=16]", task="parity")
        >>> model.n_layers, model.vocab_size, model(torch.tensor([[0, 1, 2]])).shape
        (2, 3, torch.Size([1, 3, 3]))
    """
    from mecheval.models.admission import admit
    from mecheval.models.contract import Encoding
    from mecheval.models.wrapping import as_model

    if not isinstance(spec, str):
        return as_model(spec).eval()
    registry = Registry(tuple(map(Path, include_path)))
    with said_in_a_sentence():
        source = build_source(parse_spec(spec), registry, Settings())
        if task is not None:
            encoding = source.encode(load_task(task) if isinstance(task, str) else task)
        else:
            encoding = Encoding(np.arange(vocab_size), vocab_size)
        return admit(source.build(encoding, seed=seed), name=spec).eval()


def _listed(given: Any) -> list[Any]:
    names = isinstance(given, tuple) and all(isinstance(item, str) for item in given)
    return list(given) if isinstance(given, list) or names else [given]


def _text(given: Any, what: str) -> str:
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


class _Warnings(Silence):
    """Shows nothing, and warns of reports that cannot be kept."""

    def redone(self, path: Path, problem: str) -> None:
        """Warn that a cell is measured again, and why."""
        warnings.warn(f"{path} {problem}; its cell is measured again.", stacklevel=2)
