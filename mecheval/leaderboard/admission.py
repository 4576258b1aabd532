"""Which reports enter a leaderboard, and why the others do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval.checks import all_passed
from mecheval.reports.collection import Collection, Pairs, load_pairs, load_results
from mecheval.reports.schema import Report
from mecheval.reports.validate import checks_of

if TYPE_CHECKING:
    from pathlib import Path

    from mecheval.reports.identity import ModelPart
    from mecheval.reports.pair import PairReport
    from mecheval.reports.reading import AnyFile


def admit(root: Path) -> Collection:
    """Read all reports of a folder and sort out those that do not count.

    Raises:
        UsageError: There is no such folder.
    """
    return load_results(root, judge=_reason)


def admit_pairs(root: Path) -> Pairs:
    """Read all reports of pairs of a folder; as :func:`admit`."""
    return load_pairs(root, judge=_reason)


def _reason(file: AnyFile) -> str | None:
    """Say why a finished report does not count; None if it does."""
    return reason_of(file.report) or _invalid(file)


def reason_of(report: Report | PairReport) -> str | None:
    """Say why the finished report of a cell or a pair does not count, however valid it is."""
    if isinstance(report, Report):
        if report.partial:
            return f"partial: measured with --limit {report.identity.limit}"
        return _of_weights(report.identity.model)
    if report.partial:
        return "partial: one of the cells was measured with --limit"
    return next(filter(None, (_of_weights(side.model) for side in report.sides)), None)


def _of_weights(model: ModelPart) -> str | None:
    """Say why numbers of such weights do not count."""
    if model.source == "random":
        return "random weights: a pretrained shape without its weights"
    if model.source == "planted":
        return "planted weights: set by hand, to test the metrics"
    return None


def _invalid(file: AnyFile) -> str | None:
    """Say which check a file fails."""
    checks = checks_of(file)
    if all_passed(checks):
        return None
    failed = next(check for check in checks if check.passed is False)
    return f"invalid: {failed.name}: {failed.detail}"
