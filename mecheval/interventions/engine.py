"""Choosing the fastest engine that is exact for a model, and running it chunk by chunk.

Shape suffixes: ``P`` runs, ``T`` positions, ``D`` width of a site, ``K`` components, ``I`` patched
layers, ``J`` patched positions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from mecheval.errors import UsageError
from mecheval.interventions.budget import Budget, keeping_freed_memory
from mecheval.interventions.chunk import chunk_of
from mecheval.interventions.engine_choice import NO_MEMORY, Engines, Execution
from mecheval.interventions.grid_file import GridFile, grid_sha256
from mecheval.interventions.plan import plan_of
from mecheval.interventions.results import GridResult
from mecheval.models.decomposition import Decomposition
from mecheval.own_code.explaining import is_out_of_memory

if TYPE_CHECKING:
    from pathlib import Path

    from mecheval.interventions.base_runs import BaseRuns
    from mecheval.interventions.chunk import Chunk
    from mecheval.interventions.donors import Donor
    from mecheval.interventions.plan import Plan


@torch.inference_mode()
def patch(
    base_runs: BaseRuns, donor: Donor, plan: Plan, *, partial: Path | None = None
) -> tuple[GridResult, Execution]:
    """Patch every cell of a grid.

    Raises:
        UsageError: The plan or the donor does not fit, the model is not causal, the engine that the
            plan asks for is not exact for it, or not even one run fits into memory.
    """
    plan.check(base_runs)
    plan, model = plan.sized(base_runs), base_runs.model
    sites = [site for site in plan.sites() if site in model.taps()]
    given = donor.prepared(model, sites, base_runs.n_positions, batch_size=plan.batch_size)
    engines, budget = Engines(base_runs, given, plan), Budget(plan.memory)
    result = GridResult.unknown(plan, base_runs.n_runs)
    begun = engines.execution.engine
    file = GridFile(partial, grid_sha256(base_runs, donor, plan, begun) if partial else "")
    file.load(result)
    first, size = 0, _runs_per_chunk(base_runs, plan, begun)
    while first < base_runs.n_runs:
        runs = slice(first, min(first + size, base_runs.n_runs))
        try:
            how = replace(plan.take(runs), engine=engines.execution.engine)
            chunk = chunk_of(base_runs.take(runs), given.take(runs), how)
            _compute(chunk, runs, result, engines, budget, file)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            size = (runs.stop - runs.start) // 2
            if size == 0:
                raise UsageError(NO_MEMORY) from error
            budget.halvings += 1
            continue
        first = runs.stop
    file.remove()
    execution = replace(
        engines.execution,
        engine="+".join(result.used) or engines.execution.engine,
        rows=budget.largest,
        halvings=budget.halvings,
    )
    return result, execution


def _compute(
    chunk: Chunk, runs: slice, result: GridResult, engines: Engines, budget: Budget, file: GridFile
) -> None:
    """Compute the cells of a chunk that are not known yet, and keep them as they come."""

    def keep() -> None:
        if file.is_due():
            result.take(chunk, runs)
            file.write(result)

    result.fill(chunk, runs)
    chunk.keep = keep
    with keeping_freed_memory(chunk.base_P.device):
        engines.run(chunk, budget, result.used)
    result.take(chunk, runs)


@torch.inference_mode()
def engine_of(base_runs: BaseRuns, donor: Donor) -> Execution:
    """Say which engine computes large grids of such runs, and how exactly; compute none.

    Raises:
        UsageError: The model is not causal, or memory is too short to tell.

    Examples:
        >>> import mecheval, torch
        >>> from mecheval.interventions import Interchange, engine_of
        >>> from mecheval.interventions.base_runs import checked_runs
        >>> model = mecheval.load_model("mamba[layers=2,width=16]", vocab_size=7)
        >>> clean_BT, corrupted_BT = torch.tensor([[0, 1, 2, 3]]), torch.tensor([[0, 4, 2, 3]])
        >>> base, donor = checked_runs(
        ...     model, [corrupted_BT, clean_BT], [5], [6], [3], kind="logit_difference"
        ... )
        >>> found = engine_of(base, Interchange(donor.tokens_PT))
        >>> found.engine, found.difference < 1e-4  # to plain hooks, of the largest logit
        ('tails', True)
    """
    plan = plan_of(base_runs, ("block_in",), None, None, engine="fastest")
    return Engines(base_runs, donor, plan).execution


def _runs_per_chunk(base_runs: BaseRuns, plan: Plan, engine: str) -> int:
    """Return how many base runs can be kept with all that is remembered of them."""
    model = base_runs.model
    parameter = next(model.parameters())
    numbers = model.d_model * (3 * model.n_layers + 2 * len(plan.sites()))
    if engine == "steps":
        numbers += 4 * model.vocab_size  # a step makes the logits of all runs
    decomposition = model.decomposition() if engine == "tails" else None
    stream_11D, token_11 = parameter.new_zeros(1, 1, model.d_model), base_runs.tokens_PT[:1, :1]
    for layer in decomposition.layers if isinstance(decomposition, Decomposition) else ():
        signals = layer.mixing.project(layer.entered(stream_11D, layer.given(token_11)), ())
        numbers += 2 * sum(value_PTX.numel() for value_PTX in signals.values())
    run_bytes = base_runs.n_positions * numbers * parameter.element_size()
    return max(1, plan.memory // (run_bytes + base_runs.logits_bytes))
