"""Which parts of a block mix positions and which work on each alone, found by what they do.

The sequence mixer is the module that carries information between positions; the feed-forward part
is the one with matrices that does not. A part counts as a site only where its activation is one
tensor of one module: where a block has two mixers, or a module that other layers share, or one
that adds the residual stream inside, the site does not exist, and the reason is kept.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` residual width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mecheval.models.wrapped.recording.calls import Call, is_same, reach, tensors_of


@dataclass(frozen=True)
class Parts:
    """The calls whose activations are a block's sites, or why there is none.

    Attributes:
        mixer_in: The call whose input is the mixer's input.
        mixer_out: The call whose output is the mixer's output.
        mlp_out: The call whose output is the feed-forward part's output.
    """

    mixer_in: Call | str
    mixer_out: Call | str
    mlp_out: Call | str


def find_parts(block: Call) -> Parts:
    """Find the mixer and the feed-forward part of a block, of which this is the recorded call."""
    mixing, pointwise = _sorted_parts(block)
    far = [call for call, steps in mixing if steps > 1]
    # A token shift looks one position back; beside a real mixer it belongs to the feed-forward.
    mixers = far or [call for call, _ in mixing]
    shifted = [call for call, _ in mixing if call not in mixers and _has_matrices(call)]
    mlps = sorted([*pointwise, *shifted], key=lambda call: call.order)
    return Parts(
        mixer_in=_checked(_mixer_in(mixers)),
        mixer_out=_checked(_mixer_out(mixers, block)),
        mlp_out=_checked(_mlp_out(mlps, mixers, block)),
    )


def takes_stream(call: Call, like_BTD: Tensor) -> bool:
    """Say whether a call takes and returns a tensor over the batch and positions of another."""
    given, returned = call.stream_BTD, call.output
    return (
        given is not None
        and given.shape[:2] == like_BTD.shape[:2]
        and isinstance(returned, Tensor)
        and returned.dim() == 3
        and returned.shape[:2] == like_BTD.shape[:2]
    )


def _sorted_parts(node: Call) -> tuple[list[tuple[Call, int]], list[Call]]:
    """Split what a block calls into (call, reach) of mixers and calls with matrices that are none.

    A child that is itself a small block is opened: its parts are the block's.
    """
    mixing: list[tuple[Call, int]] = []
    pointwise: list[Call] = []
    for child in node.children:
        if not takes_stream(child, node.output):
            continue
        steps = reach(child)
        if steps and _is_block_itself(child):
            inner_mixing, inner_pointwise = _sorted_parts(child)
            mixing += inner_mixing
            pointwise += inner_pointwise
        elif steps:
            mixing.append((child, steps))
        elif _has_matrices(child):
            pointwise.append(child)
    return mixing, pointwise


def _is_block_itself(call: Call) -> bool:
    """Say whether a mixing call holds a mixer behind its own norm, or adds its input to one."""
    inner = [child for child in call.children if takes_stream(child, call.output)]
    first = [child for child in inner if is_same(child.given_stream, call.given_stream)]
    normed = any(_is_norm(child) for child in first)
    added = any(_adds_up(child, call.stream_BTD, call.output) for child in inner)
    return (normed or added) and any(reach(child) for child in inner)


def _is_norm(call: Call) -> bool:
    """Say whether a call undoes a change of scale and has no matrices."""
    stream_BTD = call.stream_BTD
    if stream_BTD is None or _has_matrices(call) or stream_BTD.shape != call.output.shape:
        return False
    # Up to a hundredth, because of the epsilon that norms add to what they divide by.
    doubled_BTD = call.replay(2 * stream_BTD)
    return torch.allclose(doubled_BTD, call.output, rtol=1e-2, atol=1e-2 * float(call.output.std()))


def _has_matrices(call: Call) -> bool:
    return any(parameter.dim() >= 2 for parameter in call.module.parameters())


def _adds_up(call: Call, added_BTD: Tensor | None, sum_BTD: Tensor) -> bool:
    return (
        isinstance(call.output, Tensor)
        and added_BTD is not None
        and call.output.shape == added_BTD.shape == sum_BTD.shape
        and torch.equal(call.output + added_BTD, sum_BTD)
    )


def _mixer_in(mixers: list[Call]) -> Call | str:
    if len(mixers) != 1:
        return _not_one(mixers)
    mixer = mixers[0]
    if sum(is_same(given, mixer.given_stream) for given in mixer.given) > 1:
        return f"{mixer.path} is given the same stream more than once"
    return mixer


def _mixer_out(mixers: list[Call], block: Call) -> Call | str:
    if len(mixers) != 1:
        return _not_one(mixers)
    return _before_the_residual(mixers[0], block)


def _mlp_out(mlps: list[Call], mixers: list[Call], block: Call) -> Call | str:
    """Choose the end of the feed-forward part: the one call that returns to the residual width.

    A projection that reads a mixer's output itself is not one: it belongs to the mixer.
    """
    ends = [call for call in mlps if call.output.shape == block.output.shape]
    if not ends:
        return "no module with matrices works on every position of a (B, T, D) stream alone"
    if len(ends) > 1:
        return f"the block has several feed-forward modules: {_listed(ends)}"
    if ends[0] is not mlps[-1]:
        return f"{mlps[-1].path} follows the feed-forward module {ends[0].path}"
    for mixer in mixers:
        if is_same(ends[0].given_stream, mixer.returned):
            return f"{ends[0].path} projects the output of {mixer.path}"
    return _before_the_residual(ends[0], block)


def _before_the_residual(part: Call, block: Call) -> Call | str:
    """Return the call whose output is a part's own, where the part adds a second stream to it."""
    streams = [
        (given, copied)
        for given, copied in zip(part.given, tensors_of(part.args, part.kwargs), strict=True)
        if given.is_floating_point() and given.shape == block.output.shape
    ]
    for call in reversed([part, *part.descendants()]):
        if call is not part and any(_adds_up(call, copied, part.output) for _, copied in streams):
            return call
    second = [pair for pair in streams if not is_same(pair[0], part.given_stream)]
    if second or _takes_twice(part):
        return f"{part.path} combines its result with a second stream inside"
    return part


def _takes_twice(part: Call) -> bool:
    """Say whether something inside a part takes a result first and the part's input beside it."""
    for call in part.descendants():
        streams = [t for t in call.given if t.is_floating_point() and t.shape == part.output.shape]
        same = [is_same(stream, part.given_stream) for stream in streams]
        if any(same) and not same[0]:
            return True
    return False


def _checked(found: Call | str) -> Call | str:
    return found if isinstance(found, str) else found.shared or found


def _not_one(mixers: list[Call]) -> str:
    if not mixers:
        return "no module inside the block carries information between positions"
    return f"the block has several sequence mixers: {_listed(mixers)}"


def _listed(calls: list[Call]) -> str:
    return ", ".join(call.path for call in calls)
