"""What would fail in the middle of a cell, found before it begins: examples and lengths.

A task may have no examples of some length in a split, or no pairs; a model may take fewer positions
than the task needs. Both are known without weights and without a step of training.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mecheval import seeding
from mecheval.errors import UsageError
from mecheval.escape import quoted
from mecheval.metrics.needs import kinds_of
from mecheval.tasks.splits import draw, draw_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np

    from mecheval.metrics import Metric
    from mecheval.models.contract import ModelSource
    from mecheval.recipe import Recipe
    from mecheval.tasks import Task
    from mecheval.tasks.splits import Split

_MANY = 128
"""Examples that are looked for where a few draws find none: a length may have rare ones."""


def check_context(source: ModelSource, task: Task, recipes: Iterable[Recipe]) -> None:
    """Check that a model takes the examples that it is trained and tested on.

    Longer tests and metrics at longer lengths are null where the context is too short for them.

    Args:
        source: The model.
        task: The task.
        recipes: How it is trained, one or several of a sweep.

    Raises:
        UsageError: Its context is shorter than the task's examples, or than those of a validation.
    """
    from mecheval.training.validation import check_length  # imports torch

    limit, needed = source.context_limit, task.max_length + 1
    if limit is not None and needed > limit:
        raise UsageError(
            f"Model {quoted(source.card.name)} takes at most {limit} positions, and task "
            f"{quoted(task.card.name)} needs {needed}: {task.max_length} symbols behind the first "
            "one. Make the task shorter, or give a model with a longer context."
        )
    for recipe in recipes:
        if recipe.steps:
            check_length(limit, task, recipe)


@dataclass
class Examples:
    """The examples of a task that cells ask for; those of a length and split are sought once.

    Attributes:
        task: The task.
        found: Lengths with splits, or with kinds of pairs, that are no reason to refuse a run.
    """

    task: Task
    found: set[tuple[int, str, str]] = field(default_factory=set)

    def check_tests(self, metrics: Sequence[Metric]) -> None:
        """Check that there are tests of every length, and pairs of the kinds that are exchanged.

        Args:
            metrics: What is measured.

        Raises:
            UsageError: There are none, or no example can be drawn.
        """
        for length in self.task.test_lengths.values():
            self._check(length, "test")
        for kind in dict.fromkeys([self.task.counterfactuals[0], *kinds_of(metrics, self.task)]):
            self._check_pairs(self.task.max_length, kind)

    def check_training(self, recipes: Iterable[Recipe]) -> None:
        """Check that there are examples of every length that a training may draw.

        Args:
            recipes: How models are trained, one or several of a sweep.

        Raises:
            UsageError: There are none, or no example can be drawn.
        """
        for recipe in recipes:
            for share in recipe.curriculum if recipe.steps else ():
                try:
                    self._check_stage(share, recipe.stop_length)
                except UsageError as error:
                    if share == 1:
                        raise
                    said = str(error).partition(". ")[0]
                    raise UsageError(
                        f"{said}, and the recipe's curriculum has a stage with {share:g} of the "
                        "task's length. Give it larger shares."
                    ) from error

    def _check_stage(self, share: float, times: int) -> None:
        from mecheval.training.data import lengths_of

        low, high = lengths_of(self.task, share)
        for length in range(low, high + 1):
            self._check(length, "train")
        self._check(times * high, "validation")

    def _check(self, length: int, split: Split) -> None:
        def drawn(rng: np.random.Generator, n: int) -> None:
            draw(self.task, rng, n, length=length, split=split)

        self._seek((length, "split", split), drawn)

    def _check_pairs(self, length: int, kind: str) -> None:
        def drawn(rng: np.random.Generator, n: int) -> None:
            draw_pairs(self.task, rng, n, length=length, kind=kind)

        self._seek((length, "pairs", kind), drawn)

    def _seek(
        self, what: tuple[int, str, str], drawn: Callable[[np.random.Generator, int], None]
    ) -> None:
        """Draw one example, or many where one is not found; what is found is not sought again."""
        if what in self.found:
            return
        rng = seeding.stream(0, "foreseen", *what)
        for n in (1, _MANY):
            try:
                drawn(rng, n)
                break
            except UsageError:
                if n == _MANY:
                    raise
            except Exception:  # code of users may raise any, and ends its own cell alone
                break
        self.found.add(what)
