"""What decides a cell's numbers, and what names it, as parts of a report."""

from __future__ import annotations

from typing import Literal

from mecheval.reports.results import Record
from mecheval.reports.types import Arguments, Count, ModelName, Name, Seed, Sha256, Sweep, Title


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


class Labels(Record):
    """What differs from the defaults, by which paths and tables name a cell."""

    model: Arguments = {}
    """Arguments of the model that differ from its defaults."""
    task: Arguments = {}
    """Parameters of the task that differ from its defaults."""
    run: Arguments = {}
    """Settings of the run that differ from the defaults: limit, recipe fields, sweep, metrics."""
