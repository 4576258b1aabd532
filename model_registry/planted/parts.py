"""Parts that several planted models are made of: attention heads and counters.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` residual width, ``U`` units of a feed-forward
part.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from mecheval.models.stack.basis import wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.models.stack.basis import Basis
    from mecheval.models.stack.residual import Mlp

    from ..transformer import Attention

Wire = tuple[slice, slice]
"""Dimensions of a head, and the dimensions of the stream that they are copied from."""

SHARP = 10.0
"""How far units are driven: gelu(x) is max(x, 0) up to 1e-22 at multiples of this."""


def plant_head(attention: Attention, *, query: Wire, key: Wire, score: float) -> None:
    """Let a single head look for the positions whose key is its query.

    Args:
        attention: The layer.
        query: Where the query is copied from.
        key: Where keys are copied from; the dimensions of the head are those of the query.
        score: Logit of a match, before the softmax.
    """
    query_DD, key_DD, _ = attention.qkv.weight.chunk(3)
    wire(query_DD, *query, score * math.sqrt(attention.qkv.in_features))
    wire(key_DD, *key)


def plant_copy(attention: Attention, *, to: slice, source: slice) -> None:
    """Let a single head copy dimensions of the positions that it attends to."""
    *_, value_DD = attention.qkv.weight.chunk(3)
    wire(value_DD, to, source)
    wire(attention.out.weight, to, to)


def plant_counter(mlp: Mlp, basis: Basis, *, counts: Sequence[range], values: int | None) -> None:
    """Let a feed-forward part turn the mean of a number over a prefix into its sum, as a one-hot.

    The sum over t + 1 positions is t + 1 times the mean, which a unit can only have if it knows t:
    there is a set of units per position, and the others are silent. With r_k = max(sum - k, 0), the
    one-hot of the sum s is r_(s-1) - 2 r_s + r_(s+1) at whole numbers.

    Args:
        mlp: The feed-forward part, with :func:`units_of_counter` units.
        basis: Its stream has the groups ``mean``, ``position`` and ``count``.
        counts: The sums that there can be at every position.
        values: The one-hot is of the sum modulo this number; of the sum itself where None.
    """
    position, mean, first_unit = basis["position"], basis.at("mean"), 0
    silence = 2 * SHARP * len(counts) * max(abs(end) for r in counts for end in (r[0], r[-1], 1))
    for t, sums in enumerate(counts):
        knots = range(sums[0] - 1, sums[-1] + 2)
        units = slice(first_unit, first_unit + len(knots))
        first_unit += len(knots)
        mlp.up.weight[units, mean] = SHARP * (t + 1)
        mlp.up.weight[units, position] = -silence
        mlp.up.weight[units, position.start + t] = -SHARP * torch.tensor(knots, dtype=torch.float32)
        for i, total in enumerate(sums):
            row = basis.at("count", total if values is None else total % values)
            for unit, height in zip(range(i, i + 3), (1.0, -2.0, 1.0), strict=True):
                mlp.down.weight[row, units.start + unit] += height / SHARP


def units_of_counter(counts: Sequence[range]) -> int:
    """Return the number of units that :func:`plant_counter` needs."""
    return sum(len(sums) + 2 for sums in counts)
