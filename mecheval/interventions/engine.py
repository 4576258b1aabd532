"""Choosing the fastest engine that is exact for a model, and running it chunk by chunk.

Shape suffixes: ``P`` runs, ``T`` positions, ``D`` width of a site, ``K`` components, ``I`` patched
layers, ``J`` patched positions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from mecheval.errors import UsageError
from mecheval.interventions.budget import Budget, keeping_freed_memory
from mecheval.interventions.chunk import chunk_of
from mecheval.interventions.engine_choice import NO_MEMORY, EngineChoice, Engines
from mecheval.interventions.grid_file import GridFile
from mecheval.interventions.plan import plan_of
from mecheval.models.decomposition import Decomposition
from mecheval.own_code.explaining import is_out_of_memory

if TYPE_CHECKING:
    from pathlib import Path

    from mecheval.interventions.base_runs import BaseRuns
    from mecheval.interventions.donors import Donor
    from mecheval.interventions.plan import Plan


@dataclass(frozen=True)
class Execution:
    """How the passes of a grid were made.

    Attributes:
        engine: ``tails``, ``blocks``, ``hooks`` or ``steps``; several, joined by ``+`` in the order
            of their use, where one failed on the way and the next one went on.
        reason: Why no faster engine was taken, and why one that failed did; None where ``tails``
            made all passes.
        difference: Largest difference to plain hooks on cells that were checked, relative to the
            largest logit; None where none was checked.
        checked: Number of cells that were checked.
        rows: Most rows in one pass.
        halvings: How often the memory for one pass was halved because the device had less.
    """

    engine: str
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
    plan = plan.sized(base_runs)
    sites = [site for site in plan.sites() if site in base_runs.model.taps()]
    given = donor.prepared(
        base_runs.model, sites, base_runs.n_positions, batch_size=plan.batch_size
    )
    engines, budget = Engines(base_runs, given, plan), Budget(plan.memory)
    kept = GridFile(partial, base_runs, donor, plan, engines.choice.engine)
    engines.used = kept.used
    base_P, donor_P = np.empty(base_runs.n_runs), np.empty(base_runs.n_runs)
    first, size = 0, _runs_per_chunk(base_runs, plan, engines.choice)
    while first < base_runs.n_runs:
        runs = slice(first, min(first + size, base_runs.n_runs))
        try:
            how = replace(plan.take(runs), engine=engines.choice.engine)
            chunk = chunk_of(base_runs.take(runs), given.take(runs), how)
            kept.attach(chunk, runs)
            with keeping_freed_memory(chunk.base_P.device):
                engines.run(chunk, budget)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            size = _fewer(runs.stop - runs.start, budget)
            continue
        kept.save()
        base_P[runs] = chunk.base_P.cpu().numpy()
        donor_P[runs] = chunk.donor_P.cpu().numpy()
        first = runs.stop
    kept.remove()
    return Patched(base_P, donor_P, kept.patched_KIJP, _execution(engines, budget))


@torch.inference_mode()
def engine_of(base_runs: BaseRuns, donor: Donor) -> Execution:
    """Say which engine computes large grids of such runs, and how exactly; compute none.

    Raises:
        UsageError: The model is not causal, or memory is too short to tell.
    """
    plan = plan_of(base_runs, ("block_in",), None, None, engine="fastest")
    return _execution(Engines(base_runs, donor, plan), Budget(plan.memory))


def _runs_per_chunk(base_runs: BaseRuns, plan: Plan, chosen: EngineChoice) -> int:
    """Return how many base runs can be kept with all that is remembered of them."""
    model = base_runs.model
    parameter = next(model.parameters())
    numbers = model.d_model * (3 * model.n_layers + 2 * len(plan.sites()))
    decomposition = model.decomposition() if chosen.engine == "tails" else None
    for layer in decomposition.layers if isinstance(decomposition, Decomposition) else ():
        signals = layer.mixing.project(layer.enter(parameter.new_zeros(1, 1, model.d_model)), ())
        numbers += 2 * sum(value_PTX.numel() for value_PTX in signals.values())
    run_bytes = base_runs.n_positions * numbers * parameter.element_size()
    return max(1, plan.memory // (run_bytes + base_runs.logits_bytes))


def _fewer(size: int, budget: Budget) -> int:
    if size == 1:
        raise UsageError(NO_MEMORY)
    budget.halvings += 1
    return size // 2


def _execution(engines: Engines, budget: Budget) -> Execution:
    choice = engines.choice
    return Execution(
        "+".join(engines.used) or choice.engine, choice.reason, choice.difference, choice.checked,
        budget.largest, budget.halvings,
    )  # fmt: skip
