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

from mecheval.interventions.activations import activations
from mecheval.interventions.stream_edits import StreamEdits
from mecheval.models.decomposition import Refusal
from mecheval.models.sites import Site

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    ) -> None:
        """Take the runs.

        Args:
            model: The model; put into evaluation mode.
            tokens_BT: Token ids of the runs that get.
            giving_ST: Those of the runs that give, of the same length.
            answers_A: Token ids whose logits are wanted.
            batch_size: Rows per forward pass.
        """
        self.model, self.batch_size = model.eval(), batch_size
        self.tokens_BT, self.giving_ST = (
            torch.as_tensor(np.asarray(tokens), device=model.device)
            for tokens in (tokens_BT, giving_ST)
        )
        self._edits = StreamEdits(model, tokens_BT, answers_A, batch_size=batch_size)

    @torch.inference_mode()
    def refusal(self) -> str | None:
        """Say why memory cannot be exchanged in this model, None where it can."""
        found = self.model.decomposition()
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
        part = self._layers()[layer - 1]
        site = Site(layer - 1, "block_in")
        own_BTD, given_STD = (
            activations(self.model, tokens, [site], batch_size=self.batch_size)[site]
            for tokens in (self.tokens_BT, self.giving_ST)
        )
        donor, row = (torch.as_tensor(x, device=own_BTD.device) for x in (donor_RT, row_R))
        mixed_RTD = self._mixed(part, own_BTD, given_STD, donor, row)

        def after(stream_NTD: Tensor, rows: slice) -> Tensor:
            return part.leave(own_BTD[row[rows]], mixed_RTD[rows])

        return self._edits.logits(layer, row_R, after)

    def _mixed(
        self, part: Layer, own_BTD: Tensor, given_STD: Tensor, donor_RT: Tensor, row_R: Tensor
    ) -> Tensor:
        """Return the mixer's output ``(R, T, D)``, each position from another memory."""
        mixing, own, given = part.mixing, (), ()
        own_BTD = part.entered(own_BTD, part.given(self.tokens_BT))
        given_STD = part.entered(given_STD, part.given(self.giving_ST))
        steps = []
        for position in range(own_BTD.shape[1]):
            here = slice(position, position + 1)
            parts = []
            for row_N, donor_N in zip(
                row_R.split(self.batch_size),
                donor_RT[:, max(position - 1, 0)].split(self.batch_size),
                strict=True,
            ):
                memory = _taken(own, given, row_N, donor_N, n_recent=mixing.n_recent)
                parts.append(mixing.output_from(own_BTD[row_N, here], memory))
            steps.append(torch.cat(parts))
            own, given = (
                self._advanced(mixing, normed_XTD[:, here], state)
                for normed_XTD, state in ((own_BTD, own), (given_STD, given))
            )
        return torch.cat(steps, 1)

    def _advanced(self, mixing: Mixing, normed_X1D: Tensor, state: State) -> State:
        return mixing.advance(mixing.project(normed_X1D, state), state)

    def _remembers(self, part: Layer) -> bool:
        site = Site(0, "block_in")
        stream = activations(self.model, self.tokens_BT[:1], [site], batch_size=1)[site]
        entered = part.entered(stream, part.given(self.tokens_BT[:1]))
        state = self._advanced(part.mixing, entered, ())
        return len(state) > part.mixing.n_recent

    def _layers(self) -> tuple[Layer, ...]:
        found = self.model.decomposition()
        assert not isinstance(found, Refusal)  # noqa: S101 - whoever asks has looked
        return found.layers


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
