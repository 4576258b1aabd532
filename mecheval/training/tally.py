"""The progress of several trainings of one cell, told as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mecheval.training.loop import Emit


class Tally:
    """Adds up the steps of trainings and tells their best accuracy."""

    def __init__(self, budgets: Mapping[str, int], emit: Emit) -> None:
        """Begin with nothing done.

        Args:
            budgets: Most steps of every training, by its key.
            emit: Called with (stage, steps done, most steps, best accuracy).
        """
        self._emit = emit
        self._most = sum(budgets.values())
        self._done = dict.fromkeys(budgets, 0)
        self._accuracies: dict[str, float] = {}

    def of(self, key: str) -> Emit:
        """Return what the training with this key calls as it goes on."""

        def emit(stage: str, step: int, _: int, accuracy: float | None) -> None:
            self._done[key] = step
            if accuracy is not None:
                self._accuracies[key] = accuracy
            best = max(self._accuracies.values(), default=None)
            self._emit(stage, sum(self._done.values()), self._most, best)

        return emit
