"""What a metric measures: a model on a task, with the data that the metric may ask for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mecheval import seeding
from mecheval.tasks.splits import Split, draw, draw_pairs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np

    from mecheval.models.contract import Encoding, SequenceModel
    from mecheval.tasks import Batch, Pairs, Task


@dataclass(frozen=True)
class Subject:
    """A model on a task; every batch comes in the model's token ids.

    Attributes:
        model: The model, trained or as loaded.
        task: The task.
        encoding: The task's symbols as token ids.
        seed: The seed of the cell, from which all random streams are derived.
        learned: Whether the task's gate was passed; None when it was not measured.
        limit: Largest number of examples per metric, None for all.
        batch_size: Sequences per forward pass.
        untrained: Builds the same model with freshly drawn weights.
        accuracy: The accuracy that ``learned`` was decided by.
        gate: The accuracy that it was compared with.
        gated: What that accuracy is called: token accuracy, last-position accuracy.
        scratch: A folder for parts of long computations, so that they go on after an interruption.
        memo: Examples, activations and probes that are needed more than once.
    """

    model: SequenceModel
    task: Task
    encoding: Encoding
    seed: int
    learned: bool | None
    limit: int | None
    batch_size: int
    untrained: Callable[[], SequenceModel]
    accuracy: float | None = None
    gate: float = 0.99
    gated: str = "token accuracy"
    scratch: Path | None = None
    memo: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def length(self) -> int:
        """Return the number of symbols of the in-distribution test."""
        return self.task.max_length

    @property
    def answers_A(self) -> np.ndarray:
        """Return the token ids that can be an answer, shape ``(A,)``."""
        return self.encoding.code_C[list(self.task.answers)]

    def cut(self, n: int) -> int:
        """Return a number of examples, cut to the limit."""
        return n if self.limit is None else min(n, self.limit)

    def stream(self, *names: str | int) -> np.random.Generator:
        """Return the random stream of one purpose."""
        return seeding.stream(self.seed, *names)

    def test(self, length: int, n: int) -> Batch:
        """Draw test examples of a length; the same ones at every call."""
        rng = self.stream("test_data", length)
        batch = draw(self.task, rng, self.cut(n), length=length, split="test")
        return batch.recoded(self.encoding.code_C)

    def pairs(self, n: int, length: int, *, kind: str | None = None) -> Pairs:
        """Draw pairs of a length; the same ones at every call.

        Args:
            n: Number of pairs.
            length: Number of symbols.
            kind: One of the task's kinds of counterfactual; the first where None.

        Raises:
            UsageError: The task has no such kind.
        """
        further = [] if kind in (None, self.task.counterfactuals[0]) else [kind]
        rng = self.stream("pairs", length, *further)
        pairs = draw_pairs(self.task, rng, self.cut(n), length=length, kind=kind)
        return pairs.recoded(self.encoding.code_C)

    def examples(self, split: Split, n: int, *, purpose: str) -> Batch:
        """Draw in-distribution examples of any split, for probes and erasers."""
        key = ("examples", split, self.cut(n), purpose)
        if key not in self.memo:
            rng = self.stream("probe_data", purpose, split)
            batch = draw(self.task, rng, self.cut(n), length=self.length, split=split)
            self.memo[key] = batch.recoded(self.encoding.code_C)
        return self.memo[key]
