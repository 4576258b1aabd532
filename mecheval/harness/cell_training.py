"""The training of a cell: its run, or those of its sweep, and those of companions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mecheval.paths import cache_folder
from mecheval.reports.files import slug
from mecheval.training import sweeps
from mecheval.training.curves import Curves
from mecheval.training.preparation import Trained, Workplace, prepare_best
from mecheval.training.training_run import TrainingRun

if TYPE_CHECKING:
    from pathlib import Path

    from mecheval.harness.request import Cell
    from mecheval.models.contract import Encoding, ModelSource
    from mecheval.tasks import Task
    from mecheval.training.loop import Emit


def trained_model(
    cell: Cell, source: ModelSource, task: Task, encoding: Encoding, emit: Emit
) -> Trained:
    """Train what the cell measures, or take it from the cache.

    Args:
        cell: The cell.
        source: Its configured model.
        task: Its task.
        encoding: The task's symbols as token ids.
        emit: Called with (stage, step, steps, accuracy) as training goes on.

    Raises:
        StorageError: The cache cannot be written.
    """
    sweep, settings = cell.identity.sweep or {}, cell.settings
    recipes = sweeps.members(cell.recipe, sweep)
    own, *others = (
        [TrainingRun(source, task, encoding, r, seed, cell.identity.snapshots) for r in recipes]
        for seed in (cell.identity.seed, *cell.companions)
    )
    workplace = Workplace(cache_of(cell), settings.device, settings.ensemble, _curves_of(cell))
    companions = [run for runs in others for run in runs]
    return prepare_best(own, sweep, workplace, emit=emit, companions=companions)


def _curves_of(cell: Cell) -> Curves | None:
    tracker = cell.settings.log_with
    if tracker is None:
        return None
    titles = (slug(cell.identity.task.name), slug(cell.identity.model.name))
    return Curves(tracker, (cell.output or cache_of(cell)) / "curves", titles)


def cache_of(cell: Cell) -> Path:
    """Return the checkpoint cache; tasks and models under construction get one per version."""
    folder = cell.settings.cache or cache_folder()
    parts = (cell.identity.task.sample_sha256, cell.identity.model.file_sha256)
    return folder.joinpath(*(part[:16] for part in parts if part))


def measured_dtype(cell: Cell, source: ModelSource) -> torch.dtype | None:
    """Return the type to measure in; None for a module that is to stay as it is, types mixed."""
    if cell.identity.model.source == "module" and cell.identity.dtype == source.dtype:
        return None
    return getattr(torch, cell.identity.dtype)
