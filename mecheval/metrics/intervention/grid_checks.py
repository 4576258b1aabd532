"""How far a grid of patched runs can be relied on: by half of its pairs, and by natural runs.

Both stand among the scalars of a result; neither changes its value.

Shape suffixes: ``P`` pairs, ``K`` components, ``L`` layers, ``G`` roles, ``S`` places, ``V``
cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from mecheval.errors import UsageError
from mecheval.interventions import Interchange, naturalness, split_half
from mecheval.interventions.natural import MIN_RUNS
from mecheval.metrics.intervention.shares import known_cells
from mecheval.metrics.results import profile
from mecheval.reports import grid_checks as names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.interventions import Naturalness
    from mecheval.metrics.intervention.shares import Restored
    from mecheval.metrics.subject import Subject
    from mecheval.tasks import Pairs

N_PAIRS = 32
"""Pairs whose patched runs are held against natural ones."""

N_HELD_OUT = 256
_MOST_NUMBERS = 2**25
"""Natural runs, fewer where what is kept of them would be more numbers."""


def agreement(effect_VP: np.ndarray) -> dict[str, Any]:
    """Return scalars and configuration: how well half of the pairs predicts the other.

    Args:
        effect_VP: Effects in all cells, NaN where they are known by construction, ``(..., P)``.
    """
    found = split_half(effect_VP)
    return {
        "scalars": {names.SPLIT_HALF: found.correlation, names.CORRECTED: found.corrected},
        "config": {names.SPLIT_HALF: str(found)},
    }


def open_effects(found: Restored, components: Sequence[str]) -> np.ndarray:
    """Return what clean activations change in the answer's probability, ``(K, L, G, P)``.

    Args:
        found: Probabilities with and without one exchanged activation.
        components: The components.

    Returns:
        NaN where a pair has no such role, and where the change is known by construction.
    """
    cells = (
        np.where(
            np.isnan(known_cells(found, name)),
            found.patched_LGP["denoising", name] - found.corrupted_P,
            np.nan,
        )
        for name in components
    )
    return np.stack(list(cells))


class Patched(NamedTuple):
    """Which patched runs are held against natural ones.

    Attributes:
        pairs: All pairs.
        position_P: The patched position of each.
        counts_P: Which pairs count; the first :data:`N_PAIRS` of them are taken.
        noising: Whether corrupted activations are put into the clean runs.
    """

    pairs: Pairs
    position_P: np.ndarray
    counts_P: np.ndarray
    noising: bool = False


def natural_runs(
    subject: Subject, patched: Patched, components: Sequence[str]
) -> Naturalness | str:
    """Patch a sample of the pairs again, and rank them among natural runs of the task.

    Returns:
        What is found, or why it is not measured.
    """
    rows_P = np.flatnonzero(patched.counts_P)[:N_PAIRS]
    if not len(rows_P):
        return "not measured: no pair counts"
    pairs = patched.pairs.clean.take(rows_P), patched.pairs.corrupted.take(rows_P)
    base, donor = pairs if patched.noising else pairs[::-1]
    position_P = patched.position_P[rows_P]
    try:
        return naturalness(
            subject.model, base.tokens_BT, base.roles["readout"],
            donor=Interchange(torch.as_tensor(donor.tokens_BT, device=subject.model.device)),
            positions_B=position_P, held_out_NT=_held_out(subject, 2 * len(rows_P)),
            components=components, batch_size=subject.batch_size,
        )  # fmt: skip
    except UsageError as error:
        return f"not measured: {error}"


def _held_out(subject: Subject, n_positions: int) -> np.ndarray:
    """Draw natural runs: as many as fit into a bounded memory, at that many positions."""
    per_run = (subject.model.n_layers + 1) * n_positions * subject.model.d_model
    n = int(np.clip(_MOST_NUMBERS // per_run, 2 * MIN_RUNS, N_HELD_OUT))
    return subject.examples("test", n, purpose="naturalness").tokens_BT


def ranks(
    subject: Subject, patched: Patched | str, component: str, layers: Sequence[int]
) -> dict[str, Any]:
    """Patch a sample of the pairs again, in every layer, and return what :func:`ranked` does.

    Args:
        subject: The model on its task.
        patched: Which runs, or why they cannot be ranked.
        component: The patched component.
        layers: The layers that the result's value is of.
    """
    if isinstance(patched, str):
        return ranked(f"not measured: {patched}", component, layers)
    return ranked(natural_runs(subject, patched, (component,)), component, layers)


def ranked(found: Naturalness | str, component: str, layers: Sequence[int]) -> dict[str, Any]:
    """Return scalars, configuration and profile: how natural the patched runs of a result are.

    Args:
        found: What :func:`natural_runs` returns.
        component: The component that the result is of.
        layers: The layers that its value is of; the scalars are means over them.
    """
    if isinstance(found, str):
        missing = dict.fromkeys(map(names.rank_at, names.PLACES))
        return {"scalars": missing, "config": {names.NATURALNESS: found}}
    k, chosen = found.axes["component"].index(component), list(layers)
    by_name = {
        names.rank_at: found.rank[k].mean(-1),
        names.unpatched_rank_at: found.unpatched_rank[k].mean(-1),
        names.ratio_at: found.ratio[k],
        names.by_construction_at: found.own[k].mean(-1),
    }
    scalars = {
        name(place): value_LS[chosen, s].mean()
        for s, place in enumerate(names.PLACES)
        for name, value_LS in by_name.items()
    }
    n_runs = len(found.axes["run"])
    said = (
        f"{n_runs} pairs, each ranked among {found.n_compared} natural runs at the same position; "
        f"{found.n_fitted} others give means and covariance"
    )
    series = {"unpatched": by_name[names.unpatched_rank_at], "ratio": by_name[names.ratio_at]}
    series["shrinkage"] = found.shrinkage[k]
    ranks = profile(
        {"layer": found.axes["layer"], "place": names.PLACES},
        by_name[names.rank_at],
        marks={"trivial": found.own[k].all(-1)},
        series=series,
    )
    config = {names.NATURALNESS: said}
    return {"scalars": scalars, "config": config, "profiles": {"distance_rank": ranks}}


def add(fields: dict[str, Any], more: dict[str, Any]) -> None:
    """Add to the fields of a result, mapping by mapping."""
    for name, values in more.items():
        fields[name] = {**fields.get(name, {}), **values}
