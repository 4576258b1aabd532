"""Evaluate models on tasks from Python: the grids that the command line runs, as one call."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from mecheval.api.given import Warnings, request_of, settings_of, text
from mecheval.cli.progress import display
from mecheval.harness.devices import find_devices
from mecheval.harness.execute import execute
from mecheval.harness.python_arguments import checked_arguments
from mecheval.harness.suites import load_suite

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mecheval.harness.devices import Devices
    from mecheval.harness.request import Request
    from mecheval.metrics import Metric
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
            ``ensemble``, ``log_with``.

    Returns:
        One report per cell, model by model.

    Raises:
        UsageError: A name or argument is wrong; nothing has been computed.
        StorageError: A report could not be written.

    Examples:
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
    request = request_of(checked, devices, models=models, tasks=tasks, metrics=metrics)
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
    suite, chosen = load_suite(text(name, "suite")), settings_of(checked, devices)
    if suite.warning:
        warnings.warn(suite.warning, stacklevel=2)
    suite.check_claims(chosen)
    requests = suite.requests(seeds=checked.seeds, output=checked.output, settings=chosen)
    return _reports(requests, devices, jobs=checked.jobs, progress=checked.progress)


def _reports(
    requests: Sequence[Request], devices: Devices, *, jobs: int | None, progress: bool
) -> list[Report]:
    with display() if progress else nullcontext(Warnings()) as listener:
        outcomes = execute(requests, listener, devices=devices, jobs=jobs)
    return [outcome.report for outcome in outcomes]
