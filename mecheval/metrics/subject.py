"""What a metric measures: a model on a task, with the data that the metric may ask for."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval import seeding
from mecheval.tasks.batch import UNSCORED
from mecheval.tasks.floors import first_position, task_floors
from mecheval.tasks.splits import Split, draw, draw_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mecheval.metrics.pairs.network import Network
    from mecheval.models.contract import Encoding, SequenceModel
    from mecheval.tasks import Batch, Pairs, Task
    from mecheval.tasks.floors import TaskFloors


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
        accuracy: The accuracy, or the loss, that ``learned`` was decided by.
        gated: What that is called: token accuracy, last-position accuracy, held-out loss.
        missed: What it falls short of, in words, where the task was not learned.
        factor: Multiple of the training length at which the task has the test that is measured.
        scratch: A folder for parts of long computations, so that they go on after an interruption.
        memo: Examples, activations and probes that are needed more than once.
        kept: Gives what the model holds, and dictionaries of it, as they are kept in the cache;
            None where nothing is kept.
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
    gated: str = "token accuracy"
    missed: str = "below the gate"
    factor: int = 1
    scratch: Path | None = None
    memo: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)
    kept: Callable[[Subject], Network] | None = field(default=None, repr=False, compare=False)

    @property
    def length(self) -> int:
        """Return the number of symbols of the sequences that are measured."""
        return self.factor * self.task.max_length

    def too_long(self, length: int) -> str | None:
        """Say why the model cannot read sequences of a number of symbols, None where it can."""
        return too_long(length, self.model.context_limit)

    def at(self, factor: int) -> Subject:
        """Return the same subject at a multiple of the training length.

        Examples of every split, tests and pairs are then of that length.
        """
        return dataclasses.replace(self, factor=factor)

    @property
    def floors(self) -> TaskFloors:
        """Return what tables over positions and symbols know at the length that is measured."""
        return task_floors(self.task, self.seed, factor=self.factor)

    @property
    def answers_A(self) -> np.ndarray:
        """Return the token ids that can be an answer, shape ``(A,)``."""
        return self.encoding.code_C[list(self.task.answers)]

    def cut(self, n: int) -> int:
        """Return a number of examples, cut to the limit."""
        return n if self.limit is None else min(n, self.limit)

    def gives_more(self, **sizes: int) -> str:
        """Say in words what gives more examples: the limit where it cuts, or else parameters.

        Args:
            **sizes: The parameters of the metric that say how many there are, with their values.
        """
        return gives_more(self.limit, sizes)

    def stream(self, *names: str | int) -> np.random.Generator:
        """Return the random stream of one purpose."""
        return seeding.stream(self.seed, *names)

    def test(self, length: int, n: int) -> Batch:
        """Draw test examples of a length; the same ones at every call."""
        rng = self.stream("test_data", length)
        batch = draw(self.task, rng, self.cut(n), length=length, split="test")
        return batch.recoded(self.encoding.code_C)

    def counting(self, batch: Batch) -> np.ndarray:
        """Say which answers count, ``(B, T)``: scored ones, where probes are asked.

        Before :func:`~mecheval.tasks.floors.first_position` the last symbols tell the state.
        """
        counting_BT = batch.targets_BT != UNSCORED
        counting_BT[:, : first_position(self.length)] = False
        return counting_BT

    def asked(self, n: int) -> Batch:
        """Draw test examples of the length that is measured, those with an answer that counts."""
        batch = self.test(self.length, n)
        return batch.take(np.flatnonzero(self.counting(batch).any(axis=1)))

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
        """Draw examples of any split, of the length that is measured, for probes and erasers."""
        key = ("examples", split, self.cut(n), purpose, self.length)
        if key not in self.memo:
            further = [] if self.factor == 1 else [self.length]
            rng = self.stream("probe_data", purpose, split, *further)
            batch = draw(self.task, rng, self.cut(n), length=self.length, split=split)
            self.memo[key] = batch.recoded(self.encoding.code_C)
        return self.memo[key]

    def answered(self, length: int, n: int) -> tuple[Batch, np.ndarray]:
        """Return test examples of a length with the answers to them; see :meth:`predict`."""
        key = ("answered", length, self.cut(n))
        if key not in self.memo:
            batch = self.test(length, n)
            self.memo[key] = batch, self.predict(batch)
        return self.memo[key]

    def predict(self, batch: Batch) -> np.ndarray:
        """Return the likeliest answer token at every scored position; any token elsewhere.

        Returns:
            Token ids ``(B, T)``.
        """
        from mecheval.interventions import answer_logits  # imports torch

        answers_A = self.answers_A
        logits_BTA = answer_logits(
            self.model, batch.tokens_BT, answers_A,
            read_BT=batch.targets_BT != UNSCORED, batch_size=self.batch_size,
        )  # fmt: skip
        return answers_A[logits_BTA.argmax(-1)]


def too_long(length: int, limit: int | None) -> str | None:
    """Say why sequences of a number of symbols cannot be read, None where they can.

    Args:
        length: The number of symbols, BOS not counted.
        limit: Most positions that the model accepts, None if unbounded.
    """
    if limit is None or length + 1 <= limit:
        return None
    return f"the model takes at most {limit} positions and this length needs {length + 1}"


def gives_more(limit: int | None, sizes: Mapping[str, int]) -> str:
    """Say in words what gives more examples: the limit where it cuts, or else parameters.

    Args:
        limit: Largest number of examples, None for all.
        sizes: The parameters of the metric that say how many there are, with their values.
    """
    if limit is not None and any(limit < n for n in sizes.values()):
        return "a higher limit on examples gives more"
    return f"{' and '.join(sizes)} {'gives' if len(sizes) == 1 else 'give'} more"
