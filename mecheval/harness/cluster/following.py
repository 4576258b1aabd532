"""The outcomes of cells that jobs are at work on: reports that appear in the store."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mecheval.harness import store
from mecheval.harness.cluster import scheduler, submissions
from mecheval.harness.events import Outcome, Progress
from mecheval.harness.failure import lost

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mecheval.harness.events import Listener
    from mecheval.harness.request import Cell
    from mecheval.reports.schema import Report

_SECONDS_BETWEEN_LOOKS = (0.5, 10.0)
_SECONDS_BETWEEN_QUESTIONS = 10.0
_SECONDS_TO_APPEAR = 20.0
"""How long after the end of its job a report may become visible on another machine."""

Mark = tuple[int, int] | None


def follow(
    cells: Sequence[Cell], jobs: Mapping[str, str], listener: Listener, *, cluster: str, root: Path
) -> Iterator[Outcome]:
    """Yield an outcome per cell as its report appears, or as it is certain that none will.

    Args:
        cells: The cells.
        jobs: The job that is to measure each, by its key.
        listener: Is told where cells are.
        cluster: What runs the jobs.
        root: The output folder.

    Raises:
        StorageError: The report of a cell whose job is over could not be written.
    """
    open_cells = {cell.key: cell for cell in cells}
    marks = {cell.key: _mark(cell) for cell in cells}
    watch, started = _Watch(cluster, jobs), set[str]()
    pause, longest = _SECONDS_BETWEEN_LOOKS
    while open_cells:
        found = list(_appeared(open_cells.values(), marks))
        there = {outcome.cell.key for outcome in found}
        found += [
            Outcome(open_cells[key], report)
            for key in watch.over([key for key in open_cells if key not in there])
            if (report := _without_a_report(open_cells[key], jobs[key])) is not None
        ]
        for outcome in found:
            del open_cells[outcome.cell.key]
            if outcome.cell.key not in started:
                listener.started(outcome.cell)
            listener.finished(outcome)
            yield outcome
        seen = submissions.sightings(root) if open_cells else {}
        for key in seen.keys() & open_cells.keys():
            if seen[key].job != jobs[key]:
                continue  # what a job left that is over
            if key not in started:
                started.add(key)
                listener.started(open_cells[key])
            at = seen[key]
            progress = Progress(at.stage, at.step, at.total, at.accuracy)
            listener.progressed(open_cells[key], progress)
        if open_cells and not found:
            time.sleep(pause)
            pause = min(longest, 1.2 * pause)
        else:
            pause = _SECONDS_BETWEEN_LOOKS[0]


class _Watch:
    """Knows which jobs are over: not known to the scheduler for some time."""

    def __init__(self, cluster: str, jobs: Mapping[str, str]) -> None:
        self._cluster, self._jobs = cluster, jobs
        self._asked = time.monotonic()
        self._gone: dict[str, float] = {}

    def over(self, keys: Iterable[str]) -> list[str]:
        """Return those of some cells whose jobs are over, and have been for a while."""
        time_now = time.monotonic()
        if time_now - self._asked < _SECONDS_BETWEEN_QUESTIONS:
            return []
        self._asked = time_now
        states = scheduler.states(self._cluster, self._jobs.values())
        if states is None:
            return []
        gone = {job for job in self._jobs.values() if job not in states}
        self._gone = {job: self._gone.get(job, time_now) for job in gone}
        return [
            key
            for key in keys
            if time_now - self._gone.get(self._jobs[key], time_now) >= _SECONDS_TO_APPEAR
        ]


def _appeared(cells: Iterable[Cell], marks: Mapping[str, Mark]) -> Iterator[Outcome]:
    """Yield the outcomes of cells whose reports are other ones than before."""
    for cell in cells:
        if _mark(cell) == marks[cell.key]:
            continue
        report = store.written_report(cell)
        if report is not None:
            yield Outcome(cell, report)


def _mark(cell: Cell) -> Mark:
    """Return what tells one state of a report's file from another; None where there is none."""
    try:
        found = cell.path.stat() if cell.path else None
    except OSError:
        return None
    return found and (found.st_mtime_ns, found.st_ino)


def _without_a_report(cell: Cell, job: str) -> Report | None:
    """Write that a cell's job is over; None where its report is there, or another one is at it."""
    report = lost(cell, job)
    store.save_failure(report, cell)
    return store.written_report(cell)
