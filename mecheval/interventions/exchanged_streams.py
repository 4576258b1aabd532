"""Runs that go on from a stream put together of other runs', position by position.

All runs are traced once, for as many layers as fit into memory; below a layer nothing is run again,
and all that is asked there goes through the later layers together.

Shape suffixes: ``S`` runs that give, ``B`` runs that get, ``R`` and ``N`` rows (runs with another
stream), ``T`` positions, ``D`` residual width, ``A`` answer tokens, ``C`` cells, ``X`` any shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mecheval.interventions.activations import activations, answer_logits
from mecheval.interventions.stream_edits import answers_from
from mecheval.models.decomposition import Refusal
from mecheval.models.sites import stream_sites

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.models.contract import SequenceModel

MEMORY = 1 << 29
"""Bytes for traced streams; of one layer they are always held whole."""


class ExchangedStreams:
    """Runs of a model, and what it answers when others gave the stream at a layer.

    Layers count from 0, before the first block, to the number of blocks; they are best asked for in
    order.
    """

    def __init__(
        self,
        model: SequenceModel,
        tokens_BT: np.ndarray,
        giving_ST: np.ndarray,
        answers_A: Sequence[int] | np.ndarray,
        *,
        batch_size: int,
        memory: int = MEMORY,
    ) -> None:
        """Take the runs.

        Args:
            model: The model; put into evaluation mode.
            tokens_BT: Token ids of the runs that get.
            giving_ST: Those of the runs that give, of the same length.
            answers_A: Token ids whose logits are wanted.
            batch_size: Rows per forward pass.
            memory: Bytes for traced streams.
        """
        self.model, self.batch_size, self.memory = model.eval(), batch_size, memory
        self.tokens_BT, self.giving_ST, self.answers_A = (
            torch.as_tensor(np.asarray(given), device=model.device)
            for given in (tokens_BT, giving_ST, answers_A)
        )
        self._held: dict[int, Tensor] = {}

    @torch.inference_mode()
    def logits(self, layer: int, donor_RT: np.ndarray, row_R: np.ndarray) -> np.ndarray:
        """Return the logits of the answers ``(R, T, A)`` in float32.

        Args:
            layer: Where the stream is another one, at all positions.
            donor_RT: Which run gives each position; -1 where the row keeps its own.
            row_R: The run that every row is, but for the stream.
        """
        decomposition, parts = self.model.decomposition(), []
        for rows in self._batches(row_R):
            stream_NTD = self._exchanged(layer, donor_RT[rows], row_R[rows])
            if isinstance(decomposition, Refusal):
                site = stream_sites(self.model.n_layers)[layer]
                found_NTA = answer_logits(
                    self.model, self.tokens_BT[row_R[rows]], self.answers_A.cpu().numpy(),
                    edits={site: lambda _, stream_NTD=stream_NTD: stream_NTD},
                    batch_size=self.batch_size,
                )  # fmt: skip
            else:
                tokens_NT = self.tokens_BT[row_R[rows]]
                found_NTA = answers_from(
                    decomposition, layer, stream_NTD, self.answers_A, tokens_RT=tokens_NT
                )
            parts.append(found_NTA)
        return np.concatenate(parts)

    @torch.inference_mode()
    def unchanged(self, layer: int, donor_RT: np.ndarray, row_R: np.ndarray) -> bool:
        """Say whether every row has its own stream all the same, bit for bit."""
        return all(
            torch.equal(
                self._exchanged(layer, donor_RT[rows], row_R[rows]),
                self._exchanged(layer, np.full_like(donor_RT[rows], -1), row_R[rows]),
            )
            for rows in self._batches(row_R)
        )

    def _batches(self, row_R: np.ndarray) -> list[slice]:
        starts = range(0, len(row_R), self.batch_size)
        return [slice(first, first + self.batch_size) for first in starts]

    def _exchanged(self, layer: int, donor_NT: np.ndarray, row_N: np.ndarray) -> Tensor:
        """Return the stream that some rows go on from: of donors, or their own."""
        streams_XTD = self._streams(layer)
        own_N1 = len(self.giving_ST) + row_N[:, None]
        run_NT = np.where(donor_NT < 0, own_N1, donor_NT)
        cell_NT = run_NT * run_NT.shape[1] + np.arange(run_NT.shape[1])
        cell_C = torch.as_tensor(cell_NT.ravel(), device=streams_XTD.device)
        return streams_XTD.flatten(0, 1).index_select(0, cell_C).unflatten(0, run_NT.shape)

    def _streams(self, layer: int) -> Tensor:
        """Return the stream ``(S + B, T, D)`` of all runs, first of those that give."""
        if layer not in self._held:
            tokens_XT = torch.cat([self.giving_ST, self.tokens_BT])
            sites = stream_sites(self.model.n_layers)
            size = next(self.model.parameters()).element_size()
            each = tokens_XT.numel() * self.model.d_model * size
            layers = range(len(sites))[layer : layer + max(1, self.memory // each)]
            self._held = {}
            found = activations(
                self.model, tokens_XT, [sites[at] for at in layers], batch_size=self.batch_size
            )
            self._held = {at: found[sites[at]] for at in layers}
        return self._held[layer]
