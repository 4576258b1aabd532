"""What a job does: it plans, or it measures its pack of cells as any run does.

A job carries the request and keys, never a model: it plans again where it runs, and writes reports
to the store, which is all that anybody learns from it.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mecheval.errors import MechevalError, StorageError, UsageError
from mecheval.harness import store
from mecheval.harness.cluster.submissions import forget, see
from mecheval.harness.devices import find_devices
from mecheval.harness.events import Progress, Silence
from mecheval.harness.execute import execute, planned_cells
from mecheval.own_code.explaining import explained
from mecheval.training import stopping

if TYPE_CHECKING:
    from pathlib import Path

    from mecheval.harness.events import Outcome
    from mecheval.harness.pair_plan import PairCell
    from mecheval.harness.request import Cell, Request

_SECONDS_BETWEEN_SIGHTINGS = 5.0
_OF_SUBMITIT = -1  # the exit code with which submitit ends a job of SLURM that it queued again


@dataclass(frozen=True)
class Planning:
    """The job that plans.

    Attributes:
        requests: What is asked for.
    """

    requests: tuple[Request, ...]

    def __call__(self) -> list[Cell] | MechevalError:
        """Return the cells, or why there are none."""
        try:
            return planned_cells(_here(self.requests, device=None))
        except Exception as error:
            problem = explained(error)
            if problem is None:
                raise
            return problem

    def checkpoint(self) -> Any:
        """Return what is submitted where the job is to run again: the same."""
        return _again(self)


@dataclass(frozen=True)
class Pack:
    """The job that measures some cells.

    Attributes:
        requests: What is asked for.
        keys: The keys of its cells.
        root: The output folder.
        submitted: When it was submitted, as reports write times.
    """

    requests: tuple[Request, ...]
    keys: tuple[str, ...]
    root: Path
    submitted: str = ""

    def __call__(self) -> None:
        """Measure what is not finished, cell by cell; end where the scheduler asks for it.

        Raises:
            UsageError: The requests no longer come to these cells.
            StorageError: A report could not be written.
        """
        requeue = signal.getsignal(signal.SIGUSR2)
        try:
            with stopping.handled(*stopping.GENTLE):
                self._measure()
        except stopping.Stopped as stopped:
            self._end(stopped, requeue)

    def checkpoint(self) -> Any:
        """Return what is submitted where the job is to run again: the same."""
        return _again(self)

    def _measure(self) -> None:
        devices = find_devices("auto")
        requests = _here(self.requests, device=devices.kind)
        wanted = set(self.keys)
        cells = [cell for cell in planned_cells(requests) if cell.key in wanted]
        if len(cells) < len(wanted):
            raise UsageError(
                f"{len(wanted) - len(cells)} of {len(wanted)} cells are no longer what was asked "
                "for: a file or a package changed since they were submitted. Run the same command "
                "again."
            )
        listener = Sightings(self.root)
        todo = [cell for cell in cells if not self._is_measured_again(cell)]
        if todo:
            execute(requests, listener, devices=devices, jobs=devices.jobs, planned=todo)

    def _is_measured_again(self, cell: Cell) -> bool:
        """Say whether a cell that was to be measured again has been, since it was submitted."""
        if not cell.settings.overwrite:
            return False
        report = store.finished_report(cell)
        return report is not None and report.created >= self.submitted

    def _end(self, stopped: stopping.Stopped, requeue: Any) -> None:
        """Let submitit queue the job again where it is to, and end."""
        if stopped.number == getattr(signal, "SIGUSR2", None) and callable(requeue):
            try:
                requeue(stopped.number, None)
            except SystemExit as ended:
                sys.exit(stopped.exit_code if ended.code == _OF_SUBMITIT else ended.code)
        sys.exit(stopped.exit_code)


class Sightings(Silence):
    """Tells other processes, by way of the output folder, where the cells of this job are."""

    def __init__(self, root: Path) -> None:
        """Tell nothing yet."""
        self._root, self._job, self._host = root, job_id(), socket.gethostname()
        self._told: dict[str, float] = {}

    def started(self, cell: Cell | PairCell) -> None:
        """Tell that a cell began."""
        self._tell(cell.key, Progress("start"))

    def progressed(self, cell: Cell | PairCell, progress: Progress) -> None:
        """Tell where it is, every few seconds."""
        if time.monotonic() - self._told.get(cell.key, 0.0) > _SECONDS_BETWEEN_SIGHTINGS:
            self._tell(cell.key, progress)

    def finished(self, outcome: Outcome) -> None:
        """Tell no more of it."""
        forget(self._root, outcome.cell.key)

    def _tell(self, key: str, progress: Progress) -> None:
        self._told[key] = time.monotonic()
        with suppress(StorageError):  # a courtesy; reports that cannot be written end the job
            see(self._root, key, progress, job=self._job, host=self._host)


def job_id() -> str:
    """Return the id by which submitit and SLURM know the job that this process is."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}") for name in ("JOB_ID", "TASK_ID"))
    if array and task:
        return f"{array}_{task}"
    return os.environ.get("SLURM_JOB_ID") or os.environ.get("SUBMITIT_LOCAL_JOB_ID", "")


def _here(requests: tuple[Request, ...], *, device: str | None) -> list[Request]:
    """Return requests for the device that is found where the job runs."""
    if device is None:
        return list(requests)
    return [replace(r, settings=replace(r.settings, device=device)) for r in requests]


def _again(job: Planning | Pack) -> Any:
    from submitit.helpers import DelayedSubmission

    return DelayedSubmission(job)
