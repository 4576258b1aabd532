"""Results besides those of trained weights: along training, and where training diverged."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mecheval.reports.schema import Snapshot, SnapshotResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mecheval.metrics import Subject
    from mecheval.reports.schema import MetricResult
    from mecheval.training.snapshots import Snapshots

    Measure = Callable[[Subject], list[MetricResult]]


def measure_along(
    subject: Subject,
    snapshots: Snapshots,
    measure: Measure,
    *,
    last: Sequence[MetricResult],
) -> Iterator[Snapshot]:
    """Yield the results on every snapshot; the subject's model ends with its weights as before.

    No gate: a value of weights that have not learned the task says how they work nevertheless.

    Args:
        subject: The trained model on its task.
        snapshots: The weights.
        measure: Measures a subject by all metrics of the cell.
        last: The results on the trained weights, with which the last snapshot need not be
            measured again; empty if it has to be.
    """
    trained = {name: value.clone() for name, value in subject.model.state_dict().items()}
    kept = snapshots.chosen()
    for index in kept:
        weights, state = snapshots.load(index)
        results = list(last) if index == kept[-1] else []
        if not results:
            subject.model.load_state_dict(weights)
            scratch = subject.scratch and subject.scratch / f"snapshot-{index}"
            results = measure(
                replace(
                    subject,
                    learned=True,
                    accuracy=state["accuracy"],
                    scratch=scratch,
                    memo={},
                    kept=None,
                )
            )
        yield Snapshot(
            step=state["step"],
            validation_accuracy=state["accuracy"],
            validation_loss=state.get("loss"),
            metrics=[_brief(result) for result in results],
        )
    subject.model.load_state_dict(trained)


def undefined(result: MetricResult, reason: str) -> MetricResult:
    """Return a result without anything that was measured, and why it has no value."""
    return result.model_copy(
        update={
            "value": None, "verdict": None, "reason": reason, "uncertainty": None, "n_scored": 0,
            "scalars": {}, "profile": None, "profiles": {}, "warnings": [],
        }
    )  # fmt: skip


def _brief(result: MetricResult) -> SnapshotResult:
    interval = result.uncertainty
    return SnapshotResult(
        id=result.id,
        value=result.value,
        verdict=result.verdict,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        reason=result.reason,
        scalars=result.scalars,
    )
