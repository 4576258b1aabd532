"""Runs in which every position reads what another run's layer remembers, in the place of its own.

Position t reads the memory that a donor has after position t - 1, of a run of its own for every
position. The stream before the layer is the run's own, and so are the last inputs of a short
convolution. A layer takes as many steps as there are positions, of all rows side by side.

Shape suffixes: ``S`` runs that give, ``B`` runs that get, ``R`` and ``N`` rows (runs with another
memory), ``T`` positions, ``D`` residual width, ``A`` answer tokens.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from mecheval.interventions.exchanged_streams import Exchanged
from mecheval.interventions.layer_streams import LayerStreams
from mecheval.models.decomposition import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from mecheval.interventions.stream_edits import Change
    from mecheval.models.decomposition import Decomposition, Layer
    from mecheval.models.mixing import Mixing, State


class ExchangedMemory(Exchanged):
    """Runs of a model, and what it answers when others gave what a layer remembers.

    Layers count from 1, the first block; at 0 nothing is remembered. Donors give what is remembered
    after each position; that of the last one is read by none.
    """

    n_below = 1

    @cached_property
    def _ahead(self) -> LayerStreams:
        """Return one's own runs where what is gathered at layers ahead needs their streams.

        They are run once more for that, if they are needed there at all.
        """
        own = self._edits.runs
        if self._giving.kept:
            return own
        return LayerStreams(own.model, own.tokens_BT, batch_size=own.batch_size)

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

    def _change(self, layer: int, donor_NT: np.ndarray, row_N: np.ndarray) -> Change:
        if layer == 0:
            return lambda stream_MTD, some: stream_MTD
        part, mixed_NTD = self._layers[layer - 1], self._mixed(layer - 1, donor_NT, row_N)
        return lambda stream_MTD, some: part.handed_on(part.leave(stream_MTD, mixed_NTD[some]))

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
        part, (donor_RT, run_R) = self._layers[before], asked
        mixing, last = part.mixing, first + len(streams[1])
        own_BTD = part.entered(streams[0], part.given(self._ahead.tokens_BT))
        given_STD = part.entered(streams[1], part.given(self._giving.tokens_ST[first:last]))
        filled_RTD = torch.empty(0) if mixed_RTD is None else mixed_RTD
        asks_RT = ((donor_RT >= first) & (donor_RT < last)) | ((donor_RT < 0) & (first == 0))
        for position, (own, given) in enumerate(self._memories(mixing, own_BTD, given_STD)):
            row_R = asks_RT[:, position].nonzero()[:, 0]
            for row_N in row_R.split(self._ahead.batch_size) if len(row_R) else ():
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

    @property
    def _layers(self) -> tuple[Layer, ...]:
        return cast("Decomposition", self._edits.model.decomposition()).layers  # see refusal()


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
