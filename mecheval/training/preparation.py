"""From model sources to a trained model: out of the cache if its content key is there."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mecheval.errors import StorageError
from mecheval.reports.schema import TrainingPart
from mecheval.training import processes, sweeps
from mecheval.training.checkpoints import cache_lock, state_sha256
from mecheval.training.ensemble import Ensemble
from mecheval.training.grouping import groups
from mecheval.training.tally import Tally
from mecheval.training.training_run import TrainingRun

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from mecheval.models.contract import Encoding, ModelSource, SequenceModel
    from mecheval.recipe import Recipe
    from mecheval.tasks import Task
    from mecheval.training.curves import Curves
    from mecheval.training.loop import Emit, Trainer


@dataclass(frozen=True)
class Trained:
    """A model after training, the record of it for the report, and the run that led to it."""

    model: SequenceModel
    record: TrainingPart
    run: TrainingRun


@dataclass(frozen=True)
class Workplace:
    """Where and how trainings run; nothing here decides what they lead to but for rounding.

    Attributes:
        cache: The folder of the checkpoint cache.
        device: ``cpu`` or ``cuda``.
        ensemble: Most runs that are trained as one; None chooses by device and model.
        curves: Where the curves of trainings go; None for nowhere.
    """

    cache: Path
    device: str
    ensemble: int | None = None
    curves: Curves | None = None


def prepare(
    source: ModelSource,
    task: Task,
    encoding: Encoding,
    recipe: Recipe,
    *,
    seed: int,
    cache: Path,
    device: str,
    emit: Emit,
) -> Trained:
    """Train a model on a task, resume its training, or take it from the cache.

    Args:
        source: The configured model.
        task: The task that it learns.
        encoding: The task's symbols as token ids.
        recipe: How it learns; no step means that it is measured as it is.
        seed: The seed of the cell.
        cache: The folder of the checkpoint cache.
        device: ``cpu`` or ``cuda``.
        emit: Called with (stage, step, steps, accuracy) as training goes on.

    Raises:
        StorageError: The cache cannot be written.
    """
    run = TrainingRun(source, task, encoding, recipe, seed)
    return prepare_best([run], {}, Workplace(cache, device), emit=emit)


def prepare_best(
    runs: Sequence[TrainingRun],
    sweep: Mapping[str, Sequence[object]],
    workplace: Workplace,
    *,
    emit: Emit,
    companions: Sequence[TrainingRun] = (),
) -> Trained:
    """Train the runs of a sweep and load the one with the best validation accuracy.

    Args:
        runs: The runs, in the order given; a single one is measured whatever comes of it.
        sweep: The fields that the sweep varies; none for a single run.
        workplace: Where they are trained.
        emit: Called with (stage, step, steps, accuracy) as training goes on.
        companions: Runs that others will ask for, to be trained along where that is free.

    Raises:
        StorageError: The cache cannot be written.
    """
    if len(runs) == 1 and runs[0].recipe.steps == 0:
        model = runs[0].build().to(workplace.device).eval()
        return Trained(model, runs[0].record(None, state_sha256(model)), runs[0])
    records = train(runs, workplace, emit=emit, companions=companions)
    best = sweeps.choose(records)
    chosen, record = runs[best], records[best]
    model = chosen.build()
    finished = chosen.checkpoint(workplace.cache).load_finished()
    if finished is None:
        folder = chosen.checkpoint(workplace.cache).folder
        raise StorageError(f"The checkpoint in {folder} was removed during the run. Run it again.")
    model.load_state_dict(finished[0])
    model.to(workplace.device).eval()
    if sweep:
        record = sweeps.described(records, [run.recipe for run in runs], list(sweep))
    return Trained(model, record, chosen)


def train(
    runs: Sequence[TrainingRun],
    workplace: Workplace,
    *,
    emit: Emit,
    companions: Sequence[TrainingRun] = (),
) -> list[TrainingPart]:
    """Train those of the runs that are not in the cache, and return the records of all.

    Runs of one shape are trained as one; see :mod:`mecheval.training.ensemble`. Each is stored as
    soon as it ends. The arguments are those of :func:`prepare_best`.

    Raises:
        StorageError: The cache cannot be written.
    """
    records: dict[str, TrainingPart] = {}
    with ExitStack() as locks:
        todo = []
        for run in _claimed(runs, companions, workplace.cache, locks):
            finished = run.checkpoint(workplace.cache).load_finished()
            if finished is None:
                todo.append(run)
            else:
                records[run.key] = TrainingPart.model_validate(finished[1])
        tally = Tally({run.key: run.recipe.steps for run in todo}, emit)
        for group in groups(todo, device=workplace.device, asked=workplace.ensemble):
            for run, trainer in _trained(group, workplace, tally):
                records[run.key] = _stored(run, trainer, workplace.cache)
    return [records[run.key] for run in runs]


def _trained(
    group: Sequence[TrainingRun], workplace: Workplace, tally: Tally
) -> Iterator[tuple[TrainingRun, Trainer]]:
    """Train runs of one shape as one, and yield each as it ends."""
    cache, device = workplace.cache, workplace.device
    trainers = [run.trainer(cache, device=device, emit=tally.of(run.key)) for run in group]
    if workplace.curves is not None:
        for run, trainer in zip(group, trainers, strict=True):
            config = {**run.recipe.to_dict(), "seed": run.seed}
            trainer.curve = workplace.curves.of(run.key, config)
    checkpoints = [run.checkpoint(cache) for run in group]
    for trainer in Ensemble(trainers).run(checkpoints):
        yield group[next(i for i, other in enumerate(trainers) if other is trainer)], trainer


def _stored(run: TrainingRun, trainer: Trainer, cache: Path) -> TrainingPart:
    record = run.record(trainer.progress, state_sha256(trainer.model))
    saved = record.model_dump(mode="json")
    if processes.is_main():
        run.checkpoint(cache).save_finished(trainer.model.state_dict(), saved, run.content)
    trainer.accelerator.wait_for_everyone()  # the others read what this one has written
    # As it is read back: what a report says must not depend on where it comes from.
    return TrainingPart.model_validate(saved)


def _claimed(
    runs: Sequence[TrainingRun], companions: Sequence[TrainingRun], cache: Path, locks: ExitStack
) -> Iterator[TrainingRun]:
    """Yield the runs, locked, and then those companions that nobody else is at work on.

    One process waits for another only while it holds locks of lesser keys, so that two never wait
    for each other.
    """
    own = {run.key: run for run in runs}
    # One lock for all processes of a launch: the others wait for the main one as they train.
    if processes.is_main():
        for key in sorted(own):
            locks.enter_context(cache_lock(cache, key))
    yield from own.values()
    if processes.count() > 1:
        return
    for run in companions:
        if run.key not in own and locks.enter_context(cache_lock(cache, run.key, wait=False)):
            yield run
