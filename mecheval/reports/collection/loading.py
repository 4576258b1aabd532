"""Which files of a folder are finished reports, and why the others are not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from mecheval.escape import cause
from mecheval.garbage import kept_all
from mecheval.paths import is_dir
from mecheval.reports.files import find_pairs, find_reports
from mecheval.reports.pair import PairReport
from mecheval.reports.reading import ReportError, read_file
from mecheval.reports.reproduced import mark_of
from mecheval.reports.schema import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from mecheval.reports.labels import Name
    from mecheval.reports.reading import CellFile, PairFile
    from mecheval.reports.reproduced import Reproduced

    Judge = Callable[[CellFile], str | None]
    """Says why a finished report does not count; None if it does."""

    PairJudge = Callable[[PairFile], str | None]
    """The same of the report of a pair."""


class Refused(NamedTuple):
    """A report that does not count.

    Attributes:
        path: The file, relative to the folder; empty for a report that is in memory.
        reason: Why it does not count.
        report: What it holds, where that could be read and is of a cell.
        name: What its model and task are called, where it could be read.
    """

    path: str
    reason: str
    report: Report | None = None
    name: Name | None = None


class FoundPair(NamedTuple):
    """The report of a pair that counts; as :class:`Found`."""

    path: str
    report: PairReport


class Found(NamedTuple):
    """A report that counts.

    Attributes:
        path: The file, relative to the folder.
        report: What it holds.
    """

    path: str
    report: Report


def read_folder(root: Path, judge: Judge | None = None) -> tuple[list[Found], list[Refused]]:
    """Read all reports of cells of a folder, or one file, and sort out those that do not count.

    Args:
        root: The folder.
        judge: Further reasons for a report not to count.

    Raises:
        UsageError: There is no such folder, or the one file is no report.
    """
    found, refused = _read(Report, root, judge)
    return [Found(*each) for each in found], refused


def read_pairs(root: Path, judge: PairJudge | None = None) -> tuple[list[FoundPair], list[Refused]]:
    """Read all reports of pairs; as :func:`read_folder`."""
    found, refused = _read(PairReport, root, judge)
    return [FoundPair(*each) for each in found], refused


@kept_all()
def _read(
    kind: type[Report] | type[PairReport], root: Path, judge: Callable[..., str | None] | None
) -> tuple[list[tuple[str, Any]], list[Refused]]:
    counted: list[tuple[str, Any]] = []
    refused: list[Refused] = []
    seen: dict[str, str] = {}
    find, called = (find_reports, "cell") if kind is Report else (find_pairs, "pair")
    for path in find(root):
        name = path.relative_to(root).as_posix() if path != root else path.name
        try:
            file = read_file(path, kind, verify=True)
        except ReportError as error:
            if path == root:
                raise
            refused.append(Refused(name, f"invalid: {error.problem}"))
            continue
        report = file.report
        reason = unfinished(report) or (judge(file) if judge else None)
        if reason is None and report.key in seen:
            reason = f"duplicate: the same {called} as {seen[report.key]}"
        if reason is None:
            seen[report.key] = name
            counted.append((name, report))
        else:
            of_cell = report if isinstance(report, Report) else None
            refused.append(Refused(name, reason, of_cell))
    return counted, refused


def marks_of(found: Iterable[Found], root: Path) -> dict[str, Reproduced]:
    """Return what stands beside reports that were reproduced, by their keys.

    Args:
        found: The reports.
        root: The folder that they were found in, or the one file.
    """
    marks = {}
    for path, report in found:
        mark = mark_of(report, root / path if is_dir(root) else root)
        marks |= {} if mark is None else {report.key: mark}
    return marks


def sort_out(reports: Iterable[Report]) -> tuple[list[Report], list[Refused]]:
    """Sort out the reports that are not finished."""
    counted: list[Report] = []
    refused: list[Refused] = []
    for report in reports:
        reason = unfinished(report)
        if reason is None:
            counted.append(report)
        else:
            refused.append(Refused("", reason, report))
    return counted, refused


def unfinished(report: Report | PairReport) -> str | None:
    """Say why a report holds no numbers; None if it does."""
    if report.status == "error":
        error = report.error
        return f"error: {error.type} in {error.stage}: {cause(error.message)}" if error else "error"
    if report.status == "not_applicable":
        return "not applicable: the model cannot do this task"
    return None
