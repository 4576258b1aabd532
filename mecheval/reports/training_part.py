"""The part of a report about training: its runs, and the metrics along it."""

from __future__ import annotations

from typing import Literal

from mecheval.reports.results import Record
from mecheval.reports.types import Arguments, Count, Number, Title


class SweepRun(Record):
    """One training of a sweep."""

    values: Arguments
    """Recipe fields that the sweep varies."""
    chosen: bool
    """Whether this run was the best on the validation split and was measured; none if all
    diverged."""
    steps: Count
    """Steps that were taken."""
    stopped: Literal["gate", "budget", "patience", "diverged"]
    """Why training ended."""
    validation_accuracy: Number | None
    """Last validation accuracy, by which runs are compared; null without a result."""
    validation_loss: Number | None = None
    """Last validation loss in nats per token, by which runs are compared in place of the accuracy
    where the gate is on the loss; null elsewhere."""
    loss: Number | None
    """Training loss at the last validation; null without a result."""
    reason: str | None = None
    """Why the run has no result."""


class TrainingPart(Record):
    recipe: Title
    """Name of the recipe: the card's size, with + where fields were overridden."""
    recipe_sha256: str
    """Hash of the recipe."""
    optimizer: Title
    """Optimiser, named because it can decide the mechanism."""
    steps: Count
    """Steps that were taken."""
    examples: Count
    """Training sequences seen."""
    stopped: Literal["gate", "budget", "patience", "diverged", "none"]
    """Why training ended: accuracy or loss reached, steps used up, neither got better within the
    recipe's patience, loss no longer finite, or no training asked for."""
    reason: str | None = None
    """Why the training has no result: from which step on the loss was not finite."""
    validation_accuracy: Number | None
    """Last validation accuracy, of the kind that the gate is on (token accuracy where that is the
    loss); null without a result."""
    validation_loss: Number | None = None
    """Last validation loss in nats per token; null where the gate is on an accuracy."""
    curve: list[tuple[Count, Number | None, Number]]
    """(step, loss, validation accuracy) at every validation; null for a loss not finite."""
    losses: list[Number] = []
    """The validation loss at each; none where the gate is on an accuracy."""
    weights_sha256: str
    """Hash of the trained weights."""
    together: Count = 1
    """Most trainings that took their steps as one; more than 1 moves rounding errors."""
    sweep: list[SweepRun] = []
    """All runs of the sweep that these weights were chosen from, in the order given."""


class SnapshotResult(Record):
    """What a metric gives on the weights of a snapshot; see the result with this id."""

    id: Title
    """Identifier of the result within the report."""
    value: Number | None
    """The result, or null when it cannot be interpreted."""
    verdict: Title | None = None
    """What the evidence says in a word."""
    low: Number | None = None
    """Lower end of the interval."""
    high: Number | None = None
    """Upper end of the interval."""
    reason: str | None = None
    """Why the value is null."""
    scalars: dict[Title, Number | None] = {}
    """Further numbers derived from the same data."""


class Snapshot(Record):
    """The metrics on the weights at one point of the training, whether learned by then or not."""

    step: Count
    """Steps that had been taken."""
    validation_accuracy: Number | None
    """Validation accuracy of these weights."""
    validation_loss: Number | None = None
    """Their validation loss in nats per token; null where the gate is on an accuracy."""
    metrics: list[SnapshotResult]
    """Results, in the order of the report's."""
