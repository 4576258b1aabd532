"""One chunk of a grid: its runs, what is put into them, and the cells that still need a pass.

Shape suffixes: ``P`` runs, ``T`` positions, ``D`` width of a site, ``K`` components, ``I`` patched
layers, ``J`` patched positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mecheval.interventions.donors import Interchange
from mecheval.interventions.traces import observed
from mecheval.models.sites import MEMORY, Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mecheval.interventions.donors import Donor
    from mecheval.interventions.plan import Plan
    from mecheval.interventions.question import Question
    from mecheval.models.contract import SequenceModel


@dataclass(frozen=True)
class Exchange:
    """The activations of one site in the base runs and what they are replaced by.

    Attributes:
        site: The site; a tensor of the forward pass, not one of :data:`sites.MEMORY`.
        base_PTD: What it holds in the base runs.
        donor_PTD: What is put there.
    """

    site: Site
    base_PTD: Tensor
    donor_PTD: Tensor

    def differs_PT(self) -> Tensor:
        """Return where something changes."""
        return (self.base_PTD != self.donor_PTD).any(-1)


@dataclass
class Work:
    """One chunk of a grid.

    Attributes:
        question: The base runs and their readout.
        donor: What is put into them.
        plan: What is patched.
        exchanges: The sites that are tensors of the forward pass.
        base: Activations of the base runs: the stream before every block, the mixer's output
            where the output of a feed-forward part is patched, and the output of every
            feed-forward part that reads the stream before the block.
        donor_fed: Outputs of these parts in the donating runs, where there are such runs.
        donor_streams: Streams before every block in the donating runs, where memory is patched.
        base_P: Readout of the base runs.
        donor_P: Readout of the donating runs; of the base runs where there are no such runs.
        patched_KIJP: The result: the base readout where no pass is needed, NaN without a site.
        pending_KIJP: Cells that may still need a pass.
        keep: Called when more of the result is known.
    """

    question: Question
    donor: Donor
    plan: Plan
    exchanges: Mapping[Site, Exchange]
    base: Mapping[Site, Tensor]
    donor_fed: Mapping[Site, Tensor]
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
                if site in self.exchanges or (component in MEMORY and self.donor_streams):
                    yield k, i, site

    def store(self, k: int, i: int, j: Tensor | int, run_R: Tensor, value_R: Tensor) -> None:
        """Take the readouts of patched runs."""
        self.patched_KIJP[k, i, j, run_R] = value_R
        self.pending_KIJP[k, i, j, run_R] = False


def work_of(question: Question, donor: Donor, plan: Plan) -> Work:
    """Run base and donor once, and record what the engines need.

    Raises:
        UsageError: The donor does not fit, or the model is not causal.
    """
    model, taps = question.model, question.model.taps()
    patched = [site for site in plan.sites() if site in taps]
    streams = [Site(layer, "block_in") for layer in range(model.n_layers)]
    besides = [Site(s.layer, "mixer_out") for s in patched if s.component == "mlp_out"]
    fed = [site for site in _fed_beside(model, plan) if site in taps]
    sites = list(dict.fromkeys([*patched, *streams, *[s for s in besides if s in taps], *fed]))
    base, base_P = _observed(question, sites, plan)
    remembered = any(component in MEMORY for component in plan.components)
    donor_P, donor_fed, donor_streams = base_P, {}, []
    if isinstance(donor, Interchange):
        needed = list(dict.fromkeys([*patched, *(streams if remembered else streams[:1]), *fed]))
        values, donor_P = _observed(question.of(donor.tokens_PT), needed, plan)
        donor_fed = {site: values[site] for site in fed}
        donor_streams = [values[site] for site in streams] if remembered else []
    else:
        values = donor.values(
            model, {site: base[site] for site in patched}, batch_size=plan.batch_size
        )
    exchanges = {site: Exchange(site, base[site], values[site]) for site in patched}
    patched_KIJP = base_P.new_full((*plan.shape, question.n_runs), torch.nan)
    work = Work(
        question, donor, plan, exchanges, base, donor_fed, donor_streams, base_P, donor_P,
        patched_KIJP, torch.zeros_like(patched_KIJP, dtype=torch.bool),
    )  # fmt: skip
    positions_J1 = torch.as_tensor(plan.positions, device=base_P.device)[:, None]
    for k, i, _ in work.present():
        work.patched_KIJP[k, i] = base_P
        work.pending_KIJP[k, i] = positions_J1 <= question.readout_P
        if plan.wanted_JP is not None:
            work.pending_KIJP[k, i] &= torch.as_tensor(plan.wanted_JP, device=base_P.device)
    return work


def _fed_beside(model: SequenceModel, plan: Plan) -> list[Site]:
    """Return the feed-forward parts that read the stream before their block, if an engine asks."""
    apart = model.apart() if plan.engine in ("auto", "tails") else None
    layers = () if apart is None else apart.layers
    return [Site(index, "mlp_out") for index, layer in enumerate(layers) if layer.parallel]


def _observed(
    question: Question, sites: list[Site], plan: Plan
) -> tuple[dict[Site, Tensor], Tensor]:
    """Run a question's tokens once; return activations and readouts."""
    found, logits_PC = observed(
        question.model, question.tokens_PT, sites,
        readout_B=question.readout_P, batch_size=plan.batch_size,
    )  # fmt: skip
    return found, question.value(logits_PC, torch.arange(len(logits_PC), device=logits_PC.device))
