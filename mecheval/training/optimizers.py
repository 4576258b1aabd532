"""Optimizers and learning-rate schedules of a recipe."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from mecheval.errors import UsageError
from mecheval.training.muon import Muon

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.models.contract import SequenceModel
    from mecheval.recipe import Recipe

EPSILON = 1e-8


def build_optimizers(model: SequenceModel, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Return the optimizers of a recipe.

    ``muon`` takes the matrices inside the blocks; AdamW takes the embedding, the head and
    everything that is not a matrix. Weight decay applies to matrices only.

    Raises:
        UsageError: No weight is to be trained.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not trained:
        raise UsageError(
            "No weight of this model is to be trained: requires_grad is False for all of them. Set "
            "it for those that are, or measure the model as it is, with steps=0 in the recipe."
        )
    matrices = {id(p) for name, p in trained.items() if _is_matrix(name, p)}
    inside = {id(p) for block in model.blocks for p in block.parameters() if p.ndim == 2}
    chosen = matrices & inside if recipe.optimizer == "muon" else set()
    muon = [p for p in trained.values() if id(p) in chosen]
    rest = [p for p in trained.values() if id(p) not in chosen]
    lr = recipe.lr_vectors if recipe.optimizer == "muon" else recipe.lr
    groups = [
        {"params": [p for p in rest if id(p) in matrices], "weight_decay": recipe.weight_decay},
        {"params": [p for p in rest if id(p) not in matrices], "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=lr,
            betas=recipe.betas,
            eps=EPSILON,
            fused=_can_fuse(rest),
        )
    ]
    if muon:
        optimizers.append(Muon(muon, lr=recipe.lr, weight_decay=recipe.weight_decay))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def set_learning_rate(
    optimizers: Sequence[torch.optim.Optimizer], recipe: Recipe, step: int
) -> None:
    """Set the learning rate of one step, a pure function of the step."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * learning_rate_factor(recipe, step)


def learning_rate_factor(recipe: Recipe, step: int) -> float:
    """Return the share of the peak learning rate at a step, counted from 0."""
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    match recipe.schedule:
        case "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * done))
        case "linear":
            return 1.0 - done
    return 1.0


def _is_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Tell maps between vectors from tables of per-channel numbers, such as Mamba's ``A_log``."""
    return parameter.ndim >= 2 and "weight" in name.rpartition(".")[2]


def _can_fuse(parameters: Sequence[nn.Parameter]) -> bool:
    return all(p.is_floating_point() and p.device.type in {"cpu", "cuda"} for p in parameters)
