"""The layer at which a cell is taken up: the stream, and most of what is signalled, is the base's.

What is the base runs' is looked at where it lies, and copied only where runs are left out between
others: at small widths copies of signals take longer than any other part of a tail but products.
Mixers get it to read, not to write.

Shape suffixes: ``R`` rows (cells), ``N`` positions of a tail, ``S`` those that a patch spans, ``W``
those in reach of it, ``D`` width of the stream, ``X`` any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mecheval.interventions.engines.tail_cells import putting
from mecheval.models.mixing import LAST, Only, at, behind_each_other, cut, length_of, unchanged

if TYPE_CHECKING:
    from mecheval.interventions.engines.tail_cells import Base, CellGroup
    from mecheval.interventions.engines.tail_states import TailStates
    from mecheval.models.mixing import Signals, State


class PatchedLayers:
    """Runs groups of cells through the layer at which they are taken up."""

    def __init__(self, bases: list[Base], states: TailStates, first_readout: int) -> None:
        """Take the base runs.

        Args:
            bases: Their layers.
            states: Their memory, which is advanced from outside.
            first_readout: The first position at which one of them is read.
        """
        self.bases, self.states, self.first_readout = bases, states, first_readout

    def run(self, group: CellGroup, position: int, only: Only) -> Tensor:
        """Return the stream behind the layer, ``(R, N, D)``, or ``(R, 1, D)`` at ``only``."""
        base = self.bases[group.layer]
        stream_RND = _changed(base.stream_PTD[group.runs, position:], group.value_RSD, only)
        mixed_RND = self._mixed(group, position, only)
        resid_mid_RND = base.layer.join(stream_RND, mixed_RND)
        mlp_out_RND = self._parallel_mlp_out(group, position, only)
        if mlp_out_RND is None:
            mlp_out_RND = base.layer.mlp_out(resid_mid_RND, resid_mid_RND)
        return base.layer.closed(resid_mid_RND, mlp_out_RND)

    def _parallel_mlp_out(self, group: CellGroup, position: int, only: Only) -> Tensor | None:
        """Return the output of a feed-forward part beside the mixer: it differs at the patch."""
        base, mlp_out_RSD = self.bases[group.layer], group.mlp_out_RSD
        if base.mlp_out_PTD is None or base.layer.feed is None:
            return None
        if mlp_out_RSD is None and group.value_RSD is not None:
            mlp_out_RSD = base.layer.feed(group.value_RSD)
        return _changed(base.mlp_out_PTD[group.runs, position:], mlp_out_RSD, only)

    def _mixed(self, group: CellGroup, position: int, only: Only) -> Tensor:
        """Return the output of the mixer, ``(R, N, D)`` or ``(R, 1, D)``."""
        base = self.bases[group.layer]
        mixing, tail = base.layer.mixing, base.tail(group.runs, position)
        if group.component in ("state", "cache"):
            return self._remembering(group, position, tail, only)
        state = self.states.rows(group.layer, group.runs)
        if group.component == "write":
            # Copies, because what is written can be a signal that is also read.
            written = tuple(part_RNX.clone() for part_RNX in mixing.written(tail, state))
            for part_RNX, donor_RX in zip(written, group.donor, strict=True):
                part_RNX[:, 0] = donor_RX
            return at(mixing.reread(tail, written, state), only)
        if group.component in mixing.late:
            edit = putting(group.component, group.donor[0])
            return mixing.output(tail, state, only=only, edit=edit)
        # Only W positions in reach of the patch signal anything new; the rest of the tail stands.
        near = self._projected(group, position, state)
        n_near = length_of(near)
        if n_near == length_of(tail):
            return mixing.output(near, state, only=only)
        far = cut(tail, slice(n_near, None))
        if isinstance(only, Tensor) and self.first_readout < position + n_near:
            return mixing.output(behind_each_other(near, far), state, only=only)
        return mixing.output_of_both(near, far, state, only=only)

    def _projected(self, group: CellGroup, position: int, state: State) -> Signals:
        """Return the signals that differ from the base runs': those in reach of the patch."""
        if group.signals is not None:
            return group.signals
        base, edit = self.bases[group.layer], unchanged
        mixing = base.layer.mixing
        inner = group.component in mixing.inner
        patched = group.donor[0] if group.value_RSD is None else group.value_RSD
        # A patch behind the convolution reaches the signals of its own positions alone.
        reach = patched.shape[1] + (0 if inner else mixing.reach - 1)
        window_RWD = base.stream_PTD[group.runs, position : position + reach]
        if group.value_RSD is None:
            window_RWD = window_RWD.clone()  # a module of somebody else's may write into it
        else:
            window_RWD = _changed(window_RWD, group.value_RSD, None)
        normed_RWD = base.entered(window_RWD, group.runs, position)
        if inner:
            edit = putting(group.component, patched)
        elif group.component == "mixer_in":
            normed_RWD = _changed(normed_RWD, patched, None)
        return mixing.project(normed_RWD, state, edit=edit)

    def _remembering(self, group: CellGroup, position: int, tail: Signals, only: Only) -> Tensor:
        """Go on with another memory behind the position, whose own output stays."""
        # The position itself has read before it wrote, so that its output is the base run's; those
        # behind it go on from the donor's memory with the base run's signals.
        base = self.bases[group.layer]
        mixing, memory = base.layer.mixing, group.donor
        later = cut(tail, slice(1, None))
        if mixing.n_recent and group.component == "state":
            own = self.states.after(group.layer)[: mixing.n_recent]
            memory = (*(part[group.runs] for part in own), *memory)
        elif mixing.n_recent:
            # Other recent inputs reach the signals of the next positions, by the convolution.
            stream_RWD = base.stream_PTD[group.runs, position + 1 : position + mixing.reach]
            if stream_RWD.numel():
                normed_RWD = base.entered(stream_RWD, group.runs, position + 1)
                near = mixing.project(normed_RWD, memory)
                later = behind_each_other(near, cut(later, slice(length_of(near), None)))
        later_only = only - 1 if isinstance(only, Tensor) else only
        mixed_RND = mixing.output(later, memory, only=later_only)
        if only is not None:
            return mixed_RND
        here = cut(tail, slice(1))
        own_R1D = mixing.output(here, self.states.rows(group.layer, group.runs))
        return torch.cat([own_R1D, mixed_RND], 1)


def _changed(tail_RND: Tensor, first_RSD: Tensor | None, only: Only) -> Tensor:
    """Return a tail with other first positions, if there are any; or what is wanted of it."""
    if first_RSD is None:
        return at(tail_RND, only)
    span = first_RSD.shape[1]
    if only is None:
        return torch.cat([first_RSD.to(tail_RND), tail_RND[:, span:]], 1)
    if only is LAST:
        return first_RSD[:, -1:].to(tail_RND) if tail_RND.shape[1] == span else at(tail_RND, only)
    is_first_R11 = (only < span).to(tail_RND.device)[:, None, None]
    first_R1D = at(first_RSD, only.clamp(max=span - 1)).to(tail_RND)
    return torch.where(is_first_R11, first_R1D, at(tail_RND, only))
