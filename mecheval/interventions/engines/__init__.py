"""Ways to compute the cells of a grid; see :mod:`mecheval.interventions` for what each skips.

Each is one function that takes the pending cells of a chunk and stores their readouts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval.interventions.engines.blocks import run_blocks
from mecheval.interventions.engines.hooks import run_hooks
from mecheval.interventions.engines.steps import run_steps
from mecheval.interventions.engines.tails import run_tails
from mecheval.models.decomposition import Refusal

if TYPE_CHECKING:
    from mecheval.interventions.budget import Budget
    from mecheval.interventions.chunk import Chunk


def run(chunk: Chunk, engine: str, budget: Budget) -> None:
    """Compute the pending cells of a chunk with one engine.

    Raises:
        RuntimeError: The model is not made for it, or memory is short.
    """
    model = chunk.base_runs.model
    if engine == "hooks":
        run_hooks(chunk, budget)
    elif engine == "steps":
        run_steps(chunk)
    elif engine == "tails":
        decomposition = model.decomposition()
        if isinstance(decomposition, Refusal):
            raise RuntimeError(decomposition.reason)
        run_tails(decomposition, chunk, budget)
    else:
        replay = model.replay(chunk.base_runs.tokens_PT)
        if isinstance(replay, Refusal):
            raise RuntimeError(replay.reason)
        run_blocks(replay, chunk, budget)
