"""Validation: the accuracy or loss that the stop rule is about, and whether it still gets better.

Shape suffixes: ``B`` batch, ``T`` position, ``A`` answer tokens, ``N`` scored
positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from mecheval.errors import UsageError
from mecheval.tasks.batch import UNSCORED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from mecheval.recipe import Recipe
    from mecheval.tasks import Batch, Task
    from mecheval.training.loop import Trainer
    from mecheval.training.progress import Progress

EVALUATION_BATCH = 128


def scores(trainer: Trainer) -> tuple[float, float | None]:
    """Return validation accuracy and loss at this stage; the loss where the gate is on it alone.

    The loss is in nats per scored position, of the right answer among all answers.
    """
    recipe = trainer.recipe
    if recipe.gate_on != "loss":
        return accuracy(trainer), None
    share = recipe.curriculum[trainer.progress.stage]
    batch = trainer.data.validation(share, times=recipe.stop_length)
    right, nats, counted = 0, 0.0, 0
    for asked_BT, targets_BT, logits_BTA in _answered(trainer, batch):
        logits_NA, target_N = logits_BTA[asked_BT], targets_BT[asked_BT]
        right += int((trainer.answers_A[logits_NA.argmax(-1)] == target_N).sum())
        place_N = (trainer.answers_A == target_N[:, None]).int().argmax(-1)
        wide_NA = logits_NA.to(torch.promote_types(logits_NA.dtype, torch.float32))
        nats += float(functional.cross_entropy(wide_NA, place_N, reduction="sum"))
        counted += len(target_N)
    return right / counted, nats / counted


def accuracy(trainer: Trainer) -> float:
    """Return the validation accuracy at this stage of the curriculum.

    Where last positions count and the stage would end, it is that on further examples, which then
    decides.
    """
    recipe, data = trainer.recipe, trainer.data
    share, times = recipe.curriculum[trainer.progress.stage], recipe.stop_length
    found = share_right(trainer, data.validation(share, times=times))
    if recipe.gate_on != "last" or found < recipe.stop_at:
        return found
    return share_right(trainer, data.validation(share, times=times, confirming=True))


def share_right(trainer: Trainer, batch: Batch) -> float:
    """Return the share of positions whose best answer token is the target.

    Args:
        trainer: Its model is put into evaluation mode; its recipe says which positions count.
        batch: The validation examples.
    """
    right, counted = 0, 0
    for asked_BT, targets_BT, logits_BTA in _answered(trainer, batch):
        hit_BT = trainer.answers_A[logits_BTA.argmax(-1)] == targets_BT
        right += int((hit_BT & asked_BT).sum())
        counted += int(asked_BT.sum())
    return right / counted


@torch.inference_mode()
def _answered(trainer: Trainer, batch: Batch) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield where answers count, the targets, and the logits of the answers, part by part."""
    trainer.model.eval()
    last = trainer.recipe.gate_on == "last"
    for first in range(0, len(batch), EVALUATION_BATCH):
        part = batch.take(slice(first, first + EVALUATION_BATCH))
        tokens_BT, targets_BT = trainer.inputs(part, part.end_B.max())
        asked_BT = targets_BT != UNSCORED
        asked_BT = last_of(asked_BT) if last else asked_BT
        logits_BTA = trainer.model.answer_logits(tokens_BT, trainer.answers_A, asked_BT)
        yield asked_BT, targets_BT, logits_BTA


def last_of(asked_BT: Tensor) -> Tensor:
    """Keep the last true position of every row, as the last-position accuracy of a test does."""
    n_behind_BT = asked_BT.flip(1).cumsum(1).flip(1)
    return asked_BT & (n_behind_BT == 1)


def enough(accuracy: float, loss: float | None, recipe: Recipe) -> bool:
    """Say whether a stage ends: by the loss where the gate is on it, or else by the accuracy."""
    return accuracy >= recipe.stop_at if loss is None else loss <= recipe.stop_loss


def of_stage(progress: Progress) -> list[float]:
    """Return what each validation of this stage gave, of which more is better, in order."""
    first = progress.stage_from
    if progress.losses:
        return [-loss for loss in progress.losses[first:]]
    return [accuracy for _, _, accuracy in progress.curve[first:]]


def stalled(accuracies: Sequence[float], recipe: Recipe) -> bool:
    """Say whether the accuracy has stopped rising, by the recipe's patience.

    Args:
        accuracies: All validation accuracies of this stage of the curriculum, in order; or losses,
            with the sign turned.
        recipe: Says for how many of them it may stay where it was, and what counts as a rise.
    """
    before, recent = accuracies[: -recipe.patience], accuracies[-recipe.patience :]
    if recipe.patience == 0 or not before:
        return False
    return max(recent) < max(before) + recipe.least_rise


def check_length(limit: int | None, task: Task, recipe: Recipe) -> None:
    """Check that a model takes validation examples as long as the recipe asks for.

    Args:
        limit: Most positions that the model accepts, None if unbounded.
        task: The task.
        recipe: How the model is trained.

    Raises:
        UsageError: They are longer than its context.
    """
    needed = recipe.stop_length * task.max_length + 1
    if recipe.stop_length > 1 and limit is not None and needed > limit:
        raise UsageError(
            f"The recipe has stop_length={recipe.stop_length}, so validation needs {needed} "
            f"positions, and the model takes at most {limit}. Give a smaller stop_length."
        )
