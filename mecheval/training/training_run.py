"""One training run: what decides its weights, and where the cache keeps them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from mecheval.errors import StorageError
from mecheval.models.admission import admit
from mecheval.recipe import PROTOCOL
from mecheval.reports.files import checkpoint_id
from mecheval.reports.schema import TrainingPart
from mecheval.training.checkpoints import Checkpoint, content_key
from mecheval.training.loop import Trainer
from mecheval.training.snapshots import Snapshots

if TYPE_CHECKING:
    from pathlib import Path

    from mecheval.models.contract import Encoding, ModelSource, SequenceModel
    from mecheval.recipe import Recipe
    from mecheval.tasks import Task
    from mecheval.training.loop import Emit
    from mecheval.training.progress import Progress


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """What decides trained weights.

    Attributes:
        source: The configured model.
        task: The task that it learns.
        encoding: The task's symbols as token ids.
        recipe: How it learns.
        seed: The seed of the cell.
        snapshots: How many sets of weights along training are kept; None keeps the last alone.
    """

    source: ModelSource
    task: Task
    encoding: Encoding
    recipe: Recipe
    seed: int
    snapshots: int | None = None

    def __post_init__(self) -> None:
        """Settle what the recipe leaves to the task, so that equal trainings have equal keys."""
        object.__setattr__(self, "recipe", self.recipe.on(self.task.gate_on))

    @cached_property
    def content(self) -> dict[str, Any]:
        """Return all that decides the weights, as plain JSON values."""
        task = self.task
        content = {
            "protocol": PROTOCOL,
            "task": {"name": task.card.name, "version": task.card.version, "params": task.params},
            "model": self._model(),
            "code": self.encoding.code_C.tolist(),
            "vocab_size": self.encoding.vocab_size,
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
        }
        return content if self.snapshots is None else {**content, "snapshots": self.snapshots}

    def _model(self) -> dict[str, Any]:
        identity = self.source.identity()
        fields = dataclasses.asdict(identity)
        if identity.file_sha256 is None:
            del fields["file_sha256"]
        if checkpoint_id(identity):
            del fields["name"]  # as in a cell's key
        return fields

    @cached_property
    def key(self) -> str:
        """Return the hash of the content."""
        return content_key(self.content)

    def checkpoint(self, cache: Path) -> Checkpoint:
        """Return the folder of this run in a cache."""
        return Checkpoint(cache / "checkpoints" / self.key)

    def build(self) -> SequenceModel:
        """Return the model before training.

        Raises:
            UsageError: It is not causal, or its weights are no numbers.
        """
        model = self.source.build(self.encoding, seed=self.seed)
        return admit(model, name=self.source.card.name)

    def trainer(self, cache: Path, *, device: str, emit: Emit) -> Trainer:
        """Return what trains the model.

        Args:
            cache: Where the snapshots are kept.
            device: ``cpu`` or ``cuda``.
            emit: Called with (stage, step, steps, accuracy) as training goes on.
        """
        trainer = Trainer(
            _widened(self.build()), self.task, self.encoding, self.recipe,
            seed=self.seed, device=device, emit=emit,
        )  # fmt: skip
        trainer.snapshots = self.snapshots_in(cache)
        return trainer

    def snapshots_in(self, cache: Path) -> Snapshots | None:
        """Return the snapshots in a cache, None if none were asked for."""
        return None if self.snapshots is None else Snapshots(self.checkpoint(cache), self.snapshots)

    def weights_at(self, cache: Path, step: int) -> dict[str, torch.Tensor]:
        """Return the weights that a cache keeps of this run after so many steps.

        Raises:
            StorageError: It keeps none.
        """
        snapshots = self.snapshots_in(cache)
        if snapshots is None:
            raise StorageError(
                f"No weights along the training of {self.source.card.name} are kept."
            )
        return snapshots.at_step(step)

    def record(self, progress: Progress | None, weights_sha256: str) -> TrainingPart:
        """Describe a training for the report.

        Args:
            progress: Where it ended; None without training.
            weights_sha256: Hash of the weights at its end.
        """
        recipe, reason, stopped = self.recipe, None, "none"
        usual = self.source.recipe.on(self.task.gate_on)
        if progress is not None:
            stopped = "gate" if progress.passed else "budget"
            stopped = "patience" if progress.stalled else stopped
            if progress.diverged:
                stopped = "diverged"
                first = progress.diverged_from
                reason = f"diverged: the loss is not finite from step {first} on"
        return TrainingPart(
            recipe=self.source.size + ("+" if recipe != usual else ""),
            recipe_sha256=recipe.sha256,
            optimizer=recipe.optimizer,
            steps=progress.step if progress else 0,
            examples=progress.step * recipe.batch if progress else 0,
            stopped=stopped,
            reason=reason,
            validation_accuracy=progress.accuracy if progress and reason is None else None,
            validation_loss=progress.loss if progress and reason is None else None,
            curve=progress.curve if progress else [],
            losses=progress.losses if progress else [],
            weights_sha256=weights_sha256,
            together=progress.together if progress else 1,
        )


def _widened(model: SequenceModel) -> SequenceModel:
    """Bring weights in half precision to float32, in which the steps of an optimizer are not lost.

    What is trained is measured in the module's own type again.
    """
    return model._apply(lambda tensor: tensor.to(_wide(tensor.dtype)))


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32) if dtype.is_floating_point else dtype
