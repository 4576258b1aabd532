"""One pair: hold the reports of its cells side by side, describe."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mecheval.errors import UsageError
from mecheval.harness.building import build_task
from mecheval.harness.events import Progress
from mecheval.harness.failure import failed_pair, failure_of, is_interruption, now
from mecheval.harness.matched_loss import flagged, weights_of
from mecheval.harness.pair_plan import built_pair_metric, sides_of
from mecheval.harness.recordings import Recordings
from mecheval.metrics.pairs import PairSubject, Side
from mecheval.metrics.pairs.measuring import measure_pair
from mecheval.metrics.pairs.shared import alignment
from mecheval.registry import Registry
from mecheval.reports.environment import environment
from mecheval.reports.files import as_stored
from mecheval.reports.pair import Alignment, Artefacts, PairReport
from mecheval.seeding import derive

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mecheval.harness.pair_plan import PairCell
    from mecheval.harness.request import Cell
    from mecheval.reports.schema import MetricResult, Report
    from mecheval.tasks.alignment import Aligned


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
        found |= {"sides": sides_of(pair), "environment": environment()}
        sides = [
            _side(cell, report, pair) for cell, report in zip(pair.cells, pair.reports, strict=True)
        ]
        registry = Registry(pair.settings.include_paths)
        task, other = (build_task(cell.task, registry) for cell in pair.cells)
        aligned = alignment(task, other)
        found["alignment"] = aligned and _described(aligned)
        subject = PairSubject(
            *sides,
            seed=derive(0, pair.identity.a, pair.identity.b),
            task=task,
            limit=pair.a.identity.limit,
            other_task=other if aligned else None,
        )
        results: list[MetricResult] = []
        seconds: dict[str, float] = {}
        found |= {"metrics": results, "resources": {"seconds": seconds}}
        metrics = [built_pair_metric(given, registry) for given in pair.metrics]
        found["captions"] = {metric.id: metric.card.caption for metric in metrics}
        for metric in metrics:
            stage, began = metric.id, time.monotonic()
            tell(Progress(stage))
            measured = measure_pair(metric, subject)
            results += flagged(measured, found["sides"], pair.identity.at_loss)
            seconds[stage] = round(time.monotonic() - began, 3)
            found["artefacts"] = _artefacts(sides)
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
            task=pair.group.task,
            task_title=pair.group.title,
            command=list(pair.settings.command),
            **found,
        )
    )


def _side(cell: Cell, report: Report, pair: PairCell) -> Side:
    """Return one side of a pair.

    What is asked at a loss has no gate, as what is measured along training: a value of weights that
    have not learned the task says how they work nevertheless. The results of the report are those
    of the weights at the end.

    Raises:
        UsageError: Its cell could not be measured, or has no losses along its training.
    """
    if report.status == "error":
        raise UsageError(f"The cell {cell.title} could not be measured.")
    at_loss = pair.identity.at_loss
    weights, card = weights_of(report, at_loss), report.model_card
    if weights is None:
        raise UsageError(
            f"The cell {cell.title} has no losses along its training, so none is nearest to what "
            "--at-loss asks for."
        )
    step = weights.step if weights.along else None
    network = card and Recordings(cell, card.n_layers, step=step, known=pair.known)
    learned = bool(report.learned) or at_loss is not None
    measured = [] if weights.along else report.metrics
    fresh = cell.identity.model.source in ("scratch", "random") and weights.step == 0
    return Side(cell.model_title, cell.identity.seed, learned, measured, network, fresh)


def _described(aligned: Aligned) -> Alignment:
    a, b = aligned.kept
    return Alignment(
        kept_a=a, kept_b=b, n_boundaries=aligned.n_boundaries, n_documents=aligned.n_documents
    )


def _artefacts(sides: Sequence[Side]) -> Artefacts | None:
    """Return what the metrics have used up to now; None where that is nothing."""
    used = [side.network.used if isinstance(side.network, Recordings) else {} for side in sides]
    a, b = ([of[key] for key in sorted(of)] for of in used)
    return Artefacts(a=a, b=b) if a or b else None
