"""What is told about a run while it goes on, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from mecheval.harness.pair_plan import PairCell
    from mecheval.harness.request import Cell


@dataclass(frozen=True)
class Progress:
    """Where a cell is.

    Attributes:
        stage: What it is doing: train, behaviour, a metric's name, fidelity.
        step: Steps done in this stage.
        total: Steps at most, 0 where steps are not counted.
        accuracy: Last validation accuracy, or that which the gate is held against.
    """

    stage: str
    step: int = 0
    total: int = 0
    accuracy: float | None = None


@dataclass(frozen=True)
class Outcome:
    """A cell or a pair, and its report.

    Attributes:
        cell: The cell, or the pair.
        report: Its report.
        kept: Whether the report was already there.
    """

    cell: Any  # the Cell, or the PairCell
    report: Any  # its Report, or PairReport
    kept: bool = False


class Listener(Protocol):
    """Is told what happens; called in the process that started the run."""

    def planned(self, todo: int, kept: int) -> None:
        """Hear how many cells are to be computed and how many are already there."""

    def noted(self, note: str) -> None:
        """Hear what will have no number, and why."""

    def redone(self, path: Path, problem: str) -> None:
        """Hear that the report of a cell is there and cannot be kept, and why."""

    def started(self, cell: Cell | PairCell) -> None:
        """Hear that a cell began."""

    def progressed(self, cell: Cell | PairCell, progress: Progress) -> None:
        """Hear where a cell is."""

    def finished(self, outcome: Outcome) -> None:
        """Hear that a cell ended."""


class Silence:
    """A listener that tells nobody."""

    def planned(self, todo: int, kept: int) -> None:
        """Ignore it."""

    def noted(self, note: str) -> None:
        """Ignore it."""

    def redone(self, path: Path, problem: str) -> None:
        """Ignore it."""

    def started(self, cell: Cell | PairCell) -> None:
        """Ignore it."""

    def progressed(self, cell: Cell | PairCell, progress: Progress) -> None:
        """Ignore it."""

    def finished(self, outcome: Outcome) -> None:
        """Ignore it."""
