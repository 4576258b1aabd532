"""Runs that are taken up at a layer with another residual stream, at all positions.

What lies below the layer is the base runs' and is computed once for all that is asked there.

Shape suffixes: ``B`` base runs, ``R`` rows (runs with another stream), ``T`` positions, ``D``
residual width, ``A`` answer tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mecheval.interventions.activations import activations, answer_logits
from mecheval.models.decomposition import Refusal
from mecheval.models.sites import stream_sites

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mecheval.models.contract import SequenceModel
    from mecheval.models.decomposition import Decomposition

    Change = Callable[[Tensor, slice], Tensor]
    """Maps the streams ``(R, T, D)`` of some rows, and which rows they are, to other streams."""


class StreamEdits:
    """Base runs of a model, and what it answers when the stream at a layer is another one.

    Layers count from 0, before the first block, to the number of blocks.
    """

    def __init__(
        self,
        model: SequenceModel,
        tokens_BT: np.ndarray,
        answers_A: Sequence[int] | np.ndarray,
        *,
        batch_size: int,
    ) -> None:
        """Take the runs.

        Args:
            model: The model; put into evaluation mode.
            tokens_BT: Token ids.
            answers_A: Token ids whose logits are wanted.
            batch_size: Rows per forward pass.
        """
        self.model, self.batch_size = model.eval(), batch_size
        self.tokens_BT = torch.as_tensor(np.asarray(tokens_BT), device=model.device)
        self.answers_A = torch.as_tensor(np.asarray(answers_A), device=model.device)
        self._layer = -1
        self._stream_BTD = torch.empty(0)

    @torch.inference_mode()
    def logits(self, layer: int, row_R: np.ndarray, change: Change) -> np.ndarray:
        """Return the logits of the answers ``(R, T, A)`` in float32.

        Args:
            layer: Where the stream is changed.
            row_R: The base run of every row.
            change: What is done to it.
        """
        decomposition, parts = self.model.decomposition(), []
        for first in range(0, len(row_R), self.batch_size):
            rows = slice(first, min(first + self.batch_size, len(row_R)))
            if isinstance(decomposition, Refusal):
                parts.append(self._hooked(layer, row_R[rows], change, rows))
                continue
            stream_RTD = change(self._streams(decomposition, layer)[row_R[rows]], rows)
            tokens_RT = self.tokens_BT[row_R[rows]]
            parts.append(
                answers_from(decomposition, layer, stream_RTD, self.answers_A, tokens_RT=tokens_RT)
            )
        return np.concatenate(parts)

    def _streams(self, decomposition: Decomposition, layer: int) -> Tensor:
        """Return the base runs' stream at a layer; that of the last layer asked for is kept."""
        if not 0 <= self._layer <= layer:
            start = stream_sites(self.model.n_layers)[0]
            found = activations(self.model, self.tokens_BT, [start], batch_size=self.batch_size)
            self._layer, self._stream_BTD = 0, found[start]
        for part in decomposition.layers[self._layer : layer]:
            texts = self.tokens_BT.split(self.batch_size)
            pieces = zip(self._stream_BTD.split(self.batch_size), texts, strict=True)
            self._stream_BTD = torch.cat(
                [part.run(piece_BTD, part.given(tokens_BT)) for piece_BTD, tokens_BT in pieces]
            )
        self._layer = layer
        return self._stream_BTD

    def _hooked(self, layer: int, row_N: np.ndarray, change: Change, rows: slice) -> np.ndarray:
        site = stream_sites(self.model.n_layers)[layer]
        return answer_logits(
            self.model, self.tokens_BT[row_N], self.answers_A.cpu().numpy(),
            edits={site: lambda stream_RTD: change(stream_RTD, rows)}, batch_size=self.batch_size,
        )  # fmt: skip


def answers_from(
    decomposition: Decomposition,
    first: int,
    stream_RTD: Tensor,
    answers_A: Tensor,
    *,
    tokens_RT: Tensor,
) -> np.ndarray:
    """Return the logits of the answers ``(R, T, A)`` in float32, given the stream at a layer.

    Args:
        decomposition: The model in parts.
        first: The layer, from 0 to the number of blocks.
        stream_RTD: The stream there.
        answers_A: Token ids whose logits are wanted.
        tokens_RT: Tokens of the rows, which some mixers are given something of.
    """
    for part in decomposition.layers[first:]:
        stream_RTD = part.run(stream_RTD, part.given(tokens_RT))
    stream_ND = stream_RTD.flatten(0, 1)
    logits_NA = decomposition.readout(stream_ND, answers_A.expand(len(stream_ND), -1))
    return logits_NA.unflatten(0, stream_RTD.shape[:2]).float().cpu().numpy()
