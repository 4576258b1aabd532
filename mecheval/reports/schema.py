"""The report ``mecheval.report/1``: one JSON file per cell, as pydantic models.

The text under each field is its documentation in the generated JSON Schema. A field is only ever
added; changing one makes a new schema version.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from mecheval.reports.label_checks import contradiction
from mecheval.reports.results import Headline as Headline
from mecheval.reports.results import MetricResult as MetricResult
from mecheval.reports.results import Profile as Profile
from mecheval.reports.results import Record
from mecheval.reports.results import Uncertainty as Uncertainty
from mecheval.reports.training_part import Snapshot as Snapshot
from mecheval.reports.training_part import SnapshotResult as SnapshotResult
from mecheval.reports.training_part import SweepRun as SweepRun
from mecheval.reports.training_part import TrainingPart as TrainingPart
from mecheval.reports.types import Arguments, Count, ModelName, Name, Seed, Sha256, Sweep, Title
from mecheval.reports.types import Number as Number

SCHEMA = "mecheval.report/1"


class TaskIdentity(Record):
    name: Name
    """Registered name."""
    version: Count
    """Version of the generator."""
    params: Arguments
    """All parameters, defaults included."""
    sample_sha256: Sha256 | None = None
    """Hash of a sample and of the declaring file, for tasks that are not built in; of the files
    that examples are taken from, for those that read some; null where the version says it."""


class ModelPart(Record):
    name: ModelName
    """Registered name, or hf:REPO."""
    args: Arguments
    """All arguments, defaults included."""
    source: Literal["scratch", "pretrained", "random", "module", "planted"]
    """Where the initial weights come from; random is a pretrained shape without its weights, and
    planted ones are set by hand."""
    revision: Title | None = None
    """Branch, tag or commit that was asked for; of a module in memory, the beginning of the hash of
    what it is."""
    commit: Title | None = None
    """Commit that it resolved to."""
    weights_sha256: Sha256 | None = None
    """Hash of the initial weights' files; null for weights drawn from the seed."""
    file_sha256: Sha256 | None = None
    """Hash of the declaring file, for models that are not built in; of a module in memory, of its
    classes, their own code and what is set on them."""


class MetricIdentity(Record):
    name: Name
    """Registered metric."""
    version: Count
    """Its version."""
    params: Arguments
    """All parameters, defaults included, but for those at theirs that were added to the version."""
    file_sha256: Sha256 | None = None
    """Hash of the declaring file, for metrics that are not built in; null where the version says
    it."""


class Identity(Record):
    """Everything that decides a cell's numbers; the cell key is its hash."""

    model: ModelPart
    """The model before training."""
    task: TaskIdentity
    """The task."""
    seed: Seed
    """The one seed from which all random streams are derived."""
    limit: Count | None = None
    """Largest number of examples per metric, when cut short."""
    dtype: Title
    """Floating-point type of the measurements."""
    protocol: Count
    """Version of the harness's own procedure."""
    recipe: Arguments
    """All fields of the training recipe."""
    sweep: Sweep | None = None
    """Values of recipe fields of which the best on the validation split was measured."""
    snapshots: Count | None = None
    """At how many points along training the metrics were measured as well."""
    metrics: list[MetricIdentity]
    """The metrics, in order."""


class TaskCardPart(Record):
    summary: str
    """What the task is."""
    reference: str
    """The paper it is from."""
    chance: Number
    """Accuracy of a uniform guess."""
    vocab_size: Count
    """Number of symbols, BOS included."""
    test_lengths: dict[Title, Count]
    """Symbols per sequence of every test."""
    variables: dict[Title, Count]
    """Number of values of every latent variable."""
    floors: dict[Title, Number] = {}
    """Accuracies that need no model: majority, position, last-w-symbols tables."""
    ceiling: Number | None = None
    """Accuracy of the best possible model, where sequences do not decide their answers and it can
    be estimated by exact inference."""
    ceiling_interval: tuple[Number, Number] | None = None
    """Interval of it over the sequences that it was estimated from."""


class ModelCardPart(Record):
    summary: str
    """What the model is."""
    architecture: Title
    """Family of the architecture."""
    reference: str
    """The paper it is from."""
    license: str | None
    """Licence of the weights."""
    n_params: Count
    """Number of parameters."""
    n_layers: Count
    """Number of blocks."""
    d_model: Count
    """Width of the residual stream."""
    context_limit: Count | None
    """Most positions, null if unbounded."""
    kernels: list[Title]
    """Kernels that the forward pass used."""


class DataPart(Record):
    test_sha256: str
    """Hash of the in-distribution test examples."""
    pairs_sha256: str
    """Hash of the clean and corrupted pairs."""
    n_test: Count
    """Number of in-distribution test examples."""
    n_pairs: Count
    """Number of pairs."""
    disjoint: bool
    """Whether test and training examples were checked to share no sequence."""


class Fidelity(Record):
    hooks: Number
    """Largest absolute logit difference between idle hooks on and off."""
    native: Number
    """Largest absolute logit difference between the wrapped and the unwrapped model: 0, or that of
    rounding where kernels of this package run in place of the model's own; ``kernels`` of the model
    card names them."""
    repeat_equal: bool
    """Whether the same forward pass twice gave the same bits."""
    engine: Title = "hooks"
    """How grids are computed: ``tails``, ``blocks`` or whole passes under plain ``hooks``."""
    engine_reason: str | None = None
    """Why no faster engine is exact for this model."""
    engine_difference: Number | None = None
    """Largest difference of the engine to plain hooks, relative to the largest logit."""


class Labels(Record):
    """What differs from the defaults, by which paths and tables name a cell."""

    model: Arguments = {}
    """Arguments of the model that differ from its defaults."""
    task: Arguments = {}
    """Parameters of the task that differ from its defaults."""
    run: Arguments = {}
    """Settings of the run that differ from the defaults: limit, recipe fields, sweep, metrics."""


class Failure(Record):
    type: Title
    """Class of the exception."""
    message: str
    """Its message."""
    stage: Title
    """What the cell was doing."""
    traceback: str
    """Where it happened."""


class Report(Record):
    """One cell: a model, a task, a seed."""

    schema_: Literal["mecheval.report/1"] = Field(default=SCHEMA, alias="schema")
    """Name and version of this schema."""
    status: Literal["success", "error", "not_applicable"]
    """Whether the cell could be measured."""
    learned: bool | None
    """Whether the task's gate was passed; null when it was not measured."""
    partial: bool
    """Whether --limit cut it short; leaderboards refuse such reports."""
    key: Sha256
    """SHA-256 of the canonical JSON of the identity."""
    digest: Sha256 | None = None
    """SHA-256 of the canonical JSON of everything that was measured, against accidents; null in
    reports that were written before there was one."""
    identity: Identity
    """What the key is the hash of."""
    labels: Labels | None = None
    """What differs from the defaults, by which paths and tables name the cell; null in reports that
    were written before it was kept."""
    created: Title
    """Start, UTC, ISO 8601."""
    finished: Title
    """End, UTC, ISO 8601."""
    error: Failure | None = None
    """What went wrong, when status is error."""
    captions: dict[Title, str] = {}
    """What the numbers of each metric say, in a sentence or two, by the metric's id."""
    metrics: list[MetricResult] = []
    """Results, behaviour first."""
    task_card: TaskCardPart | None = None
    """The task in words and numbers."""
    model_card: ModelCardPart | None = None
    """The model in words and numbers."""
    training: TrainingPart | None = None
    """How the weights came about."""
    data: DataPart | None = None
    """The data that was used."""
    snapshots: list[Snapshot] = []
    """The same metrics along training, from the untrained to the trained weights."""
    fidelity: Fidelity | None = None
    """What wrapping changed: nothing, hopefully."""
    sites: dict[str, str] = {}
    """Real module path of every site."""
    seeds: dict[Title, Seed] = {}
    """Derived seed of every random stream."""
    environment: dict[str, Any] = {}
    """Versions, hardware, thread counts, determinism switches."""
    resources: dict[str, Any] = {}
    """Seconds per stage, peak memory, batch sizes."""
    command: list[str] = []
    """Command line that made the report."""
    plugin: dict[str, str] | None = None
    """Distribution and version of a third-party task or model."""

    @field_validator("labels")
    @classmethod
    def _are_of_the_identity(cls, labels: Labels | None, info: ValidationInfo) -> Labels | None:
        """Refuse labels that name another cell than the identity says.

        Raises:
            ValueError: A label contradicts the identity.
        """
        identity = info.data.get("identity")  # absent where it is wrong itself
        problem = contradiction(labels, identity) if labels and identity else ""
        if problem:
            raise ValueError(problem)
        return labels

    def __repr__(self) -> str:
        """Return a line: what it is of, and its headline numbers."""
        from mecheval.reports.display import line

        return line(self)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """Show the headline numbers in a notebook."""
        from mecheval.reports.display import html

        return html(self)
