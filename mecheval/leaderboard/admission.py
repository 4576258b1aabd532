"""Which reports enter a leaderboard, and why the others do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mecheval.checks import all_passed
from mecheval.reports.files import find_reports
from mecheval.reports.reading import ReportError, read_report
from mecheval.reports.validate import validate_file

if TYPE_CHECKING:
    from pathlib import Path

    from mecheval.reports.schema import Report


class Refusal(NamedTuple):
    """A report that does not count.

    Attributes:
        path: The file, relative to the folder of results.
        reason: Why it does not count.
        model: The model's name, where the file could be read.
        task: The task as ``name@version``, where the file could be read.
    """

    path: str
    reason: str
    model: str | None = None
    task: str | None = None


class Admitted(NamedTuple):
    """A report that counts.

    Attributes:
        path: The file, relative to the folder of results.
        report: What it holds.
    """

    path: str
    report: Report


def admit(root: Path) -> tuple[list[Admitted], list[Refusal]]:
    """Read all reports of a folder and sort out those that do not count.

    Raises:
        UsageError: There is no such folder.
    """
    admitted: list[Admitted] = []
    refused: list[Refusal] = []
    seen: dict[str, str] = {}
    for path in find_reports(root):
        name = path.relative_to(root).as_posix() if path != root else path.name
        try:
            report = read_report(path)
        except ReportError as error:
            refused.append(Refusal(name, f"invalid: {error.problem}"))
            continue
        identity = report.identity
        reason = _reason(report, path)
        if reason is None and report.key in seen:
            reason = f"duplicate: the same cell as {seen[report.key]}"
        if reason is None:
            seen[report.key] = name
            admitted.append(Admitted(name, report))
        else:
            task = f"{identity.task.name}@{identity.task.version}"
            refused.append(Refusal(name, reason, identity.model.name, task))
    return admitted, refused


def _reason(report: Report, path: Path) -> str | None:
    """Say why a whole report does not count; None if it does."""
    if report.status == "error":
        error = report.error
        return f"error: {error.type} in {error.stage}" if error else "error"
    if report.status == "not_applicable":
        return "not applicable: the model cannot do this task"
    if report.partial:
        return f"partial: measured with --limit {report.identity.limit}"
    if report.identity.model.source == "random":
        return "random weights: a pretrained shape without its weights"
    if report.identity.model.source == "planted":
        return "planted weights: set by hand, to test the metrics"
    checks = validate_file(path)
    if all_passed(checks):
        return None
    failed = next(check for check in checks if check.passed is False)
    return f"invalid: {failed.name}: {failed.detail}"
