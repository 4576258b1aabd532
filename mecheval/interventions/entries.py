"""The cells of one position, each with the layer at which it is taken up and what differs there.

Shape suffixes: ``P`` base runs, ``T`` positions, ``R`` rows (cells), ``D`` width of the stream.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mecheval.models.sites import MEMORY, Site

if TYPE_CHECKING:
    from mecheval.interventions.memory import States
    from mecheval.interventions.work import Work
    from mecheval.models.apart import Apart, Layer
    from mecheval.models.mixing import Signals, State


@dataclass(frozen=True)
class Base:
    """One layer of the base runs.

    Attributes:
        layer: The layer.
        stream_PTD: Stream before the block.
        signals: What the mixer's positions signal.
        fed_PTD: Output of a feed-forward part that reads the same stream, if there is one.
    """

    layer: Layer
    stream_PTD: Tensor
    signals: Signals
    fed_PTD: Tensor | None


@dataclass(frozen=True)
class Entry:
    """Cells of one site at one position, to be taken up at a layer.

    Attributes:
        layer: The first layer whose work is not the base run's; the number of layers if none is.
        run_R: The base run of every row.
        place: Component and layer in the result.
        value_RD: The stream that enters the layer at the position, where that is what differs.
        component: Else the inner component of the layer's mixer that differs.
        donor: Its value at the position: ``(R, width)``, or what the donors write or remember.
    """

    layer: int
    run_R: Tensor
    place: tuple[int, int]
    value_RD: Tensor | None = None
    component: str = ""
    donor: State = ()

    def split(self, rows: int) -> list[Entry]:
        """Return the entry in parts of at most that many rows."""
        firsts = range(0, len(self.run_R), rows)
        return [self._part(slice(first, first + rows)) for first in firsts]

    def _part(self, rows: slice) -> Entry:
        return replace(
            self,
            run_R=self.run_R[rows],
            value_RD=None if self.value_RD is None else self.value_RD[rows],
            donor=tuple(part[rows] for part in self.donor),
        )


@dataclass(frozen=True)
class Entrance:
    """Finds the entries of one chunk of a grid.

    Attributes:
        apart: The model in parts.
        work: The chunk.
        bases: The layers of its base runs.
        states: Memory of the base runs.
        donors: Memory of the donor runs; of the base runs again where memory is not patched.
    """

    apart: Apart
    work: Work
    bases: list[Base]
    states: States
    donors: States

    def entries(self, j: int, position: int) -> list[Entry]:
        """Return the entries of the cells that need a pass, sorted by layer."""
        found: list[Entry] = []
        for k, i, site in self.work.present():
            pending_P = self.work.pending_KIJP[k, i, j]
            if not pending_P.any():
                continue
            if site.component in MEMORY:
                found.append(self._of_memory(site, position, (k, i), pending_P))
            else:
                found.append(self._of_tensor(site, position, (k, i), pending_P))
        return sorted((e for e in found if len(e.run_R)), key=lambda entry: entry.layer)

    def _of_tensor(
        self, site: Site, position: int, place: tuple[int, int], pending_P: Tensor
    ) -> Entry:
        exchange = self.work.exchanges[site]
        donor_PD = exchange.donor_PTD[:, position]
        changed_P = (exchange.base_PTD[:, position] != donor_PD).any(-1) & pending_P
        at_once = site.component in ("block_out", "mixer_out", "mlp_out", "attn_out")
        if at_once and site.layer == len(self.bases) - 1:
            # The last block's output counts at the readout alone.
            changed_P = changed_P & (self.work.question.readout_P == position)
        run_R = changed_P.nonzero()[:, 0]
        donor_RD = donor_PD[run_R]
        if site.component == "block_in":
            return Entry(site.layer, run_R, place, donor_RD)
        if at_once:
            after_RD = self._after(site, position, run_R, donor_RD)
            return Entry(site.layer + 1, run_R, place, after_RD)
        return Entry(site.layer, run_R, place, None, site.component, (donor_RD,))

    def _after(self, site: Site, position: int, run_R: Tensor, donor_RD: Tensor) -> Tensor:
        """Return the stream after the block at the position, with one of its outputs replaced."""
        base, here, donor_R1D = (
            self.bases[site.layer],
            slice(position, position + 1),
            donor_RD[:, None],
        )
        if site.component == "block_out" or not len(run_R):
            return donor_RD
        layer, stream_R1D = base.layer, base.stream_PTD[run_R, here]
        if site.component == "mlp_out":
            mixed_PTD = self.work.base[Site(site.layer, "mixer_out")]
            joined_R1D = layer.join(stream_R1D, mixed_PTD[run_R, here])
            return layer.closed(joined_R1D, donor_R1D)[:, 0]
        if site.component == "attn_out":
            state = self.states.rows(site.layer, run_R)
            signals = {name: value_PTX[run_R, here] for name, value_PTX in base.signals.items()}
            donor_R1D, _ = layer.mixing.read(signals, state, edit=putting("attn_out", donor_R1D))
        return layer.leave(stream_R1D, donor_R1D)[:, 0]

    def _of_memory(
        self, site: Site, position: int, place: tuple[int, int], pending_P: Tensor
    ) -> Entry:
        own, donated = (
            states.at(site.layer, site.component, position) for states in (self.states, self.donors)
        )
        changed_P = torch.zeros_like(pending_P)
        for own_part, donated_part in zip(own, donated, strict=True):
            changed_P |= (own_part != donated_part).flatten(1).any(-1)
        if site.component != "write":
            # Nobody reads the memory after the last position.
            changed_P &= self.work.question.readout_P > position
        run_R = (changed_P & pending_P).nonzero()[:, 0]
        donor = tuple(part[run_R] for part in donated)
        return Entry(site.layer, run_R, place, None, site.component, donor)


def putting(component: str, donor_R1X: Tensor):
    """Return an edit that replaces the first position of an inner component."""

    def edit(name: str, value_RNX: Tensor) -> Tensor:
        if name != component:
            return value_RNX
        return torch.cat([donor_R1X.to(value_RNX), value_RNX[:, 1:]], 1)

    return edit
