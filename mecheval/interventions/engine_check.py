"""Whether an engine is exact for a model: it is held against another way to compute a few cells.

The cells are of the grid itself, where an engine could go wrong: the four corners, between its
first and last layer and its longest and shortest tail (one token, where the last position is
patched), and where there are three of both one in the middle; many rows in a pass, and one. Tensors
of the forward pass are held against plain hooks, ``state`` and ``cache`` against a run token by
token where the model has one. ``write`` and frozen memory can be computed in no other way: what
they stand on is checked by the input of every block.

Shape suffixes: ``P`` runs, ``T`` positions, ``C`` vocabulary, ``J`` patched positions, ``K``
components, ``I`` patched layers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from mecheval import seeding
from mecheval.interventions.budget import Budget
from mecheval.interventions.chunk import chunk_of
from mecheval.interventions.donors import Interchange
from mecheval.interventions.engine_cost import first_changes
from mecheval.interventions.engine_faults import reason_of
from mecheval.interventions.engines import run
from mecheval.interventions.engines.steps import COMPONENTS
from mecheval.models.decomposition import Refusal
from mecheval.models.narrowing import narrows
from mecheval.models.sites import MEMORY
from mecheval.models.tolerance import NARROWED, PATCHED, STEPWISE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.interventions.base_runs import BaseRuns
    from mecheval.interventions.chunk import Chunk
    from mecheval.interventions.donors import Donor
    from mecheval.interventions.plan import Engine, Plan

RUNS = 2
"""How many runs are checked, at most."""

STEPS = 8
"""Positions of the runs on which memory is held against steps, at most."""


class Verdict(NamedTuple):
    """What a check found.

    Attributes:
        reason: Why the engine cannot be taken; None if it can.
        difference: Largest difference to the other way, relative to the largest logit.
        checked: Number of cells that were compared.
    """

    reason: str | None
    difference: float | None = None
    checked: int = 0


class Extent(NamedTuple):
    """Layers and positions between which cells of a grid lie, both ends included."""

    layers: tuple[int, int]
    positions: tuple[int, int]

    def holds(self, other: Extent) -> bool:
        """Say whether another extent lies within this one."""
        pairs = zip(self, other, strict=True)
        return all(a <= c and d <= b for (a, b), (c, d) in pairs)


def extent_of(base_runs: BaseRuns, donor: Donor, plan: Plan) -> Extent:
    """Return where a grid has cells that can change something; where it has cells, if none can."""
    first, last = int(first_changes(base_runs, donor).min()), int(base_runs.readout_P.max())
    inside = [place for place in plan.positions if first < place + plan.span and place <= last]
    positions = inside or list(plan.positions) or [0]
    layers = plan.layers or (0,)
    return Extent((min(layers), max(layers)), (min(positions), max(positions)))


def check(engine: Engine, base_runs: BaseRuns, donor: Donor, plan: Plan) -> Verdict:
    """Say whether an engine can be taken, and how far it is from plain hooks.

    Raises:
        RuntimeError: Memory is too short to tell.
        Exception: A fault of this package.
    """
    model = base_runs.model
    decomposition = model.decomposition() if engine == "tails" else None
    if isinstance(decomposition, Refusal):
        return Verdict(decomposition.reason)
    # What a model exchanges takes runs token by token to find out: asked where it matters alone.
    if decomposition is not None and "state" in plan.components and "state" in model.exchanges:
        told = [layer.mixing.tells_recent for layer in decomposition.layers]
        if not all(told):
            return Verdict(f"layer {told.index(False)} does not tell its memory from recent inputs")
    extent = extent_of(base_runs, donor, plan)
    runs = _runs(base_runs, donor)
    sample, given = base_runs.take(runs), donor.take(runs)
    if engine == "blocks" and isinstance(model.replay(sample.tokens_PT), Refusal):
        return Verdict("its blocks cannot be called one by one")
    try:
        plan = replace(plan, engine=engine)
        verdict = _against_hooks(engine, sample, given, _sample(plan, extent))
        memory = tuple(name for name in plan.components if name in COMPONENTS)
        if verdict.reason is None and memory and set(memory) <= set(model.exchanges):
            return _worse(verdict, _against_steps(engine, sample, plan, memory))
    except Exception as error:
        return Verdict(reason_of(error))
    return verdict


def _runs(base_runs: BaseRuns, donor: Donor) -> list[int]:
    """Choose the run that differs from its donor the earliest, and one that is read elsewhere."""
    earliest = int(first_changes(base_runs, donor).argmin())
    others = [run for run in range(base_runs.n_runs) if run != earliest]
    readouts = base_runs.readout_P.tolist()
    others.sort(key=lambda run: readouts[run] == readouts[earliest])
    return sorted([earliest, *others[: RUNS - 1]])


def _sample(plan: Plan, extent: Extent) -> Plan:
    """Choose a few cells for a plan's components; what cannot be hooked is left to the streams."""
    rng = seeding.stream(0, "fidelity")

    def some(values: tuple[int, ...], ends: tuple[int, int]) -> tuple[int, ...]:
        between = [value for value in sorted(set(values)) if ends[0] < value < ends[1]]
        drawn = [int(rng.choice(between))] if between else []
        return tuple(sorted({*ends, *drawn}))

    hooked = tuple(name for name in plan.components if name not in MEMORY)
    return replace(
        plan,
        components=hooked or ("block_in",),
        layers=some(plan.layers, extent.layers),
        positions=some(plan.positions, extent.positions),
        frozen=False,
        wanted_JP=None,
    )


def _against_hooks(engine: Engine, sample: BaseRuns, donor: Donor, plan: Plan) -> Verdict:
    chunk = chunk_of(sample, donor, plan)
    asked_IJ1 = _corners_and_middle(*plan.shape[1:]).to(chunk.base_P.device)
    chunk.pending_KIJP &= asked_IJ1
    chunk.patched_KIJP.masked_fill_(~asked_IJ1, torch.nan)
    asked_KIJP = _asked(chunk)
    alone = replace(chunk, plan=replace(plan, batch_size=1, memory=1), pending_KIJP=asked_KIJP)
    many, one, wanted = _copy(chunk), _copy(alone), _copy(chunk)
    run(many, engine, Budget(plan.memory))
    run(one, engine, Budget(1))
    run(wanted, "hooks", Budget(plan.memory))
    pairs = [
        (many.patched_KIJP, wanted.patched_KIJP),
        (one.patched_KIJP[asked_KIJP], wanted.patched_KIJP[asked_KIJP]),
    ]
    return _compared(pairs, sample, _tolerance(sample))


def _against_steps(
    engine: Engine, sample: BaseRuns, plan: Plan, memory: tuple[str, ...]
) -> Verdict:
    """Exchange memory in the first tokens of runs, with runs that are one token ahead."""
    n = min(STEPS, sample.n_positions - 1)
    if n < 2:
        return Verdict(None)
    last_P = torch.full_like(sample.readout_P, n - 1)
    short = replace(sample, tokens_PT=sample.tokens_PT[:, :n], readout_P=last_P)
    layers = tuple(sorted({min(plan.layers), max(plan.layers)}))
    how = replace(
        plan, components=memory, layers=layers, positions=tuple(sorted({0, n // 2, n - 2})),
        frozen=False, wanted_JP=None,
    )  # fmt: skip
    chunk = chunk_of(short, Interchange(sample.tokens_PT[:, 1 : n + 1]), how)
    made, wanted = _copy(chunk), _copy(chunk)
    run(made, engine, Budget(plan.memory))
    run(wanted, "steps", Budget(plan.memory))
    limit = max(STEPWISE, _tolerance(sample))
    # Relative to the logits that the grid reads: those of a beginning can all be about nothing.
    return _compared([(made.patched_KIJP, wanted.patched_KIJP)], sample, limit, what="memory ")


def _copy(chunk: Chunk) -> Chunk:
    return replace(
        chunk, patched_KIJP=chunk.patched_KIJP.clone(), pending_KIJP=chunk.pending_KIJP.clone()
    )


def _corners_and_middle(n_layers: int, n_positions: int) -> Tensor:
    """Return which of at most three layers and positions are put together, ``(I, J, 1)``."""
    ends_I, ends_J = ([i in (0, n - 1) for i in range(n)] for n in (n_layers, n_positions))
    return (torch.tensor(ends_I)[:, None] == torch.tensor(ends_J))[..., None]


def _asked(chunk: Chunk) -> Tensor:
    """Return which cells are also run in passes of one row: the two that are farthest apart."""
    asked_KIJP = torch.zeros_like(chunk.pending_KIJP)
    for ends in ((0, 0), (-1, -1)):
        asked_KIJP[:, ends[0], ends[1], 0] = True
    return asked_KIJP & chunk.pending_KIJP


def _compared(
    pairs: Sequence[tuple[Tensor, Tensor]], sample: BaseRuns, tolerance: float, *, what: str = ""
) -> Verdict:
    """Compare readouts with those of another way, which are NaN where there is no such site."""
    exists = [~wanted.isnan() for _, wanted in pairs]
    found = torch.cat(
        [(made - wanted)[where] for (made, wanted), where in zip(pairs, exists, strict=True)]
    )
    if not len(found):
        return Verdict(None)
    scale = sample.model.logits_at(sample.tokens_PT, sample.readout_P[:, None]).abs().max()
    largest, checked = found.abs().max(), int(exists[0].sum())
    difference = float(largest / scale) if largest else 0.0  # also of logits that are all zero
    if not difference <= tolerance:  # which NaN is not either
        reason = f"{what}off by {difference:.1e} of the largest logit"
        return Verdict(reason, difference, checked)
    return Verdict(None, difference, checked)


def _worse(one: Verdict, other: Verdict) -> Verdict:
    """Join what two checks found of different components."""
    differences = [v.difference for v in (one, other) if v.difference is not None]
    reason, checked = one.reason or other.reason, one.checked + other.checked
    return Verdict(reason, max(differences, default=None), checked)


def _tolerance(base_runs: BaseRuns) -> float:
    """Return how far an exact engine may be off: by rounding, and no more."""
    dtype = next(base_runs.model.parameters()).dtype
    few = base_runs.take(slice(1))
    if dtype == torch.float64 and narrows(
        lambda: few.model.logits_at(few.tokens_PT, few.readout_P[:, None])
    ):
        return NARROWED
    return PATCHED.of(dtype)
