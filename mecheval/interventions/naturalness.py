"""How far patched runs are from what a model does by itself.

A patch puts together what no input ever did: one activation of a run and all others of another, or
zeros. What is measured on such a run says something of the model only as far as the run is like
natural ones (Grant et al. 2025, arXiv:2511.04638). So the residual stream of patched runs is held
against that of natural runs at the same position, in two places: behind the patched layer, at the
first position where the patch is seen; and behind the last layer, where the answer is read.

Shape suffixes: ``P`` patched runs, ``N`` natural runs, ``T`` positions, ``U`` positions that are
looked at, ``K`` components, ``I`` patched layers, ``S`` places, ``D`` residual width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from mecheval.errors import UsageError
from mecheval.interventions.activations import BATCH_SIZE
from mecheval.interventions.base_runs import check_ids, checked_runs
from mecheval.interventions.natural import MIN_RUNS, Natural
from mecheval.interventions.patched_streams import PatchedStreams, streams_at
from mecheval.interventions.plan import plan_of
from mecheval.models.sites import Site
from mecheval.models.wrapping import as_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike
    from torch import Tensor, nn

    from mecheval.interventions.base_runs import BaseRuns
    from mecheval.interventions.donors import Donor
    from mecheval.interventions.plan import Plan
    from mecheval.models.contract import SequenceModel

PLACES = ("patch", "readout")
"""Behind the patched layer where the patch is first seen; behind the last one at the readout."""

_SAME = 1e-4  # of the largest entry: nearer to a run as it is, a stream is that run's own


@dataclass(frozen=True)
class Naturalness:
    """How typical the residual stream of patched runs is among natural ones.

    Attributes:
        rank: Share of natural runs that are nearer to the natural mean at the same position,
            ``(component, layer, place, run)``: 0.5 on average for natural runs, 1 where every
            natural run is nearer. NaN where the model has no such component in that layer.
        distance: The Mahalanobis distances behind it.
        unpatched_rank: The same rank of the runs as they are, at the same places: what 0.5 comes
            out as for these runs.
        natural_distance: Median distance of natural runs at the same places, ``(component, layer,
            place)``.
        own: Whether the stream there is, but for rounding, that of one of the two runs as it is,
            and so natural by construction.
        shrinkage: Weight of the identity in the covariance, ``(component, layer, place)``; near 1
            there were too few natural runs for more than the mean variance.
        n_fitted: Natural runs that means and covariances are of.
        n_compared: Natural runs among which patched ones are ranked.
        axes: Labels along the axes of ``rank``, in order.

    Examples:
        >>> import mecheval, torch
        >>> from mecheval.interventions import Zero
        >>> model = mecheval.load_model("lstm[layers=2,width=16]", vocab_size=7)
        >>> others_NT = torch.arange(7).repeat(64)[:400].view(100, 4)
        >>> found = mecheval.naturalness(
        ...     model, [[0, 1, 2, 3]], [3], donor=Zero(), positions_B=[1], held_out_NT=others_NT
        ... )
        >>> found.component("block_in").shape  # layer, place, run
        (2, 2, 1)
        >>> bool(found.ratio[0, 0, 0] > 1)  # a stream of zeros lies far from every natural one
        True
    """

    rank: np.ndarray
    distance: np.ndarray
    unpatched_rank: np.ndarray
    natural_distance: np.ndarray
    own: np.ndarray
    shrinkage: np.ndarray
    n_fitted: int
    n_compared: int
    axes: dict[str, tuple]

    @property
    def ratio(self) -> np.ndarray:
        """Return median distance over natural median distance, ``(component, layer, place)``."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.median(self.distance, -1) / self.natural_distance

    def component(self, name: str) -> np.ndarray:
        """Return the ranks of one component, ``(layer, place, run)``."""
        return self.rank[self.axes["component"].index(name)]


def naturalness(
    model: SequenceModel | nn.Module,
    tokens_BT: ArrayLike | Tensor,
    readout_B: ArrayLike | Tensor,
    *,
    donor: Donor,
    positions_B: ArrayLike | Tensor,
    held_out_NT: ArrayLike | Tensor,
    components: Sequence[str] = ("block_in",),
    layers: Sequence[int] | None = None,
    batch_size: int = BATCH_SIZE,
) -> Naturalness:
    """Patch one position of every run, layer by layer, and say how natural the outcome is.

    It takes a forward pass of the runs per component and layer, and one of the natural runs; a
    sample of the runs of a grid is enough.

    Args:
        model: The model, or a module that :func:`mecheval.wrap` makes one of; put into evaluation
            mode.
        tokens_BT: Token ids of the runs that are patched.
        readout_B: Position of each at which the answer is read.
        donor: What is put into them: one of :mod:`mecheval.interventions.donors`.
        positions_B: The patched position of each run.
        held_out_NT: Natural runs, at least as long, that are none of these; what a task draws. One
            half is fitted, the other compared with.
        components: Which components to patch, one at a time.
        layers: Which layers; all where None.
        batch_size: Sequences per forward pass.

    Raises:
        UsageError: As for :func:`mecheval.interventions.recovery_grid`; there are too few natural
            runs or they are too short; or memory is patched in a model that does not come apart.

    Examples:
        >>> import mecheval, torch
        >>> from mecheval.interventions import Interchange
        >>> model = mecheval.load_model("mamba[layers=2,width=16]", vocab_size=7)
        >>> clean_BT, corrupted_BT = torch.tensor([[0, 1, 2, 3]]), torch.tensor([[0, 4, 2, 3]])
        >>> others_NT = torch.arange(7).repeat(64)[:400].view(100, 4)  # drawn like the runs
        >>> found = mecheval.naturalness(
        ...     model, corrupted_BT, [3], donor=Interchange(clean_BT), positions_B=[1],
        ...     held_out_NT=others_NT, components=["mixer_out", "state"],
        ... )
        >>> found.rank.shape  # component, layer, place, run; 0.5 is typical, 1 as no other run
        (2, 2, 2, 1)
        >>> found.n_fitted, found.n_compared
        (50, 50)
    """
    model = as_model(model)
    position_P, natural_NT, unread_B = (
        torch.as_tensor(given, device=model.device).long()
        for given in (positions_B, held_out_NT, np.zeros(np.shape(readout_B)))
    )
    (base,) = checked_runs(
        model, [tokens_BT], unread_B, unread_B, readout_B, kind="logit_difference"
    )
    _check(base, position_P, natural_NT)
    plan = plan_of(base, components, layers, position_P.unique().tolist())
    plan.check(base)
    runs = PatchedStreams(base, donor, position_P, plan.layers, batch_size=batch_size)
    references = _References(runs, natural_NT[:, : base.n_positions], plan)
    cells = [
        _measured(runs, references, component, layer)
        for component in plan.components
        for layer in plan.layers
    ]

    def stacked(name: str) -> np.ndarray:
        found = np.array([cell[name] for cell in cells])
        return found.reshape(*plan.shape[:2], *found.shape[1:])

    n_fitted = len(natural_NT) // 2
    axes = {"component": plan.components, "layer": plan.layers, "place": PLACES}
    return Naturalness(
        **{name: stacked(name) for name in cells[0]},
        n_fitted=n_fitted,
        n_compared=len(natural_NT) - n_fitted,
        axes=axes | {"run": tuple(range(base.n_runs))},
    )


def _measured(
    runs: PatchedStreams, references: _References, component: str, layer: int
) -> dict[str, np.ndarray]:
    """Return what is found of a component and layer, by its name in :class:`Naturalness`.

    Returns:
        Arrays ``(S, P)`` of runs, ``(S,)`` of the natural ones.
    """
    patched_PSD = runs.of(component, layer)
    if patched_PSD is None:
        nan_SP = np.full((len(PLACES), runs.base_runs.n_runs), np.nan)
        found = dict.fromkeys(("rank", "distance", "unpatched_rank"), nan_SP)
        found |= dict.fromkeys(("natural_distance", "shrinkage"), nan_SP[:, 0])
        return found | {"own": np.zeros_like(nan_SP, bool)}
    as_they_are = runs.own(component, layer)
    natural = references.of(component, layer)
    position_SP = [runs.seen_P(component).cpu().numpy(), runs.base_runs.readout_P.cpu().numpy()]

    def at_places(stream_PSD: Tensor) -> tuple[np.ndarray, np.ndarray]:
        found = []
        for known, place_P, stream_PD in zip(
            natural, position_SP, stream_PSD.unbind(1), strict=True
        ):
            distance_P = known.distance(stream_PD, place_P)
            found.append((distance_P, known.rank(distance_P, place_P)))
        distance_SP, rank_SP = zip(*found, strict=True)
        return np.stack(distance_SP), np.stack(rank_SP)

    distance_SP, rank_SP = at_places(patched_PSD)
    medians = [known.median(at_P) for known, at_P in zip(natural, position_SP, strict=True)]
    return {
        "rank": rank_SP,
        "distance": distance_SP,
        "unpatched_rank": at_places(as_they_are[0])[1],
        "natural_distance": np.array(medians),
        "own": np.any([_same(patched_PSD, own_PSD) for own_PSD in as_they_are], 0).T,
        "shrinkage": np.array([known.shrinkage for known in natural]),
    }


def _same(one_PSD: Tensor, other_PSD: Tensor) -> np.ndarray:
    """Say where two streams are equal, but for rounding, ``(P, S)``."""
    tolerance = max(_SAME, 2 * torch.finfo(one_PSD.dtype).eps)  # the latter in half precision
    largest_PS = torch.maximum(one_PSD.abs().amax(-1), other_PSD.abs().amax(-1))
    return ((one_PSD - other_PSD).abs().amax(-1) <= tolerance * largest_PS).cpu().numpy()


class _References:
    """The natural runs: run once, and learned from where it is asked for."""

    def __init__(self, runs: PatchedStreams, natural_NT: Tensor, plan: Plan) -> None:
        """Run them, and keep the stream behind every layer at the positions of the places."""
        model, self._readout_P = runs.base_runs.model, runs.base_runs.readout_P
        self._seen_P = {component: runs.seen_P(component) for component in plan.components}
        seen_U = torch.cat(list(self._seen_P.values())).unique()
        end = Site(model.n_layers - 1, "block_out")
        self._position_U = {Site(layer, "block_out"): seen_U for layer in plan.layers}
        self._end = end
        self._position_U[end] = torch.cat([seen_U, self._readout_P]).unique()
        wanted = {site: at_U.expand(len(natural_NT), -1) for site, at_U in self._position_U.items()}
        self._value_NUD = streams_at(model, natural_NT, wanted, batch_size=runs.batch_size)
        self._known: dict[tuple[Site, tuple[int, ...]], Natural] = {}

    def of(self, component: str, layer: int) -> list[Natural]:
        """Return what is natural at both places of a patched component and layer."""
        here = self._at(Site(layer, "block_out"), self._seen_P[component])
        return [here, self._at(self._end, self._readout_P)]

    def _at(self, site: Site, position_P: Tensor) -> Natural:
        chosen_U = position_P.unique()
        key = site, tuple(chosen_U.tolist())
        if key not in self._known:
            place_U = torch.searchsorted(self._position_U[site], chosen_U)
            value_NUD = self._value_NUD[site][:, place_U]
            self._known[key] = Natural.of(value_NUD, chosen_U.cpu().numpy())
        return self._known[key]


def _check(base: BaseRuns, position_P: Tensor, natural_NT: Tensor) -> None:
    """Check what is no part of a grid.

    Raises:
        UsageError: Positions are not one per run, or natural runs are too few or too short.
    """
    if position_P.shape != (base.n_runs,):
        raise UsageError(
            f"Naturalness needs one position per run, of shape ({base.n_runs},); got "
            f"{tuple(position_P.shape)}."
        )
    shape, least = tuple(natural_NT.shape), 2 * MIN_RUNS
    if len(shape) != 2 or shape[0] < least or shape[1] < base.n_positions:
        raise UsageError(
            f"Naturalness needs natural runs (N, T), {least} at least, of {base.n_positions} "
            f"positions at least; got {shape}."
        )
    check_ids(base.model, natural_NT)
