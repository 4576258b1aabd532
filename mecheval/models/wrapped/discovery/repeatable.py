"""Whether a module returns the same for the same tokens, whatever it has read before.

Shape suffixes: ``B`` examples, ``T`` positions, ``C`` vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mecheval.errors import UsageError
from mecheval.models.modes import evaluating
from mecheval.models.tolerance import alike
from mecheval.models.wrapped.discovery.structure import probe_tokens
from mecheval.models.wrapped.recording.calls import Call, record, run
from mecheval.models.wrapped.recording.inseparable import Inseparable, failing_as

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMES = 4
"""By how much the text between the two runs is longer, as far as the module allows it."""


@torch.no_grad()
def check_repeatable(module: nn.Module, context_limit: int | None) -> None:
    """Check that a module answers the same before and after another, longer text.

    Raises:
        UsageError: It does not.
    """
    tokens_BT = probe_tokens(module)
    other_BT = probe_tokens(module, seed=1).repeat(1, TIMES)[:, :context_limit]
    with evaluating(module):
        try:
            with failing_as():
                before_BTC = run(module, tokens_BT)
                run(module, other_BT)
                after_BTC = run(module, tokens_BT)
                if alike(before_BTC, after_BTC):
                    return
                first = record(module, tokens_BT)
                run(module, other_BT)
                second = record(module, tokens_BT)
        except Inseparable:
            return  # what does not run at all is told where it is needed
    part = next(_others(first, second), first)
    where = f"'{part.path}' ({type(part.module).__name__})"
    raise UsageError(
        f"{type(module).__name__} returns other logits for the same tokens once it has read "
        f"another text: {where} remembers it, outside of weights and cache. Keep what it remembers "
        "in a buffer, or in an attribute that is a tensor or a number: these are put back after "
        "every pass. Or reset it in the module's forward()."
    )


def _others(first: Call, second: Call) -> Iterator[Call]:
    """Yield the innermost calls that return something else though they are given the same."""
    for one, other in zip(first.descendants(), second.descendants(), strict=False):
        if one.module is not other.module:
            return
        inside = zip(one.descendants(), other.descendants(), strict=False)
        given = zip(one.given, other.given, strict=False)
        if not all(alike(*pair) for pair in given):
            continue
        if not _returns_same(one, other) and all(_returns_same(*pair) for pair in inside):
            yield one


def _returns_same(one: Call, other: Call) -> bool:
    tensors = isinstance(one.output, Tensor) and isinstance(other.output, Tensor)
    return not tensors or alike(one.output, other.output)
