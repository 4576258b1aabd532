"""The report ``mecheval.pair/1``: two models that were measured on one task, held side by side.

One JSON file per pair of cells. Both cells have reports of their own, by whose keys the pair is
identified; what is said of one model alone stands there.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from mecheval.reports.content import Failure
from mecheval.reports.identity import Labels, MetricIdentity, ModelPart, TaskIdentity
from mecheval.reports.results import MetricResult, Record
from mecheval.reports.types import Count, Number, Seed, Sha256, Title

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
    at_loss: Number | None = None
    """Of either network the weights along its training are held side by side whose validation loss
    is nearest to this, in nats per token; null where those at the end are."""


def on_task(title: str, at_loss: float | None) -> str:
    """Return a task's title, with a loss along training that is asked for: ``text at loss 2.5``."""
    return title if at_loss is None else f"{title} at loss {at_loss:g}"


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
    step: Count | None = None
    """Steps of the training that the weights of the pair had taken; null where not measured."""
    validation_loss: Number | None = None
    """Validation loss of these weights, in nats per token; null where the gate is on an
    accuracy, or nothing was trained."""
    bits_per_byte: Number | None = None
    """What a byte of held-out text costs in bits, whatever the tokens; null where not measured, or
    where the weights are others than those at the end of training."""
    task: TaskIdentity | None = None
    """Its task, where models read one text in tokens of their own; null where both have one."""

    @property
    def untrained(self) -> bool:
        """Say whether the weights of the pair are freshly drawn ones."""
        return self.step == 0 and self.model.source in ("scratch", "random")


class Alignment(Record):
    """Where two tokenizations of one text meet: at bytes where tokens of both end."""

    kept_a: Number
    """Share of the first network's tokens that end where one of the other's does."""
    kept_b: Number
    """The same of the second network's."""
    n_boundaries: Count
    """At how many bytes of the held-out text that is."""
    n_documents: Count
    """Number of held-out documents that both have."""


class Artefact(Record):
    """A file in the cache that numbers of a pair are from; it is made again where it is lost."""

    kind: Literal["activations", "codes"]
    """Activations at the evaluation tokens, or the codes of a dictionary of them."""
    key: Sha256
    """Hash of everything that decides it."""
    sha256: Sha256
    """Hash of the file."""
    layer: Count
    """Behind how many blocks."""
    trained: bool
    """Whether of the network as it was measured, or with freshly drawn weights."""
    seed: Count | None = None
    """Seed of the dictionary; null of activations."""
    evaluation_sha256: Sha256
    """Hash of the evaluation tokens: of the sequences and of the positions in them."""


class Artefacts(Record):
    """What the numbers of a pair are from."""

    a: list[Artefact]
    """Of the one network."""
    b: list[Artefact]
    """Of the other one."""


class Level(Record):
    """What a number of a pair is to be read against."""

    id: Title
    """The result that it is a number of."""
    at: Title = ""
    """Where in the result it is, as its headline says; the value where empty."""
    null: Number | None
    """What the number is of two networks that share nothing which they learned, as the metric says
    what that is."""
    null_low: Number | None = None
    """Where 95 % of the null begin."""
    null_high: Number | None = None
    """Where these end."""
    no_null: str | None = None
    """Why there is no null."""
    skyline: Number | None
    """What the number is of two seeds of one model: the mean over those of the one and of the
    other."""
    skyline_low: Number | None = None
    """Lower end of its interval over seeds: the mean of those of the two models."""
    skyline_high: Number | None = None
    """Upper end of it."""
    skyline_of: list[Sha256] = []
    """Keys of the reports of pairs that the skyline is from."""
    no_skyline: str | None = None
    """Why there is no skyline."""
    place: Number | None
    """Where the number lies: 0 at the null, 1 at the skyline, outside beyond these."""
    no_place: str | None = None
    """Why that cannot be said."""


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
    """The task of both cells; of a text that models read in tokens of their own, the parameters
    that all share, and the hash of its documents."""
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
    alignment: Alignment | None = None
    """Where the two meet that have tokens of their own; null where they have the same ones."""
    artefacts: Artefacts | None = None
    """What the numbers are from; null where they are from the reports of the cells alone."""
    levels: list[Level] = []
    """What every number is to be read against. Skylines are from other pairs, so that this is
    written again when there are further seeds; empty before all pairs of a call are measured."""
    environment: dict[str, Any] = {}
    """Versions and hardware."""
    resources: dict[str, Any] = {}
    """Seconds per stage."""
    command: list[str] = []
    """Command line that made the report."""

    @property
    def where(self) -> str:
        """Return the task, with the loss at which the two are held side by side if there is one."""
        return on_task(self.task_title, self.identity.at_loss)

    @property
    def losses_apart(self) -> float | None:
        """Return by how many nats per token the two validation losses differ, if both have one."""
        a, b = (side.validation_loss for side in self.sides)
        if self.alignment is not None:  # they are of other tokens
            return None
        return None if a is None or b is None else abs(a - b)

    def __repr__(self) -> str:
        """Return a line: which pair it is of, and its numbers with what they are read against."""
        from mecheval.reports.pair_display import line

        return line(self)

    __str__ = __repr__

    @field_validator("sides")
    @classmethod
    def _are_of_the_identity(cls, sides: list[PairSide], info: ValidationInfo) -> list[PairSide]:
        """Refuse sides that are other cells than the identity says.

        Raises:
            ValueError: Their keys are not those of the identity.
        """
        identity = info.data.get("identity")  # absent where it is wrong itself
        if identity and [side.key for side in sides] != [identity.a, identity.b]:
            raise ValueError("their keys are not those of the identity")
        return sides
