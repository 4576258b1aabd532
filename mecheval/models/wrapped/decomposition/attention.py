"""Attention of transformers taken apart: its own modules project, its own function attends.

The real attention module runs up to the point where it would attend; there queries, keys and values
are taken from it. The function that it would have called then reads from them, and from those of
earlier positions. No weight is copied, and nothing of the module is written again.

What follows are modules in a row, mostly. Where a gate that the input opens is between, the real
module runs once more, from the point where it would have attended.

Shape suffixes: ``B`` examples, ``T`` positions (``S`` those read from), ``D`` width of the stream,
``H`` heads, ``K`` width of a head, ``X`` of what the heads read with the stream behind it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from mecheval.models.hooks import stream_output, visiting
from mecheval.models.layers.key_values import KeyValueMixing
from mecheval.models.mixing import LAST, Edit, Mixing, Only, Signals, State, at, unchanged
from mecheval.models.wrapped.recording.attention_functions import (
    Caught,
    attention_function,
    catching,
    returning,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn

    from mecheval.models.contract import Tap
    from mecheval.models.wrapped.decomposition.attention_context import AttentionContext


class HookedAttention(KeyValueMixing):
    """An attention layer; its state is the keys and values of all earlier positions."""

    def __init__(
        self,
        mixer: nn.Module,
        attention: nn.Module,
        *,
        index: int,
        attention_context: AttentionContext,
        out: Callable[[Tensor], Tensor],
        taps: Mapping[str, Tap],
    ) -> None:
        """Take the parts.

        Args:
            mixer: The layer's module that takes the stream.
            attention: The module in it, or it itself, that attends.
            index: Its number among the attention layers.
            attention_context: What these layers are given besides the stream.
            out: Maps what the heads read ``(B, T, H K)`` to the mixer's output.
            taps: Where queries, keys and values are before rotary positions, as far as that is
                known, and what the heads read.
        """
        self.mixer, self.attention = mixer, attention
        self.index, self.attention_context = index, attention_context
        self.out, self.taps = out, taps
        self.inner = tuple(taps)

    def project(self, normed_BTD: Tensor, state: State, *, edit: Edit = unchanged) -> Signals:
        """Return queries, keys and values, ``(B, T, H, K)`` each, as they are compared."""
        first = state[0].shape[1] if state else 0
        visits = {}
        if edit is not unchanged:
            before = {name: tap for name, tap in self.taps.items() if name != "z"}
            visits = {tap: _editing(edit, name) for name, tap in before.items()}
        # Found before anything is caught, because it may take a forward pass.
        given = self.attention_context.given(self.index, first, first + normed_BTD.shape[1])
        with visiting(visits), catching(self.attention):
            try:
                given.call(self.mixer, normed_BTD.contiguous())
            except Caught as caught:
                heads = (x_BHTK.transpose(1, 2) for x_BHTK in caught.heads)
                return dict(zip(("q", "k", "v"), heads, strict=True))
        raise RuntimeError("An attention module returned without calling its attention function.")

    def attend(self, q_BTHK: Tensor, keys_BSHK: Tensor, values_BSHK: Tensor, only: Only) -> Tensor:
        """Call the module's attention function, with the mask of the positions that ask."""
        last = keys_BSHK.shape[1]
        first = last - q_BTHK.shape[1]
        heads = (at(q_BTHK, only), keys_BSHK, values_BSHK)
        if only is LAST:
            first, only = last - 1, None
        read_BTHK, *_ = attention_function(self.attention)(
            self.attention,
            *(x_BTHK.transpose(1, 2) for x_BTHK in heads),
            self.attention_context.mask(self.index, first, last, only_B=only),
            **self.attention_context.options(self.index),
        )
        return read_BTHK.flatten(2)


class GatedAttention(HookedAttention):
    """Attention whose output is made of its input, too: a gate on what is read, experts behind it.

    The input is one of the signals, and stands behind what the heads read.
    """

    output_of_both = Mixing.output_at_once

    def __init__(
        self, mixer: nn.Module, attention: nn.Module, *, heads: tuple[int, int], **found: Any
    ) -> None:
        """Take the parts.

        Args:
            mixer: The layer's module that takes the stream.
            attention: The module in it, or it itself, that attends.
            heads: Number and width of the heads that read.
            found: What else :class:`HookedAttention` takes, but for ``out``.
        """
        super().__init__(mixer, attention, out=self._rest, **found)
        self.heads = heads

    def project(self, normed_BTD: Tensor, state: State, *, edit: Edit = unchanged) -> Signals:
        """Return queries, keys and values, and the input."""
        return {**super().project(normed_BTD, state, edit=edit), "input": normed_BTD}

    def mix(self, signals: Signals, state: State) -> tuple[Tensor, State]:
        """Attend, and put the input behind what is read."""
        read_BTD, after = super().mix(signals, state)
        return torch.cat([read_BTD, signals["input"]], -1), after

    def read_at(self, signals: Signals, state: State, only: Only) -> Tensor:
        """Ask only the queries whose answer is wanted."""
        read_BTD = super().read_at(signals, state, only)
        return torch.cat([read_BTD, at(signals["input"], only)], -1)

    def _rest(self, read_BTX: Tensor) -> Tensor:
        """Run the module from where it would have attended."""
        n_positions, width = read_BTX.shape[1], math.prod(self.heads)
        # Positions count from 0, because nobody asks for the queries and keys that are made of it.
        given = self.attention_context.given(self.index, 0, n_positions)
        with returning(self.attention, read_BTX[..., :width].unflatten(-1, self.heads)):
            return stream_output(given.call(self.mixer, read_BTX[..., width:].contiguous()))


def _editing(edit: Edit, name: str) -> Callable[[Tensor], Tensor]:
    return lambda value_BTD: edit(name, value_BTD)
