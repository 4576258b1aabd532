"""Runs token by token.

Shape suffixes: ``B`` examples, ``T`` positions, ``C`` vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from mecheval.models.contract import SequenceModel


def stepped(model: SequenceModel, tokens_BT: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Read tokens one by one; return the logits ``(B, T, C)`` and the state after them."""
    logits = []
    for tokens_B in tokens_BT.unbind(1):
        logits_BC, state = model.step(tokens_B, state)
        logits.append(logits_BC)
    return torch.stack(logits, 1), state
