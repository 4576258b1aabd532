"""A gradient's guess at a whole grid (attribution patching), for screening only.

The change of the readout when an activation a is replaced by a' is guessed as (a' - a) . dm/da
(Nanda 2023; Syed et al. 2023, arXiv:2310.10348), with the gradient of the base run, or its mean
along the way from the base run's embedding to the donor's (integrated gradients; Hanna et al. 2024,
arXiv:2403.17806). Saturation makes plain gradients miss large effects: the guess always comes with
its correlation with exact cells.

Shape suffixes: ``P`` pairs, ``B`` a batch of them, ``T`` positions, ``D`` width of a site, ``K``
components, ``I`` patched layers, ``J`` patched positions, ``S`` sites (component and layer).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mecheval import seeding
from mecheval.errors import UsageError
from mecheval.interventions.activations import activations, slices
from mecheval.interventions.base_runs import checked_runs
from mecheval.interventions.donors import Interchange
from mecheval.interventions.engine import patch
from mecheval.interventions.plan import Plan, plan_of
from mecheval.interventions.results import GuessedGrid
from mecheval.models.hooks import visiting
from mecheval.models.sites import Site

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike
    from torch import nn

    from mecheval.interventions.base_runs import BaseRuns, Readout
    from mecheval.interventions.results import GridResult
    from mecheval.models.contract import SequenceModel

EXACT_POSITIONS = 4


def gradient_guess(
    model: SequenceModel | nn.Module,
    clean_BT: ArrayLike | Tensor,
    corrupted_BT: ArrayLike | Tensor,
    answers_B: ArrayLike | Tensor,
    foils_B: ArrayLike | Tensor,
    readout_B: ArrayLike | Tensor,
    *,
    components: Sequence[str] = ("block_in",),
    layers: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
    readout: Readout = "logit_difference",
    steps: int = 1,
    batch_size: int = 32,
    seed: int = 0,
) -> GuessedGrid:
    """Guess what patching clean activations into corrupted runs does, from gradients.

    Args:
        model: The model, or a module that :func:`mecheval.wrap` makes one of; put into evaluation
            mode.
        clean_BT: Token ids of the clean sequences.
        corrupted_BT: Token ids of their counterfactuals, of the same shape.
        answers_B: Token id of the clean answer.
        foils_B: Token id of the corrupted answer.
        readout_B: Position at which the answer is read.
        components: Which components to patch; tensors of the forward pass.
        layers: Which layers; all where None.
        positions: Which positions; all up to the last readout where None.
        readout: ``logit_difference`` of answer and foil, or ``log_prob`` of the answer.
        steps: Number of gradients, at 1/steps, 2/steps, ... of the way from the corrupted run's
            embedding to the clean one's; with 1, the gradient of the corrupted run itself.
        batch_size: Pairs per pass; a pass with gradients keeps all activations.
        seed: Seed of the choice of positions whose cells are computed exactly as well.

    Raises:
        UsageError: As for recovery_grid; ``steps`` is less than 1; or a component is no tensor of
            the forward pass.

    Examples:
        >>> import mecheval
        >>> model = mecheval.load_model("gru[layers=2,width=16]", vocab_size=7)
        >>> guess = mecheval.gradient_guess(model, [[0, 1, 2, 3]], [[0, 4, 2, 3]], [5], [6], [3])
        >>> guess.guessed.shape  # component, layer, position, pair
        (1, 2, 4, 1)
        >>> str(guess)[:57]  # how far it can be trusted comes with it
        'a gradient guess, of one gradient: correlation with 8 exa'
    """
    clean, corrupted = checked_runs(
        model, [clean_BT, corrupted_BT], answers_B, foils_B, readout_B, kind=readout
    )
    plan = plan_of(corrupted, components, layers, positions, batch_size=batch_size)
    plan.check(corrupted)
    _check(plan, corrupted.model, steps)
    exact, checked = _exact(corrupted, clean, plan, seed)
    guesses = [
        _guess(corrupted.take(rows), clean.take(rows), plan, steps)
        for rows in slices(corrupted.n_runs, batch_size)
    ]
    effect_KIJP = torch.cat(guesses, -1).cpu().numpy()
    chosen_J = [plan.positions.index(position) for position in checked]
    made, wanted = effect_KIJP[:, :, chosen_J], exact.patched_KIJP - exact.base_P
    return GuessedGrid(
        exact.donor_P, exact.base_P, exact.base_P + effect_KIJP,
        plan.axes(corrupted.n_runs), steps,
        _correlation(made, wanted), int((~np.isnan(wanted)).sum()),
    )  # fmt: skip


def _exact(
    corrupted: BaseRuns, clean: BaseRuns, plan: Plan, seed: int
) -> tuple[GridResult, tuple[int, ...]]:
    """Compute the cells of a few positions exactly, the first changed ones among them."""
    changed_P = (corrupted.tokens_PT != clean.tokens_PT).int().argmax(1).tolist()
    first = [position for position in sorted(set(changed_P)) if position in plan.positions][:1]
    rest = [position for position in plan.positions if position not in first]
    n = min(EXACT_POSITIONS - len(first), len(rest))
    drawn = seeding.stream(seed, "attribution").choice(rest, size=n, replace=False).tolist()
    positions = tuple(sorted([*first, *drawn]))
    narrow = plan_of(corrupted, plan.components, plan.layers, positions, batch_size=plan.batch_size)
    done, _ = patch(corrupted, Interchange(clean.tokens_PT), narrow)
    return done, positions


def _guess(corrupted: BaseRuns, clean: BaseRuns, plan: Plan, steps: int) -> Tensor:
    """Return the guessed changes of the readout, ``(K, I, J, B)`` in float64."""
    model, taps = corrupted.model, corrupted.model.taps()
    sites = [site for site in plan.sites() if site in taps]
    start = Site(0, "block_in")
    wanted = list(dict.fromkeys([*sites, start]))
    size = corrupted.n_runs
    base, donor = (
        activations(model, base_runs.tokens_PT, wanted, batch_size=size)
        for base_runs in (corrupted, clean)
    )
    gradients = {site: torch.zeros_like(base[site]) for site in sites}
    for step in range(1, steps + 1):
        share = 0.0 if steps == 1 else step / steps
        stream_BTD = torch.lerp(base[start], donor[start], share)
        for site, gradient_BTD in _gradients(corrupted, sites, stream_BTD).items():
            gradients[site] += gradient_BTD / steps
    shape = (len(plan.sites()), plan.shape[-1], size)
    effect_SJB = torch.full(shape, torch.nan, dtype=torch.float64, device=model.device)
    for effect_JB, site in zip(effect_SJB, plan.sites(), strict=True):
        if site in gradients:
            product_BT = ((donor[site] - base[site]) * gradients[site]).double().sum(-1)
            effect_JB[:] = product_BT[:, list(plan.positions)].T
    return effect_SJB.unflatten(0, plan.shape[:2])


def _gradients(
    base_runs: BaseRuns, sites: Sequence[Site], stream_BTD: Tensor
) -> dict[Site, Tensor]:
    """Return the gradient of the readouts at every site, in a run from a given embedding."""
    taps, seen = base_runs.model.taps(), {}
    start = Site(0, "block_in")

    def watch(site: Site, value_BTD: Tensor) -> Tensor:
        if site == start:
            value_BTD = stream_BTD.detach().clone().requires_grad_()
        seen[site] = value_BTD
        return value_BTD

    visits = {
        taps[site]: lambda value_BTD, site=site: watch(site, value_BTD)
        for site in dict.fromkeys([start, *sites])
    }
    run_B = torch.arange(base_runs.n_runs, device=stream_BTD.device)
    # cuDNN's recurrent layers have no backward pass in evaluation mode.
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False), visiting(visits):
        logits_B1C = base_runs.model.logits_at(base_runs.tokens_PT, base_runs.readout_P[:, None])
        total = base_runs.value(logits_B1C[:, 0], run_B).sum()
        found = torch.autograd.grad(total, [seen[site] for site in sites], allow_unused=True)
    return {
        site: torch.zeros_like(seen[site]) if gradient is None else gradient.detach()
        for site, gradient in zip(sites, found, strict=True)
    }


def _correlation(made: np.ndarray, wanted: np.ndarray) -> float | None:
    exists = ~np.isnan(wanted)
    made, wanted = made[exists], wanted[exists]
    if len(wanted) < 2 or made.std() == 0 or wanted.std() == 0:
        return None
    return float(np.corrcoef(made, wanted)[0, 1])


def _check(plan: Plan, model: SequenceModel, steps: int) -> None:
    if steps < 1:
        raise UsageError(f"A gradient guess needs at least 1 step; got {steps}.")
    known = {site.component for site in model.taps()}
    for component in plan.components:
        if component not in known:
            raise UsageError(
                f"A gradient guess is of tensors of the forward pass, and '{component}' is none in "
                f"this model. Choose among {', '.join(sorted(known))}, or use recovery_grid."
            )
