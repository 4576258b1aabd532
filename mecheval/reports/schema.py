"""The report ``mecheval.report/1``: one JSON file per cell, as pydantic models.

The text under each field is its documentation in the generated JSON Schema. A field is only ever
added; changing one makes a new schema version.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from mecheval.reports.results import Headline as Headline
from mecheval.reports.results import MetricResult as MetricResult
from mecheval.reports.results import Number as Number
from mecheval.reports.results import Profile as Profile
from mecheval.reports.results import Record
from mecheval.reports.results import Uncertainty as Uncertainty

SCHEMA = "mecheval.report/1"


class TaskIdentity(Record):
    name: str
    """Registered name."""
    version: int
    """Version of the generator."""
    params: dict[str, Any]
    """All parameters, defaults included."""
    sample_sha256: str | None = None
    """Hash of a sample, for tasks that are not built in; null where the version says it."""


class ModelPart(Record):
    name: str
    """Registered name, or hf:REPO."""
    args: dict[str, Any]
    """All arguments, defaults included."""
    source: Literal["scratch", "pretrained", "random", "module", "planted"]
    """Where the initial weights come from; random is a pretrained shape without its weights, and
    planted ones are set by hand."""
    revision: str | None = None
    """Branch, tag or commit that was asked for."""
    commit: str | None = None
    """Commit that it resolved to."""
    weights_sha256: str | None = None
    """Hash of the initial weights' files; null for weights drawn from the seed."""
    file_sha256: str | None = None
    """Hash of the declaring file, for models that are not built in."""


class MetricIdentity(Record):
    name: str
    """Registered metric."""
    version: int
    """Its version."""
    params: dict[str, Any]
    """All parameters, defaults included."""
    file_sha256: str | None = None
    """Hash of the declaring file, for metrics that are not built in; null where the version says
    it."""


class Identity(Record):
    """Everything that decides a cell's numbers; the cell key is its hash."""

    protocol: int
    """Version of the harness's own procedure."""
    task: TaskIdentity
    """The task."""
    model: ModelPart
    """The model before training."""
    recipe: dict[str, Any]
    """All fields of the training recipe."""
    metrics: list[MetricIdentity]
    """The metrics, in order."""
    seed: int
    """The one seed from which all random streams are derived."""
    dtype: str
    """Floating-point type of the measurements."""
    limit: int | None = None
    """Largest number of examples per metric, when cut short."""
    sweep: dict[str, list[Any]] | None = None
    """Values of recipe fields of which the best on the validation split was measured."""
    snapshots: int | None = None
    """At how many points along training the metrics were measured as well."""


class TaskCardPart(Record):
    summary: str
    """What the task is."""
    reference: str
    """The paper it is from."""
    chance: Number
    """Accuracy of a uniform guess."""
    vocab_size: int
    """Number of symbols, BOS included."""
    test_lengths: dict[str, int]
    """Symbols per sequence of every test."""
    variables: dict[str, int]
    """Number of values of every latent variable."""
    floors: dict[str, Number] = {}
    """Accuracies that need no model: majority, position, last-w-symbols tables."""
    ceiling: Number | None = None
    """Accuracy of the best possible model, where sequences do not decide their answers and it can
    be estimated by exact inference."""
    ceiling_interval: tuple[Number, Number] | None = None
    """Interval of it over the sequences that it was estimated from."""


class ModelCardPart(Record):
    summary: str
    """What the model is."""
    architecture: str
    """Family of the architecture."""
    reference: str
    """The paper it is from."""
    license: str | None
    """Licence of the weights."""
    n_params: int
    """Number of parameters."""
    n_layers: int
    """Number of blocks."""
    d_model: int
    """Width of the residual stream."""
    context_limit: int | None
    """Most positions, null if unbounded."""
    kernels: list[str]
    """Kernels that the forward pass used."""


class DataPart(Record):
    test_sha256: str
    """Hash of the in-distribution test examples."""
    pairs_sha256: str
    """Hash of the clean and corrupted pairs."""
    n_test: int
    """Number of in-distribution test examples."""
    n_pairs: int
    """Number of pairs."""
    disjoint: bool
    """Whether test and training examples were checked to share no sequence."""


class SweepRun(Record):
    """One training of a sweep."""

    values: dict[str, Any]
    """Recipe fields that the sweep varies."""
    chosen: bool
    """Whether this run had the best validation accuracy and was measured; none if all diverged."""
    steps: int
    """Steps that were taken."""
    stopped: Literal["gate", "budget", "diverged"]
    """Why training ended."""
    validation_accuracy: Number | None
    """Last validation token accuracy, by which runs are compared; null without a result."""
    loss: Number | None
    """Training loss at the last validation; null without a result."""
    reason: str | None = None
    """Why the run has no result."""


class TrainingPart(Record):
    recipe: str
    """Name of the recipe: the card's size, with + where fields were overridden."""
    recipe_sha256: str
    """Hash of the recipe."""
    optimizer: str
    """Optimiser, named because it can decide the mechanism."""
    steps: int
    """Steps that were taken."""
    examples: int
    """Training sequences seen."""
    stopped: Literal["gate", "budget", "diverged", "none"]
    """Why training ended: accuracy reached, steps used up, loss no longer finite, or no training
    asked for."""
    reason: str | None = None
    """Why the training has no result: from which step on the loss was not finite."""
    validation_accuracy: Number | None
    """Last validation token accuracy; null without a result."""
    curve: list[tuple[int, Number | None, Number]]
    """(step, loss, validation token accuracy) at every validation; null for a loss not finite."""
    weights_sha256: str
    """Hash of the trained weights."""
    together: int = 1
    """Most trainings that took their steps as one; more than 1 moves rounding errors."""
    sweep: list[SweepRun] = []
    """All runs of the sweep that these weights were chosen from, in the order given."""


class SnapshotResult(Record):
    """What a metric gives on the weights of a snapshot; see the result with this id."""

    id: str
    """Identifier of the result within the report."""
    value: Number | None
    """The result, or null when it cannot be interpreted."""
    verdict: str | None = None
    """What the evidence says in a word."""
    low: Number | None = None
    """Lower end of the interval."""
    high: Number | None = None
    """Upper end of the interval."""
    reason: str | None = None
    """Why the value is null."""
    scalars: dict[str, Number | None] = {}
    """Further numbers derived from the same data."""


class Snapshot(Record):
    """The metrics on the weights at one point of the training, whether learned by then or not."""

    step: int
    """Steps that had been taken."""
    validation_accuracy: Number | None
    """Validation token accuracy of these weights."""
    metrics: list[SnapshotResult]
    """Results, in the order of the report's."""


class Fidelity(Record):
    hooks: Number
    """Largest absolute logit difference between idle hooks on and off."""
    native: Number
    """Largest absolute logit difference between the wrapped and the unwrapped model."""
    repeat_equal: bool
    """Whether the same forward pass twice gave the same bits."""
    engine: str = "hooks"
    """How grids are computed: ``tails``, ``blocks`` or whole passes under plain ``hooks``."""
    engine_reason: str | None = None
    """Why no faster engine is exact for this model."""
    engine_difference: Number | None = None
    """Largest difference of the engine to plain hooks, relative to the largest logit."""


class Labels(Record):
    """What differs from the defaults, by which paths and tables name a cell."""

    model: dict[str, Any] = {}
    """Arguments of the model that differ from its defaults."""
    task: dict[str, Any] = {}
    """Parameters of the task that differ from its defaults."""
    run: dict[str, Any] = {}
    """Settings of the run that differ from the defaults: limit, recipe fields, sweep, metrics."""


class Failure(Record):
    type: str
    """Class of the exception."""
    message: str
    """Its message."""
    stage: str
    """What the cell was doing."""
    traceback: str
    """Where it happened."""


class Report(Record):
    """One cell: a model, a task, a seed."""

    schema_: Literal["mecheval.report/1"] = Field(default=SCHEMA, alias="schema")
    """Name and version of this schema."""
    key: str
    """SHA-256 of the canonical JSON of the identity."""
    digest: str | None = None
    """SHA-256 of the canonical JSON of everything that was measured, against accidents; null in
    reports that were written before there was one."""
    status: Literal["success", "error", "not_applicable"]
    """Whether the cell could be measured."""
    partial: bool
    """Whether --limit cut it short; leaderboards refuse such reports."""
    learned: bool | None
    """Whether the task's gate was passed; null when it was not measured."""
    created: str
    """Start, UTC, ISO 8601."""
    finished: str
    """End, UTC, ISO 8601."""
    identity: Identity
    """What the key is the hash of."""
    labels: Labels | None = None
    """What differs from the defaults; null in reports that were written before it was kept."""
    task_card: TaskCardPart | None = None
    """The task in words and numbers."""
    model_card: ModelCardPart | None = None
    """The model in words and numbers."""
    data: DataPart | None = None
    """The data that was used."""
    seeds: dict[str, int] = {}
    """Derived seed of every random stream."""
    training: TrainingPart | None = None
    """How the weights came about."""
    metrics: list[MetricResult] = []
    """Results, behaviour first."""
    snapshots: list[Snapshot] = []
    """The same metrics along training, from the untrained to the trained weights."""
    sites: dict[str, str] = {}
    """Real module path of every site."""
    fidelity: Fidelity | None = None
    """What wrapping changed: nothing, hopefully."""
    environment: dict[str, Any] = {}
    """Versions, hardware, thread counts, determinism switches."""
    resources: dict[str, Any] = {}
    """Seconds per stage, peak memory, batch sizes."""
    command: list[str] = []
    """Command line that made the report."""
    plugin: dict[str, str] | None = None
    """Distribution and version of a third-party task or model."""
    error: Failure | None = None
    """What went wrong, when status is error."""
