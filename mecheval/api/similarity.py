"""How alike models are, two by two, from Python."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from mecheval.api.given import Warnings, request_of
from mecheval.cli.progress import display
from mecheval.harness.devices import find_devices
from mecheval.harness.execute_pairs import execute_pairs
from mecheval.harness.pair_plan import Asked, by_scope
from mecheval.harness.python_arguments import checked_arguments, checked_losses
from mecheval.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mecheval.metrics import Metric
    from mecheval.reports.pair import PairReport


def similarity(
    models: Sequence[Any] | Any,
    tasks: Sequence[Any] | Any,
    seeds: Sequence[int] | None = None,
    *,
    output: Path | str | None = None,
    recipe: Mapping[str, Any] | None = None,
    metrics: Sequence[str | Metric] | None = None,
    at_loss: float | Sequence[float] | None = None,
    across_tokens: bool = False,
    limit: int | None = None,
    device: str = "auto",
    jobs: int | None = None,
    progress: bool = False,
    **settings: Any,
) -> list[PairReport]:
    """Measure how alike models are, two by two, and networks of one model that differ in the seed.

    Cells that were not measured yet are trained and measured first, as by
    :func:`mecheval.evaluate`; a network runs once for all its pairs, if at all.

    Args:
        models: Names, modules or sources, as for :func:`mecheval.evaluate`.
        tasks: Names or tasks.
        seeds: The seeds; by default 0. With several, no two networks of a pair are of one seed.
        output: Folder for the reports, from which a second call resumes; in memory by default.
        recipe: Fields of the training recipe to replace.
        metrics: Metrics of pairs and of single models, as names or as objects; by default those of
            pairs that fit the task, and of single models those that the task declares.
        at_loss: Validation losses, in nats per token: networks are held side by side where theirs
            along training are nearest to each, by default at the end. Takes a task that is followed
            by its loss, and keeps ``snapshots`` weights along training, 16 unless said otherwise.
        across_tokens: Whether models are held side by side, too, that read one text in other
            tokens, of which several tasks are given.
        limit: Largest number of examples per metric; marks the reports partial.
        device: auto, cpu, cuda or cuda:N.
        jobs: Worker processes; by default everything runs in this process.
        progress: Whether to show what is going on.
        settings: All other arguments of :func:`mecheval.evaluate`.

    Returns:
        One report per pair of cells, task by task and loss by loss.

    Raises:
        UsageError: A name or argument is wrong, or there is nothing to compare; nothing has been
            computed.
        StorageError: A report could not be written.

    Examples:
        >>> import mecheval
        >>> direct, off_by_one = "planted/mamba-recall", "planted/mamba-recall[shift=1]"
        >>> report, = mecheval.similarity(
        ...     [direct, off_by_one], "ar[keys=12,values=12,pairs=6]", limit=32,
        ...     metrics=["interchange", "write_offset", "circuit_similarity"],
        ... )
        >>> report.metrics[0].scalars["positions_apart_value"]
        1.0
    """
    given = {
        "seeds": seeds, "output": output, "recipe": recipe, "limit": limit, "device": device,
        "jobs": jobs, "progress": progress,
    }  # fmt: skip
    at_losses = checked_losses(at_loss)
    checked = checked_arguments("mecheval.similarity", given | settings)
    devices = find_devices(checked.device)
    request = request_of(checked, devices, models=models, tasks=tasks, metrics=metrics)
    requests, of_pairs = by_scope([request], Registry(request.settings.include_paths))
    with display() if checked.progress else nullcontext(Warnings()) as listener:
        outcomes = execute_pairs(
            requests, Asked(of_pairs, at_losses, across_tokens), listener,
            devices=devices, jobs=checked.jobs,
        )  # fmt: skip
    return [outcome.report for outcome in outcomes]
