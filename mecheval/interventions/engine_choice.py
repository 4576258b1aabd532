"""Which engine is exact for a model: each is held against plain hooks on a few cells.

Shape suffixes: ``P`` runs, ``T`` positions, ``C`` vocabulary, ``J`` patched positions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mecheval import seeding
from mecheval.errors import UsageError
from mecheval.interventions.budget import Budget
from mecheval.interventions.chunk import chunk_of
from mecheval.interventions.donors import Interchange
from mecheval.interventions.engines.blocks import run_blocks
from mecheval.interventions.engines.hooks import run_hooks
from mecheval.interventions.engines.steps import COMPONENTS, run_steps
from mecheval.interventions.engines.tails import run_tails
from mecheval.models import logits
from mecheval.models.admission import check_causal, largest_of
from mecheval.models.decomposition import Decomposition, Refusal
from mecheval.models.sites import MEMORY
from mecheval.own_code.explaining import in_words

if TYPE_CHECKING:
    from mecheval.interventions.base_runs import BaseRuns
    from mecheval.interventions.chunk import Chunk
    from mecheval.interventions.donors import Donor
    from mecheval.interventions.plan import Engine, Plan
    from mecheval.models.contract import SequenceModel

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
COARSE = 3e-2
"""Largest difference to plain hooks relative to the largest logit; the last is for half precision.
"""

MIXED = 1e-6
"""The same for models in float64 that compute parts in float32."""

RUNS, LAYERS, POSITIONS = 2, 3, 2
"""How many of each are checked, at most."""


@dataclass(frozen=True)
class EngineChoice:
    """An engine, and how it was found.

    Attributes:
        engine: The engine.
        reason: Why no faster one was taken.
        difference: Largest difference to plain hooks, relative to the largest logit.
        checked: Number of cells that it was checked on.
    """

    engine: Engine
    reason: str | None = None
    difference: float | None = None
    checked: int = 0


_known: WeakKeyDictionary[SequenceModel, dict[object, EngineChoice]] = WeakKeyDictionary()


def choose(base_runs: BaseRuns, donor: Donor, plan: Plan) -> EngineChoice:
    """Choose the fastest engine that is exact, and remember the choice for the model.

    Raises:
        UsageError: The engine that the plan asks for is not exact, or cannot do what is asked.
    """
    key = (
        base_runs.n_positions, base_runs.kind, plan.components, plan.engine, plan.frozen,
        next(base_runs.model.parameters()).dtype, base_runs.model.device,
    )  # fmt: skip
    choices = _known.setdefault(base_runs.model, {})
    if key not in choices:
        check_causal(base_runs.model, base_runs.tokens_PT[:RUNS])
        choices[key] = _chosen(base_runs, donor, plan)
    return choices[key]


def run(chunk: Chunk, engine: Engine, budget: Budget) -> None:
    """Patch every cell of a chunk with an engine that is known to work for its model."""
    model = chunk.base_runs.model
    decomposition = model.decomposition() if engine == "tails" else None
    replay = model.replay(chunk.base_runs.tokens_PT) if engine == "blocks" else None
    if isinstance(decomposition, Decomposition):
        run_tails(decomposition, chunk, budget)
    elif replay is not None and not isinstance(replay, Refusal):
        run_blocks(replay, chunk, budget)
    elif engine == "hooks":
        run_hooks(chunk, budget)
    elif engine == "steps":
        run_steps(chunk)
    else:
        raise RuntimeError(f"the engine {engine} was possible for this model, and is not any more")


def _chosen(base_runs: BaseRuns, donor: Donor, plan: Plan) -> EngineChoice:
    remembered = [component for component in plan.components if component in MEMORY]
    if remembered and not isinstance(donor, Interchange):
        raise UsageError(
            f"'{remembered[0]}' can only be exchanged with another run's: use "
            "donor=Interchange(runs), or patch tensors of the forward pass."
        )
    needs_tails = plan.frozen or bool(remembered)
    reasons: list[str] = []
    for engine in ("tails", "blocks"):
        if plan.engine not in ("auto", engine) or (needs_tails and engine != "tails"):
            continue
        reason, difference, checked = _tried(engine, base_runs, donor, plan)
        if reason is None:
            return EngineChoice(engine, "; ".join(reasons) or None, difference, checked)
        reasons.append(f"{engine}: {reason}")
    if plan.engine in ("auto", "hooks") and not needs_tails:
        return EngineChoice("hooks", "; ".join(reasons) or "asked for")
    alone = set(plan.components) <= set(COMPONENTS) and not plan.frozen
    if plan.engine == "steps" and not alone:
        raise UsageError(
            f"engine=steps exchanges {' and '.join(COMPONENTS)} alone, without frozen; got "
            f"{', '.join(plan.components)}. Use engine=auto, or components=['cache']."
        )
    can = base_runs.model.exchanges
    if plan.engine in ("auto", "steps") and alone and set(plan.components) <= set(can):
        return EngineChoice("steps", "; ".join(reasons) or "asked for")
    instead = "" if plan.engine == "auto" else ", or use engine=auto"
    raise UsageError(
        f"This grid cannot be computed on this model ({'; '.join(reasons) or plan.engine}). "
        "The components write, state and cache and frozen=True need a model that can be taken "
        f"apart; token by token this one exchanges {' and '.join(can) or 'neither'}. Leave the "
        f"others out{instead}."
    )


def _tried(
    engine: Engine, base_runs: BaseRuns, donor: Donor, plan: Plan
) -> tuple[str | None, float | None, int]:
    """Return why an engine cannot be taken, or how far it is from plain hooks."""
    model = base_runs.model
    decomposition = model.decomposition() if engine == "tails" else None
    if isinstance(decomposition, Refusal):
        return decomposition.reason, None, 0
    sample = base_runs.take(slice(RUNS))
    if engine == "blocks" and isinstance(model.replay(sample.tokens_PT), Refusal):
        return "its blocks cannot be called one by one", None, 0
    checked = _sample(sample, plan)
    chunks = [chunk_of(sample, donor.take(slice(RUNS)), checked) for _ in range(2)]
    try:
        run(chunks[0], engine, Budget(plan.memory))
    except (LookupError, RuntimeError, TypeError, ValueError) as error:
        return in_words(error), None, 0
    run_hooks(chunks[1], Budget(plan.memory))
    made, wanted = (chunk.patched_KIJP for chunk in chunks)
    exists = ~wanted.isnan()
    if not exists.any():
        return None, None, 0
    difference = float((made - wanted)[exists].abs().max() / _scale(sample))
    if not difference <= _tolerance(sample):
        return f"off by {difference:.1e} of the largest logit", difference, int(exists.sum())
    return None, difference, int(exists.sum())


def _tolerance(base_runs: BaseRuns) -> float:
    """Return how far an exact engine may be off: by rounding, and no more."""
    dtype = next(base_runs.model.parameters()).dtype
    if dtype == torch.float64 and _computes_in_float32(base_runs):
        return MIXED
    return TOLERANCE.get(dtype, COARSE)


def _computes_in_float32(base_runs: BaseRuns) -> bool:
    """Say whether a model in float64 brings some tensor to float32 on the way."""
    with _Watch() as watch:
        base_runs.model.logits_at(base_runs.tokens_PT, base_runs.readout_P[:, None])
    return watch.seen


class _Watch(TorchFunctionMode):
    """Sees whether any function returns a tensor in float32."""

    seen = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        self.seen |= isinstance(output, Tensor) and output.dtype == torch.float32
        return output


def _sample(base_runs: BaseRuns, plan: Plan) -> Plan:
    """Choose a few cells for a plan's components; what cannot be hooked is left to the streams.

    They are of the whole model, because the choice holds for later plans with other cells too.
    """
    rng = seeding.stream(0, "fidelity")

    def some(total: int, n: int) -> tuple[int, ...]:
        return tuple(sorted(rng.choice(total, size=min(n, total), replace=False).tolist()))

    last = base_runs.n_positions - 1
    hooked = tuple(name for name in plan.components if name not in MEMORY)
    return replace(
        plan,
        components=hooked or ("block_in",),
        layers=some(base_runs.model.n_layers, LAYERS),
        positions=(*some(last, POSITIONS - 1), last),  # a tail of one token can be special
        frozen=False,
        wanted_JP=None,
    )


def _scale(base_runs: BaseRuns) -> float:
    parts = logits.of_runs(base_runs.model, base_runs.tokens_PT)
    return max(largest_of(part_PTC) for (part_PTC,) in parts)
