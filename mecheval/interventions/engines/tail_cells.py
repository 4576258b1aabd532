"""The cells of one position, each with the layer at which it is taken up and what differs there.

A patch of the stream, or of what is added to it, is known for all positions at once: the stream
that enters the next layer is one sum away (:class:`FirstDifference`). So the projections of that
layer are computed for all positions in one product, and every cell takes its row of them. A patch
inside a mixer has no such short cut: its cells start in the layer itself (:class:`CellGroup`).

Shape suffixes: ``P`` base runs, ``T`` positions, ``R`` rows (cells), ``N`` positions of a tail,
``S`` those that a patch spans, ``D`` width of the stream, ``E`` of what is given beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mecheval.models.mixing import cut, picked
from mecheval.models.sites import MEMORY, Site

if TYPE_CHECKING:
    from mecheval.interventions.chunk import Chunk
    from mecheval.interventions.engines.tail_states import TailStates
    from mecheval.models.decomposition import Layer
    from mecheval.models.mixing import Edit, Signals, State


@dataclass(frozen=True)
class Base:
    """One layer of the base runs.

    Attributes:
        layer: The layer.
        stream_PTD: Stream before the block.
        signals: What the mixer's positions signal.
        mlp_out_PTD: Output of a feed-forward part that reads the same stream, if there is one.
        beside_PTE: What the mixer is given of the runs' tokens, if anything.
    """

    layer: Layer
    stream_PTD: Tensor
    signals: Signals
    mlp_out_PTD: Tensor | None
    beside_PTE: Tensor | None = None

    @classmethod
    def of(
        cls,
        layer: Layer,
        stream_PTD: Tensor,
        mlp_out_PTD: Tensor | None,
        state: State = (),
        *,
        beside_PTE: Tensor | None = None,
    ) -> Base:
        """Compute what positions that follow a state signal, given the stream there.

        And the output of a feed-forward part beside the mixer, unless it is given.
        """
        signals = layer.mixing.project(layer.entered(stream_PTD, beside_PTE), state)
        if layer.feed is None or not layer.parallel:
            mlp_out_PTD = None
        elif mlp_out_PTD is None:
            mlp_out_PTD = layer.feed(stream_PTD)
        return cls(layer, stream_PTD, signals, mlp_out_PTD, beside_PTE)

    def entered(self, stream_RND: Tensor, runs: Tensor | slice, first: int) -> Tensor:
        """Return the mixer's input of rows whose stream from a position on is another one."""
        if self.beside_PTE is None:
            return self.layer.enter(stream_RND)
        positions = slice(first, first + stream_RND.shape[1])
        return self.layer.entered(stream_RND, self.beside_PTE[runs, positions])

    def tail(self, runs: Tensor | slice, first: int) -> Signals:
        """Return what rows of the base runs signal from a position on."""
        return picked(self.signals, runs, slice(first, None))


@dataclass(frozen=True)
class FirstDifference:
    """Where the stream differs once a site is patched, at all positions at once.

    Attributes:
        layer: The first layer whose input differs.
        first: The first position.
        value_PTD: The stream that enters the layer, from that position on.
        known: What the layer makes of it; None where that depends on earlier inputs too.
    """

    layer: int
    first: int
    value_PTD: Tensor
    known: Base | None


@dataclass(frozen=True)
class CellGroup:
    """Cells of one site at one position, to be taken up at a layer.

    What differs there is one of two: the stream where the patch is (``value_RSD``), or something
    inside the layer's mixer, which ``component`` names and ``donor`` gives.

    Attributes:
        layer: The first layer whose work is not the base run's; the number of layers if none is.
        run_R: The base run of every row.
        place: Component and layer in the result.
        value_RSD: The stream that enters the layer from the position on, where it is patched; None
            if it is the base run's.
        signals: What these positions then signal ``(R, S, ...)``, where that is known already.
        mlp_out_RSD: What a feed-forward part that reads that stream makes of it, likewise.
        component: What is patched inside the mixer: its input (``mixer_in``), an inner component
            (``conv_out``, ``q``, ...), or its memory (``write``, ``state``, ``cache``); empty where
            the stream is what differs.
        donor: The value of ``component`` there: one tensor ``(R, S, width)``, or what the donors
            write or remember at the position, a tensor for each part of the memory.
    """

    layer: int
    run_R: Tensor
    place: tuple[int, int]
    value_RSD: Tensor | None = None
    signals: Signals | None = None
    mlp_out_RSD: Tensor | None = None
    component: str = ""
    donor: State = ()

    @cached_property
    def runs(self) -> Tensor | slice:
        """The base run of every row, as a slice where that can be: what it takes is then a view."""
        return consecutive(self.run_R)

    def split(self, rows: int) -> list[CellGroup]:
        """Return the group in parts of at most that many rows."""
        firsts = range(0, len(self.run_R), rows)
        return [self._part(slice(first, first + rows)) for first in firsts]

    def _part(self, rows: slice) -> CellGroup:
        def taken(value_RX: Tensor | None) -> Tensor | None:
            return None if value_RX is None else value_RX[rows]

        signals = self.signals
        return replace(
            self,
            run_R=self.run_R[rows],
            value_RSD=taken(self.value_RSD),
            signals=signals and {name: value[rows] for name, value in signals.items()},
            mlp_out_RSD=taken(self.mlp_out_RSD),
            donor=tuple(part[rows] for part in self.donor),
        )


@dataclass(frozen=True)
class CellFinder:
    """Finds the groups of cells of one chunk of a grid.

    Attributes:
        chunk: The chunk.
        bases: The layers of its base runs.
        states: Memory of the base runs.
        donors: Memory of the donor runs; of the base runs again where memory is not patched.
        differences: Of the sites that were patched so far.
    """

    chunk: Chunk
    bases: list[Base]
    states: TailStates
    donors: TailStates
    differences: dict[Site, FirstDifference] = field(default_factory=dict)

    def groups(self, j: int, position: int) -> list[CellGroup]:
        """Return the cells of a position that need a pass, sorted by layer."""
        found: list[CellGroup] = []
        for k, i, site in self.chunk.present():
            pending_P = self.chunk.pending_KIJP[k, i, j]
            if not pending_P.any():
                continue
            if site.component in MEMORY:
                found.append(self._of_memory(site, position, (k, i), pending_P))
            else:
                found.append(self._of_tensor(site, position, (k, i), pending_P))
        return sorted((e for e in found if len(e.run_R)), key=lambda group: group.layer)

    def _of_tensor(
        self, site: Site, position: int, place: tuple[int, int], pending_P: Tensor
    ) -> CellGroup:
        site_patch, here = self.chunk.site_patches[site], self._spanned(position)
        donor_PSD = site_patch.donor_PTD[:, here]
        changed_P = (site_patch.base_PTD[:, here] != donor_PSD).flatten(1).any(-1) & pending_P
        late = site.component in self.bases[site.layer].layer.mixing.late
        at_once = site.component in ("block_out", "mixer_out", "mlp_out", "z") and not late
        if at_once and site.layer == len(self.bases) - 1:
            # The last block's output counts at the readout alone.
            changed_P = changed_P & (self.chunk.base_runs.readout_P < here.stop)
        run_R = changed_P.nonzero()[:, 0]
        if not (at_once or site.component == "block_in"):
            donor = (donor_PSD[run_R],)
            return CellGroup(site.layer, run_R, place, component=site.component, donor=donor)
        if not len(run_R):
            return CellGroup(site.layer, run_R, place)
        if site not in self.differences:
            self.differences[site] = self._difference(site, position)
        return self._group_at(self.differences[site], position, run_R, place)

    def _spanned(self, position: int) -> slice:
        """Return the positions of a patch; it ends with the sequence."""
        end = min(position + self.chunk.plan.span, self.chunk.base_runs.n_positions)
        return slice(position, end)

    def _difference(self, site: Site, first: int) -> FirstDifference:
        """Find where the stream differs, with one pass of the parts over all later positions."""
        value_PTD = self._after(site, first)
        if site.component != "block_in":
            value_PTD = self.bases[site.layer].layer.handed_on(value_PTD)
        layer = site.layer + (site.component != "block_in")
        # Behind a short convolution a position's signals depend on the inputs before it, which are
        # the base run's here and the donor's in a pass over all positions.
        if layer == len(self.bases) or self.bases[layer].layer.mixing.reach > 1:
            return FirstDifference(layer, first, value_PTD, None)
        mlp_out_PTD = self.chunk.donor_mlp_out.get(Site(layer, "mlp_out"))
        if mlp_out_PTD is not None:
            # Where the whole stream is the donor's, so is what the part makes of it.
            whole = site.component in ("block_in", "block_out")
            mlp_out_PTD = mlp_out_PTD[:, first:] if whole else None
        base = self.bases[layer]
        beside_PTE = None if base.beside_PTE is None else base.beside_PTE[:, first:]
        known = Base.of(
            base.layer, value_PTD, mlp_out_PTD, self.states.before[layer], beside_PTE=beside_PTE
        )
        return FirstDifference(layer, first, value_PTD, known)

    def _group_at(
        self, difference: FirstDifference, position: int, run_R: Tensor, place: tuple[int, int]
    ) -> CellGroup:
        spanned, known = self._spanned(position), difference.known
        here = slice(spanned.start - difference.first, spanned.stop - difference.first)
        group = CellGroup(difference.layer, run_R, place, difference.value_PTD[run_R, here])
        if known is None:
            return group
        return replace(
            group,
            signals=picked(known.signals, run_R, here),
            mlp_out_RSD=None if known.mlp_out_PTD is None else known.mlp_out_PTD[run_R, here],
        )

    def _after(self, site: Site, first: int) -> Tensor:
        """Return the stream behind a patched output, as if it were patched at all positions."""
        base, later = self.bases[site.layer], slice(first, None)
        donor_PTD = self.chunk.site_patches[site].donor_PTD[:, later]
        if site.component in ("block_in", "block_out"):
            return donor_PTD
        layer, stream_PTD = base.layer, base.stream_PTD[:, later]
        if site.component == "mlp_out":
            mixed_PTD = self.chunk.base[Site(site.layer, "mixer_out")][:, later]
            return layer.closed(layer.join(stream_PTD, mixed_PTD), donor_PTD)
        if site.component == "z":
            state = self.states.before[site.layer]
            signals, edit = cut(base.signals, later), putting("z", donor_PTD)
            donor_PTD = layer.mixing.output(signals, state, edit=edit)
        return layer.leave(stream_PTD, donor_PTD)

    def _of_memory(
        self, site: Site, position: int, place: tuple[int, int], pending_P: Tensor
    ) -> CellGroup:
        own, donated = (
            states.at(site.layer, site.component, position) for states in (self.states, self.donors)
        )
        changed_P = torch.zeros_like(pending_P)
        for own_part, donated_part in zip(own, donated, strict=True):
            changed_P |= (own_part != donated_part).flatten(1).any(-1)
        if site.component != "write":
            # Nobody reads the memory after the last position.
            changed_P &= self.chunk.base_runs.readout_P > position
        run_R = (changed_P & pending_P).nonzero()[:, 0]
        donor = tuple(part[run_R] for part in donated)
        return CellGroup(site.layer, run_R, place, component=site.component, donor=donor)


def consecutive(run_R: Tensor) -> Tensor | slice:
    """Return runs in ascending order as a slice where none is left out; else as they are."""
    if not len(run_R):
        return slice(0)
    first, last = run_R[[0, -1]].tolist()
    return slice(first, last + 1) if last - first + 1 == len(run_R) else run_R


def putting(component: str, donor_RNX: Tensor) -> Edit:
    """Return an edit that replaces the first positions of an inner component."""

    def edit(name: str, value_RNX: Tensor) -> Tensor:
        if name != component:
            return value_RNX
        return torch.cat([donor_RNX.to(value_RNX), value_RNX[:, donor_RNX.shape[1] :]], 1)

    return edit
