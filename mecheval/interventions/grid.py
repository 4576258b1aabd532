"""Interchange interventions over a whole grid: components x layers x positions x pairs.

Shape suffixes: ``P`` pairs, ``B`` pairs as the user gives them, ``T`` positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from mecheval.errors import UsageError
from mecheval.interventions.activations import BATCH_SIZE
from mecheval.interventions.base_runs import Readout, checked_runs
from mecheval.interventions.donors import Donor, Interchange
from mecheval.interventions.engine import patch
from mecheval.interventions.plan import Engine, Plan, plan_of
from mecheval.interventions.results import AblationGrid, RecoveryGrid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike
    from torch import Tensor, nn

    from mecheval.interventions.base_runs import BaseRuns
    from mecheval.models.contract import SequenceModel

Direction = Literal["denoising", "noising"]


def recovery_grid(
    model: SequenceModel | nn.Module,
    clean_BT: ArrayLike | Tensor,
    corrupted_BT: ArrayLike | Tensor,
    answers_B: ArrayLike | Tensor,
    foils_B: ArrayLike | Tensor,
    readout_B: ArrayLike | Tensor,
    *,
    components: Sequence[str] = ("block_in",),
    layers: Sequence[int] | None = None,
    positions: ArrayLike | None = None,
    span: int = 1,
    readout: Readout = "logit_difference",
    direction: Direction = "denoising",
    frozen: bool = False,
    engine: Engine = "auto",
    batch_size: int = BATCH_SIZE,
    memory: int = Plan.memory,
    partial: Path | None = None,
) -> RecoveryGrid:
    """Patch every site of the corrupted runs with the clean runs' activation, one at a time.

    Equal to one full forward pass per cell with plain hooks, which ``engine="hooks"`` makes. No
    pass is made for a cell that cannot change the readout: the activations are the same in both
    runs, or its position lies behind the readout.

    Args:
        model: The model, or a module that :func:`mecheval.wrap` makes one of; put into evaluation
            mode.
        clean_BT: Token ids of the clean sequences.
        corrupted_BT: Token ids of their counterfactuals, of the same shape.
        answers_B: Token id of the clean answer.
        foils_B: Token id of the corrupted answer.
        readout_B: Position at which the answer is read.
        components: Which components of :data:`mecheval.models.sites.COMPONENTS` to patch.
        layers: Which layers; all where None.
        positions: Which positions ``(J,)``; or ``(B, J)``, for every pair its own, where those
            below 0 or behind the last readout are left NaN; all up to the last readout where None.
        span: How many positions are patched at once, from each of these on.
        readout: ``logit_difference`` of answer and foil, or ``log_prob`` of the answer.
        direction: ``denoising`` puts clean activations into corrupted runs, ``noising`` corrupted
            ones into clean runs.
        frozen: Hold the memory of all layers above the patched one at the unpatched run's.
        engine: ``tails`` (from the patched layer and position on), ``blocks`` (from the patched
            layer on), ``hooks`` (whole forward passes), or ``fastest``: the first of them that is
            exact for this model. ``auto`` is that too, but takes ``hooks`` for a grid that is too
            small to gain by it. ``steps`` exchanges ``state`` and ``cache`` in runs token by
            token; both take it where a model cannot be taken apart.
        batch_size: Sequences per whole forward pass, at most.
        memory: Bytes that the activations of one pass may take; halved when there are fewer.
        partial: A file in which finished parts are kept, so that an interrupted grid goes on
            where it stopped; removed when the grid is whole.

    Raises:
        UsageError: Shapes do not agree, a component, layer or position does not exist, memory is to
            be patched at several positions at once, the model is not causal, or the engine that was
            asked for is not exact for it.

    Examples:
        >>> import mecheval
        >>> model = mecheval.load_model("transformer[layers=2,width=16]", vocab_size=7)
        >>> clean_BT, corrupted_BT = [[0, 1, 2, 3], [0, 2, 2, 3]], [[0, 4, 2, 3], [0, 5, 2, 3]]
        >>> answers_B, foils_B, readout_B = [5, 6], [6, 5], [3, 3]
        >>> grid = mecheval.recovery_grid(
        ...     model, clean_BT, corrupted_BT, answers_B, foils_B, readout_B,
        ...     components=["block_in", "mixer_out"],
        ... )
        >>> grid.patched.shape  # component, layer, position, pair
        (2, 2, 4, 2)
        >>> grid.execution.engine  # of so few cells; others are computed by faster ones
        'hooks'
        >>> stream = grid.component("block_in")
        >>> bool((stream[0, 1] == grid.clean).all())  # the embedding of the changed token is all
        True
        >>> bool((stream[:, 0] == grid.corrupted).all())  # nothing differs before it
        True
    """
    asked = checked_runs(
        model, [clean_BT, corrupted_BT], answers_B, foils_B, readout_B, kind=readout
    )
    if direction not in ("denoising", "noising"):
        raise UsageError(f"Unknown direction '{direction}'. Choose denoising or noising.")
    base, donor = asked if direction == "noising" else asked[::-1]
    own_BJ = None if positions is None or np.ndim(positions) < 2 else np.asarray(positions)
    union = _listed(positions) if own_BJ is None else _union(own_BJ, base)
    plan = plan_of(
        base, components, layers, union,
        span=span, frozen=frozen, engine=engine, batch_size=batch_size, memory=memory,
        wanted_JP=None if own_BJ is None else (np.asarray(union)[:, None, None] == own_BJ).any(-1),
    )  # fmt: skip
    done, execution = patch(base, Interchange(donor.tokens_PT), plan, partial=partial)
    ends = (done.donor_P, done.base_P)
    clean_P, corrupted_P = ends if direction == "denoising" else ends[::-1]
    patched, axes = done.patched_KIJP, plan.axes(base.n_runs)
    if own_BJ is not None:
        patched = _at_own(patched, plan.positions, own_BJ)
        axes["position"] = tuple(range(own_BJ.shape[1]))
    return RecoveryGrid(
        clean=clean_P, corrupted=corrupted_P, patched=patched, axes=axes, execution=execution
    )


def ablation_grid(
    model: SequenceModel | nn.Module,
    tokens_BT: ArrayLike | Tensor,
    answers_B: ArrayLike | Tensor,
    foils_B: ArrayLike | Tensor,
    readout_B: ArrayLike | Tensor,
    *,
    donor: Donor,
    components: Sequence[str] = ("block_in",),
    layers: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
    readout: Readout = "logit_difference",
    frozen: bool = False,
    engine: Engine = "auto",
    batch_size: int = BATCH_SIZE,
    memory: int = Plan.memory,
) -> AblationGrid:
    """Replace every site of runs by what a donor gives, one at a time.

    The arguments are those of :func:`recovery_grid`, with ``donor`` one of
    :mod:`mecheval.interventions.donors`: ``Zero()``, ``Mean(reference)``, ``Interchange(runs)``
    with any other runs (resample ablation), or ``Subspace(donor, bases)`` of one of these.

    Raises:
        UsageError: As for :func:`recovery_grid`, or the donor does not fit.

    Examples:
        >>> import mecheval
        >>> from mecheval.interventions import Zero
        >>> model = mecheval.load_model("mamba[layers=2,width=16]", vocab_size=7)
        >>> grid = mecheval.ablation_grid(
        ...     model, [[0, 1, 2, 3]], [5], [6], [3], donor=Zero(), components=["mixer_out"]
        ... )
        >>> grid.patched.shape  # component, layer, position, run
        (1, 2, 4, 1)
        >>> bool((grid.component("mixer_out")[0] != grid.base).any())
        True
    """
    (base,) = checked_runs(model, [tokens_BT], answers_B, foils_B, readout_B, kind=readout)
    plan = plan_of(
        base, components, layers, positions,
        frozen=frozen, engine=engine, batch_size=batch_size, memory=memory,
    )  # fmt: skip
    done, execution = patch(base, donor, plan)
    return AblationGrid(
        base=done.base_P,
        patched=done.patched_KIJP,
        axes=plan.axes(base.n_runs),
        execution=execution,
    )


def _listed(positions: ArrayLike | None) -> list[int] | None:
    return None if positions is None else [int(position) for position in np.asarray(positions)]


def _union(own_BJ: np.ndarray, base: BaseRuns) -> list[int]:
    """Return all positions that some pair asks for.

    Raises:
        UsageError: There is not one list of positions per pair, or no position is inside.
    """
    inside = np.unique(own_BJ[(own_BJ >= 0) & (own_BJ < base.n_positions)])
    if own_BJ.ndim != 2 or len(own_BJ) != base.n_runs or not len(inside):
        raise UsageError(
            f"Positions per pair need the shape ({base.n_runs}, J) and one from 0 to "
            f"{base.n_positions - 1} at least; got the shape {own_BJ.shape}."
        )
    return inside.tolist()


def _at_own(patched_KIJP: np.ndarray, positions: Sequence[int], own_BJ: np.ndarray) -> np.ndarray:
    """Pick every pair's own positions; NaN where they are outside."""
    place_BJ = np.searchsorted(positions, own_BJ).clip(0, len(positions) - 1)
    found_BJ = np.asarray(positions)[place_BJ] == own_BJ
    picked_KIJP = patched_KIJP[:, :, place_BJ.T, np.arange(len(own_BJ))]
    return np.where(found_BJ.T, picked_KIJP, np.nan)
