"""A network that knows of a text what a table of two tokens does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from mecheval.models.planted.basis import Basis, wire
from mecheval.models.planted.planted import Blueprint, Turnable, planted

from ...task_registry.text import Text
from ..transformer import Attention

if TYPE_CHECKING:
    from mecheval.models.stack.residual import ResidualStack

WIDEST = 1024  # symbols; the stream has a dimension for each


@planted(
    name="bigram",
    reference="Elhage et al. 2021, A Mathematical Framework for Transformer Circuits (a "
    "transformer without layers is a table of bigrams)",
    architecture="attention",
)
@dataclass(frozen=True, kw_only=True)
class Bigram(Turnable[Text]):
    """A table of bigrams of the training text, as an embedding and a readout.

    Construction: the stream is a one-hot of the token, and the readout the log-probabilities of
    what comes next, as the floor has them. The one layer does nothing.

    Known values: the loss is that of the table of bigrams, to rounding, in nats and in bits; it
    gains by its context what that table does, which is nothing. Pairs end with the same token, so
    that both members get the same answer and nothing can be brought back.
    """

    def objection(self, task: Text) -> str | None:
        """Need a vocabulary that the stream has room for."""
        return f"text of {WIDEST} symbols at most" if len(task.symbols) > WIDEST else None

    def basis(self, task: Text) -> Basis:
        """Return what the dimensions of the stream stand for."""
        return Basis(token=len(task.symbols))

    def blueprint(self, task: Text) -> Blueprint:
        """Return a layer that does nothing."""
        width = self.basis(task).width

        def attention() -> Attention:
            return Attention(width, 1, rotary=False, scale=1.0)

        return Blueprint(layers=1, width=width, mixers=(attention,))

    def plant(self, stack: ResidualStack, task: Text) -> None:
        """Set the embedding, and the readout."""
        token = self.basis(task)["token"]
        wire(stack.embedding.weight, token, token)
        stack.head.weight.copy_(torch.as_tensor(-task.text.bigrams().T))
