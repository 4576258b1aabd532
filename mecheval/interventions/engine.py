"""Choosing the fastest engine that is exact for a model, and running it chunk by chunk.

Shape suffixes: ``P`` runs, ``T`` positions, ``D`` width of a site, ``K`` components, ``I`` patched
layers, ``J`` patched positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from mecheval.errors import UsageError
from mecheval.interventions.budget import Budget, is_out_of_memory, keeping_freed_memory
from mecheval.interventions.chunk import chunk_of
from mecheval.interventions.engine_choice import EngineChoice, choose, run
from mecheval.interventions.grid_file import GridFile
from mecheval.models.decomposition import Decomposition

if TYPE_CHECKING:
    from pathlib import Path

    from mecheval.interventions.base_runs import BaseRuns
    from mecheval.interventions.donors import Donor
    from mecheval.interventions.plan import Engine, Plan


@dataclass(frozen=True)
class Execution:
    """How the passes of a grid were made.

    Attributes:
        engine: ``tails``, ``blocks`` or ``hooks``.
        reason: Why no faster engine was taken; None where ``tails`` was.
        difference: Largest difference to plain hooks on cells that were checked, relative to the
            largest logit; None where none was checked.
        checked: Number of cells that were checked.
        rows: Most rows in one pass.
        halvings: How often the memory for one pass was halved because the device had less.
    """

    engine: Engine
    reason: str | None
    difference: float | None
    checked: int
    rows: int
    halvings: int


@dataclass(frozen=True)
class Patched:
    """Readouts of a grid as arrays in float64.

    Attributes:
        base_P: Of the base runs.
        donor_P: Of the runs that donate; of the base runs where there are no such runs.
        patched_KIJP: Of the patched runs; NaN where there is no such site.
        execution: How the passes were made.
    """

    base_P: np.ndarray
    donor_P: np.ndarray
    patched_KIJP: np.ndarray
    execution: Execution


@torch.inference_mode()
def patch(base_runs: BaseRuns, donor: Donor, plan: Plan, *, partial: Path | None = None) -> Patched:
    """Patch every cell of a grid.

    Raises:
        UsageError: The plan or the donor does not fit, the model is not causal, the engine that the
            plan asks for is not exact for it, or not even one run fits into memory.
    """
    plan.check(base_runs)
    chosen, budget = choose(base_runs, donor, plan), Budget(plan.memory)
    kept = GridFile(partial, base_runs, donor, plan)
    base_P, donor_P = np.empty(base_runs.n_runs), np.empty(base_runs.n_runs)
    first, size = 0, _runs_per_chunk(base_runs, plan, chosen)
    while first < base_runs.n_runs:
        runs = slice(first, min(first + size, base_runs.n_runs))
        try:
            chunk = chunk_of(base_runs.take(runs), donor.take(runs), plan.take(runs))
            kept.attach(chunk, runs)
            with keeping_freed_memory(chunk.base_P.device):
                run(chunk, chosen.engine, budget)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            size = _fewer(size, budget)
            continue
        kept.save()
        base_P[runs] = chunk.base_P.cpu().numpy()
        donor_P[runs] = chunk.donor_P.cpu().numpy()
        first = runs.stop
    kept.remove()
    return Patched(base_P, donor_P, kept.patched_KIJP, _execution(chosen, budget))


def _runs_per_chunk(base_runs: BaseRuns, plan: Plan, chosen: EngineChoice) -> int:
    """Return how many base runs can be kept with all that is remembered of them."""
    model = base_runs.model
    parameter = next(model.parameters())
    numbers = model.d_model * (3 * model.n_layers + 2 * len(plan.sites()))
    if chosen.engine == "steps":
        numbers += 4 * model.vocab_size  # a step makes the logits of all runs
    decomposition = model.decomposition() if chosen.engine == "tails" else None
    for layer in decomposition.layers if isinstance(decomposition, Decomposition) else ():
        signals = layer.mixing.project(layer.enter(parameter.new_zeros(1, 1, model.d_model)), ())
        numbers += 2 * sum(value_PTX.numel() for value_PTX in signals.values())
    run_bytes = base_runs.n_positions * numbers * parameter.element_size()
    return max(1, plan.memory // run_bytes)


def _fewer(size: int, budget: Budget) -> int:
    if size == 1:
        raise UsageError(
            "The device runs out of memory with a single run of this grid. Use shorter sequences, "
            "a smaller model or --dtype bfloat16, or a device with more memory."
        )
    budget.halvings += 1
    return size // 2


def _execution(chosen: EngineChoice, budget: Budget) -> Execution:
    return Execution(
        chosen.engine, chosen.reason, chosen.difference, chosen.checked,
        budget.largest, budget.halvings,
    )  # fmt: skip
