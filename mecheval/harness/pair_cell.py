"""One pair: read the reports of its cells, hold them side by side, describe."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mecheval.errors import StorageError, UsageError
from mecheval.harness.events import Progress
from mecheval.harness.failure import failed_pair, failure_of, is_interruption, now
from mecheval.harness.pair_plan import sides_of
from mecheval.metrics.pairs import PairSubject, Side
from mecheval.metrics.pairs.measuring import measure_pair
from mecheval.reports.environment import environment
from mecheval.reports.files import as_stored, read_report
from mecheval.reports.pair import PairReport
from mecheval.seeding import derive

if TYPE_CHECKING:
    from collections.abc import Callable

    from mecheval.harness.pair_plan import PairCell
    from mecheval.harness.request import Cell
    from mecheval.reports.schema import MetricResult, Report


def run_pair(pair: PairCell, tell: Callable[[Progress], None]) -> PairReport:
    """Compute the report of a pair.

    Args:
        pair: The pair, whose cells have been measured.
        tell: Called with its progress.

    Returns:
        The report; with status ``error`` if anything failed.
    """
    found: dict[str, Any] = {"created": now()}
    stage = "load"
    try:
        reports = pair.reports or (_report(pair.a), _report(pair.b))
        found |= {"sides": sides_of(pair, reports), "environment": environment()}
        sides = (
            Side(cell.model_title, cell.identity.seed, bool(report.learned), report.metrics)
            for report, cell in zip(reports, pair.cells, strict=True)
        )
        subject = PairSubject(*sides, seed=derive(0, pair.identity.a, pair.identity.b))
        results: list[MetricResult] = []
        seconds: dict[str, float] = {}
        found |= {"metrics": results, "resources": {"seconds": seconds}}
        found["captions"] = {metric.id: metric.card.caption for metric in pair.metrics}
        for metric in pair.metrics:
            stage, began = metric.id, time.monotonic()
            tell(Progress(stage))
            results += measure_pair(metric, subject)
            seconds[stage] = round(time.monotonic() - began, 3)
    except StorageError:
        raise
    except BaseException as error:  # code of users may raise any, and ends its own pair alone
        if is_interruption(error):
            raise
        return as_stored(failed_pair(pair, failure_of(error, stage), **found, finished=now()))
    return as_stored(
        PairReport(
            key=pair.key,
            status="success",
            partial=any(cell.identity.limit is not None for cell in pair.cells),
            finished=now(),
            identity=pair.identity,
            task=pair.a.identity.task,
            task_title=pair.a.task_title,
            command=list(pair.settings.command),
            **found,
        )
    )


def _report(cell: Cell) -> Report:
    """Read the report of a cell of a pair.

    Raises:
        UsageError: It is not there, could not be measured, or is of other values than its key says.
    """
    if cell.path is None:
        raise UsageError(f"The report of {cell.title} was not kept. Give an output folder.")
    report = read_report(cell.path, verify=True)
    if report.key != cell.key or report.status == "error":
        raise UsageError(f"The cell {cell.title} was not measured: see {cell.path}.")
    return report
