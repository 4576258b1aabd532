"""Training and validation batches as a pure function of the seed and the step.

Because no generator state is carried along, a training that resumes at a step sees what an
undisturbed one would have seen. Shape suffixes: ``B`` batch, ``T`` position.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mecheval import seeding
from mecheval.tasks.splits import draw

if TYPE_CHECKING:
    from mecheval.models.contract import Encoding
    from mecheval.tasks import Batch, Task

STEPS_PER_POOL = 16
"""Steps whose examples are drawn at once. They share a length; where a task asks for nothing
behind some place of a sequence, examples that end alike share a step."""

N_VALIDATION = 512
N_CONFIRMING = 2048
"""Further examples, on which a stop is confirmed where each counts at its last position alone: few
leave an accuracy uncertain by a hundredth, and the first of many checks above a bound is luck.
"""


@dataclass
class TrainingData:
    """The examples of one training run, in a model's token ids."""

    task: Task
    encoding: Encoding
    seed: int
    batch: int
    _pool: tuple[tuple[int, float], Batch] | None = field(default=None, repr=False)
    _validation: dict[tuple[float, int, bool], Batch] = field(default_factory=dict, repr=False)

    def at(self, step: int, share: float) -> Batch:
        """Return the batch of a step.

        Args:
            step: Counted from 0 over the whole run.
            share: The curriculum's share of the length range.
        """
        index = step // STEPS_PER_POOL
        if self._pool is None or self._pool[0] != (index, share):
            rng = seeding.stream(self.seed, "train_data", index)
            low, high = lengths_of(self.task, share)
            length = int(rng.integers(low, high + 1))
            pool = draw(self.task, rng, STEPS_PER_POOL * self.batch, length=length, split="train")
            pool = pool.take(_by_end(pool.end_B, self.batch, rng))
            self._pool = (index, share), pool.recoded(self.encoding.code_C)
        first = step % STEPS_PER_POOL * self.batch
        return self._pool[1].take(slice(first, first + self.batch))

    def validation(self, share: float, *, times: int = 1, confirming: bool = False) -> Batch:
        """Return the validation examples of a curriculum stage.

        Args:
            share: The curriculum's share of the length range.
            times: How often as long as the longest training examples of the stage they are.
            confirming: Return the further ones, on which a stop is confirmed.
        """
        key = share, times, confirming
        if key not in self._validation:
            rng = seeding.stream(self.seed, "validation_data", *(["more"] if confirming else []))
            n, length = (
                N_CONFIRMING if confirming else N_VALIDATION,
                times * lengths_of(self.task, share)[1],
            )
            batch = draw(self.task, rng, n, length=length, split="validation")
            batch = batch.take(np.argsort(batch.end_B, kind="stable"))
            self._validation[key] = batch.recoded(self.encoding.code_C)
        return self._validation[key]


def lengths_of(task: Task, share: float) -> tuple[int, int]:
    """Return the fewest and the most symbols of the training examples of a curriculum stage.

    Args:
        task: The task.
        share: The curriculum's share of its length range.
    """
    high = max(1, round(share * task.max_length))
    return min(task.min_length, high), high


def _by_end(end_B: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return an order in which the examples of a step end alike, and steps come at random.

    A step is as long as its longest example, so this leaves little of it to padding. Where all
    examples end at the same place, they keep their order.
    """
    if (end_B == end_B[0]).all():
        return np.arange(len(end_B))
    return rng.permutation(np.argsort(end_B, kind="stable").reshape(-1, size)).ravel()
