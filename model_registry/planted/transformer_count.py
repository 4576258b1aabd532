"""A Transformer that adds symbols up without any state, by the mean over the prefix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from mecheval.models.planted.basis import DISTRACTION, Basis, distract, wire
from mecheval.models.planted.planted import Blueprint, Turnable, planted

from ...task_registry.parity import Parity
from ...task_registry.z6 import Z6
from ..transformer import Attention
from .parts import plant_copy, plant_counter, units_of_counter

if TYPE_CHECKING:
    from torch import nn

    from mecheval.models.layers.linear import Mlp
    from mecheval.models.stack.residual import ResidualStack

GAIN = 10.0  # logit of the right answer
WIDEST = 20_000  # more units take too long to be of use


@planted(
    name="transformer-count",
    reference="Chiang and Cholak 2022, arXiv:2202.12172 (parity by uniform attention)",
    architecture="attention",
)
@dataclass(frozen=True, kw_only=True)
class TransformerCount(Turnable[Parity | Z6]):
    """Sums modulo 2 or 6 by uniform attention and a feed-forward part that knows the position.

    Construction: the stream is [number | position | distraction | mean | count]. The head of layer
    0 has no queries, so that it writes the mean of all numbers so far, BOS counting as 0. Units of
    the feed-forward part, a set for every position t, turn t + 1 times the mean into a one-hot of
    the sum modulo the number of states. Layer 1 does nothing. There is no state anywhere: every
    answer is worked out anew from the whole prefix, in any order of its symbols.

    Known values: accuracy 1 at every test length. The sum can be read from layer 1 on; bottleneck
    1/2. Before layer 1 the difference of a pair stands at the exchanged token, behind it at the
    readout. Values enter the memory of layer 0 at their own position.
    """

    def objection(self, task: Parity | Z6) -> str | None:
        """Need sequences that there are not too many units for."""
        if units_of_counter(_counts(task)) > WIDEST:
            return f"parity or z6 with longest tests of fewer symbols than {len(_counts(task)) - 1}"
        return None

    def basis(self, task: Parity | Z6) -> Basis:
        """Return what the dimensions of the stream stand for."""
        return Basis(
            number=1, position=len(_counts(task)), distraction=DISTRACTION, mean=1,
            count=len(task.elements),
        )  # fmt: skip

    def blueprint(self, task: Parity | Z6) -> Blueprint:
        """Return a layer with a feed-forward part, and one that does nothing."""
        counts, width = _counts(task), self.basis(task).width

        def attention() -> Attention:
            return Attention(width, 1, rotary=False, scale=1.0)

        return Blueprint(
            layers=2, width=width, mixers=(attention, attention),
            hidden=(units_of_counter(counts), 0), context=len(counts),
        )  # fmt: skip

    def plant(self, stack: ResidualStack, task: Parity | Z6) -> None:
        """Set embeddings, attention, units, and the readout."""
        basis, counts = self.basis(task), _counts(task)
        positions = cast("nn.Embedding", stack.positions).weight
        for element, symbol in enumerate(task.answers):
            stack.embedding.weight[symbol, basis.at("number")] = float(element)
        wire(positions, slice(0, len(counts)), basis["position"])
        for table in (stack.embedding.weight, positions):
            distract(table, basis["distraction"])
        block = stack.blocks[0]
        plant_copy(cast("Attention", block.mixer), to=basis["mean"], source=basis["number"])
        plant_counter(cast("Mlp", block.mlp), basis, counts=counts, values=len(task.elements))
        answers = slice(task.answers[0], task.answers[-1] + 1)
        wire(stack.head.weight, answers, basis["count"], GAIN)


def _counts(task: Parity | Z6) -> list[range]:
    """Return the sums that there can be at every position of the longest test."""
    largest = len(task.elements) - 1
    return [range(largest * t + 1) for t in range(1 + max(task.test_lengths.values()))]
