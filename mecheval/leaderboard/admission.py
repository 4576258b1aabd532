"""Which reports enter a leaderboard, and why the others do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval.checks import all_passed
from mecheval.reports.collection import Collection, load_results
from mecheval.reports.validate import validate_file

if TYPE_CHECKING:
    from pathlib import Path

    from mecheval.reports.schema import Report


def admit(root: Path) -> Collection:
    """Read all reports of a folder and sort out those that do not count.

    Raises:
        UsageError: There is no such folder.
    """
    return load_results(root, judge=_reason)


def _reason(report: Report, path: Path) -> str | None:
    """Say why a finished report does not count; None if it does."""
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
