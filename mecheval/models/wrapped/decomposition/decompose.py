"""Taking a wrapped model apart, block by block.

What blocks are made of shows in the tensors of a recorded run; that their parts make up the blocks
is checked on that run, from the start and from the middle.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mecheval.models.decomposition import Decomposition
from mecheval.models.modes import evaluating
from mecheval.models.tolerance import ROUNDING
from mecheval.models.wrapped.decomposition.block import Block
from mecheval.models.wrapped.decomposition.contexts import Contexts
from mecheval.models.wrapped.decomposition.readout import RealReadout
from mecheval.models.wrapped.decomposition.verification import check_readout
from mecheval.models.wrapped.discovery.structure import probe_tokens
from mecheval.models.wrapped.recording.arguments import receiving
from mecheval.models.wrapped.recording.calls import record
from mecheval.models.wrapped.recording.inseparable import Inseparable, failing_as

if TYPE_CHECKING:
    from mecheval.models.wrapped.discovery.structure import Structure

_STRETCH = 1.0123456789012345
"""Put on the first stream, so that no narrower type holds it: that of a checkpoint which was stored
in a narrower one would pass through a part that rounds it, and would come out the same."""


@torch.no_grad()
def take_apart(module: nn.Module, structure: Structure) -> Decomposition:
    """Take a model apart.

    Raises:
        Inseparable: A block is not of that kind, or its parts do not do what it does.
    """
    with evaluating(module), failing_as("a part alone fails ({})"):
        return _taken_apart(module, structure)


def _taken_apart(module: nn.Module, structure: Structure) -> Decomposition:
    tokens_BT = probe_tokens(module)
    with receiving(structure.blocks[:1], lambda number, given, stream: stream * _STRETCH):
        root = record(module, tokens_BT)
    # The last call of every module: blocks and what is in them run once, or are no parts.
    calls = {call.module: call for call in root.descendants()}
    numbers = range(len(structure.blocks))
    blocks = [Block(structure, number, calls, tokens_BT) for number in numbers]
    mixers = {block.number: block.mixer.module for block in blocks if block.mixer is not None}
    attentions = {block.number: block.heads.module for block in blocks if block.heads is not None}
    # What attention is given is found once for all layers: it takes passes of the whole model.
    contexts = Contexts(module, structure, mixers, attentions)
    layers = [block.layer(contexts) for block in blocks]
    if blocks[0].refusal is not None and all(block.refusal for block in blocks):
        # Nothing would be skipped that is not when the blocks are called one by one.
        raise Inseparable(blocks[0].refusal)
    for number, (block, following) in enumerate(pairwise(blocks)):
        factor = _factor(block.call.output, following.stream_BTD)
        if factor is None:
            raise Inseparable(
                f"layer {number}: the next block is given something else than a multiple of what "
                "it returns"
            )
        layers[number] = replace(layers[number], factor=factor)
    readout = RealReadout(module, structure)
    dtype = next(module.parameters()).dtype
    check_readout(readout, blocks[-1].call.output, root.output, dtype=dtype)
    return Decomposition(tuple(layers), readout)


def _factor(returned_BTD: Tensor, given_BTD: Tensor) -> float | None:
    """Return what one block's output is multiplied by for the next one; None if it is not alone."""
    if torch.equal(returned_BTD, given_BTD):
        return 1.0
    returned, given = returned_BTD.double(), given_BTD.double()
    factor = float((returned * given).sum() / returned.square().sum())
    limit = ROUNDING * torch.finfo(given_BTD.dtype).eps * float(given.abs().max())
    return factor if float((returned * factor - given).abs().max()) <= limit else None
