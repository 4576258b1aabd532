"""Where a training is."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Progress:
    """Where a training is; with the tensors, all that resuming it needs.

    Attributes:
        step: Steps that were taken.
        stage: Stage of the curriculum.
        curve: (step, loss, accuracy) at every validation.
        losses: The validation loss at each, where the gate is on it.
        stage_from: Validations before this stage.
        passed: Whether the stop rule was met.
        stalled: Whether it ended because its accuracy had not risen for too long.
        diverged: Whether it ended because its loss was no longer finite.
        not_finite: Steps in a row, up to now, whose loss was not finite.
        together: Most trainings, this one included, that took a step as one.
    """

    step: int = 0
    stage: int = 0
    curve: list[tuple[int, float | None, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    stage_from: int = 0
    passed: bool = False
    stalled: bool = False
    diverged: bool = False
    not_finite: int = 0
    together: int = 1

    @property
    def diverged_from(self) -> int:
        """Return the first step, counted from 1, without a finite loss up to now."""
        return self.step - self.not_finite + 1

    @property
    def accuracy(self) -> float | None:
        """Return the last validation accuracy, None before the first validation."""
        return self.curve[-1][2] if self.curve else None

    @property
    def loss(self) -> float | None:
        """Return the last validation loss, None where there is none."""
        return self.losses[-1] if self.losses else None
