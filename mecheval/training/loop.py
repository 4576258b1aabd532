"""The training loop, on accelerate: device, bf16, several processes; exact resumption.

Shape suffixes: ``B`` batch, ``T`` position, ``C`` vocabulary, ``A`` answer tokens.
"""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from mecheval import seeding
from mecheval.tasks.batch import UNSCORED
from mecheval.training import validation
from mecheval.training.checkpoints import restore, tensors_of
from mecheval.training.data import TrainingData
from mecheval.training.optimizers import build_optimizers, set_learning_rate
from mecheval.training.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mecheval.models.contract import Encoding, SequenceModel
    from mecheval.recipe import Recipe
    from mecheval.tasks import Batch, Task
    from mecheval.training.checkpoints import Checkpoint
    from mecheval.training.curves import Curve
    from mecheval.training.snapshots import Snapshots

    Emit = Callable[[str, int, int, float | None], None]

SECONDS_BETWEEN_CHECKPOINTS = 10.0
SHARE_FOR_CHECKPOINTS = 0.05
"""Largest share of the time that goes into writing checkpoints."""

STEPS_BETWEEN_EVENTS = 10

EVIDENCE = 3
"""Steps in a row without a finite loss after which a training counts as diverged."""


def upcast(logits: Tensor) -> Tensor:
    """Return logits in float32 at least, in which losses are computed."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


class Trainer:
    """Trains one model on one task by one recipe."""

    def __init__(
        self,
        model: SequenceModel,
        task: Task,
        encoding: Encoding,
        recipe: Recipe,
        *,
        seed: int,
        device: str,
        emit: Emit,
    ) -> None:
        """Put the model on its device and build its optimizers.

        Args:
            model: The model with its initial weights.
            task: The task that it learns.
            encoding: The task's symbols as token ids.
            recipe: How it learns.
            seed: The seed of the cell.
            device: ``cpu`` or ``cuda``.
            emit: Called with (stage, step, steps, accuracy) as training goes on.

        Raises:
            UsageError: The model's context is shorter than the recipe's validation examples.
        """
        self.task, self.recipe, self.seed, self.emit = task, recipe.on(task.gate_on), seed, emit
        validation.check_length(model.context_limit, task, recipe)
        # One process trains cells of different precision in turn; the state is shared otherwise.
        AcceleratorState._reset_state(reset_partial_state=True)
        precision = "bf16" if recipe.precision == "bfloat16" else "no"
        self.accelerator = Accelerator(cpu=device == "cpu", mixed_precision=precision)
        self.data = TrainingData(task, encoding, seed, recipe.batch)
        self.answers_A = torch.tensor(
            [int(encoding.code_C[answer]) for answer in task.answers],
            device=self.accelerator.device,
        )
        self.model = model.to(self.accelerator.device)
        self.optimizers = build_optimizers(self.model, recipe)
        self.trained = self.accelerator.prepare(self.model)
        self.parameters = dict(self.model.named_parameters())
        self.has_dropout = any(isinstance(m, nn.Dropout) and m.p > 0 for m in model.modules())
        self.progress = Progress()
        self.checkpoint: Checkpoint | None = None
        self.snapshots: Snapshots | None = None
        self.curve: Curve | None = None
        self._saved, self._cost = 0.0, 0.0

    def run(self, checkpoint: Checkpoint | None) -> Progress:
        """Train until the stop rule or the step budget ends it.

        Args:
            checkpoint: Where progress is kept and resumed from; not kept if None.
        """
        self.start(checkpoint)
        while self.going:
            self.advance(self.step())
        self.finish()
        return self.progress

    def start(self, checkpoint: Checkpoint | None) -> None:
        """Begin, or go on where a checkpoint ended; see :meth:`run`."""
        self.checkpoint = checkpoint
        if checkpoint is not None:
            self._resume(checkpoint)
        if self.snapshots is not None and self.progress.step == 0:
            self._snap(self.snapshots.keep, *validation.scores(self))
        if self.curve is not None:
            self.curve.open(self.accelerator)
        self._saved = time.monotonic()

    @property
    def going(self) -> bool:
        """Return whether there is another step to take."""
        progress = self.progress
        ended = progress.passed or progress.stalled or progress.diverged
        return not ended and progress.step < self.recipe.steps

    def examples(self) -> Batch:
        """Return the examples of this process at the next step."""
        share = self.recipe.curriculum[self.progress.stage]
        batch = self.data.at(self.progress.step, share)
        return batch.take(
            slice(self.accelerator.process_index, None, self.accelerator.num_processes)
        )

    def inputs(self, examples: Batch, end: int) -> tuple[Tensor, Tensor]:
        """Return the tokens and targets ``(B, T)`` of the first positions, on the device.

        What lies behind the last scored position of all examples changes nothing: no causal model
        sees it where it answers, though some need inputs as long as they will be.
        """
        part = examples if self.model.needs_whole_input else examples.until(end)
        return self._on_device(part.tokens_BT), self._on_device(part.targets_BT)

    def step(self) -> float:
        """Take a step and return its loss."""
        self.train_mode()
        examples = self.examples()
        tokens_BT, targets_BT = self.inputs(examples, examples.end_B.max())
        with self._dropout_stream(), self.accelerator.autocast():
            logits_BTC = self.trained(tokens_BT)
            loss = nn.functional.cross_entropy(
                upcast(logits_BTC).flatten(0, 1), targets_BT.flatten(), ignore_index=UNSCORED
            )
        self.accelerator.backward(loss)
        self.update()
        # All processes must agree on whether it is finite: they stop together.
        return float(cast("Tensor", self.accelerator.reduce(loss.detach(), "mean")))

    def train_mode(self) -> None:
        """Put the model into training mode, if a validation has ended it."""
        if not self.model.training:
            self.trained.train()

    def update(self) -> None:
        """Move the parameters along their gradients, which are clipped, used and dropped."""
        set_learning_rate(self.optimizers, self.recipe, self.progress.step)
        nn.utils.clip_grad_norm_(self.parameters.values(), self.recipe.clip)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()

    def advance(self, loss: float) -> None:
        """Count a step that was taken, and do what is due after it.

        Args:
            loss: The loss of the step.
        """
        progress = self.progress
        progress.step += 1
        progress.not_finite = 0 if math.isfinite(loss) else progress.not_finite + 1
        progress.diverged = progress.not_finite >= EVIDENCE
        due = progress.step % self.recipe.check_every == 0
        if (due or progress.step == self.recipe.steps) and not progress.diverged:
            self._validate(loss)
        if progress.step % STEPS_BETWEEN_EVENTS == 0:
            self._report()
            self._draw(loss=loss)
        now = time.monotonic()
        pause = max(SECONDS_BETWEEN_CHECKPOINTS, self._cost / SHARE_FOR_CHECKPOINTS)
        if self.checkpoint is not None and now - self._saved >= pause:
            self.keep()
            self._saved = time.monotonic()
            self._cost = self._saved - now

    def keep(self) -> None:
        """Write the progress, from which another process can go on, where it is to be kept."""
        if self.checkpoint is not None and self.accelerator.is_main_process:
            tensors = tensors_of(self.model, self.optimizers)
            self.checkpoint.save_progress(tensors, vars(self.progress))

    def finish(self) -> None:
        """End a training that takes no more steps, and tell about it."""
        # The last update can spoil the weights after the last loss was still finite.
        finite = all(bool(p.isfinite().all()) for p in self.parameters.values())
        self.progress.diverged |= not finite
        self.progress.passed &= finite
        if self.snapshots is not None and self.progress.accuracy is not None and finite:
            self._snap(self.snapshots.close, self.progress.accuracy, self.progress.loss)
        self._report()
        if self.curve is not None:
            self.curve.close()
        self.accelerator.wait_for_everyone()

    def _validate(self, loss: float) -> None:
        progress, (accuracy, held_out) = self.progress, validation.scores(self)
        finite = loss if math.isfinite(loss) else None
        progress.curve.append((progress.step, finite, accuracy))
        if self.snapshots is not None:
            self._snap(self.snapshots.keep, accuracy, held_out)
        self._draw(validation_accuracy=accuracy, validation_loss=held_out)
        progress.losses += [] if held_out is None else [held_out]
        if validation.enough(accuracy, held_out, self.recipe) and finite is not None:
            if progress.stage + 1 == len(self.recipe.curriculum):
                progress.passed = True
            else:
                progress.stage, progress.stage_from = progress.stage + 1, len(progress.curve)
        of_stage = validation.of_stage(progress)
        progress.stalled = not progress.passed and validation.stalled(of_stage, self.recipe)

    def _draw(self, **values: float | None) -> None:
        if self.curve is not None:
            self.curve.log(self.progress.step, **values)

    def _snap(self, store: Callable[..., None], accuracy: float, loss: float | None) -> None:
        if self.accelerator.is_main_process:
            number, step = len(self.progress.curve), self.progress.step
            store(self.model, index=number, step=step, accuracy=accuracy, loss=loss)

    def _on_device(self, values: Any) -> Tensor:
        return torch.as_tensor(values).to(self.accelerator.device)

    @contextmanager
    def _dropout_stream(self) -> Iterator[None]:
        """Give dropout a random stream that depends on the seed and the step alone."""
        device = self.accelerator.device
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices, enabled=self.has_dropout):
            if self.has_dropout:
                torch.manual_seed(seeding.derive(self.seed, "dropout", self.progress.step))
            yield

    def _report(self) -> None:
        self.emit("train", self.progress.step, self.recipe.steps, self.progress.accuracy)

    def _resume(self, checkpoint: Checkpoint) -> None:
        found = checkpoint.load_progress()
        if found is None:
            return
        tensors, state = found
        restore(self.model, self.optimizers, tensors)
        self.progress = Progress(**state)
        self.progress.curve = [(step, loss, accuracy) for step, loss, accuracy in state["curve"]]
