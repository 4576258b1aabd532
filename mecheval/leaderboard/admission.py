"""Which reports enter a leaderboard, and why the others do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval.checks import all_passed
from mecheval.reports.collection import Collection, Pairs, load_pairs, load_results
from mecheval.reports.validate import validate_file

if TYPE_CHECKING:
    from pathlib import Path

    from mecheval.reports.identity import ModelPart
    from mecheval.reports.pair import PairReport
    from mecheval.reports.schema import Report


def admit(root: Path) -> Collection:
    """Read all reports of a folder and sort out those that do not count.

    Raises:
        UsageError: There is no such folder.
    """
    return load_results(root, judge=_reason)


def admit_pairs(root: Path) -> Pairs:
    """Read all reports of pairs of a folder; as :func:`admit`."""
    return load_pairs(root, judge=_reason_of_pair)


def _reason(report: Report, path: Path) -> str | None:
    """Say why a finished report does not count; None if it does."""
    if report.partial:
        return f"partial: measured with --limit {report.identity.limit}"
    return _of_weights(report.identity.model) or _invalid(path)


def _reason_of_pair(report: PairReport, path: Path) -> str | None:
    """Say why the finished report of a pair does not count; None if it does."""
    if report.partial:
        return "partial: one of the cells was measured with --limit"
    reasons = (_of_weights(side.model) for side in report.sides)
    return next(filter(None, reasons), None) or _invalid(path)


def _of_weights(model: ModelPart) -> str | None:
    """Say why numbers of such weights do not count."""
    if model.source == "random":
        return "random weights: a pretrained shape without its weights"
    if model.source == "planted":
        return "planted weights: set by hand, to test the metrics"
    return None


def _invalid(path: Path) -> str | None:
    """Say which check a file fails."""
    checks = validate_file(path)
    if all_passed(checks):
        return None
    failed = next(check for check in checks if check.passed is False)
    return f"invalid: {failed.name}: {failed.detail}"
