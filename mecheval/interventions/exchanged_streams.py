"""Runs that go on from a stream put together of other runs', position by position.

What lies below a layer is run once, and all that is asked there goes through the later layers
together.

Shape suffixes: ``S`` runs that give, ``B`` runs that get, ``R``, ``N`` and ``M`` rows (runs with
another stream), ``T`` positions, ``D`` residual width, ``A`` answer tokens, ``C`` cells (row,
position).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from mecheval.interventions.layer_streams import MEMORY, GivingRuns
from mecheval.interventions.stream_edits import StreamEdits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from mecheval.interventions.stream_edits import Change
    from mecheval.models.contract import SequenceModel


class Exchanged(ABC):
    """Runs of a model, and what it answers when others gave something at a layer.

    Layers count from 0, before the first block, to the number of blocks; they are best asked for in
    order.
    """

    n_below: ClassVar[int] = 0
    """By how many layers the stream that is changed lies below the one that comes of it."""

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
            memory: Bytes for the streams of the runs that give, and for what is made of these.
        """
        self._edits = StreamEdits(model, tokens_BT, answers_A, batch_size=batch_size)
        self._giving = GivingRuns(model, giving_ST, batch_size=batch_size, memory=memory)

    @abstractmethod
    def unchanged(self, layer: int, donor_RT: np.ndarray, row_R: np.ndarray) -> bool:
        """Say whether no row gets anything that it has not; see :meth:`logits`."""

    @abstractmethod
    def _change(self, layer: int, donor_NT: np.ndarray, row_N: np.ndarray) -> Change:
        """Return what makes the streams of rows at a layer of those ``n_below`` layers below it."""

    @torch.inference_mode()
    def logits(self, layer: int, donor_RT: np.ndarray, row_R: np.ndarray) -> np.ndarray:
        """Return the logits of the answers ``(R, T, A)`` in float32.

        Args:
            layer: Where something is another one, at all positions.
            donor_RT: Which run gives each position; -1 where the row keeps its own.
            row_R: The run that every row is, but for that.
        """
        below, parts = max(0, layer - self.n_below), []
        for rows in self._giving.rows(len(row_R)):
            change = self._change(layer, donor_RT[rows], row_R[rows])
            parts.append(self._edits.logits(below, row_R[rows], change, enters=layer))
        return np.concatenate(parts)


class ExchangedStreams(Exchanged):
    """Runs of a model, and what it answers when others gave the stream at a layer."""

    def _change(self, layer: int, donor_NT: np.ndarray, row_N: np.ndarray) -> Change:
        donors_NT, given_NTD = self._given(layer, donor_NT)

        def given(stream_MTD: Tensor, some: slice) -> Tensor:
            return torch.where(donors_NT[some, :, None] < 0, stream_MTD, given_NTD[some])

        return given

    @torch.inference_mode()
    def unchanged(self, layer: int, donor_RT: np.ndarray, row_R: np.ndarray) -> bool:
        """Say whether every row has its own stream all the same, bit for bit."""
        own_BTD, n_some = self._edits.runs.at(layer), self._edits.batch_size
        for rows in self._giving.rows(len(donor_RT)):
            donor_NT, given_NTD = self._given(layer, donor_RT[rows])
            some = zip(
                *(x.split(n_some) for x in (donor_NT, given_NTD)),
                torch.as_tensor(row_R[rows], device=own_BTD.device).split(n_some),
                strict=True,
            )
            for donor_MT, given_MTD, row_M in some:
                if not ((given_MTD == own_BTD[row_M]) | (donor_MT[..., None] < 0)).all():
                    return False
        return True

    def _given(self, layer: int, donor_NT: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return donors on the device, and their streams ``(N, T, D)``; zeros without a donor."""
        donors_NT = torch.as_tensor(donor_NT, device=self._edits.answers_A.device)
        n_positions, donor_C = donors_NT.shape[1], donors_NT.flatten()

        def gather(_: int, first: int, stream_STD: Tensor, given_CD: Tensor | None) -> Tensor:
            filled_CD = given_CD
            if filled_CD is None:
                filled_CD = stream_STD.new_zeros(len(donor_C), stream_STD.shape[-1])
            own_C = (donor_C >= first) & (donor_C < first + len(stream_STD))
            cell_C = own_C.nonzero()[:, 0]
            from_C = (donor_C[cell_C] - first) * n_positions + cell_C % n_positions
            filled_CD.index_copy_(0, cell_C, stream_STD.flatten(0, 1).index_select(0, from_C))
            return filled_CD

        layers = range(layer, self._edits.model.n_layers + 1)
        given_CD = self._giving.gathered(layers, (donor_NT,), gather)
        return donors_NT, given_CD.unflatten(0, donors_NT.shape)
