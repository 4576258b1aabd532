"""A model taken apart into steps that can be run one by one, on any rows, from any position.

The parts must do what the model's own forward pass does; whoever uses them checks it.

Shape suffixes: ``B`` rows, ``T`` positions, ``D`` residual width, ``E`` width of what is given
beside the stream, ``A`` answer tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from mecheval.models.mixing import Mixing


@dataclass(frozen=True)
class Refusal:
    """Why a model cannot be taken apart, or its blocks not be replayed.

    Attributes:
        reason: The part of the model and what about it, in one sentence without a full stop.
    """

    reason: str


@dataclass(frozen=True)
class Layer:
    """One block: ``close(join(stream, mixed), mlp_out)``, with ``mixed`` the mixer's output.

    Attributes:
        mixing: The sequence mixer.
        enter: Maps the stream before the block to the mixer's input.
        join: Adds the mixer's output (second argument) to the stream (first one).
        feed: The feed-forward part, norm included; None if there is none.
        close: Adds the output of the feed-forward part (second argument) to the stream.
        parallel: Whether the feed-forward part reads the stream before the block instead of the
            one that the mixer's output has been added to.
        beside: Maps tokens ``(B, T)`` to what the mixer is given of them beside the stream,
            ``(B, T, E)``, as where every block is given the embeddings anew: no block changes it,
            and no patch. None where it is given nothing of that kind.
        factor: What the stream is multiplied by on its way to the next block.
    """

    mixing: Mixing
    enter: Callable[[Tensor], Tensor]
    join: Callable[[Tensor, Tensor], Tensor]
    feed: Callable[[Tensor], Tensor] | None = None
    close: Callable[[Tensor, Tensor], Tensor] | None = None
    parallel: bool = False
    beside: Callable[[Tensor], Tensor] | None = None
    factor: float = 1.0

    def entered(self, stream_BTD: Tensor, beside_BTE: Tensor | None) -> Tensor:
        """Return the mixer's input, with what it is given of the tokens behind it."""
        normed_BTD = self.enter(stream_BTD)
        if self.beside is None:
            return normed_BTD
        if beside_BTE is None:
            raise ValueError("The mixer is given something of the tokens, which is missing.")
        return torch.cat([normed_BTD, beside_BTE], -1)

    def given(self, tokens_BT: Tensor) -> Tensor | None:
        """Return what the mixer is given of the tokens beside the stream, if anything."""
        return None if self.beside is None else self.beside(tokens_BT)

    def run(self, stream_BTD: Tensor, beside_BTE: Tensor | None = None) -> Tensor:
        """Run the whole block, from the start of sequences; return what the next one is given."""
        signals = self.mixing.project(self.entered(stream_BTD, beside_BTE), ())
        return self.handed_on(self.leave(stream_BTD, self.mixing.output(signals, ())))

    def handed_on(self, stream_BTD: Tensor) -> Tensor:
        """Return what the next block is given of the stream after this one."""
        return stream_BTD if self.factor == 1 else stream_BTD * self.factor

    def mlp_out(self, stream_BTD: Tensor, resid_mid_BTD: Tensor) -> Tensor | None:
        """Return the output of the feed-forward part, if there is one."""
        if self.feed is None:
            return None
        return self.feed(stream_BTD if self.parallel else resid_mid_BTD)

    def closed(self, resid_mid_BTD: Tensor, mlp_out_BTD: Tensor | None) -> Tensor:
        """Return the stream after the block."""
        if self.close is None or mlp_out_BTD is None:
            return resid_mid_BTD
        return self.close(resid_mid_BTD, mlp_out_BTD)

    def leave(self, stream_BTD: Tensor, mixed_BTD: Tensor) -> Tensor:
        """Return the stream after the block, given the stream before it and the mixer's output."""
        resid_mid_BTD = self.join(stream_BTD, mixed_BTD)
        return self.closed(resid_mid_BTD, self.mlp_out(stream_BTD, resid_mid_BTD))


@dataclass(frozen=True)
class Decomposition:
    """A whole model in parts.

    Attributes:
        layers: The blocks in order.
        readout: Maps streams after the last block ``(B, D)`` and token ids ``(B, A)`` to the
            logits ``(B, A)`` of these tokens; all logits ``(B, C)`` where the ids are None.
    """

    layers: tuple[Layer, ...]
    readout: Callable[[Tensor, Tensor | None], Tensor]


def chosen_logits(
    normed_RD: Tensor, tokens_RA: Tensor, weight_CD: Tensor, bias_C: Tensor | None = None
) -> Tensor:
    """Return the logits ``(R, A)`` of some tokens by the rows of a head's weight.

    Tokens that are the same for all rows, by :meth:`torch.Tensor.expand`, take one product.
    """
    if len(tokens_RA) and tokens_RA.stride(0) == 0:
        tokens_A = tokens_RA[0]
        bias_A = None if bias_C is None else bias_C[tokens_A]
        return functional.linear(normed_RD, weight_CD[tokens_A], bias_A)
    logits_RA = (weight_CD[tokens_RA] @ normed_RD[..., None])[..., 0]
    return logits_RA if bias_C is None else logits_RA + bias_C[tokens_RA]


class Replay(Protocol):
    """The blocks of one run, to be called again on other streams."""

    def run(self, layer: int, stream_RTD: Tensor, run_R: Tensor) -> Tensor:
        """Return the stream ``(R, T, D)`` after a block; ``run_R`` says which run each row is."""
        ...

    def behind(self, first: int) -> Replay | None:
        """Return the blocks of positions ``first`` on, which remember the run before them.

        Returns:
            None if the model cannot go on from a position; itself for position 0.
        """
        ...

    def readout(self, stream_RD: Tensor) -> Tensor:
        """Return all logits ``(R, C)`` of streams after the last block."""
        ...
