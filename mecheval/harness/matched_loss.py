"""Networks side by side at one loss: of each, the weights along its training nearest to it.

What two networks have in common changes as they learn, so that two that are compared after as many
steps differ in how far they are, too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from mecheval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mecheval.harness.request import Cell, Request
    from mecheval.reports.pair import PairSide
    from mecheval.reports.results import MetricResult
    from mecheval.reports.schema import Report

MOST_APART = 0.05
"""Nats per token by which losses may differ that are called the same."""

SNAPSHOTS = 16
"""At how many points along training weights are kept where a loss is asked for and nothing else."""


class Weights(NamedTuple):
    """Weights of a network.

    Attributes:
        step: Steps of the training that they had taken; None without a training.
        loss: Their validation loss, in nats per token; None where the gate is on an accuracy.
        along: Whether they are others than those at the end of the training.
    """

    step: int | None
    loss: float | None
    along: bool = False


def with_snapshots(requests: Sequence[Request], at_losses: Sequence[float]) -> list[Request]:
    """Return requests whose cells keep weights along training, if losses are asked for.

    Raises:
        UsageError: Nothing is trained.
    """
    if not at_losses:
        return list(requests)
    if any(request.recipe.get("steps") == 0 for request in requests):
        raise UsageError(
            "With steps=0 nothing is trained, so there are no weights along training for "
            "--at-loss. Leave one of the two out."
        )
    return [replace(request, snapshots=request.snapshots or SNAPSHOTS) for request in requests]


def check_losses(cells: Sequence[Cell], at_losses: Sequence[float]) -> None:
    """Check that all cells have losses along their training.

    Raises:
        UsageError: One is on a task whose gate is on an accuracy, or a loss cannot be reached.
    """
    for at_loss in at_losses:
        if not 0 < at_loss < float("inf"):
            raise UsageError(f"--at-loss cannot be {at_loss:g}; give nats per token, above 0.")
    for cell in cells:
        if cell.recipe.gate_on != "loss":
            raise UsageError(
                f"Trainings on {cell.task_title} are followed by accuracy, and --at-loss takes a "
                "task whose loss is measured along training, such as 'text', or the recipe's "
                "gate_on=loss."
            )


def weights_of(report: Report, at_loss: float | None) -> Weights | None:
    """Return which weights of a cell are held side by side with others.

    Args:
        report: The report of the cell.
        at_loss: The loss that they should have; None for those at the end of the training.

    Returns:
        The weights; None where no losses were measured along the training.
    """
    training = report.training
    if at_loss is None:
        return Weights(training and training.steps, training and training.validation_loss)
    found = [
        (abs(snapshot.validation_loss - at_loss), snapshot.step, snapshot.validation_loss)
        for snapshot in report.snapshots
        if snapshot.validation_loss is not None
    ]
    if not found or training is None:
        return None
    _, step, loss = min(found)
    return Weights(step, loss, along=step != training.steps)


def bits_per_byte(report: Report) -> float | None:
    """Return what a byte of held-out text costs a network in bits, whatever its tokens."""
    ends = ["bits_per_byte", "1x"]
    found = (result for result in report.metrics if result.id.split("/")[-2:] == ends)
    return next((result.value for result in found), None)


def flagged(
    results: Sequence[MetricResult], sides: Sequence[PairSide], at_loss: float | None
) -> list[MetricResult]:
    """Return results with a warning each where losses are not the same, or not what was asked."""
    said = list(_flags(sides, at_loss))
    return [
        result.model_copy(update={"warnings": [*result.warnings, *said]}) if said else result
        for result in results
    ]


def _flags(sides: Sequence[PairSide], at_loss: float | None) -> Iterator[str]:
    a, b = sides
    if a.task != b.task:
        yield from _flags_of_bytes(a, b)
        return
    lost = [(side, side.validation_loss) for side in sides if side.validation_loss is not None]
    if len(lost) < len(sides):
        return
    (a, loss_a), (b, loss_b) = lost
    if abs(loss_a - loss_b) > MOST_APART:
        yield (
            f"the losses of the two are {abs(loss_a - loss_b):.3g} nats per token apart "
            f"({_named(a)} {loss_a:.3f}, {_named(b)} {loss_b:.3f}), and {MOST_APART} count as the "
            "same: what they have in common may differ for that reason"
        )
    for side, loss in lost:
        if at_loss is not None and abs(loss - at_loss) > MOST_APART:
            yield (
                f"the weights of {_named(side)} nearest to loss {at_loss:g} have {loss:.3f}, at "
                f"step {side.step}: more --snapshots may come nearer"
            )


def _flags_of_bytes(a: PairSide, b: PairSide) -> Iterator[str]:
    """Flag losses of networks that have tokens of their own."""
    bits_a, bits_b = a.bits_per_byte, b.bits_per_byte
    if bits_a is not None and bits_b is not None and abs(bits_a - bits_b) > MOST_APART:
        yield (
            f"the losses of the two are {abs(bits_a - bits_b):.3g} bits per byte apart "
            f"({_named(a)} {bits_a:.3f}, {_named(b)} {bits_b:.3f}), and {MOST_APART} count as the "
            "same: what they have in common may differ for that reason"
        )


def _named(side: PairSide) -> str:
    return f"{side.title} (seed {side.seed})"
