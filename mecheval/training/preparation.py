"""From a model source to a trained model: out of the cache if its content key is there."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import filelock

from mecheval.errors import StorageError
from mecheval.reports.schema import TrainingPart
from mecheval.training import processes
from mecheval.training.checkpoints import Checkpoint, content_key, state_sha256
from mecheval.training.loop import Trainer

if TYPE_CHECKING:
    from pathlib import Path

    from mecheval.models.contract import Encoding, ModelSource, SequenceModel
    from mecheval.tasks import Task
    from mecheval.training.loop import Emit, Progress
    from mecheval.training.recipe import Recipe

PROTOCOL = 1
"""Raised when the loop itself changes the weights that a recipe leads to."""


@dataclass(frozen=True)
class Trained:
    """A model after training, and the record of it for the report."""

    model: SequenceModel
    record: TrainingPart


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
    model = source.build(encoding, seed=seed)
    if recipe.steps == 0:
        model.to(device).eval()
        return Trained(model, _record(source, recipe, None, state_sha256(model)))
    content = _content(source, task, encoding, recipe, seed)
    key = content_key(content)
    checkpoint = Checkpoint(cache / "checkpoints" / key)
    # One lock for all processes of a launch: the others wait for the main one as they train.
    lock = _locked(cache / "locks" / f"{key}.lock") if processes.is_main() else nullcontext()
    with lock:
        finished = checkpoint.load_finished()
        if finished is None:
            trainer = Trainer(model, task, encoding, recipe, seed=seed, device=device, emit=emit)
            progress = trainer.run(checkpoint)
            saved = _record(source, recipe, progress, state_sha256(model)).model_dump(mode="json")
            if processes.is_main():
                checkpoint.save_finished(model.state_dict(), saved, content)
            # As it is read back: what a report says must not depend on where it comes from.
            record = TrainingPart.model_validate(saved)
        else:
            model.load_state_dict(finished[0])
            record = TrainingPart.model_validate(finished[1])
    model.to(device).eval()
    return Trained(model, record)


def _content(
    source: ModelSource, task: Task, encoding: Encoding, recipe: Recipe, seed: int
) -> dict[str, Any]:
    return {
        "protocol": PROTOCOL,
        "task": {"name": task.card.name, "version": task.card.version, "params": task.params},
        "model": dataclasses.asdict(source.identity()),
        "code": encoding.code_C.tolist(),
        "vocab_size": encoding.vocab_size,
        "recipe": recipe.to_dict(),
        "seed": seed,
    }


def _record(
    source: ModelSource, recipe: Recipe, progress: Progress | None, weights_sha256: str
) -> TrainingPart:
    overridden = recipe != source.recipe
    stopped = "none" if progress is None else "gate" if progress.passed else "budget"
    return TrainingPart(
        recipe=source.size + ("+" if overridden else ""),
        recipe_sha256=recipe.sha256,
        optimizer=recipe.optimizer,
        steps=progress.step if progress else 0,
        examples=progress.step * recipe.batch if progress else 0,
        stopped=stopped,
        validation_accuracy=progress.accuracy if progress else None,
        curve=progress.curve if progress else [],
        weights_sha256=weights_sha256,
    )


def _locked(path: Path) -> filelock.BaseFileLock:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return filelock.FileLock(path)
    except OSError as error:
        raise StorageError(
            f"The cache folder {path.parent} cannot be written ({error.strerror}). "
            "Point MECHEVAL_CACHE at another folder."
        ) from error
