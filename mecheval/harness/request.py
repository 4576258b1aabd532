"""What is asked for, how it is computed, and the cells that it becomes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mecheval.metrics import Metric
    from mecheval.models.contract import ModelSource
    from mecheval.recipe import Recipe
    from mecheval.reports.schema import Identity, Labels
    from mecheval.spec import Spec
    from mecheval.tasks import Task

DTYPES = ("float32", "float64", "bfloat16")
FORMAL_SEEDS = (0, 1, 2, 3)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How cells are computed; nothing here decides their numbers.

    Attributes:
        include_paths: Files and folders of local tasks and models.
        trust_remote_code: Whether a checkpoint's own code may run.
        cache: Folder of the checkpoint cache; None for the default.
        device: ``cpu`` or ``cuda``.
        threads: Threads of the arithmetic of one cell.
        batch_size: Sequences per forward pass of the measurements.
        overwrite: Whether finished cells are measured again.
        command: The command line, for the report.
        ensemble: Most trainings that take their steps as one; None chooses by device and model.
        log_with: What shows the curves of trainings: tensorboard, wandb or trackio; None for none.
    """

    include_paths: tuple[Path, ...] = ()
    trust_remote_code: bool = False
    cache: Path | None = None
    device: str = "cpu"
    threads: int = 1
    batch_size: int = 128
    overwrite: bool = False
    command: tuple[str, ...] = ()
    ensemble: int | None = None
    log_with: str | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asks for.

    Attributes:
        models: Names with arguments, or configured sources.
        tasks: Names with arguments, or tasks.
        seeds: The seeds; None for the default of the size.
        size: Size of the models that come in sizes; None for each one's default.
        recipe: Fields of the training recipe that are replaced.
        sweep: Values of fields of the recipe to try; the best on the validation split is measured.
        snapshots: At how many points along training the metrics are measured as well.
        metrics: Metrics to measure besides the behavioural one; None for those of the task.
        limit: Largest number of examples per metric.
        dtype: Floating-point type of the measurements; None for that of each model, which is
            float32 for all but modules in memory.
        output: Folder for the reports; None keeps them in memory.
        settings: How cells are computed.
        origin: Where it is written, for messages: the file of a suite and the grid in it.
    """

    models: tuple[Spec | ModelSource, ...]
    tasks: tuple[Spec | Task, ...]
    seeds: tuple[int, ...] | None = None
    size: str | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    sweep: Mapping[str, Sequence[Any]] | None = None
    snapshots: int | None = None
    metrics: tuple[Spec | Metric, ...] | None = None
    limit: int | None = None
    dtype: str | None = None
    output: Path | None = None
    settings: Settings = Settings()
    origin: str = ""

    @property
    def chosen_seeds(self) -> tuple[int, ...]:
        """Return the seeds, or the default ones of the size."""
        if self.seeds is not None:
            return self.seeds
        return FORMAL_SEEDS if self.size == "formal" else (0,)


@dataclass(frozen=True)
class Cell:
    """One (model, task, seed) to be measured.

    Attributes:
        model: Name with arguments, at the commit that was found; or a configured source.
        task: Name with arguments, or a task.
        recipe: The training recipe.
        identity: Everything that decides the numbers.
        key: Hash of the identity.
        output: The output folder; None if the report is kept in memory.
        path: Where the report lies.
        settings: How it is computed.
        model_title: The model's name with the arguments that differ from its defaults.
        task_title: The same of the task.
        labels: What differs from the defaults in model, task and run.
        metrics: Metrics that are asked for; None for those of the task.
        notes: What will be null, as far as it is known before anything is measured.
        companions: Seeds of other cells, alike but for the seed, to be trained along with this one.
    """

    model: Spec | ModelSource
    task: Spec | Task
    recipe: Recipe
    identity: Identity
    key: str
    output: Path | None
    path: Path | None
    settings: Settings
    model_title: str
    task_title: str
    labels: Labels
    metrics: tuple[Spec | Metric, ...] | None = None
    notes: tuple[str, ...] = ()
    companions: tuple[int, ...] = ()

    @property
    def title(self) -> str:
        """Return a line that names it."""
        return f"{self.task_title}  {self.model_title}  seed {self.identity.seed}"
