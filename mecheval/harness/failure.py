"""Reports of cells that could not be measured."""

from __future__ import annotations

import signal
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mecheval.harness.pair_plan import PairCell, sides_of
from mecheval.own_code.explaining import message_of
from mecheval.reports.pair import PairReport
from mecheval.reports.schema import Failure, Report
from mecheval.training.stopping import EXIT_CODE, Stopped

if TYPE_CHECKING:
    from mecheval.harness.request import Cell


def now() -> str:
    """Return the time as reports write it: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def failure_of(error: BaseException, stage: str) -> Failure:
    """Return what a report says of an exception: what it says in a line, and all of it."""
    return Failure(
        type=type(error).__name__,
        message=message_of(error),
        stage=stage,
        traceback="".join(traceback.format_exception(error)),
    )


def is_interruption(error: BaseException) -> bool:
    """Say whether an exception asks this process to end, which Ctrl-C does not ask of workers."""
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    return isinstance(error, Stopped) or (isinstance(error, KeyboardInterrupt) and not ignored)


def failed(cell: Cell, failure: Failure, **parts: Any) -> Report:
    """Return the report of a cell that failed, with the parts that were finished before.

    Args:
        cell: The cell.
        failure: What went wrong.
        parts: Further fields of the report.
    """
    filled = {"created": now(), "finished": now(), "learned": None, **parts}
    return Report(
        key=cell.key,
        status="error",
        partial=cell.identity.limit is not None,
        identity=cell.identity,
        labels=cell.labels,
        command=list(cell.settings.command),
        error=failure,
        **filled,
    )


def failed_pair(cell: PairCell, failure: Failure, **parts: Any) -> PairReport:
    """Return the report of a pair that failed; as :func:`failed`."""
    filled = {"created": now(), "finished": now(), "sides": sides_of(cell), **parts}
    return PairReport(
        key=cell.key,
        status="error",
        partial=any(of.identity.limit is not None for of in cell.cells),
        identity=cell.identity,
        task=cell.group.task,
        task_title=cell.group.title,
        command=list(cell.settings.command),
        error=failure,
        **filled,
    )


def died(cell: Cell | PairCell, exit_code: int | None, stage: str) -> Report | PairReport:
    """Return the report of a cell whose worker process ended before it answered.

    Args:
        cell: The cell.
        exit_code: As :mod:`multiprocessing` gives it: minus the signal's number if one ended it.
        stage: What the cell was last heard to do.
    """
    if exit_code == EXIT_CODE:
        exit_code = -signal.SIGTERM  # which a worker follows between two steps of a training
    how = f"ended with exit code {exit_code}"
    if exit_code is not None and exit_code < 0:
        how = f"was ended by {signal.Signals(-exit_code).name}"
        if -exit_code == signal.SIGKILL:
            how += "; if memory ran out, lower --jobs or --batch-size"
    message = f"The worker process {how}."
    failure = Failure(type="WorkerDied", message=message, stage=stage, traceback="")
    return failed_pair(cell, failure) if isinstance(cell, PairCell) else failed(cell, failure)


def lost(cell: Cell, job: str) -> Report:
    """Return the report of a cell whose job is over without one.

    Args:
        cell: The cell.
        job: The job's id.
    """
    message = f"Job {job} is over and wrote no report; its log, in .submissions, may say why."
    return failed(cell, Failure(type="JobEnded", message=message, stage="job", traceback=""))
