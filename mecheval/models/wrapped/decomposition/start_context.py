"""What modules are given in a run from the start, for any number of positions and examples.

It is recorded in the model's own forward pass over one example, and widened to others along the
axes that count examples.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width of the stream.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import torch

from mecheval.models.hooks import unvisited
from mecheval.models.wrapped.decomposition.head import no_logits
from mecheval.models.wrapped.discovery.structure import LENGTH, Structure, probe_tokens
from mecheval.models.wrapped.recording.arguments import (
    Arguments,
    Place,
    growing_axes,
    receiving,
    widened,
)
from mecheval.models.wrapped.recording.calls import noise_like, run
from mecheval.models.wrapped.recording.changes import n_writes, outside_of
from mecheval.models.wrapped.recording.inseparable import Inseparable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

SIZES = (2, 3)
"""Two numbers of examples to tell axes of examples from others."""

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
        self._few, self._many = (self._record(LENGTH, n_examples=n) for n in SIZES)
        self._others = self._record(LENGTH, n_examples=SIZES[0], token=other)
        self._noisy = self._record(LENGTH, n_examples=SIZES[0], noisy=True)
        self._axes: dict[int, dict[Place, tuple[int, ...]]] = {}

    def axes(self, number: int) -> dict[Place, tuple[int, ...]]:
        """Return along which axes what a block's module is given counts examples.

        Raises:
            Inseparable: It is given what depends on the tokens, or on what earlier blocks return.
        """
        if number not in self._axes:
            few = self._few[number]
            if not few.equals(self._others[number]) or not few.equals(self._noisy[number]):
                raise Inseparable("it is given something that depends on the tokens")
            axes = growing_axes(few, self._many[number], SIZES)
            if any(len(found) > 1 for found in axes.values()):
                raise Inseparable("it is given a tensor with two axes of examples")
            self._axes[number] = axes
        return self._axes[number]

    def given(self, number: int, length: int, n_examples: int) -> Arguments:
        """Return what a block's module is given in a run of some positions."""
        written = n_writes(self._outside)
        if written != self._written:
            # What modules are given can depend on weights outside of the blocks.
            self._found.clear()
            self._written = written
        if length not in self._found:
            self._found[length] = self._record(length)
            if len(self._found) > _KEPT:
                self._found.popitem(last=False)
        self._found.move_to_end(length)
        return widened(self._found[length][number], self.axes(number), n_examples)

    def _record(
        self, length: int, *, n_examples: int = 1, token: int = -1, noisy: bool = False
    ) -> dict[int, Arguments]:
        """Return what the modules are given, by the number of their block."""
        tokens_BT = torch.full((n_examples, length), self._token if token < 0 else token)
        tokens_BT = tokens_BT.to(self._parameter.device)
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
