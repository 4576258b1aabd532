"""The head of a module, let to make logits at some positions, or to keep those of some tokens.

What follows the head in the module, a scale or a cap, then works on those alone. That it does the
same to the logits of some tokens is checked.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` residual width, ``A`` answer tokens, ``P``
positions at which logits are wanted.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch

from mecheval.models import logits
from mecheval.models.modes import evaluating
from mecheval.models.wrapped.decomposition.readout import instead
from mecheval.models.wrapped.decomposition.verification import check_same
from mecheval.models.wrapped.discovery.structure import probe_tokens
from mecheval.models.wrapped.recording.calls import run
from mecheval.models.wrapped.recording.inseparable import Inseparable, failing_as

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from mecheval.models.wrapped.discovery.structure import Structure


@contextmanager
def at_positions(
    head: nn.Module | None, shape_BT: tuple[int, ...], positions_BP: Tensor
) -> Iterator[list[Tensor]]:
    """Let a head see some positions of every example alone, one in all where there are none.

    Args:
        head: The head of a module; None if it has none.
        shape_BT: Shape of the tokens that the module is run on.
        positions_BP: The positions.

    Yields:
        What the head was given, in turn; nothing as long as it sees all positions.
    """
    given: list[Tensor] = []

    def choose(_: nn.Module, args: tuple) -> tuple | None:
        if len(args) != 1 or args[0].shape[:2] != shape_BT:
            return None
        # A head may not run on nothing at all.
        none = not positions_BP.numel()
        given.append(args[0][:1, :1] if none else logits.at_positions(args[0], positions_BP))
        return (given[-1],)

    with nullcontext() if head is None else head.register_forward_pre_hook(choose):
        yield given


def no_logits(head: nn.Module | None, tokens_BT: Tensor) -> AbstractContextManager[Any]:
    """Let a head make one logit per token of the vocabulary, where none are wanted."""
    return at_positions(head, tokens_BT.shape, tokens_BT[:, :0])


class AnswersOnly:
    """Lets the forward pass of a module return the logits of some tokens alone."""

    @torch.no_grad()
    def __init__(self, module: nn.Module, structure: Structure) -> None:
        """Compare with the logits of all tokens.

        Raises:
            Inseparable: No module makes the logits, or they do not agree.
        """
        if structure.head is None:
            raise Inseparable("no module returns the logits")
        self.head, self.vocab_size = structure.head, structure.vocab_size
        tokens_BT = probe_tokens(module)
        answers_A = tokens_BT[0].unique()
        with evaluating(module):
            wanted_BTA = run(module, tokens_BT)[..., answers_A]
            with failing_as(), self.taken(answers_A):
                made_BTA = run(module, tokens_BT)
        check_same(made_BTA, wanted_BTA, dtype=wanted_BTA.dtype, what="the logits of some tokens")

    @contextmanager
    def taken(self, answers_A: Tensor, read_BT: Tensor | None = None) -> Iterator[None]:
        """Let every forward pass return logits ``(B, T, A)`` until the context is left.

        Args:
            answers_A: The tokens whose logits are returned.
            read_BT: The positions at which they are; everywhere if None.
        """
        own = self.head.forward

        def head(normed_BTD: Tensor) -> Tensor:
            return logits.of_answers(normed_BTD, own, self.vocab_size, answers_A, read_BT)

        with instead(self.head, head):
            yield
