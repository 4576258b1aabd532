"""Shows a run: live on a terminal, one plain line per finished cell elsewhere, or JSON lines.

Everything goes to stderr, so that stdout holds the table alone; JSON lines are the result and go to
stdout.
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mecheval.cli.printing import say
from mecheval.escape import cause, sentence, terminal
from mecheval.harness.events import Outcome, Progress, Silence
from mecheval.harness.gate import find_gated
from mecheval.reports.labels import gate_in_words, gate_of, gate_on_of, learned_in_words
from mecheval.reports.pair import PairReport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from mecheval.harness.events import Listener
    from mecheval.harness.pair_plan import PairCell
    from mecheval.harness.request import Cell
    from mecheval.reports.schema import Report


@contextmanager
def display(*, quiet: bool = False, as_json: bool = False) -> Iterator[Listener]:
    """Choose how a run is shown.

    Args:
        quiet: Show nothing but failures.
        as_json: Print a JSON line per finished cell.
    """
    if as_json:
        yield JsonLines()
    elif quiet:
        yield Failures()
    elif not sys.stderr.isatty():
        yield PlainLines()
    else:
        with _bars() as bars:
            yield LiveBars(bars)


def line_of(outcome: Outcome) -> str:
    """Return the line of a finished cell.

    Such as ``parity  lstm  seed 0  learned (gate 0.99)  acc 0.998  3.1 s``.
    """
    report, cell = outcome.report, outcome.cell
    words = [cell.title]
    if report.error is not None:
        error = report.error
        said = sentence(f"FAILED in {error.stage}: {error.type}: {cause(error.message)}")
        return "  ".join([*words, said])
    if isinstance(report, PairReport):
        found = [r for r in report.metrics if r.value is not None]
        return "  ".join([*words, *(f"{result.id} {result.value:.3f}" for result in found)])
    gate = gate_in_words(report.identity)
    said = learned_in_words(report.learned, report.identity)
    words.append(said + (gate and f" ({gate})"))
    words += ["tracking"] if report.tracking else []
    score, on = accuracy_of(outcome), gate_on_of(report.identity)
    words += [] if score is None else [f"{'loss' if on == 'loss' else 'acc'} {score:.3f}"]
    seconds = _seconds(report)
    return "  ".join([*words, "already there" if outcome.kept else f"{seconds:.1f} s"])


def _seconds(report: Report) -> float:
    """Return how long a cell took, as far as its report says so."""
    found = report.resources.get("seconds")
    times = found.values() if isinstance(found, dict) else ()
    return sum(time for time in times if isinstance(time, int | float))


def redone_line(path: Path, problem: str) -> str:
    """Return the warning about a report that is there and cannot be kept."""
    return sentence(f"Warning: {path} {problem}. It is set aside, and its cell measured again.")


def accuracy_of(outcome: Outcome) -> float | None:
    """Return what a cell's gate was held against: its accuracy or loss in distribution."""
    found = find_gated(outcome.report.metrics, gate_on_of(outcome.report.identity))
    return found.value if found else None


class Failures(Silence):
    """One line per cell that failed, and per report that cannot be kept."""

    def redone(self, path: Path, problem: str) -> None:
        """Say that a cell is measured again, and why."""
        self._print(redone_line(path, problem))

    def finished(self, outcome: Outcome) -> None:
        """Print the cell's line if it failed."""
        if outcome.report.error is not None:
            self._print(line_of(outcome))

    def _print(self, line: str) -> None:
        say(line, error=True)


class PlainLines(Failures):
    """One line per finished cell."""

    def planned(self, todo: int, kept: int) -> None:
        """Say how much there is to do, if anything is already there."""
        if kept:
            self._print(f"{kept} cells are already there, {todo} to do")

    def noted(self, note: str) -> None:
        """Print it."""
        self._print(f"Note: {note}")

    def finished(self, outcome: Outcome) -> None:
        """Print the cell's line."""
        if not outcome.kept:
            self._print(line_of(outcome))


class JsonLines(Silence):
    """One JSON object per finished cell, on stdout; warnings go to stderr."""

    def redone(self, path: Path, problem: str) -> None:
        """Say on stderr that a cell is measured again, and why."""
        say(redone_line(path, problem), error=True)

    def finished(self, outcome: Outcome) -> None:
        """Print the cell's object."""
        report, cell = outcome.report, outcome.cell
        content = {
            "model": cell.model_title,
            "task": cell.task_title,
            "seed": report.identity.seed,
            "key": report.key,
            "status": report.status,
            "learned": report.learned,
            "gate": gate_of(report.identity),
            "tracking": report.tracking,
            "kept": outcome.kept,
            "path": str(cell.path),
            "metrics": {metric.id: metric.value for metric in report.metrics},
            "seconds": report.resources.get("seconds", {}),
            "error": report.error.message if report.error else None,
        }
        say(json.dumps(content, sort_keys=True, allow_nan=False))


class LiveBars(PlainLines):
    """A bar per running cell with its stage, step and accuracy; finished cells scroll by."""

    def __init__(self, bars: Bars) -> None:
        """Show bars on a started display."""
        self.bars = bars
        self.rows: dict[str, TaskID] = {}

    def planned(self, todo: int, kept: int) -> None:
        """Start the bar over all cells."""
        super().planned(todo, kept)
        self.rows["all"] = self.bars.add_task("cells", total=todo, stage="", accuracy="")

    def started(self, cell: Cell | PairCell) -> None:
        """Add a bar for the cell."""
        name = " ".join(cell.title.split())
        row = self.bars.add_task(terminal(name), total=None, stage="start", accuracy="")
        self.rows[cell.key] = row

    def progressed(self, cell: Cell | PairCell, progress: Progress) -> None:
        """Move the cell's bar."""
        accuracy = "" if progress.accuracy is None else f"acc {progress.accuracy:.3f}"
        self.bars.update(
            self.rows[cell.key],
            total=progress.total or None,
            completed=progress.step,
            stage=progress.stage,
            accuracy=accuracy,
        )

    def finished(self, outcome: Outcome) -> None:
        """Replace the cell's bar by its line."""
        row = self.rows.pop(outcome.cell.key, None)
        if row is not None:
            self.bars.remove_task(row)
            self.bars.advance(self.rows["all"])
        super().finished(outcome)

    def _print(self, line: str) -> None:
        self.bars.console.print(terminal(line), highlight=False, markup=False)


def _bars() -> Bars:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    return Bars(
        TextColumn("{task.description}", markup=False),  # brackets are arguments here
        TextColumn("{task.fields[stage]}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[accuracy]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
