"""What a model does behind its last block: the real forward pass with the blocks left out.

Shape suffixes: ``R`` rows, ``T`` positions, ``D`` residual width, ``A`` answer tokens, ``C``
vocabulary.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mecheval.models.decomposition import chosen_logits
from mecheval.models.hooks import with_stream_output
from mecheval.models.wrapped.discovery.structure import probe_tokens
from mecheval.models.wrapped.recording.calls import run
from mecheval.models.wrapped.recording.inseparable import Inseparable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mecheval.models.wrapped.discovery.structure import Structure

_MISSING = object()


class RealReadout:
    """Maps streams after the last block to logits, through all that follows in the module.

    The forward pass of the whole module runs on one token, with every block's own forward pass
    replaced; so norms, heads, scalings and caps are the module's.
    """

    def __init__(self, module: nn.Module, structure: Structure) -> None:
        """Look at what the blocks return.

        Args:
            module: The whole model, from tokens to logits.
            structure: Its blocks and its head.
        """
        self.module, self.structure = module, structure
        self._token_11 = probe_tokens(module)[:1, :1]
        with torch.no_grad(), returning(structure.blocks) as self._outputs:
            run(module, self._token_11)

    def __call__(self, stream_RD: Tensor, tokens_RA: Tensor | None = None) -> Tensor:
        """Return all logits ``(R, C)``, or those of some tokens ``(R, A)``.

        Raises:
            Inseparable: Logits of some tokens are asked for, and no module returns the logits.
        """
        with ExitStack() as stack:
            # Every block returns the stream, so that whatever is read behind them reads this one.
            for block, output in zip(self.structure.blocks, self._outputs, strict=True):
                returned = with_stream_output(output, stream_RD[:, None])
                stack.enter_context(instead(block, lambda *_, returned=returned, **__: returned))
            if tokens_RA is not None:
                head = self._columns(tokens_RA.to(stream_RD.device))
                stack.enter_context(instead(self._head, head))
            # One position per row: what follows the blocks works on every position alone.
            tokens_R1 = self._token_11.to(stream_RD.device).expand(len(stream_RD), 1)
            return run(self.module, tokens_R1)[:, 0]

    @property
    def _head(self) -> Any:
        if self.structure.head is None:
            raise Inseparable("no module returns the logits")
        return self.structure.head

    def _columns(self, tokens_RA: Tensor) -> Callable[[Tensor], Tensor]:
        weight_CD, bias_C = self._head.weight, getattr(self._head, "bias", None)

        def head(normed_R1D: Tensor) -> Tensor:
            return chosen_logits(normed_R1D[:, 0], tokens_RA, weight_CD, bias_C)[:, None]

        return head


@contextmanager
def returning(modules: Sequence[nn.Module]) -> Iterator[list[Any]]:
    """Collect what modules return, in the order in which they do."""
    outputs: list[Any] = []
    with ExitStack() as stack:
        for module in modules:
            handle = module.register_forward_hook(lambda *called: outputs.append(called[-1]))
            stack.enter_context(handle)
        yield outputs


@contextmanager
def instead(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Let a module return what a function returns."""
    # Libraries put a forward of their own on the instance; else the class's shows again behind it.
    before = module.__dict__.get("forward", _MISSING)
    module.forward = forward
    try:
        yield
    finally:
        if before is _MISSING:
            del module.__dict__["forward"]
        else:
            module.forward = before
