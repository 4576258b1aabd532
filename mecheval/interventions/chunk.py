"""One chunk of a grid: its runs, what is put into them, and the cells that still need a pass.

Shape suffixes: ``P`` runs, ``T`` positions, ``D`` width of a site, ``K`` components, ``I`` patched
layers, ``J`` patched positions, ``R`` rows (cells), ``S`` positions that a patch spans.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mecheval.interventions.activations import observed
from mecheval.interventions.donors import Interchange
from mecheval.models.decomposition import Decomposition
from mecheval.models.sites import MEMORY, Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mecheval.interventions.base_runs import BaseRuns
    from mecheval.interventions.donors import Donor
    from mecheval.interventions.plan import Plan
    from mecheval.models.contract import SequenceModel


@dataclass(frozen=True)
class SitePatch:
    """The activations of one site in the base runs and what they are replaced by.

    Attributes:
        site: The site; a tensor of the forward pass, not one of :data:`sites.MEMORY`.
        base_PTD: What it holds in the base runs.
        donor_PTD: What is put there.
    """

    site: Site
    base_PTD: Tensor
    donor_PTD: Tensor

    def differs_PT(self, span: int = 1) -> Tensor:
        """Return where something changes, at a position or at those that a patch from it spans."""
        own_PT = (self.base_PTD != self.donor_PTD).any(-1)
        found_PT = own_PT.clone()
        for ahead in range(1, min(span, own_PT.shape[1])):
            found_PT[:, :-ahead] |= own_PT[:, ahead:]
        return found_PT

    def put(self, run_R: Tensor, position_R: Tensor, span: int) -> tuple[Tensor, Tensor]:
        """Return what patches of rows put in, ``(R, S, D)``, and where, ``(R, S)``.

        Behind the last position of a sequence is nothing: there a patch ends with it.
        """
        spanned_S = torch.arange(span, device=position_R.device)
        place_RS = (position_R[:, None] + spanned_S).clamp(max=self.donor_PTD.shape[1] - 1)
        return self.donor_PTD[run_R[:, None], place_RS], place_RS


@dataclass
class Chunk:
    """One chunk of a grid.

    Attributes:
        base_runs: The runs and their readout.
        donor: What is put into them.
        plan: What is patched.
        site_patches: The sites that are tensors of the forward pass.
        base: Activations of the base runs: the stream before every block, the mixer's output
            where the output of a feed-forward part is patched, and the output of every
            feed-forward part that reads the stream before the block.
        donor_mlp_out: Outputs of these parts in the donating runs, where there are such runs.
        donor_streams: Streams before every block in the donating runs, where memory is patched.
        base_P: Readout of the base runs.
        donor_P: Readout of the donating runs; of the base runs where there are no such runs.
        patched_KIJP: The result: the base readout where no pass is needed, NaN without a site.
        pending_KIJP: Cells that may still need a pass.
        keep: Called when more of the result is known.
    """

    base_runs: BaseRuns
    donor: Donor
    plan: Plan
    site_patches: Mapping[Site, SitePatch]
    base: Mapping[Site, Tensor]
    donor_mlp_out: Mapping[Site, Tensor]
    donor_streams: Sequence[Tensor]
    base_P: Tensor
    donor_P: Tensor
    patched_KIJP: Tensor
    pending_KIJP: Tensor
    keep: Callable[[], None] = lambda: None

    def present(self) -> Iterator[tuple[int, int, Site]]:
        """Yield the sites that exist, with their place in the result."""
        for k, component in enumerate(self.plan.components):
            for i, layer in enumerate(self.plan.layers):
                site = Site(layer, component)
                if site in self.site_patches or (component in MEMORY and self._remembers(site)):
                    yield k, i, site

    def _remembers(self, site: Site) -> bool:
        """Say whether a memory can be exchanged: not every mixer says what that is.

        One that only runs from the start tells neither what a position writes nor the last inputs
        of a convolution from the rest. Of runs token by token the model's cache says it.
        """
        component, engine = site.component, self.plan.engine
        asked = component == "write" or (component == "state" and engine == "tails")
        found = self.base_runs.model.decomposition() if asked else None
        if not isinstance(found, Decomposition):
            return bool(self.donor_streams)
        mixing = found.layers[site.layer].mixing
        said = mixing.writes is not None if component == "write" else mixing.tells_recent
        return bool(self.donor_streams) and said

    def store(
        self, k: Tensor | int, i: Tensor | int, j: Tensor | int, run_R: Tensor, value_R: Tensor
    ) -> None:
        """Take the readouts of patched runs."""
        self.patched_KIJP[k, i, j, run_R] = value_R
        self.pending_KIJP[k, i, j, run_R] = False


def chunk_of(base_runs: BaseRuns, donor: Donor, plan: Plan) -> Chunk:
    """Run base and donor once, and record what the plan's engine needs, and those after it.

    Raises:
        UsageError: The donor does not fit, or the model is not causal.
    """
    model, taps = base_runs.model, base_runs.model.taps()
    patched = [site for site in plan.sites() if site in taps]
    streams = [Site(layer, "block_in") for layer in range(model.n_layers)]
    mixer_outputs = [Site(s.layer, "mixer_out") for s in patched if s.component == "mlp_out"]
    parallel_mlps = [site for site in _parallel_mlp_sites(model, plan) if site in taps]
    beside = [*(site for site in mixer_outputs if site in taps), *parallel_mlps]
    base, base_P = _observed(base_runs, [*patched, *streams, *beside], plan)
    remembered = any(component in MEMORY for component in plan.components)
    donor_P, donor_mlp_out, donor_streams = base_P, {}, []
    if isinstance(donor, Interchange):
        needed = [*patched, *(streams if remembered else streams[:1]), *parallel_mlps]
        values, donor_P = _observed(base_runs.of(donor.tokens_PT), needed, plan)
        donor_mlp_out = {site: values[site] for site in parallel_mlps}
        donor_streams = [values[site] for site in streams] if remembered else []
    else:
        values = donor.values(
            model, {site: base[site] for site in patched}, batch_size=plan.batch_size
        )
    site_patches = {site: SitePatch(site, base[site], values[site]) for site in patched}
    patched_KIJP = base_P.new_full((*plan.shape, base_runs.n_runs), torch.nan)
    chunk = Chunk(
        base_runs, donor, plan, site_patches, base, donor_mlp_out, donor_streams, base_P, donor_P,
        patched_KIJP, torch.zeros_like(patched_KIJP, dtype=torch.bool),
    )  # fmt: skip
    positions_J1 = torch.as_tensor(plan.positions, device=base_P.device)[:, None]
    for k, i, _ in chunk.present():
        chunk.patched_KIJP[k, i] = base_P
        chunk.pending_KIJP[k, i] = positions_J1 <= base_runs.readout_P
        if plan.wanted_JP is not None:
            chunk.pending_KIJP[k, i] &= torch.as_tensor(plan.wanted_JP, device=base_P.device)
    return chunk


def _parallel_mlp_sites(model: SequenceModel, plan: Plan) -> list[Site]:
    """Return the feed-forward parts that read the stream before their block, which tails need."""
    found = model.decomposition() if plan.engine == "tails" else None
    layers = found.layers if isinstance(found, Decomposition) else ()
    return [Site(index, "mlp_out") for index, layer in enumerate(layers) if layer.parallel]


def _observed(
    base_runs: BaseRuns, sites: list[Site], plan: Plan
) -> tuple[dict[Site, Tensor], Tensor]:
    """Run a question's tokens once; return activations and readouts."""
    return observed(
        base_runs.model, base_runs.tokens_PT, list(dict.fromkeys(sites)),
        readout_B=base_runs.readout_P, read=base_runs.value, batch_size=plan.batch_size,
    )  # fmt: skip
