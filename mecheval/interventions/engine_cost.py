"""What a grid costs by plain hooks and by faster engines, before anything is run.

The unit is one position of one row in one pass through all layers. A pass costs what its positions
cost and an overhead besides, which is the same for any number of rows. The overhead was fitted to
times of gpt2, llama and mamba at widths 64 to 256 on one core (``benchmarks/small_grids.py``): only
the order matters, and that the same request always has the same costs, so that the choice of an
engine does not depend on how busy a machine is.

=====================  =============================================================================
plain hooks            per site: a pass for every ``batch_size`` cells, with all T positions
tails                  a pass for what the base runs signal, half a layer per site, and per position
                       a pass from the first patched layer on, with T - position positions per cell
check of an engine     taking a model apart, and a few cells by hooks and by the engine
=====================  =============================================================================

Shape suffixes: ``P`` runs, ``T`` positions, ``J`` patched positions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval.models.sites import Site

if TYPE_CHECKING:
    from mecheval.interventions.base_runs import BaseRuns
    from mecheval.interventions.donors import Donor
    from mecheval.interventions.plan import Plan

FIXED, BY_WIDTH = 24.0, 6000.0
"""Overhead of a pass: so many positions, and so many over the width of the stream."""

ACCELERATED = 30.0
"""How much more that is on an accelerator, which computes positions so much faster."""

PER_POSITION = 2.0
"""Passes whose overhead the tails of one position have, which are put together of many parts."""

APART, APART_PASSES = 500.0, 15.0
"""Positions and passes that it takes to take a wrapped model apart."""

CHECKED_PASSES, CHECKED_ROWS = 20.0, 30.0
"""Passes that the check of an engine makes on its few cells, and rows of all of them."""

MARGIN = 1.1
"""By how much hooks must be dearer, because the costs are estimates."""


@dataclass(frozen=True)
class Cost:
    """What a grid costs.

    Attributes:
        hooks: By plain hooks.
        tails: By tails, whose cost stands for the other engines' too.
        check: To find out that tails are exact.
        n_cells: Cells that need a pass.
    """

    hooks: float
    tails: float
    check: float
    n_cells: int

    @property
    def pays(self) -> bool:
        """Say whether anything faster than plain hooks is worth while.

        Whether an engine was checked before makes no difference, so that the numbers of a grid
        do not depend, by their rounding, on what was computed before it.
        """
        return MARGIN * (self.tails + self.check) < self.hooks


def cost_of(base_runs: BaseRuns, donor: Donor, plan: Plan) -> Cost:
    """Estimate the costs of a grid."""
    n_positions, n_layers = base_runs.n_positions, base_runs.model.n_layers
    overhead = overhead_of(base_runs)
    cells_J, different_J = _cells(base_runs, donor, plan)
    tails_J = n_positions - np.asarray(plan.positions)
    taps = base_runs.model.taps()
    sites = [site for site in plan.sites() if site in taps]
    hooks, tails, n_cells = 0.0, 0.0, 0
    for site in sites:
        here_J = different_J if site == Site(0, "block_in") else cells_J
        n_cells += (n := int(here_J.sum()))
        hooks += math.ceil(n / plan.batch_size) * overhead + n * n_positions
        tails += float((here_J * tails_J).sum()) * _above(site.layer, n_layers)
        tails += 0.5 / n_layers * (overhead + base_runs.n_runs * n_positions)
    first = min((site.layer for site in sites), default=0)
    n_passes = PER_POSITION * int((cells_J > 0).sum())
    tails += n_passes * overhead * _above(first, n_layers)
    tails += 0.5 * (overhead + base_runs.n_runs * n_positions)
    check = CHECKED_PASSES * overhead + CHECKED_ROWS * n_positions
    if not base_runs.model.made_of_parts:
        check += APART + APART_PASSES * overhead
    return Cost(hooks, tails, check, n_cells)


def overhead_of(base_runs: BaseRuns) -> float:
    """Return what a pass costs beside its positions."""
    factor = 1.0 if base_runs.model.device.type == "cpu" else ACCELERATED
    return factor * (FIXED + BY_WIDTH / base_runs.model.d_model)


def first_changes(base_runs: BaseRuns, donor: Donor) -> np.ndarray:
    """Return where every run begins to differ from what is put into it, ``(P,)``.

    The number of positions where it nowhere does; 0 for donors that are no runs.
    """
    return _first(_differs(base_runs, donor))


def _differs(base_runs: BaseRuns, donor: Donor) -> np.ndarray:
    own_PT, tokens_PT = base_runs.tokens_PT, donor.tokens_PT
    if tokens_PT is None:
        return np.ones(tuple(own_PT.shape), bool)
    return (own_PT != tokens_PT[:, : own_PT.shape[1]].to(own_PT.device)).cpu().numpy()


def _first(differs_PT: np.ndarray) -> np.ndarray:
    return np.where(differs_PT.any(1), differs_PT.argmax(1), differs_PT.shape[1])


def _cells(base_runs: BaseRuns, donor: Donor, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """Return per patched position how many runs differ in later layers, and how many in tokens."""
    positions_J1 = np.asarray(plan.positions)[:, None]
    differs_PT = _differs(base_runs, donor)
    reach_JP = positions_J1 + plan.span > _first(differs_PT)
    reach_JP &= positions_J1 <= base_runs.readout_P.cpu().numpy()
    if plan.wanted_JP is not None:
        reach_JP &= plan.wanted_JP
    spanned = [differs_PT[:, first : first + plan.span].any(1) for first in plan.positions]
    different_JP = np.array(spanned).reshape(reach_JP.shape) & reach_JP
    return reach_JP.sum(1), different_JP.sum(1)


def _above(layer: int, n_layers: int) -> float:
    """Return the share of the layers that are run from a layer on."""
    return (n_layers - layer) / n_layers
