"""The output folder: which cells are finished, and who is at work on one.

A cell is claimed with a lock that the operating system frees when its process ends, however it
ends, so that two runs on one folder share the work and a killed one leaves nothing behind.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mecheval import locking
from mecheval.errors import UsageError
from mecheval.harness.pair_plan import PairCell
from mecheval.paths import exists, is_dir
from mecheval.reports.files import (
    SUBMISSIONS,
    TEMPORARY,
    read_pair,
    read_report,
    storage_error,
    write_report,
)
from mecheval.reports.reading import ReportError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mecheval.harness.request import Cell
    from mecheval.reports.pair import PairReport
    from mecheval.reports.schema import Report

LOCKS = ".locks"
FINISHED = ("success", "not_applicable")
_SECONDS_OF_WRITING = 3600


def finished_report(cell: Cell | PairCell) -> Any:
    """Return the report of a cell or a pair if it is there as it was written, with the same key."""
    report = written_report(cell)
    return report if report is not None and report.status in FINISHED else None


def written_report(cell: Cell | PairCell) -> Any:
    """Return what :func:`finished_report` does, and the report of a failure as well."""
    if cell.path is None or not exists(cell.path):
        return None
    try:
        report = _read(cell)
    except UsageError:
        return None
    return report if report.key == cell.key else None


def _read(cell: Cell | PairCell) -> Report | PairReport:
    read = read_pair if isinstance(cell, PairCell) else read_report
    return read(cell.path, verify=True)  # type: ignore[arg-type] - where there is one


def failed_since(cell: Cell, time: str) -> bool:
    """Say whether a cell failed, at a time or after it; as reports write the time."""
    report = written_report(cell)
    return report is not None and report.status not in FINISHED and report.created >= time


def problem_of(cell: Cell | PairCell) -> str | None:
    """Say why the report in a cell's place is none that can be relied on; None where it is one."""
    if cell.path is None or not exists(cell.path):
        return None
    try:
        _read(cell)
    except ReportError as error:
        return error.problem
    return None


@contextmanager
def claimed(root: Path, key: str, *, wait: bool) -> Iterator[bool]:
    """Hold a cell's lock.

    Args:
        root: The output folder.
        key: The cell's key.
        wait: Whether to wait for another process that holds it.

    Yields:
        Whether it is this process's to compute; always true with ``wait``, and where the file
        system has no locks.

    Raises:
        StorageError: The lock's file cannot be made.
    """
    try:
        lock = locking.acquired(root / LOCKS / f"{key[:16]}.lock", wait=wait)
    except OSError as error:
        raise storage_error(root, error) from error
    if lock is None:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def save(report: Report | PairReport, cell: Cell | PairCell) -> None:
    """Write a cell's report to its place, if it has one.

    Raises:
        StorageError: It could not be written.
    """
    if cell.path is not None:
        write_report(report, cell.path)


def open_folder(root: Path) -> None:
    """Make the output folder, try that it can be written, and remove what killed runs left.

    Raises:
        StorageError: It cannot be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=root, prefix=".probe-") as probe:
            probe.write(b"mecheval")
            probe.flush()
        for temporary in root.rglob(f".*{TEMPORARY}"):
            if SUBMISSIONS in temporary.parts:
                continue  # what jobs say of themselves, all the time
            key = temporary.name.removesuffix(TEMPORARY).rpartition(".")[2]
            with claimed(root, key, wait=False) as free:
                if free and (can_be_claimed(root) or _is_old(temporary)):
                    temporary.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(root, error) from error


def can_be_claimed(root: Path) -> bool:
    """Say whether the file system of the output folder, which is there, has locks."""
    return locking.supported(root / LOCKS if is_dir(root / LOCKS) else root)


def _is_old(path: Path) -> bool:
    """Say whether nobody can be writing a file any more."""
    return time.time() - path.stat().st_mtime > _SECONDS_OF_WRITING


def save_failure(report: Report | PairReport, cell: Cell | PairCell) -> None:
    """Write the report of a cell whose worker died, unless another process is at work on it.

    Raises:
        StorageError: It could not be written.
    """
    if cell.output is None:
        return
    with claimed(cell.output, cell.key, wait=False) as held:
        if held and finished_report(cell) is None:
            save(report, cell)
