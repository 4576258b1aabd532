"""The sites inside a mixer: queries, keys, values, what the heads read, a convolution's output.

An attention function sees queries and keys after rotary positions, which leave position 0 as it is.
What it was given there, and the values of all positions, are looked for among the outputs of the
modules that ran before it, number by number; what is found nowhere is no site.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width of a site, ``H`` heads, ``K`` width of
a head, ``X`` width of a module's output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mecheval.models.contract import Tap
from mecheval.models.layouts import ChannelsFirst, Columns, Heads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mecheval.models.contract import Layout
    from mecheval.models.wrapped.recording.calls import Attended, Call

Found = dict[str, Tap | str]
"""Tap of every component, or why there is none."""


def inner_sites(block: Call) -> Found:
    """Find the sites inside the mixer of a block, of which this is the recorded call."""
    return {**_heads(block), "conv_out": _convolution(block)}


def attention_of(call: Call) -> tuple[Call, Attended] | None:
    """Return the one call inside a call that attends, with what its heads were given."""
    found = [(part, heads) for part in [call, *call.descendants()] for heads in part.attended]
    return found[0] if len(found) == 1 else None


def output_projection(call: Call, heads: Attended) -> Call | None:
    """Return the outermost call inside a call that is given what the heads read."""
    read_BTD = heads.read_BTHK.flatten(2)
    for part in call.descendants():
        stream_BTD = part.stream_BTD
        if stream_BTD is not None and torch.equal(stream_BTD, read_BTD):
            return part
    return None


def factors(module: nn.Module) -> list[float]:
    """Return 1, and the numbers among a module's attributes.

    By one of them it may multiply what it hands on: attention its queries by 1 / sqrt(K), a block
    what it adds to the stream. None of their names is relied on.
    """
    own = {value for value in vars(module).values() if isinstance(value, float)}
    return [1.0, *sorted(own - {0.0, 1.0})]


def _heads(block: Call) -> Found:
    components = ("q", "k", "v", "z")
    calls = [heads for part in [block, *block.descendants()] for heads in part.attended]
    found = attention_of(block)
    if found is None:
        several = f"the block attends {len(calls)} times"
        none = "no attention function of transformers runs in the block"
        return dict.fromkeys(components, several if calls else none)
    attention, heads = found
    sites: Found = {
        "q": _source(attention, heads.q_BHTK[:, :, :1]),
        "k": _source(attention, heads.k_BHTK[:, :, :1]),
        "v": _source(attention, heads.v_BHTK),
    }
    out = output_projection(block, heads)
    if out is None or out.stream_BTD is None:
        sites["z"] = f"nothing in {attention.path} takes what the heads read as it is"
    else:
        width = out.stream_BTD.shape[-1]
        sites["z"] = out.shared or Tap(out.module, "input", out.path, width)
    return sites


def _source(attention: Call, given_BHTK: Tensor) -> Tap | str:
    """Find the last module whose output holds what the heads were given, up to a known factor."""
    for factor in factors(attention.module):
        # From the last call on: behind a projection there can be a norm of what it returns.
        for call in reversed(list(attention.descendants())):
            for layout, output_BTX in _layouts(call.output, attention.stream_BTD):
                columns = _columns(output_BTX[:, : given_BHTK.shape[2]] * factor, given_BHTK)
                whole = columns == tuple(range(output_BTX.shape[-1]))
                if columns and (whole or layout is None):
                    layout = layout if whole else Columns(columns)
                    tap = Tap(call.module, "output", call.path, len(columns), layout)
                    return call.shared or tap
    path = attention.path
    return f"no module in {path} returns what its attention function is given at position 0"


def _layouts(output: Any, stream_BTD: Tensor | None) -> Iterator[tuple[Layout | None, Tensor]]:
    """Yield the ways in which an output holds all positions side by side, ``(B, T, X)``."""
    if not isinstance(output, Tensor) or stream_BTD is None or not output.is_floating_point():
        return
    n_examples, n_positions = stream_BTD.shape[:2]
    if output.dim() == 3 and output.shape[:2] == (n_examples, n_positions):
        yield None, output
    for first in (False, True):
        axis = 2 if first else 1
        if output.dim() == 4 and (output.shape[0], output.shape[axis]) == (n_examples, n_positions):
            layout = Heads(first)
            yield layout, layout.get(output)


def _columns(output_BTX: Tensor, given_BHTK: Tensor) -> tuple[int, ...]:
    """Return where an output holds every head in a row, or nothing unless each is there once.

    Heads that are equal, because several queries share a key, count once. Numbers are compared as
    float32, because rotary positions round to it.
    """
    if output_BTX.dtype == torch.float64:
        output_BTX, given_BHTK = output_BTX.float(), given_BHTK.float()
    output_XN = output_BTX.flatten(0, 1).T
    width, columns = given_BHTK.shape[-1], []
    for head_BTK in given_BHTK.unbind(1):
        head_KN = head_BTK.flatten(0, 1).T
        # Where the first number agrees; only there is it worth to compare the whole head.
        firsts = (output_XN == head_KN[0]).all(1).nonzero()[:, 0].tolist()
        starts = [i for i in firsts if torch.equal(output_XN[i : i + width], head_KN)]
        if len(starts) != 1:
            return ()
        columns.extend(range(starts[0], starts[0] + width))
    return tuple(dict.fromkeys(columns))


def _convolution(block: Call) -> Tap | str:
    calls = [block, *block.descendants()]
    found = [(call, *seen) for call in calls for seen in call.convolved]
    if len(found) != 1 or block.stream_BTD is None:
        return "the block runs several short convolutions" if found else "no short convolution runs"
    call, module, path, output_BET = found[0]
    extra = output_BET.shape[-1] - block.stream_BTD.shape[1]
    if output_BET.dim() != 3 or extra < 0:
        return f"{path} is not run along all positions"
    is_called = call.module is module
    side = "output" if is_called else "function"
    tap = Tap(module, side, path, output_BET.shape[1], ChannelsFirst(extra))
    return (is_called and call.shared) or tap
