"""Path patching from units at the value, through heads at the readout, to the logits.

A unit is an attention head; or a whole mixer, where it has no heads. In a clean run the output of
one unit, or of several, at the value comes from the corrupted run, and all other mixers below the
later heads stay as they were; feed-forward parts and norms are computed anew. What one later head,
or several, then read at the readout is all that is passed on: into another clean run with every
other head held (Wang et al. 2025, arXiv:2410.06672; Wang et al. 2022, arXiv:2211.00593). With
everything held, a change stays at its own position, so that one position per run is computed
between the units.

Shape suffixes: ``P`` pairs, ``T`` positions, ``D`` width of the stream, ``X`` what all heads read
side by side, ``1`` one position, ``A`` answer and foil.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from mecheval.metrics.circuit.attention_weights import (
    attention_weights,
    head_weights,
    read_by_heads,
    uniform_attention,
)
from mecheval.models.mixing import at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.models.decomposition import Decomposition, Layer
    from mecheval.models.mixing import Signals


class Unit(NamedTuple):
    """A head; or where ``head`` is None a whole mixer, with all of its heads if it has any."""

    layer: int
    head: int | None

    def __str__(self) -> str:
        """Return the name as reports write it: ``L0H1``, or ``L0`` for a whole mixer."""
        return f"L{self.layer}" if self.head is None else f"L{self.layer}H{self.head}"


@dataclass(frozen=True)
class _Place:
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


class Paths:
    """Clean and corrupted runs of some pairs, and the paths through them.

    Attributes:
        weights: What :func:`head_weights` returns for every layer, None for one without heads.
        uniform: The same for heads that read as much from every position that they can see.
        at_value: Every layer at the value.
        at_readout: Every layer at the readout.
    """

    def __init__(
        self,
        decomposition: Decomposition,
        streams: tuple[Sequence[Tensor], Sequence[Tensor]],
        *,
        key_P: Tensor,
        value_P: Tensor,
        readout_P: Tensor,
        tokens_PA: Tensor,
    ) -> None:
        """Run every mixer on both runs.

        Args:
            decomposition: The model in parts.
            streams: The streams ``(P, T, D)`` before every block, of the clean and the corrupted
                runs.
            key_P: Position of the key.
            value_P: Position of its value.
            readout_P: Position at which the answer is read.
            tokens_PA: Token ids of answer and foil.
        """
        self.decomposition, self.tokens_PA = decomposition, tokens_PA
        self.value_P, self.readout_P = value_P, readout_P
        self.clean = streams[0]
        self.weights: list[dict[str, Tensor] | None] = []
        self.uniform: list[dict[str, Tensor] | None] = []
        self.at_value: list[_Place] = []
        self.at_readout: list[_Place] = []
        roles = {"key_B": key_P, "value_B": value_P, "readout_B": readout_P}
        for layer, *pair in zip(decomposition.layers, *streams, strict=True):
            signals = [layer.mixing.project(layer.enter(stream_PTD), ()) for stream_PTD in pair]
            weights_PHTS, found, uniform = attention_weights(layer.mixing, signals[0]), None, None
            if weights_PHTS is not None:
                found = head_weights(weights_PHTS, **roles)
                uniform_1HTS = uniform_attention(layer.mixing, signals[0])
                uniform = head_weights(uniform_1HTS.expand_as(weights_PHTS), **roles)
            self.weights.append(found)
            self.uniform.append(uniform)
            for places, position_P in ((self.at_value, value_P), (self.at_readout, readout_P)):
                places.append(self._place(layer, pair[0], signals, position_P))

    @property
    def units(self) -> list[Unit]:
        """Return all heads in order, and the mixers of layers without heads."""
        return [
            Unit(layer, head)
            for layer, weights in enumerate(self.weights)
            for head in ([None] if weights is None else range(weights["induction"].shape[1]))
        ]

    def path(self, first: Unit, last: Sequence[Unit]) -> Tensor:
        """Return the readout ``(U, P)`` of the path from a unit to each of several later heads."""
        made = self._read_after([first], {unit.layer for unit in last})
        return torch.stack([self._through({unit.layer: made[unit.layer]}, [unit]) for unit in last])

    def together(self, first: Sequence[Unit], last: Sequence[Unit]) -> Tensor:
        """Return the readout ``(P,)`` of all paths from several units to several heads at once.

        Args:
            first: Units; what they hand on at the value is exchanged in all of them.
            last: Heads; each of them reads what all units below it hand on.
        """
        lowest = min(unit.layer for unit in first)
        later = [unit for unit in last if unit.layer > lowest]
        if not later:
            return self.held()
        return self._through(self._read_after(first, {unit.layer for unit in later}), later)

    def direct(self, unit: Unit) -> Tensor:
        """Return the readout ``(P,)`` with a unit's output at the readout from the corrupted run.

        All other mixers stay as in the clean run, there and in all later layers.
        """
        return self._through({unit.layer: self.at_readout[unit.layer].other_P1X}, [unit])

    def held(self) -> Tensor:
        """Return the readout ``(P,)`` of the clean run, computed in the same way."""
        unit = self.units[0]
        return self._through({unit.layer: self.at_readout[unit.layer].own_P1X}, [unit])

    def _place(
        self, layer: Layer, stream_PTD: Tensor, signals: Sequence[Signals], position_P: Tensor
    ) -> _Place:
        stream_P1D, mixing = at(stream_PTD, position_P), layer.mixing
        here = {name: at(value_PTX, position_P) for name, value_PTX in signals[0].items()}
        if self.weights[-1] is None:
            own_P1D, other_P1D = (mixing.output(each, (), only=position_P) for each in signals)
            return _Place(stream_P1D, here, own_P1D, own_P1D, other_P1D)
        (mixed_P1D, own_P1X), (_, other_P1X) = (
            read_by_heads(mixing, each, only=position_P) for each in signals
        )
        return _Place(stream_P1D, here, mixed_P1D, own_P1X, other_P1X)

    def _read_after(self, first: Sequence[Unit], layers: set[int]) -> dict[int, Tensor]:
        """Return what the heads of layers read at the readout if units at the value move."""
        lowest, made = min(unit.layer for unit in first), {}
        moved_P1D = self.at_value[lowest].stream_P1D
        for index in range(lowest, max(layers) + 1):
            place = self.at_value[index]
            if index in layers and index > lowest:
                made[index] = self._read(index, moved_P1D)
            units = [unit for unit in first if unit.layer == index]
            moved_P1D = self._after(index, moved_P1D, place, units, place.other_P1X)
        return made

    def _read(self, index: int, moved_P1D: Tensor) -> Tensor:
        """Return what the heads of a layer read at the readout if the stream at the value moves."""
        layer, stream_PTD = self.decomposition.layers[index], self.clean[index].clone()
        row_P = torch.arange(len(stream_PTD), device=stream_PTD.device)
        stream_PTD[row_P, self.value_P] = moved_P1D[:, 0]
        signals = layer.mixing.project(layer.enter(stream_PTD), ())
        return read_by_heads(layer.mixing, signals, only=self.readout_P)[1]

    def _through(self, changed: Mapping[int, Tensor], units: Sequence[Unit]) -> Tensor:
        """Return the readout if units at the readout hand on something else.

        Args:
            changed: What the heads of their layers read instead.
            units: The units.
        """
        lowest = min(changed)
        stream_P1D = self.at_readout[lowest].stream_P1D
        for index in range(lowest, len(self.decomposition.layers)):
            own = [unit for unit in units if unit.layer == index]
            place = self.at_readout[index]
            stream_P1D = self._after(index, stream_P1D, place, own, changed.get(index))
        logits_PA = self.decomposition.readout(stream_P1D[:, 0], self.tokens_PA).double()
        return logits_PA[:, 0] - logits_PA[:, 1]

    def _after(
        self,
        index: int,
        stream_P1D: Tensor,
        place: _Place,
        units: Sequence[Unit],
        other_P1X: Tensor | None,
    ) -> Tensor:
        """Return the stream ``(P, 1, D)`` behind a block some units of which are exchanged."""
        layer, weights = self.decomposition.layers[index], self.weights[index]
        if not units or other_P1X is None:
            return layer.leave(stream_P1D, place.mixed_P1D)
        if weights is None:
            return layer.leave(stream_P1D, other_P1X)
        width = place.own_P1X.shape[-1] // weights["induction"].shape[1]
        read_P1X = place.own_P1X.clone()
        for unit in units:
            first, n = (0, read_P1X.shape[-1]) if unit.head is None else (unit.head * width, width)
            read_P1X[..., first : first + n] = other_P1X[..., first : first + n]
        # One position alone: whatever it reads is replaced, and only the way out is wanted.
        mixed_P1D, _ = read_by_heads(layer.mixing, place.signals, edit=lambda *_: read_P1X)
        return layer.leave(stream_P1D, mixed_P1D)
