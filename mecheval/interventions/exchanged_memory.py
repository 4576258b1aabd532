"""Runs in which every position reads what another run's layer remembers, in the place of its own.

Position t reads the memory that a donor has after position t - 1, of a run of its own for every
position. The stream before the layer is the run's own, and so are the last inputs of a short
convolution. A layer takes as many steps as there are positions, of all rows side by side.

Shape suffixes: ``S`` runs that give, ``B`` runs that get, ``R`` and ``N`` rows (runs with another
memory), ``T`` positions, ``D`` residual width, ``A`` answer tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mecheval.interventions.layer_streams import MEMORY, GivingRuns, LayerStreams
from mecheval.interventions.stream_edits import StreamEdits
from mecheval.models.decomposition import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mecheval.models.contract import SequenceModel
    from mecheval.models.decomposition import Layer
    from mecheval.models.mixing import Mixing, State


class ExchangedMemory:
    """Runs of a model, and what it answers when others gave what a layer remembers.

    Layers count from 1, the first block, to the number of blocks; at 0 nothing is remembered.
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
            memory: Bytes for the streams of the runs that give, and for what they remember.
        """
        self.batch_size = batch_size
        self._edits = StreamEdits(model, tokens_BT, answers_A, batch_size=batch_size)
        self._giving = GivingRuns(model, giving_ST, batch_size=batch_size, memory=memory)
        # What is gathered at layers ahead needs one's own streams there, which are run once more.
        self._ahead = self._edits.runs
        if not self._giving.kept:
            self._ahead = LayerStreams(model, self._ahead.tokens_BT, batch_size=batch_size)

    @torch.inference_mode()
    def refusal(self) -> str | None:
        """Say why memory cannot be exchanged in this model, None where it can."""
        found = self._edits.model.decomposition()
        if isinstance(found, Refusal):
            return f"what a layer remembers cannot be told from the rest: {found.reason}"
        if not any(self._remembers(layer) for layer in found.layers):
            return "no layer remembers more than the last inputs of a short convolution"
        return None

    def unchanged(self, layer: int, donor_RT: np.ndarray, row_R: np.ndarray) -> bool:
        """Say whether no row gets anything: before the first block, where nothing is remembered."""
        return layer == 0

    @torch.inference_mode()
    def logits(self, layer: int, donor_RT: np.ndarray, row_R: np.ndarray) -> np.ndarray:
        """Return the logits of the answers ``(R, T, A)`` in float32.

        Args:
            layer: Whose memory is another one, behind every position.
            donor_RT: Which run gives what is remembered after each position; -1 where the row keeps
                its own. That of the last position is read by none.
            row_R: The run that every row is, but for that memory.
        """
        if layer == 0:
            return self._edits.logits(0, row_R, lambda stream_NTD, rows: stream_NTD)
        part, parts = self._layers()[layer - 1], []
        for rows in self._giving.rows(len(row_R)):
            mixed_NTD = self._mixed(layer - 1, donor_RT[rows], row_R[rows])

            def after(stream_NTD: Tensor, some: slice, mixed_NTD: Tensor = mixed_NTD) -> Tensor:
                return part.handed_on(part.leave(stream_NTD, mixed_NTD[some]))

            parts.append(self._edits.logits(layer - 1, row_R[rows], after, enters=layer))
        return np.concatenate(parts)

    def _mixed(self, before: int, donor_RT: np.ndarray, run_R: np.ndarray) -> Tensor:
        """Return the mixer's output ``(R, T, D)``, each position from another memory.

        Args:
            before: The layer before the block.
            donor_RT: Which run gives what is remembered after each position.
            run_R: The run that every row is.
        """
        device, own = self._edits.answers_A.device, dict[int, Tensor]()
        donors_RT, run_of_R = (torch.as_tensor(x, device=device) for x in (donor_RT, run_R))
        # At the first position nothing is remembered, and its own memory is as good as any.
        donors_RT = torch.cat([torch.full_like(donors_RT[:, :1], -1), donors_RT[:, :-1]], 1)

        def gather(at: int, first: int, stream_STD: Tensor, mixed_RTD: Tensor | None) -> Tensor:
            if at not in own:
                own[at] = self._ahead.at(at)
            streams = own[at], stream_STD
            return self._mixed_by(at, streams, first, (donors_RT, run_of_R), mixed_RTD)

        n_held = 0 if self._giving.kept else len(self._ahead.tokens_BT)
        layers = range(before, self._edits.model.n_layers)
        return self._giving.gathered(layers, (donor_RT, run_R), gather, n_held=n_held)

    def _mixed_by(
        self,
        before: int,
        streams: tuple[Tensor, Tensor],
        first: int,
        asked: tuple[Tensor, Tensor],
        mixed_RTD: Tensor | None,
    ) -> Tensor:
        """Fill in the mixer's output where a part of the runs gives the memory.

        Args:
            before: The layer before the block.
            streams: The streams there of the runs that get ``(B, T, D)`` and of that part.
            first: The place of its first run.
            asked: Which run gives what is remembered before each position ``(R, T)``, and the run
                that every row is.
            mixed_RTD: What the parts before it have filled in; None for the first.
        """
        part, (donor_RT, run_R) = self._layers()[before], asked
        mixing, last = part.mixing, first + len(streams[1])
        own_BTD = part.entered(streams[0], part.given(self._ahead.tokens_BT))
        given_STD = part.entered(streams[1], part.given(self._giving.tokens_ST[first:last]))
        filled_RTD = torch.empty(0) if mixed_RTD is None else mixed_RTD
        asks_RT = ((donor_RT >= first) & (donor_RT < last)) | ((donor_RT < 0) & (first == 0))
        for position, (own, given) in enumerate(self._memories(mixing, own_BTD, given_STD)):
            row_R = asks_RT[:, position].nonzero()[:, 0]
            for row_N in row_R.split(self.batch_size) if len(row_R) else ():
                donor_N = donor_RT[row_N, position] - first
                memory = _taken(own, given, run_R[row_N], donor_N, n_recent=mixing.n_recent)
                here_N1D = own_BTD[run_R[row_N], position : position + 1]
                mixed_N1D = mixing.output_from(here_N1D, memory)
                if not filled_RTD.numel():
                    filled_RTD = mixed_N1D.new_empty(*donor_RT.shape, mixed_N1D.shape[-1])
                filled_RTD[row_N, position] = mixed_N1D[:, 0]
        return filled_RTD

    def _memories(
        self, mixing: Mixing, own_BTD: Tensor, given_STD: Tensor
    ) -> Iterator[tuple[State, State]]:
        """Give what both remember before every position."""
        own, given = (), ()
        for position in range(own_BTD.shape[1]):
            yield own, given
            here = slice(position, position + 1)
            own, given = (
                _advanced(mixing, normed_XTD[:, here], state)
                for normed_XTD, state in ((own_BTD, own), (given_STD, given))
            )

    def _remembers(self, part: Layer) -> bool:
        tokens_1T = self._edits.runs.tokens_BT[:1]
        stream_1TD = LayerStreams(self._edits.model, tokens_1T, batch_size=1).at(0)
        entered_1TD = part.entered(stream_1TD, part.given(tokens_1T))
        return len(_advanced(part.mixing, entered_1TD, ())) > part.mixing.n_recent

    def _layers(self) -> tuple[Layer, ...]:
        found = self._edits.model.decomposition()
        assert not isinstance(found, Refusal)  # noqa: S101 - whoever asks has looked
        return found.layers


def _advanced(mixing: Mixing, normed_XTD: Tensor, state: State) -> State:
    return mixing.advance(mixing.project(normed_XTD, state), state)


def _taken(own: State, given: State, row_N: Tensor, donor_N: Tensor, *, n_recent: int) -> State:
    """Return the donors' memory, one's own where there is none, with one's own recent inputs."""
    taken = []
    for i, (own_BX, given_SX) in enumerate(zip(own, given, strict=True)):
        kept_NX = own_BX[row_N]
        if i >= n_recent:
            keeps_N = (donor_N < 0).view(-1, *(1,) * (kept_NX.dim() - 1))
            kept_NX = torch.where(keeps_N, kept_NX, given_SX[donor_N.clamp(min=0)])
        taken.append(kept_NX)
    return tuple(taken)
