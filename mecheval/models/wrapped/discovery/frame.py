"""What is around the blocks of a module: the embedding before them, norm and head behind them.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` residual width, ``C`` vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mecheval.models.wrapped.discovery.block_parts import takes_stream

if TYPE_CHECKING:
    from mecheval.models.wrapped.recording.calls import Call


def find_embedding(root: Call, tokens_BT: Tensor) -> Call | None:
    """Return the innermost call that is given the tokens first."""
    for call in root.descendants():
        reads_tokens = any(torch.equal(given, tokens_BT) for given in call.given)
        if reads_tokens and not call.children and isinstance(call.output, Tensor):
            return call
    return None


def rows(embedding: Call | None) -> int | None:
    """Return how many token ids an embedding has, where it is a table."""
    weight_CD: Any = getattr(embedding.module, "weight", None) if embedding else None
    return None if weight_CD is None else len(weight_CD)


def find_head(root: Call, last: Call | None) -> Call | None:
    """Return the innermost call behind the blocks whose output is the logits but for a scaling.

    The shape alone does not tell it from the final norm, where a model has as many tokens as it is
    wide: it is the last matrix, or, where the logits are made without a module that has one, the
    first module whose numbers are in the logits' order. Its numbers must be in that order in any
    case: two matrices whose outputs are added, as in an adapter, are no head.
    """
    shape = root.output.shape
    alike = [
        call
        for call in _behind(root, last)
        if isinstance(call.output, Tensor) and call.output.shape == shape and not call.children
    ]
    # A matrix before what has none: scales and caps behind it keep the shape and the order.
    matrices = [call for call in alike if _has_matrix(call.module)]
    ordered = [call for call in matrices[-1:] or alike if _in_order_of(call.output, root.output)]
    return ordered[0] if ordered else None


def _has_matrix(module: nn.Module) -> bool:
    own = [*module.parameters(recurse=False), getattr(module, "weight", None)]
    return any(isinstance(tensor, Tensor) and tensor.dim() > 1 for tensor in own)


def _in_order_of(output_BTC: Tensor, logits_BTC: Tensor) -> bool:
    """Say whether logits rise, or fall, with an output: factors and caps keep the order."""
    step_N = logits_BTC.flatten()[output_BTC.flatten().argsort()].diff()
    return bool((step_N >= 0).all() or (step_N <= 0).all())


def find_norm(root: Call, last: Call, head: Call | None) -> nn.Module | None:
    """Return the last call between the blocks and the head that keeps the stream's width."""
    found = None
    for call in _behind(root, last):
        if call is head:
            break
        if takes_stream(call, last.output) and call.output.shape == last.output.shape:
            found = call.module
    return found


def _behind(root: Call, last: Call | None) -> list[Call]:
    if last is None:
        return list(root.descendants())
    inside = set(last.descendants())
    return [call for call in root.descendants() if call.order > last.order and call not in inside]


def learned_positions(root: Call, embedding: Call | None) -> int | None:
    """Return the rows of a table that is looked up by position: column t reads row t."""
    length = root.output.shape[1]
    for call in root.descendants():
        if isinstance(call.module, nn.Embedding) and call is not embedding and call.given:
            index = call.given[0]
            columns_T = torch.arange(length, device=index.device)
            if index.shape[-1:] == (length,) and bool((index == columns_T).all()):
                return call.module.num_embeddings
    return None
