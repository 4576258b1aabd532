"""Runs in which what a layer hands on, writes or remembers is another one, at all positions.

What lies below the layer is run once for all that is asked there.

Shape suffixes: ``B`` runs, ``T`` positions, ``U`` some of them, ``D`` residual width, ``W`` numbers
of a row, ``A`` answer tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from mecheval.interventions.memory_sites import Memory, MemorySite, memory_site
from mecheval.interventions.stream_edits import StreamEdits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from mecheval.models.contract import SequenceModel

    ReplaceRows = Callable[[slice, int, Tensor], Tensor]
    """Maps which runs they are, the first of some positions, and rows ``(B, U, W)`` to others."""

Component = Literal["block_out"] | Memory
"""The sites that can be replaced."""


class ReplacedSites:
    """Runs of a model, and what it answers when the rows of a site are other ones.

    Layers count from 0; they are best asked for in order.
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
            batch_size: Runs per forward pass.
        """
        self._edits = StreamEdits(model, tokens_BT, answers_A, batch_size=batch_size)

    def logits(
        self, layer: int, component: Component, replace: ReplaceRows | None = None
    ) -> np.ndarray:
        """Return the logits of the answers ``(B, T, A)`` in float32.

        Args:
            layer: The layer.
            component: Its site.
            replace: Returns other rows: at ``block_out`` of the stream, otherwise as
                :class:`MemorySite` says. As they are if None.

        Raises:
            ValueError: The layer has no such rows.
        """
        tokens_BT = self._edits.runs.tokens_BT
        every_B, model = np.arange(len(tokens_BT)), self._edits.model
        if component == "block_out" or replace is None:
            at = layer + 1 if component == "block_out" else layer

            def changed(stream_BTD: Tensor, rows: slice) -> Tensor:
                return stream_BTD if replace is None else replace(rows, 0, stream_BTD)

            return self._edits.logits(at, every_B, changed)
        site = memory_site(model, layer, component)
        if not isinstance(site, MemorySite):
            raise ValueError(f"The layer has no such rows: {site.reason}.")

        def replaced(stream_BTD: Tensor, rows: slice) -> Tensor:
            def other(first: int, row_BUW: Tensor) -> Tensor:
                return replace(rows, first, row_BUW)

            return site.stream(stream_BTD, tokens_BT[rows], other)

        return self._edits.logits(layer, every_B, replaced, enters=layer + 1)
