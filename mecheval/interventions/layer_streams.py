"""The residual streams of runs, at one layer after the other.

Shape suffixes: ``B`` runs, ``S`` runs that give, ``T`` positions, ``D`` residual width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mecheval.interventions.activations import activations
from mecheval.models.decomposition import Refusal
from mecheval.models.sites import stream_sites

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from mecheval.models.contract import SequenceModel

MEMORY = 1 << 29
"""Bytes for what runs give to others."""


class LayerStreams:
    """The streams of some runs at the layer that was asked for last.

    Layers count from 0, before the first block, to the number of blocks. They are best asked for in
    order: where the model comes apart, nothing below the last one is run again.
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
    of it they are kept for the next layer; otherwise every part is run from the start again.
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
        self._kept = len(tokens_ST) * self.run_bytes <= memory // 2
        n_part = max(1, memory // 8 // self.run_bytes)
        self._parts = [
            LayerStreams(model, part_ST, batch_size=batch_size)
            for part_ST in torch.as_tensor(tokens_ST, device=model.device).split(n_part)
        ]

    @property
    def n_rows(self) -> int:
        """Return how many rows, each as large as a run, take a quarter of the memory."""
        return max(1, self.memory // 4 // self.run_bytes)

    def parts(self) -> Iterator[tuple[int, LayerStreams]]:
        """Give the parts one after the other, each behind the place of its first run."""
        first = 0
        for part in self._parts:
            yield first, part
            first += len(part.tokens_BT)
            if not self._kept:
                part.forget()
