"""The report ``mecheval.pair/1``: two models that were measured on one task, held side by side.

One JSON file per pair of cells. Both cells have reports of their own, by whose keys the pair is
identified; what is said of one model alone stands there.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from mecheval.reports.content import Failure
from mecheval.reports.identity import Labels, MetricIdentity, ModelPart, TaskIdentity
from mecheval.reports.results import MetricResult, Record
from mecheval.reports.types import Count, Seed, Sha256, Title

PAIR_SCHEMA = "mecheval.pair/1"


class PairIdentity(Record):
    """Everything that decides a pair's numbers; its key is the hash of it."""

    protocol: Count
    """Version of the harness's own procedure."""
    a: Sha256
    """Key of one cell: the smaller of the two, so that a pair has no order."""
    b: Sha256
    """Key of the other cell."""
    metrics: list[MetricIdentity]
    """The metrics of pairs, in order."""


class PairSide(Record):
    """What a reader should know of one cell of a pair."""

    key: Sha256
    """Key of the cell."""
    model: ModelPart
    """The model before training."""
    seed: Seed
    """Its seed."""
    title: Title
    """The model's name with the arguments that differ from its defaults."""
    labels: Labels
    """What differs from the defaults in model, task and run."""
    learned: bool | None
    """Whether it learned the task; null where that was not measured."""
    tracking: bool | None
    """Whether it tracks the state; null where that cannot be said."""


class PairReport(Record):
    """One pair of cells."""

    schema_: Literal["mecheval.pair/1"] = Field(default=PAIR_SCHEMA, alias="schema")
    """Name and version of this schema."""
    status: Literal["success", "error"]
    """Whether the pair could be measured."""
    partial: bool
    """Whether --limit cut one of the cells short."""
    key: Sha256
    """SHA-256 of the canonical JSON of the identity."""
    digest: Sha256 | None = None
    """SHA-256 of the canonical JSON of everything that was measured, against accidents."""
    identity: PairIdentity
    """What the key is the hash of."""
    task: TaskIdentity
    """The task of both cells."""
    task_title: Title
    """Its name with the parameters that differ from its defaults."""
    sides: list[PairSide] = Field(min_length=2, max_length=2)
    """The two cells, in the order of the identity."""
    created: Title
    """Start, UTC, ISO 8601."""
    finished: Title
    """End, UTC, ISO 8601."""
    error: Failure | None = None
    """What went wrong, when status is error."""
    captions: dict[Title, str] = {}
    """What the numbers of each metric say, in a sentence or two, by the metric's id."""
    metrics: list[MetricResult] = []
    """Results."""
    environment: dict[str, Any] = {}
    """Versions and hardware."""
    resources: dict[str, Any] = {}
    """Seconds per stage."""
    command: list[str] = []
    """Command line that made the report."""
