"""A compiled program: the bracket that closes next, by depth and the latest opener of that depth.

In the notation of RASP (Weiss et al. 2021, arXiv:2106.06981), with BOS opening depth 0:

    depth  = (position + 1) * mean over the prefix of (1 if it opens, -1 if it closes, 0 otherwise)
    opener = select the latest position that opens and has this depth
    top    = aggregate(opener, type)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch

from mecheval.models.planted.basis import Basis, distract, wire
from mecheval.models.planted.planted import Blueprint, Turnable, planted

from ...task_registry.dyck import NOOP, Dyck
from ..transformer import Attention
from .parts import plant_copy, plant_counter, plant_head, units_of_counter

if TYPE_CHECKING:
    from torch import nn

    from mecheval.models.layers.linear import Mlp
    from mecheval.models.stack.residual import ResidualStack

GAIN = 10.0  # logit of the right answer
RECENT = 20.0  # by how much each position is preferred to the one before
SPARE = 64  # scores of layer 1 are fine, and random subspaces of a narrow stream would blur them
WIDEST = 20_000  # more units take too long to be of use


@planted(
    name="transformer-dyck",
    reference="Yao et al. 2021, arXiv:2105.11115 (two layers for bounded Dyck languages)",
    architecture="attention",
)
@dataclass(frozen=True, kw_only=True)
class TransformerDyck(Turnable[Dyck]):
    """Bounded Dyck words by a compiled program of two steps: the depth, then its latest opener.

    Construction: the stream is [symbol | distraction | change | opens | type | position | mean |
    count | top], every dimension with one meaning. Layer 0: uniform attention writes the mean
    change of depth over the prefix, and units of the feed-forward part, a set for every position t,
    turn t + 1 times the mean into a one-hot of the depth. Layer 1: a head looks for a position that
    opens and has the depth of its own, prefers later ones, and copies the type there. Layer 2 does
    nothing.

    Known values: accuracy 1 at every test length. Depth can be read from layer 1 on, with a
    bottleneck at 1/3: layer 1 needs it, and afterwards nothing does. The top of the stack can be
    read from layer 2 on, with a bottleneck at 2/3.
    """

    def objection(self, task: Dyck) -> str | None:
        """Need sequences that there are not too many units for."""
        if units_of_counter(_counts(task)) > WIDEST:
            return f"dyck with longest tests of fewer symbols than {len(_counts(task)) - 1}"
        return None

    def basis(self, task: Dyck) -> Basis:
        """Return what the dimensions of the stream stand for."""
        return Basis(
            symbol=len(task.symbols), distraction=SPARE, change=1, opens=1, type=task.k + 1,
            position=len(_counts(task)), mean=1, count=task.m + 1, top=task.k + 1,
        )  # fmt: skip

    def blueprint(self, task: Dyck) -> Blueprint:
        """Return a layer for the depth, one for the opener, and one that does nothing."""
        counts, width = _counts(task), self.basis(task).width

        def attention() -> Attention:
            return Attention(width, 1, rotary=False, scale=1.0)

        return Blueprint(
            layers=3, width=width, mixers=(attention,) * 3,
            hidden=(units_of_counter(counts), 0, 0), context=len(counts),
        )  # fmt: skip

    def plant(self, stack: ResidualStack, task: Dyck) -> None:
        """Set embeddings, the two steps, and the readout."""
        basis, counts, symbol = self.basis(task), _counts(task), stack.embedding.weight
        wire(symbol, slice(0, len(task.symbols)), basis["symbol"])
        distract(symbol, basis["distraction"])
        opening, closing = (
            slice(NOOP + 1 + i * task.k, NOOP + 1 + (i + 1) * task.k) for i in (0, 1)
        )
        symbol[opening, basis["change"]], symbol[closing, basis["change"]] = 1.0, -1.0
        symbol[[0, *range(opening.start, opening.stop)], basis.at("opens")] = 1.0
        symbol[0, basis.at("type")] = 1.0
        wire(symbol, opening, slice(basis.at("type", 1), basis["type"].stop))
        places = cast("nn.Embedding", stack.positions).weight
        wire(places, slice(0, len(counts)), basis["position"])
        depth, opener = (cast("Attention", block.mixer) for block in stack.blocks[:2])
        plant_copy(depth, to=basis["mean"], source=basis["change"])
        plant_counter(cast("Mlp", stack.blocks[0].mlp), basis, counts=counts, values=None)
        self._plant_opener(opener, basis, len(counts))
        plant_copy(opener, to=basis["top"], source=basis["type"])
        stack.head.weight[NOOP, basis.at("top")] = GAIN
        wire(stack.head.weight, closing, slice(basis.at("top", 1), basis["top"].stop), GAIN)

    def _plant_opener(self, head: Attention, basis: Basis, n_positions: int) -> None:
        """Prefer any right depth or opener to any later position, and both to one of them."""
        count, match = basis["count"], RECENT * (n_positions + 1)
        plant_head(head, query=(count, count), key=(count, count), score=match)
        # A constant query, which the sum over all symbols is, asks for openers and for late ones.
        query_DD, key_DD, _ = head.qkv.weight.chunk(3)
        constant = basis.at("opens")
        query_DD[constant, basis["symbol"]] = math.sqrt(head.qkv.in_features)
        key_DD[constant, constant] = match
        key_DD[constant, basis["position"]] = RECENT * torch.arange(float(n_positions))


def _counts(task: Dyck) -> list[range]:
    """Return the depths that there can be at every position of the longest test."""
    return [range(min(t, task.m) + 1) for t in range(1 + max(task.test_lengths.values()))]
