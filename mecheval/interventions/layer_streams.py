"""The residual streams of runs, at one layer after the other.

Shape suffixes: ``B`` runs, ``S`` runs that give, ``T`` positions, ``D`` residual width.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mecheval.interventions.activations import activations
from mecheval.models.decomposition import Refusal
from mecheval.models.sites import stream_sites

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mecheval.models.contract import SequenceModel

    Gather = Callable[[int, int, Tensor, Tensor | None], Tensor]
    """Maps a layer, the place of a part's first run, its streams ``(S, T, D)`` at the layer, and
    what the parts before it gave (None for the first), to that with what this part gives."""

MEMORY = 1 << 29
"""Bytes for what runs give to others."""


class LayerStreams:
    """The streams of some runs at the layer that was asked for last.

    Layers count from 0, before the first block, to the number of blocks. They are best asked for in
    order: where the model comes apart, nothing below the last one is run again. Otherwise the
    blocks below a layer are run for each one that is asked for.
    """

    def __init__(
        self, model: SequenceModel, tokens_BT: np.ndarray | Tensor, *, batch_size: int
    ) -> None:
        """Take the runs.

        Args:
            model: The model; put into evaluation mode.
            tokens_BT: Token ids.
            batch_size: Runs per forward pass.
        """
        self.model, self.batch_size = model.eval(), batch_size
        self.tokens_BT = torch.as_tensor(tokens_BT, device=model.device)
        self.forget()

    def forget(self) -> None:
        """Free the streams; what is asked for next is run from the start."""
        self._layer, self._stream_BTD = -1, torch.empty(0)

    @torch.inference_mode()
    def at(self, layer: int) -> Tensor:
        """Return the streams ``(B, T, D)`` at a layer."""
        found = self.model.decomposition()
        if isinstance(found, Refusal):
            if self._layer != layer:
                self._layer, self._stream_BTD = layer, self._traced(layer)
            return self._stream_BTD
        if not 0 <= self._layer <= layer:
            self._layer, self._stream_BTD = 0, self._traced(0)
        texts = self.tokens_BT.split(self.batch_size)
        for part in found.layers[self._layer : layer]:
            pieces = zip(self._stream_BTD.split(self.batch_size), texts, strict=True)
            self._stream_BTD = torch.cat(
                [part.run(piece_BTD, part.given(tokens_BT)) for piece_BTD, tokens_BT in pieces]
            )
        self._layer = layer
        return self._stream_BTD

    def _traced(self, layer: int) -> Tensor:
        site = stream_sites(self.model.n_layers)[layer]
        return activations(self.model, self.tokens_BT, [site], batch_size=self.batch_size)[site]


class GivingRuns:
    """Runs that give to others what they have at a layer, however many they are.

    They pass in parts of an eighth of the memory at most. Where all of them take no more than half
    of it, and the model comes apart, they are *kept* for the next layer, and no block is run twice.
    Otherwise every part is run from the start; so that this is done as rarely as can be, what rows
    are given is gathered at the next layers too on this way, at as many as three quarters of the
    memory hold. At K layers at a time of L, a part goes through K + 2 K + ... + L blocks, L if all
    are gathered at once.

    Attributes:
        kept: Whether they are.
        run_bytes: Bytes of the stream of a run at one layer.
        tokens_ST: Token ids of the runs.
    """

    def __init__(
        self,
        model: SequenceModel,
        tokens_ST: np.ndarray,
        *,
        batch_size: int,
        memory: int = MEMORY,
    ) -> None:
        """Take the runs.

        Args:
            model: The model; put into evaluation mode.
            tokens_ST: Token ids.
            batch_size: Runs per forward pass.
            memory: Bytes for their streams and what is made of these.
        """
        size = next(model.parameters()).element_size()
        self.run_bytes, self.memory = tokens_ST.shape[1] * model.d_model * size, memory
        self._apart = not isinstance(model.decomposition(), Refusal)
        self.kept = self._apart and len(tokens_ST) * self.run_bytes <= memory // 2
        self._n_part = max(1, memory // 8 // self.run_bytes)
        self.model, self.batch_size = model.eval(), batch_size
        self.tokens_ST = torch.as_tensor(tokens_ST, device=model.device)
        self._parts = [
            LayerStreams(model, part_ST, batch_size=batch_size)
            for part_ST in self.tokens_ST.split(self._n_part)
        ]
        self._asked: tuple[np.ndarray, ...] = ()
        self._gathered: dict[int, Tensor] = {}

    def rows(self, n: int) -> list[slice]:
        """Share out rows, each as large as a run, evenly among as few blocks as memory allows."""
        n_blocks = -(-n // self._n_rows)
        ends = [n * block // n_blocks for block in range(n_blocks + 1)]
        return [slice(*pair) for pair in pairwise(ends)]

    def gathered(
        self, layers: range, asked: tuple[np.ndarray, ...], gather: Gather, *, n_held: int = 0
    ) -> Tensor:
        """Return what rows are given at a layer, once.

        Args:
            layers: The layer, and those behind it that the same may be asked for next.
            asked: What decides it beside the layer: the donors ``(R, T)`` of a block of rows, and
                what else differs between calls. What was gathered for the same is still there.
            gather: Adds what a part gives at a layer, of this one and of later ones.
            n_held: How many runs whoever gathers holds the streams of, at each of these layers.
        """
        same = len(asked) == len(self._asked) and all(map(np.array_equal, asked, self._asked))
        if not same or layers.start not in self._gathered:
            self._asked, self._gathered = tuple(array.copy() for array in asked), {}
            n_rows = len(asked[0]) + n_held
            for at, first, stream_STD in self._streams(self._ahead(layers, n_rows)):
                self._gathered[at] = gather(at, first, stream_STD, self._gathered.get(at))
        return self._gathered.pop(layers.start)

    @property
    def _n_rows(self) -> int:
        """Return how many rows fit beside the runs."""
        quarters = 1 if self.kept else 3
        return max(1, quarters * self.memory // 4 // self.run_bytes)

    def _ahead(self, layers: range, n_rows: int) -> range:
        """Return the layers that are gathered on one way; before the first block there is none."""
        alone = self.kept or layers.start == 0
        return layers[: 1 if alone else max(1, self._n_rows // n_rows)]

    def _streams(self, layers: range) -> Iterator[tuple[int, int, Tensor]]:
        """Give layers, the first of some runs, and their streams there; part by part."""
        if not self._apart:
            yield from self._recorded(layers)
            return
        first = 0
        for part in self._parts:
            for layer in layers:
                yield layer, first, part.at(layer)
            first += len(part.tokens_BT)
            if not self.kept:
                part.forget()

    def _recorded(self, layers: range) -> Iterator[tuple[int, int, Tensor]]:
        """Do it by a pass that records all of these layers, of as many fewer runs."""
        n_some = max(1, self._n_part // len(layers))
        sites = stream_sites(self.model.n_layers)[layers.start : layers.stop]
        for at, some_ST in enumerate(self.tokens_ST.split(n_some)):
            found = activations(self.model, some_ST, sites, batch_size=self.batch_size)
            for layer, site in zip(layers, sites, strict=True):
                yield layer, at * n_some, found.pop(site)
