"""Runs that are taken up at a layer with another residual stream, at all positions.

What lies below the layer is the base runs' and is computed once for all that is asked there. The
stream may be changed again at later layers, and be taken up behind blocks that are left out.

Shape suffixes: ``B`` base runs, ``R`` rows (runs with another stream), ``T`` positions, ``D``
residual width, ``A`` answer tokens.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mecheval.interventions.activations import answer_logits, slices
from mecheval.interventions.layer_streams import LayerStreams
from mecheval.models.decomposition import Refusal
from mecheval.models.sites import stream_sites

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mecheval.interventions.activations import Edit
    from mecheval.models.contract import SequenceModel
    from mecheval.models.decomposition import Decomposition
    from mecheval.models.sites import Site

    Change = Callable[[Tensor, slice], Tensor]
    """Maps the streams ``(R, T, D)`` of some rows, and which rows they are, to other streams."""


class StreamEdits:
    """Base runs of a model, and what it answers when the stream at a layer is another one.

    Layers count from 0, before the first block, to the number of blocks.

    Attributes:
        runs: The streams of the base runs.
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
        self.runs = LayerStreams(model, tokens_BT, batch_size=batch_size)
        self.answers_A = torch.as_tensor(np.asarray(answers_A), device=model.device)

    @torch.inference_mode()
    def logits(
        self,
        layer: int,
        row_R: np.ndarray,
        change: Change,
        *,
        enters: int | None = None,
        later: Mapping[int, Change] | None = None,
    ) -> np.ndarray:
        """Return the logits of the answers ``(R, T, A)`` in float32.

        Args:
            layer: Where the stream is taken and changed.
            row_R: The base run of every row.
            change: What is done to it.
            enters: At which layer it is taken up again: a later one leaves out the blocks between.
            later: What is done to the streams of these runs at layers behind that.
        """
        decomposition, parts, later = self.model.decomposition(), [], later or {}
        enters = layer if enters is None else enters
        for rows in slices(len(row_R), self.batch_size):
            if isinstance(decomposition, Refusal):
                edits = _edits(self.model, (layer, enters), rows, change=change, later=later)
                parts.append(self._hooked(row_R[rows], edits))
                continue
            stream_RTD = change(self.runs.at(layer)[row_R[rows]], rows)
            tokens_RT = self.runs.tokens_BT[row_R[rows]]
            further = {at: _edit(function, rows) for at, function in later.items()}
            parts.append(
                answers_from(
                    decomposition, enters, stream_RTD, self.answers_A,
                    tokens_RT=tokens_RT, later=further,
                )
            )  # fmt: skip
        return np.concatenate(parts)

    def _hooked(self, row_N: np.ndarray, edits: Mapping[Site, Edit]) -> np.ndarray:
        return answer_logits(
            self.model, self.runs.tokens_BT[row_N], self.answers_A.cpu().numpy(), edits=edits,
            batch_size=self.batch_size,
        )  # fmt: skip


def answers_from(
    decomposition: Decomposition,
    first: int,
    stream_RTD: Tensor,
    answers_A: Tensor,
    *,
    tokens_RT: Tensor,
    later: Mapping[int, Edit] = MappingProxyType({}),
) -> np.ndarray:
    """Return the logits of the answers ``(R, T, A)`` in float32, given the stream at a layer.

    Args:
        decomposition: The model in parts.
        first: The layer, from 0 to the number of blocks.
        stream_RTD: The stream there.
        answers_A: Token ids whose logits are wanted.
        tokens_RT: Tokens of the rows, which some mixers are given something of.
        later: What is done to the stream at layers behind it.
    """
    for at, part in enumerate(decomposition.layers[first:], start=first + 1):
        stream_RTD = part.run(stream_RTD, part.given(tokens_RT))
        if at in later:
            stream_RTD = later[at](stream_RTD)
    stream_ND = stream_RTD.flatten(0, 1)
    logits_NA = decomposition.readout(stream_ND, answers_A.expand(len(stream_ND), -1))
    return logits_NA.unflatten(0, stream_RTD.shape[:2]).float().cpu().numpy()


def _edits(
    model: SequenceModel,
    between: tuple[int, int],
    rows: slice,
    *,
    change: Change,
    later: Mapping[int, Change],
) -> dict[Site, Edit]:
    """Return the changes as edits of a whole run over some rows.

    Args:
        model: The model.
        between: Where the stream is taken and changed, and where it enters.
        rows: The rows of the run.
        change: What is done to it.
        later: What is done at later layers.
    """
    sites, taken = stream_sites(model.n_layers), between[0]
    edits = {sites[at]: _edit(function, rows) for at, function in later.items()}
    if between[1] == taken:
        return {sites[taken]: _edit(change, rows), **edits}
    kept: list[Tensor] = []

    def keep(stream_RTD: Tensor) -> Tensor:
        kept[:] = [change(stream_RTD, rows)]
        return stream_RTD

    return {sites[taken]: keep, sites[between[1]]: lambda _: kept[0], **edits}


def _edit(change: Change, rows: slice) -> Edit:
    return lambda stream_RTD: change(stream_RTD, rows)
