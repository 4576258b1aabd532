"""One position of many clean runs, carried through layers in which some units are exchanged.

All other mixers are held at what they do in the clean run, so that the position is all that is
computed. Many changes go through the layers side by side: of a few rows alone, what a layer takes
is the time to read its weights.

Shape suffixes: ``P`` pairs, ``D`` width of the stream, ``X`` what all heads read side by side,
``1`` one position, ``V`` changes, ``R`` rows (changes x pairs).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from mecheval.metrics.circuit.attention_weights import read_by_heads

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from mecheval.models.decomposition import Layer
    from mecheval.models.mixing import Signals

ROWS = 2048
"""Rows that go through the layers side by side, at most."""


class Unit(NamedTuple):
    """A head; or where ``head`` is None a whole mixer, with all of its heads if it has any."""

    layer: int
    head: int | None

    def __str__(self) -> str:
        """Return the name as reports write it: ``L0H1``, or ``L0`` for a whole mixer."""
        return f"L{self.layer}" if self.head is None else f"L{self.layer}H{self.head}"


@dataclass(frozen=True)
class Change:
    """What some units hand on instead, at one position.

    Attributes:
        units: The units.
        read: By layer, what its heads read in the place of the clean run's ``(P, 1, X)``.
    """

    units: tuple[Unit, ...]
    read: Mapping[int, Tensor]

    @property
    def lowest(self) -> int:
        """Return the first layer that differs."""
        return min(self.read)

    def at(self, layer: int) -> list[Unit]:
        """Return the units of a layer."""
        return [unit for unit in self.units if unit.layer == layer]


@dataclass(frozen=True)
class Place:
    """A layer of the clean run at one position per pair, and its units in the corrupted run.

    Attributes:
        stream_P1D: The clean stream before the block.
        signals: What the mixer signals there in the clean run.
        mixed_P1D: The clean output of the mixer.
        own_P1X: What the heads read in the clean run; the mixer's output where it has none.
        other_P1X: The same in the corrupted run.
    """

    stream_P1D: Tensor
    signals: Signals
    mixed_P1D: Tensor
    own_P1X: Tensor
    other_P1X: Tensor


@dataclass(frozen=True)
class HeldLayers:
    """The layers of a model at one position of every clean run.

    Attributes:
        layers: The layers.
        places: What they do there in both runs.
        heads: How many heads each of them has, 0 for a mixer without heads.
    """

    layers: Sequence[Layer]
    places: Sequence[Place]
    heads: Sequence[int]

    def exchanged(self, units: Sequence[Unit]) -> Change:
        """Return the change after which units hand on what they do in the corrupted run."""
        layers = {unit.layer for unit in units}
        return Change(tuple(units), {layer: self.places[layer].other_P1X for layer in layers})

    def packs(self, changes: Sequence[Change]) -> Iterator[list[int]]:
        """Yield which changes go through the layers together, those of low layers first."""
        order = sorted(range(len(changes)), key=lambda v: changes[v].lowest)
        size = max(1, ROWS // len(self.places[0].stream_P1D))
        for first in range(0, len(order), size):
            yield order[first : first + size]

    def carried(self, changes: Sequence[Change], last: int) -> Iterator[tuple[int, Tensor]]:
        """Yield before every layer up to one the streams ``(V, P, D)`` of changes below it.

        Args:
            changes: The changes, those of low layers first.
            last: The last layer; their number for the stream behind all of them.
        """
        own_P1D = self.places[0].stream_P1D
        stream_VPD = own_P1D.new_empty((0, *own_P1D[:, 0].shape))
        for index in range(changes[0].lowest, last):
            yield index, stream_VPD
            n_new = sum(change.lowest == index for change in changes)
            new_VPD = self.places[index].stream_P1D[:, 0].expand(n_new, -1, -1)
            stream_VPD = torch.cat([stream_VPD, new_VPD])
            stream_VPD = self._after(index, stream_VPD, changes)
        yield last, stream_VPD

    def _after(self, index: int, stream_VPD: Tensor, changes: Sequence[Change]) -> Tensor:
        """Return streams ``(V, P, D)`` behind a block of which changes exchange some units."""
        mixed_VPD = self.places[index].mixed_P1D[:, 0].expand(len(stream_VPD), -1, -1)
        moved = [v for v in range(len(stream_VPD)) if changes[v].at(index)]
        if moved:
            mixed_VPD = mixed_VPD.clone()
            mixed_VPD[moved] = self._mixed(index, [changes[v] for v in moved])
        layer, shape = self.layers[index], stream_VPD.shape
        rows = (value_VPD.reshape(-1, 1, shape[-1]) for value_VPD in (stream_VPD, mixed_VPD))
        return layer.leave(*rows).reshape(shape)

    def _mixed(self, index: int, changes: Sequence[Change]) -> Tensor:
        """Return what a mixer adds ``(V, P, D)`` where some of its units are exchanged."""
        place, n_heads = self.places[index], self.heads[index]
        if not n_heads:
            return torch.stack([change.read[index][:, 0] for change in changes])
        width = place.own_P1X.shape[-1] // n_heads
        read_VP1X = place.own_P1X.repeat(len(changes), 1, 1, 1)
        for read_P1X, change in zip(read_VP1X, changes, strict=True):
            for unit in change.at(index):
                head = unit.head
                here = slice(None) if head is None else slice(head * width, (head + 1) * width)
                read_P1X[..., here] = change.read[index][..., here]
        signals = {
            name: value_P1X.repeat(len(changes), *[1] * (value_P1X.dim() - 1))
            for name, value_P1X in place.signals.items()
        }
        # One position alone: whatever it reads is replaced, and only the way out is wanted.
        read_R1X = read_VP1X.flatten(0, 1)
        mixed_R1D, _ = read_by_heads(self.layers[index].mixing, signals, edit=lambda *_: read_R1X)
        return mixed_R1D[:, 0].unflatten(0, (len(changes), -1))
