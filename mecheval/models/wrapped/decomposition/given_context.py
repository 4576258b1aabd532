"""What modules are given beside the stream, recorded in the model's own forward passes.

It is recorded over one example, and widened to others along the axes that count examples.

Shape suffixes: ``B`` examples, ``T`` positions (``N`` those that go on), ``E`` width of what is
given of the tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import torch

from mecheval.models.wrapped.decomposition.varying import SIZES, Varying
from mecheval.models.wrapped.discovery.structure import Structure, probe_tokens
from mecheval.models.wrapped.recording.changes import n_writes, outside_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn

    from mecheval.models.wrapped.recording.arguments import Arguments

    Recorded = dict[int, Arguments]
    """What modules were given in one pass, by the number of their block."""


class GivenContext(ABC):
    """Knows what modules are given; a subclass says in which passes that is recorded.

    Attributes:
        modules: One module of every block, or the block itself, by the number of the block.
        kept: How many stretches of positions are remembered.
    """

    kept: ClassVar[int]

    def __init__(
        self, module: nn.Module, structure: Structure, modules: Mapping[int, nn.Module]
    ) -> None:
        """Take the modules.

        Args:
            module: The whole model, from tokens to logits.
            structure: Its blocks.
            modules: The modules that are asked about, by the number of their block.
        """
        self.module, self.structure, self.modules = module, structure, dict(modules)
        self._parameter = next(module.parameters())
        self._outside = outside_of(module, structure.blocks)
        self._written = n_writes(self._outside)
        ids = probe_tokens(module).unique().tolist()
        self._token, self._other = ids[-1], ids[0]
        self._seen: list[tuple[int, list[Recorded]]] = []
        self._varying: dict[int, Varying] = {}
        self._found: OrderedDict[tuple[int, int], Recorded] = OrderedDict()
        self._texts: tuple[Tensor, Recorded] | None = None

    @abstractmethod
    def _record(self, first: int, tokens_BN: Tensor, *, noisy: bool = False) -> Recorded:
        """Run the model, and return what the modules are given.

        Args:
            first: The first position.
            tokens_BN: The tokens from there on.
            noisy: Whether the stream before the first block is noise.
        """

    def varying(self, number: int) -> Varying:
        """Return what of that which a block's module is given counts examples, or else varies.

        Raises:
            Inseparable: It is given what depends on all tokens, or on what earlier blocks return.
        """
        if number not in self._varying:
            varying = Varying()
            for length, passes in self._seen:
                few, many, others, noisy = (recorded[number] for recorded in passes)
                varying.look(few, many, others=others, noisy=noisy, length=length)
            self._varying[number] = varying
        return self._varying[number]

    def beside(self, number: int) -> Callable[[Tensor], Tensor] | None:
        """Return what maps tokens ``(B, T)`` to what a module is given of them, ``(B, T, E)``.

        None where it is given nothing that depends on the tokens.
        """
        return partial(self._of_tokens, number) if self.varying(number).per_token else None

    def alike(self, n_positions: int, n_examples: int) -> Tensor:
        """Return tokens of no meaning."""
        shape = (n_examples, n_positions)
        return torch.full(shape, self._token, device=self._parameter.device)

    def _going(self, number: int, first: int, beside_BNE: Tensor) -> Arguments:
        """Return what a block's module is given on the positions from one on."""
        self._forget_others()
        n_examples, n_positions, _ = beside_BNE.shape
        stretch = first, first + n_positions
        if stretch not in self._found:
            self._found[stretch] = self._record(first, self.alike(n_positions, 1))
            if len(self._found) > self.kept:
                self._found.popitem(last=False)
        self._found.move_to_end(stretch)
        return self.varying(number).put(self._found[stretch][number], n_examples, beside_BNE)

    def _look(self, first: int, last: int) -> None:
        """Record few examples, many, few with other tokens, and few with another stream."""
        few_BN, many_BN = (self.alike(last - first, n) for n in SIZES)
        texts = (few_BN, many_BN, torch.full_like(few_BN, self._other))
        recorded = [self._record(first, tokens_BN) for tokens_BN in texts]
        self._seen.append((last - first, [*recorded, self._record(first, few_BN, noisy=True)]))

    def _of_tokens(self, number: int, tokens_BT: Tensor) -> Tensor:
        self._forget_others()
        # All layers are asked in turn with the same tokens, and are given it in one pass.
        if self._texts is None or self._texts[0] is not tokens_BT:
            self._texts = tokens_BT, self._record(0, tokens_BT)
        return self.varying(number).taken(self._texts[1][number])

    def _forget_others(self) -> None:
        """Forget what was recorded with other weights outside of the blocks."""
        written = n_writes(self._outside)
        if written != self._written:
            self._found.clear()
            self._texts, self._written = None, written
