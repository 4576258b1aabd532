"""What the report ``mecheval.report/1`` of one cell holds, as pydantic models.

The text under each field is its documentation in the generated JSON Schema. A field is only ever
added; changing one makes a new schema version.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from mecheval.reports.identity import Identity, Labels
from mecheval.reports.label_checks import contradiction
from mecheval.reports.results import MetricResult, Record
from mecheval.reports.tracking import tracking_of
from mecheval.reports.training_part import Snapshot, TrainingPart
from mecheval.reports.types import Count, Number, Seed, Sha256, Title

SCHEMA = "mecheval.report/1"


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


class Failure(Record):
    type: Title
    """Class of the exception."""
    message: str
    """Its message."""
    stage: Title
    """What the cell was doing."""
    traceback: str
    """Where it happened."""


class Content(Record):
    """All that a report holds."""

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
    tracking: bool | None = Field(default=None, validate_default=True)
    """Whether the state is tracked: the task is learned, and last-position accuracy at 4 times the
    training length is at least 0.9; null where that cannot be said. It follows from the results, so
    that it is filled in as older reports are read."""
    tracking_reason: str | None = Field(default=None, validate_default=True)
    """Why it is null."""
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

    @field_validator("tracking", "tracking_reason")
    @classmethod
    def _follows_from_the_results(cls, value: Any, info: ValidationInfo) -> Any:
        """Fill in whether the state is tracked, and refuse what the results contradict.

        Raises:
            ValueError: The results say something else.
        """
        if not {"learned", "metrics"} <= info.data.keys():  # absent where they are wrong themselves
            return value
        found = tracking_of(info.data["learned"], info.data["metrics"])
        if info.field_name == "tracking" and value not in (None, found.value):
            raise ValueError(f"it is {value}, and by the results {found.value}")
        return found.value if info.field_name == "tracking" else found.reason
