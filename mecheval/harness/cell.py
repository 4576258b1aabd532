"""One cell: train, measure, describe. Errors become a report of what failed where."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from mecheval import metrics, seeding
from mecheval.errors import StorageError
from mecheval.harness import parts
from mecheval.harness.along import measure_along, undefined
from mecheval.harness.building import build_source, build_task
from mecheval.harness.cell_training import cache_of, measured_dtype, trained_model
from mecheval.harness.events import Progress
from mecheval.harness.failure import failed, failure_of, is_interruption, now
from mecheval.harness.gate import judged
from mecheval.harness.measures import metrics_on
from mecheval.harness.recordings import Recordings
from mecheval.harness.threads import settled
from mecheval.harness.unchanged import check_unchanged
from mecheval.own_code.explaining import is_out_of_memory
from mecheval.recipe import GATED
from mecheval.registry import KINDS, Registry
from mecheval.reports.environment import environment
from mecheval.reports.files import as_stored
from mecheval.reports.schema import MetricResult, Report
from mecheval.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mecheval.harness.request import Cell
    from mecheval.registry import Entry, Kind
    from mecheval.training.preparation import Trained

N_TEST, N_PAIRS = 1024, 64
"""Examples and pairs that the report's hashes are of, where no metric says how many it uses."""

_RETRIES = 2  # on running out of memory


class _Stages:
    """Times the stages of a cell and tells which one is running."""

    def __init__(self, tell: Callable[[Progress], None]) -> None:
        self.tell, self.current, self.seconds = tell, "start", {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self.current = name
        self.tell(Progress(name))
        began = time.monotonic()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - began, 3)

    def emit(self, stage: str, step: int, total: int, accuracy: float | None) -> None:
        """Pass on the progress of a training."""
        self.tell(Progress(stage, step, total, accuracy))


def run_cell(cell: Cell, tell: Callable[[Progress], None]) -> Report:
    """Compute a cell's report.

    Args:
        cell: The cell.
        tell: Called with its progress.

    Returns:
        The report; with status ``error`` if anything failed.

    Raises:
        StorageError: The checkpoint cache could not be written.
    """
    stages = _Stages(tell)
    found: dict[str, Any] = {"created": now()}
    try:
        with settled(cell.settings):
            _measure(cell, stages, found)
    except StorageError:
        raise
    except BaseException as error:  # code of users may raise any, and ends its own cell alone
        if is_interruption(error):
            raise
        failure = failure_of(error, stages.current)
        return as_stored(failed(cell, failure, **found, finished=now()))
    report = Report(
        key=cell.key,
        status="success",
        partial=cell.identity.limit is not None,
        finished=now(),
        identity=cell.identity,
        labels=cell.labels,
        command=list(cell.settings.command),
        **found,
    )
    return as_stored(report)


def train_along(cell: Cell) -> None:
    """Take part in the training of a cell that the main process of the same launch measures."""
    registry = Registry(cell.settings.include_paths)
    source = build_source(cell.model, registry, cell.settings)
    task = build_task(cell.task, registry)
    with settled(cell.settings):
        trained_model(cell, source, task, source.encode(task), lambda *_: None)


def _measure(cell: Cell, stages: _Stages, found: dict[str, Any]) -> None:
    """Fill in the fields of the report, as far as it comes."""
    settings, seed = cell.settings, cell.identity.seed
    registry = Registry(settings.include_paths)
    with stages("load"):
        source = build_source(cell.model, registry, settings)
        task = build_task(cell.task, registry)
        encoding = source.encode(task)
        found["environment"] = environment() | {"device": settings.device}
        found["seeds"] = seeding.listed(seed)
        asked = metrics_on(task, cell.metrics, registry)
        check_unchanged(cell, source, task, asked, registry)
        found["captions"] = {metric.id: metric.card.caption for metric in asked}
        found["plugin"] = parts.plugin(_entries(cell, asked, registry))
    with stages("train"):
        trained = trained_model(cell, source, task, encoding, stages.emit)
        dtype = measured_dtype(cell, source)
        subject = metrics.Subject(
            model=trained.model.to(dtype).eval(),
            task=task,
            encoding=encoding,
            seed=seed,
            learned=None,
            scratch=cache_of(cell) / "partial" / cell.key,
            limit=cell.identity.limit,
            batch_size=settings.batch_size,
            untrained=lambda: (
                source.untrained(encoding, seed=seed).to(settings.device, dtype).eval()
            ),
            kept=lambda at: Recordings(
                cell, at.model.n_layers, loaded=at.model, batch_size=at.batch_size
            ),
        )
    found["training"] = trained.record
    found["sites"] = {str(site): tap.path for site, tap in trained.model.taps().items()}
    if trained.record.reason is not None:
        _describe_diverged(cell, asked, subject, stages, found)
    else:
        _measure_subject(cell, asked, subject, stages, found)
        _measure_along(cell, asked, trained, subject, stages, found)
    # Last, because a model knows its kernels only after a forward pass.
    found["model_card"] = parts.model_card(source.card, trained.model)


def _measure_subject(
    cell: Cell,
    asked: Sequence[metrics.Metric],
    subject: metrics.Subject,
    stages: _Stages,
    found: dict[str, Any],
) -> None:
    results: list[MetricResult] = []
    found |= {"metrics": results, "resources": {"seconds": stages.seconds}}
    for metric in asked:
        with stages(metric.id):
            measured, subject = _within_memory(metric, subject)
        results += measured
        if subject.learned is None:
            subject = judged(subject, measured, cell.recipe)
            found["learned"] = subject.learned
            loss = subject.gated == GATED["loss"]  # a bar shows accuracies
            stages.emit(metric.id, 0, 0, None if loss else subject.accuracy)
    results[:] = metrics.checked(results, asked)
    _describe(cell, asked, subject, stages, found)
    with stages("describe"):
        found["fidelity"] = parts.fidelity(subject)


def _describe_diverged(
    cell: Cell,
    asked: Sequence[metrics.Metric],
    subject: metrics.Subject,
    stages: _Stages,
    found: dict[str, Any],
) -> None:
    """List the results of weights that are no numbers: all of them undefined."""
    reason = found["training"].reason
    found |= {"metrics": [], "learned": False, "resources": {"seconds": stages.seconds}}
    subject = replace(subject, learned=False)
    for metric in asked:
        with stages(metric.id):
            found["metrics"] += [
                undefined(result, reason) for result in metrics.measure(metric, subject)
            ]
    _describe(cell, asked, subject, stages, found)


def _measure_along(
    cell: Cell,
    asked: Sequence[metrics.Metric],
    trained: Trained,
    subject: metrics.Subject,
    stages: _Stages,
    found: dict[str, Any],
) -> None:
    """Measure the snapshots, if there are any."""
    snapshots = trained.run.snapshots_in(cache_of(cell))
    if snapshots is None:
        return

    def measure(at: metrics.Subject) -> list[MetricResult]:
        results = []
        for metric in asked:
            measured, at = _within_memory(metric, at)
            results += measured
        return results

    last = found["metrics"] if found["learned"] else []
    with stages("snapshots"):
        found["snapshots"] = []
        for snapshot in measure_along(subject, snapshots, measure, last=last):
            found["snapshots"].append(snapshot)
            accuracy = snapshot.validation_accuracy
            stages.emit("snapshots", len(found["snapshots"]), len(snapshots.chosen()), accuracy)


def _describe(
    cell: Cell,
    asked: Sequence[metrics.Metric],
    subject: metrics.Subject,
    stages: _Stages,
    found: dict[str, Any],
) -> None:
    with stages("describe"):
        found["task_card"] = parts.task_card(subject.task, subject.seed, cache=cache_of(cell))
        found["data"] = parts.data(subject, **_counts(asked))
    found["resources"] |= {"peak_ram_bytes": _peak_memory(), "batch_size": subject.batch_size}
    if cell.settings.device == "cuda":
        found["resources"]["peak_vram_bytes"] = torch.cuda.max_memory_allocated()


def _counts(asked: Sequence[metrics.Metric]) -> dict[str, int]:
    """Return how many test examples and pairs are hashed: as many as the first metrics use."""
    params = [metric.params for metric in asked]
    n_pairs = next((given["n_pairs"] for given in params if "n_pairs" in given), N_PAIRS)
    return {"n_test": params[0].get("n", N_TEST), "n_pairs": n_pairs}


def _within_memory(
    metric: metrics.Metric, subject: metrics.Subject
) -> tuple[list[MetricResult], metrics.Subject]:
    """Measure; halve the batch and try again when memory runs out, twice at most."""
    for _ in range(_RETRIES):
        try:
            return metrics.measure(metric, subject), subject
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        subject = replace(subject, batch_size=max(1, subject.batch_size // 2))
    return metrics.measure(metric, subject), subject


def _entries(cell: Cell, asked: Sequence[metrics.Metric], registry: Registry) -> list[Entry]:
    """Return the registered entries among model, task and metrics."""
    given: list[tuple[Kind, Any]] = [("model", cell.model), ("task", cell.task)]
    names = [(kind, spec.name) for kind, spec in given if isinstance(spec, Spec)]
    names += [("metric", metric.name) for metric in asked]
    known = {(kind, e.name): e for kind in KINDS for e in registry.entries(kind)}
    return [known[name] for name in names if name in known]


def _peak_memory() -> int:
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
