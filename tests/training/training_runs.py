"""Trainings small enough for tests."""

from __future__ import annotations

import torch

import mecheval
from mecheval.models.load import resolve
from mecheval.recipe import Recipe
from mecheval.registry import Registry
from mecheval.spec import parse_spec
from mecheval.training.optimizers import build_optimizers
from mecheval.training.training_run import TrainingRun

QUICK = Recipe(steps=24, check_every=8, batch=8, warmup=4)


def training_run(
    model: str = "transformer[layers=1,width=8]",
    task: str = "parity[max_length=8,min_length=8]",
    recipe: Recipe = QUICK,
    *,
    seed: int = 0,
    snapshots: int | None = None,
) -> TrainingRun:
    source, chosen = resolve(parse_spec(model), Registry()), mecheval.load_task(task)
    return TrainingRun(source, chosen, source.encode(chosen), recipe, seed, snapshots)


def exact(trainer):
    """Let a trainer compute in float64."""
    trainer.model.to(torch.float64)
    trainer.optimizers = build_optimizers(trainer.model, trainer.recipe)
    return trainer


def silent(*_: object) -> None:
    """Hear of progress."""
