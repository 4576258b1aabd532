"""Recall in the cells of an LSTM: its own memory brings key and value together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch

from mecheval.models.planted.basis import Basis, wire
from mecheval.models.planted.planted import Blueprint, Planted, planted

from ...task_registry.ar import AssociativeRecall
from ..lstm import LongShortTermMemory
from .parts import plant_ends

if TYPE_CHECKING:
    from mecheval.models.stack.residual import ResidualStack

GAIN = 13.0  # logit of a value that is retrieved whole, times 1 / tanh 1
WIDEST = 512


@planted(
    name="lstm-recall",
    reference="Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735 (the cell)",
    architecture="recurrent network",
)
@dataclass(frozen=True, kw_only=True)
class LstmRecall(Planted[AssociativeRecall]):
    """Associative recall by an LSTM, whose gates bind a value to the key that it remembers.

    Construction: the stream is [key | value | last | pair]. With M the sharpness, a unit ``last``
    per key holds whether its key is here, and nothing else: its output is then tanh 1. A unit
    ``pair`` per key and value keeps what it has. With x whether its value is here, and h what the
    ``last`` of its key showed one position before, its input gate sigma(M (x + h / tanh 1 - 3/2))
    opens where both are; its output gate opens where its key is. So a query shows the one pair of
    its key, and the readout adds up the pairs of every value. With more layers the one in the
    middle does all this.

    Known values: accuracy 1. Retrieval is direct, early if layer 0 does it, and key and value are
    bound by the layer's own mixer: after the key, before the value comes, the memory holds all of
    the difference that another key makes.

    Attributes:
        sharpness: Slope M of the gates.
        layers: Number of layers; the others do nothing.
    """

    sharpness: float = 60.0
    layers: int = 2

    def __post_init__(self) -> None:
        """Check the number of layers."""
        self.check(self.layers >= 1, "one layer or more")

    def objection(self, task: AssociativeRecall) -> str | None:
        """Need queries by key, and a unit for every pair."""
        if task.query != "key" or self.basis(task).width > WIDEST:
            return "ar with query=key and a few hundred combinations of key and value at most"
        return None

    @property
    def task(self) -> AssociativeRecall:
        """Return a task that there are weights for; with default arguments it is too large."""
        return AssociativeRecall(keys=12, values=12, pairs=6)

    def basis(self, task: AssociativeRecall) -> Basis:
        """Return what the dimensions of the stream stand for."""
        return Basis(key=task.keys, value=task.values, last=task.keys, pair=task.keys * task.values)

    def blueprint(self, task: AssociativeRecall) -> Blueprint:
        """Return the layers."""
        width = self.basis(task).width
        mixers = (lambda: LongShortTermMemory(width),) * self.layers
        return Blueprint(layers=self.layers, width=width, mixers=mixers)

    def plant(self, stack: ResidualStack, task: AssociativeRecall) -> None:
        """Set embeddings, the gates, and the readout."""
        basis, width, slope = self.basis(task), stack.d_model, self.sharpness
        plant_ends(stack, basis, task)
        mixer = cast("LongShortTermMemory", stack.blocks[(self.layers - 1) // 2].mixer)
        w_in, w_back, bias, _ = mixer.lstm.all_weights[0]
        take, keep, content, show = (slice(i * width, (i + 1) * width) for i in range(4))
        last, pair, key, value = (basis[group] for group in ("last", "pair", "key", "value"))
        # Which key was here, if one was: all else is forgotten.
        wire(w_in[take], last, key, slope)
        bias[take][last] = -slope / 2
        bias[keep][last] = -slope
        # What belongs to it: kept from then on, and shown at its key.
        w_in[take][pair, value] = slope * torch.eye(task.values).repeat(task.keys, 1)
        of_key = torch.eye(task.keys).repeat_interleave(task.values, 0)
        w_back[take][pair, last] = slope / math.tanh(1.0) * of_key
        bias[take][pair] = -1.5 * slope
        bias[keep][pair] = slope
        w_in[show][pair, key] = slope * of_key
        bias[show][pair] = -slope / 2
        for units in (last, pair):
            bias[content][units] = slope
        bias[show][last] = slope
        first, n = task.side("value")
        stack.head.weight[first : first + n, pair] = GAIN * torch.eye(n).repeat(1, task.keys)
