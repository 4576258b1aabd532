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
from mecheval.interventions.donors import Interchange
from mecheval.interventions.hooked import run_hooks
from mecheval.interventions.replayed import run_blocks
from mecheval.interventions.stepped import COMPONENTS, run_steps
from mecheval.interventions.tails import run_tails
from mecheval.interventions.work import work_of
from mecheval.models.admission import check_causal, largest_of
from mecheval.models.sites import MEMORY
from mecheval.own_code.explaining import in_words

if TYPE_CHECKING:
    from mecheval.interventions.donors import Donor
    from mecheval.interventions.plan import Engine, Plan
    from mecheval.interventions.question import Question
    from mecheval.interventions.work import Work
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
class Choice:
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


_known: WeakKeyDictionary[SequenceModel, dict[object, Choice]] = WeakKeyDictionary()


def choose(question: Question, donor: Donor, plan: Plan) -> Choice:
    """Choose the fastest engine that is exact, and remember the choice for the model.

    Raises:
        UsageError: The engine that the plan asks for is not exact, or cannot do what is asked.
    """
    key = (
        question.n_positions, question.kind, plan.components, plan.engine, plan.frozen,
        next(question.model.parameters()).dtype, question.model.device,
    )  # fmt: skip
    choices = _known.setdefault(question.model, {})
    if key not in choices:
        check_causal(question.model, question.tokens_PT[:RUNS])
        choices[key] = _chosen(question, donor, plan)
    return choices[key]


def run(work: Work, engine: Engine, budget: Budget) -> None:
    """Patch every cell of a chunk with an engine that is known to work for its model."""
    model = work.question.model
    apart = model.apart() if engine == "tails" else None
    replay = model.replay(work.question.tokens_PT) if engine == "blocks" else None
    if apart is not None:
        run_tails(apart, work, budget)
    elif replay is not None:
        run_blocks(replay, work, budget)
    elif engine == "hooks":
        run_hooks(work, budget)
    elif engine == "steps":
        run_steps(work)
    else:
        raise RuntimeError(f"the engine {engine} was possible for this model, and is not any more")


def _chosen(question: Question, donor: Donor, plan: Plan) -> Choice:
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
        reason, difference, checked = _tried(engine, question, donor, plan)
        if reason is None:
            return Choice(engine, "; ".join(reasons) or None, difference, checked)
        reasons.append(f"{engine}: {reason}")
    if plan.engine in ("auto", "hooks") and not needs_tails:
        return Choice("hooks", "; ".join(reasons) or "asked for")
    alone = set(plan.components) <= set(COMPONENTS) and not plan.frozen
    if plan.engine == "steps" and not alone:
        raise UsageError(
            f"engine=steps exchanges {' and '.join(COMPONENTS)} alone, without frozen; got "
            f"{', '.join(plan.components)}. Use engine=auto, or components=['cache']."
        )
    can = question.model.exchanges
    if plan.engine in ("auto", "steps") and alone and set(plan.components) <= set(can):
        return Choice("steps", "; ".join(reasons) or "asked for")
    instead = "" if plan.engine == "auto" else ", or use engine=auto"
    raise UsageError(
        f"This grid cannot be computed on this model ({'; '.join(reasons) or plan.engine}). "
        "The components write, state and cache and frozen=True need a model that can be taken "
        f"apart; token by token this one exchanges {' and '.join(can) or 'neither'}. Leave the "
        f"others out{instead}."
    )


def _tried(
    engine: Engine, question: Question, donor: Donor, plan: Plan
) -> tuple[str | None, float | None, int]:
    """Return why an engine cannot be taken, or how far it is from plain hooks."""
    model = question.model
    if engine == "tails" and model.apart() is None:
        return model.apart_reason or "the model cannot be taken apart", None, 0
    sample = question.take(slice(RUNS))
    if engine == "blocks" and model.replay(sample.tokens_PT) is None:
        return "its blocks cannot be called one by one", None, 0
    checked = _sample(sample, plan)
    works = [work_of(sample, donor.take(slice(RUNS)), checked) for _ in range(2)]
    try:
        run(works[0], engine, Budget(plan.memory))
    except (LookupError, RuntimeError, TypeError, ValueError) as error:
        return in_words(error), None, 0
    run_hooks(works[1], Budget(plan.memory))
    made, wanted = (work.patched_KIJP for work in works)
    exists = ~wanted.isnan()
    if not exists.any():
        return None, None, 0
    difference = float((made - wanted)[exists].abs().max() / _scale(sample))
    if not difference <= _tolerance(sample):
        return f"off by {difference:.1e} of the largest logit", difference, int(exists.sum())
    return None, difference, int(exists.sum())


def _tolerance(question: Question) -> float:
    """Return how far an exact engine may be off: by rounding, and no more."""
    dtype = next(question.model.parameters()).dtype
    if dtype == torch.float64 and _computes_in_float32(question):
        return MIXED
    return TOLERANCE.get(dtype, COARSE)


def _computes_in_float32(question: Question) -> bool:
    """Say whether a model in float64 brings some tensor to float32 on the way."""
    with _Watch() as watch:
        question.model(question.tokens_PT)
    return watch.seen


class _Watch(TorchFunctionMode):
    """Sees whether any function returns a tensor in float32."""

    seen = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        self.seen |= isinstance(output, Tensor) and output.dtype == torch.float32
        return output


def _sample(question: Question, plan: Plan) -> Plan:
    """Choose a few cells for a plan's components; what cannot be hooked is left to the streams.

    They are of the whole model, because the choice holds for later plans with other cells too.
    """
    rng = seeding.stream(0, "fidelity")

    def some(total: int, n: int) -> tuple[int, ...]:
        return tuple(sorted(rng.choice(total, size=min(n, total), replace=False).tolist()))

    last = question.n_positions - 1
    hooked = tuple(name for name in plan.components if name not in MEMORY)
    return replace(
        plan,
        components=hooked or ("block_in",),
        layers=some(question.model.n_layers, LAYERS),
        positions=(*some(last, POSITIONS - 1), last),  # a tail of one token can be special
        frozen=False,
        wanted_JP=None,
    )


def _scale(question: Question) -> float:
    return largest_of(question.model(question.tokens_PT))
