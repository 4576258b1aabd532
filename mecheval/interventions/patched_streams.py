"""The residual stream of patched runs: where a patch is first seen, and where the answer is read.

Whole runs, one patched component and layer at a time: what the engines save is what is asked for
here. Tensors of the forward pass are replaced by hooks, in any model; memory in the parts of a
model that comes apart.

Shape suffixes: ``P`` runs, ``T`` positions, ``U`` positions that are kept, ``D`` residual width,
``W`` width of a site, ``S`` places: behind the patched layer, behind the last one.
"""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mecheval.errors import UsageError
from mecheval.interventions.activations import activations, slices, taps_of
from mecheval.interventions.donors import Interchange
from mecheval.interventions.engines.hooks import putting
from mecheval.models.decomposition import Refusal
from mecheval.models.hooks import visiting
from mecheval.models.logits import at_positions
from mecheval.models.mixing import at, picked
from mecheval.models.sites import MEMORY, Site, stream_sites

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mecheval.interventions.base_runs import BaseRuns
    from mecheval.interventions.donors import Donor
    from mecheval.models.contract import SequenceModel, Tap
    from mecheval.models.decomposition import Layer
    from mecheval.models.hooks import Visit
    from mecheval.models.mixing import Mixing, Signals, State

    Given = tuple[Tensor, Tensor | None]
    """The stream before a layer ``(P, T, D)``, and what its mixer is given of the tokens."""

READ_LATER = ("state", "cache")
"""Memory after a position, which the next one is the first to read."""


@torch.inference_mode()
def streams_at(
    model: SequenceModel,
    tokens_PT: Tensor,
    positions: Mapping[Site, Tensor],
    *,
    batch_size: int,
    visits: Callable[[slice], Mapping[Tap, Visit]] = lambda _: {},
) -> dict[Site, Tensor]:
    """Run a model and keep activations at some positions of every run.

    Args:
        model: The model, in evaluation mode.
        tokens_PT: Token ids.
        positions: For every site that is kept, its positions ``(P, U)``.
        batch_size: Runs per forward pass.
        visits: What is done to activations of some runs on the way; before they are kept.

    Returns:
        Activations ``(P, U, D)`` by site.

    Raises:
        UsageError: The model has no such site.
    """
    kept: dict[Site, list[Tensor]] = {site: [] for site in positions}
    taps = taps_of(model, list(positions))
    for rows in slices(len(tokens_PT), batch_size):
        chains = {tap: [visit] for tap, visit in visits(rows).items()}
        for (site, position_PU), tap in zip(positions.items(), taps, strict=True):
            chains.setdefault(tap, []).append(partial(_keep, kept[site], position_PU[rows]))
        with visiting({tap: partial(_chained, chain) for tap, chain in chains.items()}):
            model.logits_at(tokens_PT[rows], tokens_PT[rows, :0])  # none are wanted
    return {site: torch.cat(parts) for site, parts in kept.items()}


def _keep(kept: list[Tensor], position_PU: Tensor, value_PTD: Tensor) -> None:
    kept.append(at_positions(value_PTD, position_PU).clone())


def _chained(chain: Sequence[Visit], value_PTD: Tensor) -> Tensor:
    for visit in chain:
        changed_PTD = visit(value_PTD)
        value_PTD = value_PTD if changed_PTD is None else changed_PTD
    return value_PTD


class PatchedStreams:
    """Base runs, each with one position of its own that is patched."""

    def __init__(
        self,
        base_runs: BaseRuns,
        donor: Donor,
        position_P: Tensor,
        layers: Sequence[int],
        *,
        batch_size: int,
    ) -> None:
        """Take the runs.

        Args:
            base_runs: The runs; their readout says where the answer is read.
            donor: What is put into them.
            position_P: Where.
            layers: The layers that will be asked for.
            batch_size: Runs per forward pass.
        """
        self.base_runs, self.donor, self.position_P = base_runs, donor, position_P
        self.layers, self.batch_size = tuple(layers), batch_size
        self._given: dict[str, dict[Site, Tensor]] = {}
        self._own: dict[bool, list[dict[int, Tensor]]] = {}

    def seen_P(self, component: str) -> Tensor:
        """Return the first position at which a patch is seen: the next one where it is memory."""
        later = int(component in READ_LATER)
        return torch.minimum(self.position_P + later, self.base_runs.readout_P)

    def of(self, component: str, layer: int) -> Tensor | None:
        """Return the streams behind the patched layer and behind the last one, ``(P, S, D)``.

        The first is at the first position at which the patch is seen, the second at the readout.

        Returns:
            None where the model has no such component in that layer.

        Raises:
            UsageError: Memory is patched, and the model does not come apart, or the donor is no
                other run; or the donor does not fit.
        """
        if component in MEMORY:
            return self._remembering(component, layer)
        if component not in self._given:
            self._given[component] = self._donated(component)
        site = Site(layer, component)
        if site not in self._given[component]:
            return None
        model, donor_PW = self.base_runs.model, self._given[component][site]

        def patched(rows: slice) -> Mapping[Tap, Visit]:
            return {model.taps()[site]: putting(donor_PW[rows, None], self.position_P[rows, None])}

        tokens_PT = self.base_runs.tokens_PT
        return self._streams(tokens_PT, [layer], self.seen_P(component), patched)[layer]

    def own(self, component: str, layer: int) -> list[Tensor]:
        """Return the same of runs as they are: the base runs', and those that donate if any do."""
        later = component in READ_LATER
        if later not in self._own:
            runs = [self.base_runs.tokens_PT]
            if self.donor.tokens_PT is not None:
                runs.append(self.donor.tokens_PT[:, : self.base_runs.n_positions])
            seen_P = self.seen_P(component)
            self._own[later] = [self._streams(each, self.layers, seen_P) for each in runs]
        return [streams[layer] for streams in self._own[later]]

    @torch.inference_mode()
    def _donated(self, component: str) -> dict[Site, Tensor]:
        """Return what is put into every layer that has the component, ``(P, W)`` each."""
        base_runs, taps = self.base_runs, self.base_runs.model.taps()
        sites = [Site(layer, component) for layer in self.layers]
        sites = [site for site in sites if site in taps]
        if not sites:
            return {}
        base = activations(base_runs.model, base_runs.tokens_PT, sites, batch_size=self.batch_size)
        given = self.donor.values(base_runs.model, base, batch_size=self.batch_size)
        return {site: at(given[site], self.position_P)[:, 0] for site in sites}

    def _streams(
        self,
        tokens_PT: Tensor,
        layers: Sequence[int],
        seen_P: Tensor,
        patched: Callable[[slice], Mapping[Tap, Visit]] = lambda _: {},
    ) -> dict[int, Tensor]:
        """Run some tokens, and return the streams at both places for every layer."""
        both_PU = torch.stack([seen_P, self.base_runs.readout_P], 1)
        end = Site(self.base_runs.model.n_layers - 1, "block_out")
        sites = [*(Site(layer, "block_out") for layer in layers), end]
        found = streams_at(
            self.base_runs.model, tokens_PT, dict.fromkeys(sites, both_PU),
            batch_size=self.batch_size, visits=patched,
        )  # fmt: skip
        return {
            layer: torch.stack([found[Site(layer, "block_out")][:, 0], found[end][:, 1]], 1)
            for layer in layers
        }

    @cached_property
    def _parts(self) -> tuple[tuple[Layer, ...], list[list[Given]]]:
        """Return the layers, and what each is given in both runs: the stream, and of the tokens."""
        model = self.base_runs.model
        decomposition = model.decomposition()
        if isinstance(decomposition, Refusal):
            raise UsageError(
                "Memory can be followed in a model that can be taken apart alone, and here "
                f"{decomposition.reason}. Choose among tensors of the forward pass."
            )
        if not isinstance(self.donor, Interchange):
            raise UsageError(
                "Memory can only be exchanged with another run's. Give donor=Interchange(runs), or "
                "choose among tensors of the forward pass."
            )
        sites, end = stream_sites(model.n_layers)[:-1], self.base_runs.n_positions
        runs = []
        for tokens_PT in (self.base_runs.tokens_PT, self.donor.tokens_PT[:, :end]):
            found = activations(model, tokens_PT, sites, batch_size=self.batch_size)
            pairs = zip(decomposition.layers, sites, strict=True)
            runs.append([(found[site], part.given(tokens_PT)) for part, site in pairs])
        return decomposition.layers, runs

    @torch.inference_mode()
    def _remembering(self, component: str, layer: int) -> Tensor | None:
        layers, runs = self._parts
        part = layers[layer]
        if component == "write" and not part.mixing.writes:
            return None
        own, donated = (part.mixing.project(part.entered(*run[layer]), ()) for run in runs)
        stream_PTD, beside_PTE = runs[0][layer]
        if component == "write":
            mixed_PTD = self._rewritten(part.mixing, own, donated)
            after_PTD = part.leave(stream_PTD, mixed_PTD)
        else:
            after_PTD = part.leave(stream_PTD, part.mixing.output(own, ()))
            for position in self.position_P.unique().tolist():
                run_R = (self.position_P == position).nonzero()[:, 0]
                tail_RTD = stream_PTD[run_R, position + 1 :]
                if tail_RTD.shape[1]:
                    read = (picked(each, run_R, slice(position + 1)) for each in (own, donated))
                    memory = _exchanged(part.mixing, *read, only_long=component == "state")
                    tail_RTE = None if beside_PTE is None else beside_PTE[run_R, position + 1 :]
                    later = part.mixing.project(part.entered(tail_RTD, tail_RTE), memory)
                    mixed_RTD = part.mixing.output(later, memory)
                    after_PTD[run_R, position + 1 :] = part.leave(tail_RTD, mixed_RTD)
        # The later layers, whose stream is another one, and the tokens are not.
        here_P1D = at(after_PTD, self.seen_P(component))
        after_PTD = part.handed_on(after_PTD)
        for later, (_, beside_PTE) in zip(layers[layer + 1 :], runs[0][layer + 1 :], strict=True):
            after_PTD = later.run(after_PTD, beside_PTE)
        return torch.cat([here_P1D, at(after_PTD, self.base_runs.readout_P)], 1)

    def _rewritten(self, mixing: Mixing, own: Signals, donated: Signals) -> Tensor:
        """Return the mixer's output where one position wrote what the donor wrote there."""
        row_P = torch.arange(len(self.position_P), device=self.position_P.device)
        written = tuple(part_PTX.clone() for part_PTX in mixing.written(own, ()))
        for part_PTX, donor_PTX in zip(written, mixing.written(donated, ()), strict=True):
            part_PTX[row_P, self.position_P] = donor_PTX[row_P, self.position_P]
        return mixing.reread(own, written, ())


def _exchanged(mixing: Mixing, own: Signals, donated: Signals, *, only_long: bool) -> State:
    """Return the donor's memory after the signals; the base's recent inputs stay, if asked."""
    memory = mixing.advance(donated, ())
    kept = mixing.n_recent if only_long else 0
    return (*mixing.advance(own, ())[:kept], *memory[kept:]) if kept else memory
