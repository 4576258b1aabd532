"""Path patching from units at the value, through heads at the readout, to the logits.

A unit is an attention head; or a whole mixer, where it has no heads. In a clean run the output of
one unit, or of several, at the value comes from the corrupted run, and all other mixers below the
later heads stay as they were; feed-forward parts and norms are computed anew. What one later head,
or several, then read at the readout is all that is passed on: into another clean run with every
other head held (Wang et al. 2025, arXiv:2410.06672; Wang et al. 2022, arXiv:2211.00593). With
everything held, a change stays at its own position, so that one position per run is computed
between the units (:mod:`.held_layers`).

Shape suffixes: ``P`` pairs, ``T`` positions, ``D`` width of the stream, ``X`` what all heads read
side by side, ``1`` one position, ``A`` answer and foil, ``V`` changes, ``R`` rows (changes x
pairs), ``F`` first units, ``U`` last units.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mecheval.metrics.circuit.attention_weights import (
    attention_weights,
    head_weights,
    read_by_heads,
    uniform_attention,
)
from mecheval.metrics.circuit.held_layers import Change, HeldLayers, Place, Unit
from mecheval.models.mixing import at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.models.decomposition import Decomposition, Layer
    from mecheval.models.mixing import Signals


class Paths:
    """Clean and corrupted runs of some pairs, and the paths through them.

    Attributes:
        weights: What :func:`head_weights` returns for every layer, None for one without heads.
        uniform: The same for heads that read as much from every position that they can see.
        at_value: The layers at the value.
        at_readout: The layers at the readout.
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
        at_value: list[Place] = []
        at_readout: list[Place] = []
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
            for places, position_P in ((at_value, value_P), (at_readout, readout_P)):
                places.append(self._place(layer, pair[0], signals, position_P))
        heads = [0 if found is None else found["induction"].shape[1] for found in self.weights]
        self.at_value, self.at_readout = (
            HeldLayers(decomposition.layers, places, heads) for places in (at_value, at_readout)
        )

    @property
    def units(self) -> list[Unit]:
        """Return all heads in order, and the mixers of layers without heads."""
        return [
            Unit(layer, head)
            for layer, weights in enumerate(self.weights)
            for head in ([None] if weights is None else range(weights["induction"].shape[1]))
        ]

    def between(self, first: Sequence[Unit], last: Sequence[Unit]) -> Tensor:
        """Return the readouts ``(F, U, P)`` of the path from each unit to each head.

        NaN where the second is no later one.
        """
        found_FUP = self.value_P.new_full(
            (len(first), len(last), len(self.value_P)), torch.nan, dtype=torch.float64
        )
        made = self._read_after([[unit] for unit in first], {unit.layer for unit in last})
        places = [
            (i, j) for i, one in enumerate(first) for j, other in enumerate(last)
            if other.layer > one.layer
        ]  # fmt: skip
        changes = [Change((last[j],), {last[j].layer: made[i][last[j].layer]}) for i, j in places]
        for (i, j), read_P in zip(places, self._through(changes), strict=True):
            found_FUP[i, j] = read_P
        return found_FUP

    def together(self, first: Sequence[Unit], last: Sequence[Unit]) -> Tensor:
        """Return the readout ``(P,)`` of all paths from several units to several heads at once.

        Args:
            first: Units; what they hand on at the value is exchanged in all of them.
            last: Heads; each of them reads what all units below it hand on.
        """
        lowest = min(unit.layer for unit in first)
        later = tuple(unit for unit in last if unit.layer > lowest)
        if not later:
            return self.held()
        (made,) = self._read_after([first], {unit.layer for unit in later})
        return self._through([Change(later, made)])[0]

    def direct(self, units: Sequence[Unit]) -> Tensor:
        """Return the readouts ``(V, P)`` with each unit's output at the readout exchanged.

        All other mixers stay as in the clean run, there and in all later layers.
        """
        return self._through([self.at_readout.exchanged([unit]) for unit in units])

    def held(self) -> Tensor:
        """Return the readout ``(P,)`` of the clean run, computed in the same way."""
        unit = self.units[0]
        own = Change((unit,), {unit.layer: self.at_readout.places[unit.layer].own_P1X})
        return self._through([own])[0]

    def _place(
        self, layer: Layer, stream_PTD: Tensor, signals: Sequence[Signals], position_P: Tensor
    ) -> Place:
        stream_P1D, mixing = at(stream_PTD, position_P), layer.mixing
        here = {name: at(value_PTX, position_P) for name, value_PTX in signals[0].items()}
        if self.weights[-1] is None:
            own_P1D, other_P1D = (mixing.output(each, (), only=position_P) for each in signals)
            return Place(stream_P1D, here, own_P1D, own_P1D, other_P1D)
        (mixed_P1D, own_P1X), (_, other_P1X) = (
            read_by_heads(mixing, each, only=position_P) for each in signals
        )
        return Place(stream_P1D, here, mixed_P1D, own_P1X, other_P1X)

    def _read_after(
        self, firsts: Sequence[Sequence[Unit]], layers: set[int]
    ) -> list[dict[int, Tensor]]:
        """Return what the heads of layers read at the readout, for each set of units that move.

        Args:
            firsts: Sets of units, exchanged at the value.
            layers: The layers; of each set those above its lowest unit.
        """
        changes = [self.at_value.exchanged(units) for units in firsts]
        made: list[dict[int, Tensor]] = [{} for _ in changes]
        for chosen in self.at_value.packs(changes):
            pack = [changes[v] for v in chosen]
            for index, moved_VPD in self.at_value.carried(pack, max(layers)):
                if index in layers:
                    for v, moved_PD in zip(chosen, moved_VPD, strict=False):
                        made[v][index] = self._read(index, moved_PD[:, None])
        return made

    def _read(self, index: int, moved_P1D: Tensor) -> Tensor:
        """Return what the heads of a layer read at the readout if the stream at the value moves."""
        layer, stream_PTD = self.decomposition.layers[index], self.clean[index].clone()
        row_P = torch.arange(len(stream_PTD), device=stream_PTD.device)
        stream_PTD[row_P, self.value_P] = moved_P1D[:, 0]
        signals = layer.mixing.project(layer.enter(stream_PTD), ())
        return read_by_heads(layer.mixing, signals, only=self.readout_P)[1]

    def _through(self, changes: Sequence[Change]) -> Tensor:
        """Return the readouts ``(V, P)`` if units at the readout hand on something else."""
        n_layers, n_pairs = len(self.decomposition.layers), len(self.value_P)
        found_VP = self.value_P.new_empty((len(changes), n_pairs), dtype=torch.float64)
        for chosen in self.at_readout.packs(changes):
            pack = [changes[v] for v in chosen]
            *_, (_, stream_VPD) = self.at_readout.carried(pack, n_layers)
            tokens_RA = self.tokens_PA.repeat(len(chosen), 1)
            logits_RA = self.decomposition.readout(stream_VPD.flatten(0, 1), tokens_RA).double()
            found_VP[chosen] = (logits_RA[:, 0] - logits_RA[:, 1]).unflatten(0, (-1, n_pairs))
        return found_VP
