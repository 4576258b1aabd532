"""Parts that several planted models are made of: heads, shifts, signs, counters and products.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` residual width, ``U`` units of a feed-forward
part, ``E`` channels, ``N`` state of a channel, ``G`` elements of a group.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch

from mecheval.models.planted.basis import Basis, wire

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from torch import nn

    from mecheval.models.layers.linear import Mlp
    from mecheval.models.stack.residual import ResidualStack

    from ...task_registry.ar import AssociativeRecall
    from ..mamba import SelectiveStateSpace
    from ..transformer import Attention

Wire = tuple[slice, slice]
"""Dimensions of a head, and the dimensions of the stream that they are copied from."""

LINEAR = 60.0
"""Where silu(x) = x up to rounding."""

STEP = 20.0
"""A step size: exp(-x) = 2e-9, and so is softplus(-x)."""

SHARP = 10.0
"""How far units are driven: gelu(x) is max(x, 0) up to 1e-22 at multiples of this."""


def plant_ends(
    stack: ResidualStack, basis: Basis, task: AssociativeRecall, *, gain: float | None = None
) -> None:
    """Set embeddings of associative recall, and the readout of what is copied.

    Args:
        stack: The network.
        basis: Its stream has the groups ``key`` and ``value``; ``position`` where it has such
            embeddings, and ``answer`` if there is a gain.
        task: The task.
        gain: Logit of a value that stands whole in ``answer``.
    """
    symbols = {side: slice(first, first + n) for side in ("key", "value")
               for first, n in [task.side(side)]}  # fmt: skip
    for side, rows in symbols.items():
        wire(stack.embedding.weight, rows, basis[side])
    if stack.positions is not None:
        place = basis["position"]
        wire(
            cast("nn.Embedding", stack.positions).weight, slice(0, place.stop - place.start), place
        )
    if gain is not None:
        wire(stack.head.weight, symbols["value"], basis["answer"], gain)


def plant_head(
    attention: Attention, *, query: Wire, key: Wire, score: float, head: int = 0
) -> None:
    """Let a head look for the positions whose key is its query.

    Args:
        attention: The layer.
        query: Dimensions of the head, and where the query is copied from; where there are several
            heads, the dimensions of the head are its first ones instead.
        key: Likewise for keys; the dimensions of the head are those of the query.
        score: Logit of a match, before the softmax.
        head: Which head.
    """
    query_DD, key_DD, _ = attention.qkv.weight.chunk(3)
    size = attention.qkv.in_features // attention.heads
    wire(query_DD, _rows(attention, query[0], head), query[1], score * math.sqrt(size))
    wire(key_DD, _rows(attention, key[0], head), key[1])


def plant_copy(
    attention: Attention, *, to: slice, source: slice, share: float = 1.0, head: int = 0
) -> None:
    """Let a head copy dimensions of the positions that it attends to, in part or whole."""
    *_, value_DD = attention.qkv.weight.chunk(3)
    rows = _rows(attention, to, head)
    wire(value_DD, rows, source)
    wire(attention.out.weight, to, rows, share)


def _rows(attention: Attention, rows: slice, head: int) -> slice:
    """Return the given dimensions of the only head, or as many of the first ones of a head."""
    if attention.heads == 1:
        return rows
    first = head * attention.qkv.in_features // attention.heads
    return slice(first, first + rows.stop - rows.start)


def plant_shift(
    mixer: SelectiveStateSpace, *, to: slice, source: slice, constant: slice, share: float
) -> None:
    """Let a layer of Mamba copy dimensions of the position before, by its convolution alone.

    Its state stays empty: what the convolution shows passes by the skip connection, and through a
    gate that is open.

    Args:
        mixer: The layer, with a channel for every dimension that is copied.
        to: Where they are copied to.
        source: Where they are copied from.
        constant: Dimensions of the stream whose sum is 1 everywhere.
        share: What the copy is multiplied by.
    """
    channels = slice(0, source.stop - source.start)
    x_ED, z_ED = mixer.in_proj.weight.chunk(2)
    wire(x_ED, channels, source, LINEAR)
    z_ED[:, constant] = LINEAR
    mixer.conv.weight[channels, 0, -2] = torch.ones(channels.stop)
    mixer.D[channels] = 1.0
    wire(mixer.out_proj.weight, to, channels, share / LINEAR**2)


def plant_sign(
    mixer: SelectiveStateSpace,
    *,
    to: slice,
    begin: int,
    flips: Sequence[int],
    constant: slice,
    shown: slice,
) -> None:
    """Let a layer of Mamba with eigenvalues in [-1, 1] write the sign of how many flips there were.

    A state is 1 after the first token, and a flip multiplies it by 2 exp(-20) - 1.

    Args:
        mixer: The layer, without a convolution.
        to: The one dimension of the stream that gets the sign.
        begin: The dimension that is 1 at the first token alone.
        flips: Dimensions that are 1 where there is a flip.
        constant: Dimensions of the stream whose sum is 1 everywhere.
        shown: Those of them whose positions get the sign.
    """
    channel = Basis(one=1, begin=1, open=1)
    x_ED, z_ED = mixer.in_proj.weight.chunk(2)
    x_ED[channel["one"], flips] = LINEAR
    x_ED[channel["begin"], begin] = LINEAR
    x_ED[channel["open"], shown] = LINEAR
    z_ED[:, constant] = LINEAR
    delta, B_NE, C_NE = mixer.x_proj.weight.split(mixer.sizes)
    for group in ("one", "begin"):
        delta[0, channel[group]] = 2 * STEP / LINEAR
    B_NE[0, channel["begin"]] = 1 / LINEAR
    C_NE[0, channel["open"]] = 1 / LINEAR
    mixer.dt_weight[:, 0] = 1.0
    mixer.dt_bias.fill_(-STEP)
    written = STEP * LINEAR * LINEAR  # step, what is written at the first token, gate
    mixer.out_proj.weight[to, channel["begin"]] = torch.tensor(1 / written)


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


def plant_product(mlp: Mlp, basis: Basis, table_GG: np.ndarray, *, constant: slice) -> None:
    """Let a feed-forward part multiply two elements of a group, each a one-hot.

    There is a switch for every pair of elements. The product takes the place of the second factor,
    and the first one is taken away.

    Args:
        mlp: The feed-forward part.
        basis: Its stream has the groups ``left`` and ``window``, the two factors.
        table_GG: ``table_GG[a, b]`` is a followed by b.
        constant: Dimensions of the stream whose sum is 1 everywhere.
    """
    for a, row_G in enumerate(table_GG.tolist()):
        for b, product in enumerate(row_G):
            factors = [basis.at("left", a), basis.at("window", b)]
            changes = dict.fromkeys(factors, -1.0)
            changes[basis.at("window", product)] = 1.0 + changes.get(basis.at("window", product), 0)
            plant_switch(
                mlp, a * len(table_GG) + b, dict.fromkeys(factors, 1.0), changes,
                constant=constant, least=2.0,
            )  # fmt: skip


def plant_switch(
    mlp: Mlp,
    which: int,
    reads: Mapping[int, float],
    adds: Mapping[int, float],
    *,
    constant: slice,
    least: float,
) -> None:
    """Let two units add something to the stream where a weighted sum is high, and nothing else.

    The one minus the other is 0 up to 0.75 below ``least``, and 1 from 0.25 below it on, so that an
    error of the sum is not handed on.

    Args:
        mlp: The feed-forward part.
        which: Number of the switch; it has the units 2 ``which`` and the next one.
        reads: Weights of the sum, by dimension of the stream.
        adds: What is added, likewise.
        constant: Dimensions of the stream whose sum is 1 everywhere.
        least: The sum where it is on; where it is off the sum is 1 less, or lower.
    """
    slope = 4 * SHARP
    for unit, sign, knot in ((2 * which, 1.0, 0.75), (2 * which + 1, -1.0, 0.25)):
        for column, weight in reads.items():
            mlp.up.weight[unit, column] = slope * weight
        mlp.up.weight[unit, constant] -= slope * (least - knot)
        for row, change in adds.items():
            mlp.down.weight[row, unit] = 2 * sign * change / slope
