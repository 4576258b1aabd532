"""What modules are given in a run from the start, for any number of positions and examples.

It is recorded in the model's own forward pass over one example, and widened to others along the
axes that count examples.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width of the stream.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

import torch

from mecheval.models.hooks import unvisited
from mecheval.models.wrapped.decomposition.head import no_logits
from mecheval.models.wrapped.decomposition.varying import SIZES, Varying
from mecheval.models.wrapped.discovery.structure import LENGTH, Structure, probe_tokens
from mecheval.models.wrapped.recording.arguments import Arguments, receiving
from mecheval.models.wrapped.recording.calls import noise_like, run
from mecheval.models.wrapped.recording.changes import n_writes, outside_of
from mecheval.models.wrapped.recording.inseparable import Inseparable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn

_KEPT = 4
"""How many lengths are remembered; a grid asks for one."""


class StartContext:
    """Knows what modules are given beside the stream in runs from the start.

    Attributes:
        modules: One module of every block, by the number of the block.
    """

    def __init__(
        self, module: nn.Module, structure: Structure, modules: Mapping[int, nn.Module]
    ) -> None:
        """Look what the modules are given.

        Args:
            module: The whole model, from tokens to logits.
            structure: Its blocks.
            modules: The modules, by the number of their block.
        """
        self.module, self.structure, self.modules = module, structure, dict(modules)
        self._parameter = next(module.parameters())
        self._outside = outside_of(module, structure.blocks)
        self._written = n_writes(self._outside)
        ids = probe_tokens(module).unique().tolist()
        self._token, other = ids[-1], ids[0]
        self._found: OrderedDict[int, dict[int, Arguments]] = OrderedDict()
        self._few, self._many = (self._record(self.alike(LENGTH, n)) for n in SIZES)
        tokens_BT = self.alike(LENGTH, SIZES[0])
        self._others = self._record(torch.full_like(tokens_BT, other))
        self._noisy = self._record(tokens_BT, noisy=True)
        self._varying: dict[int, Varying] = {}
        self._texts: tuple[Tensor, dict[int, Arguments]] | None = None

    def varying(self, number: int) -> Varying:
        """Return what of that which a block's module is given counts examples, or else varies.

        Raises:
            Inseparable: It is given what depends on all tokens, or on what earlier blocks return.
        """
        if number not in self._varying:
            varying = Varying()
            varying.look(
                self._few[number], self._many[number], others=self._others[number],
                noisy=self._noisy[number], length=LENGTH,
            )  # fmt: skip
            self._varying[number] = varying
        return self._varying[number]

    def beside(self, number: int) -> Callable[[Tensor], Tensor] | None:
        """Return what maps tokens ``(B, T)`` to what a module is given of them, ``(B, T, E)``.

        None where it is given nothing that depends on the tokens.
        """
        return partial(self._of_tokens, number) if self.varying(number).per_token else None

    def given(self, number: int, beside_BTE: Tensor) -> Arguments:
        """Return what a block's module is given in a run.

        Args:
            number: The number of the block.
            beside_BTE: What it is given of the tokens, of no width if nothing.
        """
        self._forget_others()
        n_examples, length, _ = beside_BTE.shape
        if length not in self._found:
            self._found[length] = self._record(self.alike(length, 1))
            if len(self._found) > _KEPT:
                self._found.popitem(last=False)
        self._found.move_to_end(length)
        return self.varying(number).put(self._found[length][number], n_examples, beside_BTE)

    def alike(self, n_positions: int, n_examples: int) -> Tensor:
        """Return tokens of no meaning."""
        shape = (n_examples, n_positions)
        return torch.full(shape, self._token, device=self._parameter.device)

    def _of_tokens(self, number: int, tokens_BT: Tensor) -> Tensor:
        self._forget_others()
        # All layers are asked in turn with the same tokens, and are given it in one pass.
        if self._texts is None or self._texts[0] is not tokens_BT:
            self._texts = tokens_BT, self._record(tokens_BT)
        return self.varying(number).taken(self._texts[1][number])

    def _forget_others(self) -> None:
        """Forget what was recorded with other weights outside of the blocks."""
        written = n_writes(self._outside)
        if written != self._written:
            self._found.clear()
            self._texts, self._written = None, written

    def _record(self, tokens_BT: Tensor, *, noisy: bool = False) -> dict[int, Arguments]:
        """Return what the modules are given, by the number of their block."""
        numbers, found = list(self.modules), {}

        def see(number: int, given: Arguments, stream_BTD: Tensor) -> None:
            found[numbers[number]] = given

        def disturb(number: int, given: Arguments, stream_BTD: Tensor) -> Tensor | None:
            return noise_like(stream_BTD) if noisy else None

        # Inference mode is left, because what is kept must serve outside of it too.
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            unvisited(),
            receiving(self.structure.blocks[:1], disturb),
            receiving(list(self.modules.values()), see),
            no_logits(self.structure.head, tokens_BT),
        ):
            run(self.module, tokens_BT)
        if set(found) != set(self.modules):
            raise Inseparable("its module is not called")
        return found
